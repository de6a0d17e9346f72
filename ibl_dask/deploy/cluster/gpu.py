"""GPU of a worker process: claimed, made the only visible one, and checked by using it.

The batch system lists the GPUs of a job in `CUDA_VISIBLE_DEVICES`. Each worker of the job claims one and hides the
others from itself before any library looks.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ibl_dask.deploy.batch_systems.registry import excludable_node, exclusion_example, node_name
from ibl_dask.deploy.cluster.gpu_claim import VISIBLE, claim, granted, job_of
from ibl_dask.deploy.cluster.gpu_probe import ProbedGpu
from ibl_dask.errors import GpuFailed, RunError, UsageError

CHECK_VARIABLE = "IBL_DASK_GPU_CHECK"
"""`cuda`: a worker uses its GPU once before it takes steps, and leaves if that fails. `none`: it trusts the batch
system, for GPUs that are not NVIDIA's."""
CHECK_TIMEOUT_S = 45.0
"""Time limit of that check, s; a driver without persistence mode takes some 10 s to wake up."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU of one worker."""

    device: str
    """Its entry in `CUDA_VISIBLE_DEVICES`: a number, or a name such as `GPU-...` or `MIG-...`."""
    is_checked: bool = False
    """Whether it was checked by using it."""
    name: str = ""
    """Model; empty without a check."""
    total_gb: float = 0.0
    """Memory, GB."""
    free_gb: float = 0.0
    """Unused memory, GB."""
    problem: str = ""
    """Reason for which it does not work; empty if it does."""
    uuid: str = ""
    """Its name in every process and library; empty without a check, and for a part of a GPU."""

    def to_json(self) -> dict[str, str | float | bool]:
        """Return its fields as a mapping for JSON."""
        return asdict(self)


def node_at_fault(gpu: Gpu, environment: Mapping[str, str]) -> str:
    """Return the node of a GPU that failed its check, under the name by which it can be excluded.

    Empty for any other problem, such as a job without GPU, which would occur on every node; and where the batch system
    cannot exclude nodes.
    """
    return excludable_node(environment) if gpu.is_checked and gpu.problem else ""


def is_check_enabled(environment: Mapping[str, str]) -> bool:
    """Return whether GPUs are checked by using them.

    Raises
    ------
    UsageError
        If the variable has an unknown value.
    """
    value = environment.get(CHECK_VARIABLE, "cuda")
    if value not in ("cuda", "none"):
        raise UsageError(
            "this variable makes no sense",
            where=f"environment variable {CHECK_VARIABLE}",
            expected="cuda or none",
            got=value,
            do="unset it, or set it to one of these",
        )
    return value == "cuda"


def take_gpu(worker: str, timeout_s: float = CHECK_TIMEOUT_S) -> tuple[Gpu, socket.socket | None]:
    """Claim a GPU for this process, hide the others from it, and check the claimed one.

    Parameters
    ----------
    worker
        Name of this worker.
    timeout_s
        Time limit of the check, s.

    Returns
    -------
    Gpu
        The GPU, with its problem if it has one.
    socket
        The claim, to keep while the process lives; None if no GPU was claimed.
    """
    try:
        is_checked = is_check_enabled(os.environ)
        devices = granted(os.environ)
        if devices is None:
            devices = _devices_of_node(timeout_s) if is_checked else _device_files()
        device, lock = claim(devices, worker, job_of(os.environ, os.getppid()))
    except (RunError, UsageError) as error:
        return Gpu("", problem=f"{error.what}: expected {error.expected}, got {error.got}"), None
    os.environ[VISIBLE] = device
    return (check_gpu(device, timeout_s) if is_checked else Gpu(device)), lock


def format_broken(gpu: Gpu, worker: str) -> str:
    """Return the message of a worker that leaves since its GPU does not work."""
    return str(
        GpuFailed(
            "this worker has no GPU that works",
            where=f"worker {worker} on {node_name()}, GPU {gpu.device or 'unknown'}",
            expected="a GPU that allocates memory and holds the data written to it",
            got=gpu.problem.rstrip("."),
            do=f"exclude this node (`directives` of the pool{exclusion_example()}) and report it; "
            f"`export {CHECK_VARIABLE}=none` in `setup` of the pool trusts GPUs without a check",
        )
    )


def check_gpu(device: str, timeout_s: float = CHECK_TIMEOUT_S) -> Gpu:
    """Use the only GPU that this process sees, in a process of its own, and return the result.

    Parameters
    ----------
    device
        Entry of the GPU in `CUDA_VISIBLE_DEVICES`.
    timeout_s
        Time limit, s.
    """
    gpus, problem = _probe(timeout_s)
    if not problem and len(gpus) != 1:
        problem = f"CUDA sees {len(gpus)} GPUs where the batch system gave {device}"
    if problem:
        return Gpu(device, True, problem=problem)
    (gpu,) = gpus
    uuid = "" if device.startswith("MIG-") else gpu["uuid"]  # the driver gives that of the whole GPU
    return Gpu(device, True, gpu["name"], gpu["total_gb"], gpu["free_gb"], gpu["problem"], uuid)


def _devices_of_node(timeout_s: float) -> tuple[str, ...]:
    """Return the names of the GPUs that this process sees, which are the same in every process of the node."""
    gpus, problem = _probe(timeout_s)
    if problem:
        raise GpuFailed(
            f"{VISIBLE} is not set, and no GPU can be seen",
            where=node_name(),
            expected="a GPU that works",
            got=problem,
            do="check with `ibl-dask jobscript` that the job asks for a GPU",
        )
    return tuple(gpu["uuid"] for gpu in gpus)


def _device_files() -> tuple[str, ...]:
    files = Path("/dev").glob("nvidia[0-9]*")
    return tuple(sorted((file.name.removeprefix("nvidia") for file in files), key=int)) or ("0",)


def _probe(timeout_s: float) -> tuple[list[ProbedGpu], str]:
    """Return the answer of `gpu_probe` in a process of its own, and the reason for which it gave none."""
    command = [sys.executable, "-m", "ibl_dask.deploy.cluster.gpu_probe"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        # A process that hangs in the driver cannot be killed, so its end is not awaited.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1.0)
        return [], f"it does not answer within {timeout_s:g} s"
    try:
        answer = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = err.strip().splitlines()[-1:]
        return [], f"looking at it ended with exit code {process.returncode}: {''.join(last) or 'nothing was said'}"
    return answer.get("devices", []), answer.get("problem", "")
