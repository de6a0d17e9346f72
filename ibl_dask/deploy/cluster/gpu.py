"""One GPU for each worker process, and whether it works.

The batch system tells a job its GPUs in `CUDA_VISIBLE_DEVICES`. Each of the job's workers claims one of them and hides
the others from itself, before anything that it imports can look.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ibl_dask.errors import RunError, UsageError

CHECK_VARIABLE = "IBL_DASK_GPU_CHECK"
"""`cuda`: a GPU worker uses its GPU for a moment before it takes steps, and leaves if that fails. `none`: it trusts
what the batch system says; for batch systems whose GPUs are no devices of NVIDIA's."""
CHECK_TIMEOUT_S = 45.0
"""How long a GPU may take to answer; a driver without persistence mode takes some 10 s to wake up."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID")
_SLURM_GPU_VARIABLES = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU of one worker."""

    device: str
    """What the worker's `CUDA_VISIBLE_DEVICES` says: a number, or a name such as `GPU-...` or `MIG-...`."""
    is_checked: bool = False
    """Whether it was used for a moment."""
    name: str = ""
    """Model; empty where it was not checked."""
    total_gb: float = 0.0
    """Memory, GB."""
    free_gb: float = 0.0
    """Memory that nobody uses, GB."""
    problem: str = ""
    """Why it does not work; empty where it does."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a mapping that JSON holds."""
        return asdict(self)


def node_name() -> str:
    """Return this node as the batch system calls it, which is how it is left out; else as it calls itself."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def node_at_fault(gpu: Gpu, environment: Mapping[str, str]) -> str:
    """Return the node, as Slurm calls it, of a GPU that was tried and does not work.

    Empty where the fault is another one, such as a job without GPU, which every node would have; and where no Slurm
    says what the node is called.
    """
    return environment.get("SLURMD_NODENAME", "") if gpu.is_checked and gpu.problem else ""


def is_check_wanted(environment: Mapping[str, str]) -> bool:
    """Return whether GPUs shall be used for a moment before they are trusted.

    Raises
    ------
    UsageError
        If the variable says neither.
    """
    wanted = environment.get(CHECK_VARIABLE, "cuda")
    if wanted not in ("cuda", "none"):
        raise UsageError(
            "this variable makes no sense",
            where=f"environment variable {CHECK_VARIABLE}",
            expected="cuda or none",
            got=wanted,
            do="unset it, or set it to one of these",
        )
    return wanted == "cuda"


def granted(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the GPUs that a process was given; None where nobody says which.

    >>> granted({"CUDA_VISIBLE_DEVICES": "2,3"})
    ('2', '3')
    >>> granted({"CUDA_VISIBLE_DEVICES": "NoDevFiles"})
    ()
    """
    value = environment.get(_VISIBLE)
    if value is None:
        # Slurm says it of every job that asked for one; without its word the GPUs of the node are those of others.
        is_none = "SLURM_JOB_ID" in environment and not any(name in environment for name in _SLURM_GPU_VARIABLES)
        return () if is_none else None
    devices: list[str] = []
    for entry in value.split(","):
        device = entry.strip()
        if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/.-]+", device):
            break  # CUDA itself reads up to the first entry that makes no sense
        devices.append(device)
    return tuple(devices)


def claim(devices: Sequence[str], worker: str, job: str) -> tuple[str, socket.socket]:
    """Take a GPU that no other worker of the job has.

    Parameters
    ----------
    devices
        What the job was given.
    worker
        Name of the worker; the i-th of a job ends in `-i` and takes the i-th GPU if it is free.
    job
        What tells this job from others on the node, for GPUs that have a number only.

    Returns
    -------
    str
        The GPU.
    socket
        The claim: it ends when this is closed, or with the process, however that ends.

    Raises
    ------
    RunError
        If each has been taken.
    """
    found = re.search(r"-(\d+)$", worker)
    first = int(found[1]) if found and int(found[1]) < len(devices) else 0
    for device in (*devices[first:], *devices[:first]):
        taken = _lock(device if not device.isdigit() else f"{job}/{device}")
        if taken is not None:
            return device, taken
    raise RunError(
        "this worker has no GPU for itself",
        where=f"worker {worker} on {node_name()}",
        expected="as many GPUs as workers in a job",
        got=f"{_say(devices)}, each taken by another worker" if devices else "a job without GPU",
        do="set `gpus` of the pool to the number of GPUs that one job asks for, and look with `ibl-dask jobscript` "
        "whether the job asks for them",
    )


def _lock(name: str) -> socket.socket | None:
    """Take a name that one process of this node can have at a time; None where another has it."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0ibl_dask-gpu-{digest}")  # Linux's abstract names leave no file behind
    except OSError:
        lock.close()
        return None
    return lock


def job_of(environment: Mapping[str, str], parent: int) -> str:
    """Return what the workers of one job have in common: the job, and the process that started them."""
    job = next((environment[name] for name in _JOB_VARIABLES if name in environment), "")
    return f"{os.getuid()}/{job}/{parent}"


def take_gpu(worker: str, timeout_s: float = CHECK_TIMEOUT_S) -> tuple[Gpu, socket.socket | None]:
    """Claim a GPU for this process, hide the others from it, and see whether it works.

    Parameters
    ----------
    worker
        Name of this worker.
    timeout_s
        How long the GPU may take to answer, s.

    Returns
    -------
    Gpu
        The GPU, with the problem if it has one.
    socket
        The claim, to keep while the process lives; None where there is nothing to claim.
    """
    try:
        is_wanted = is_check_wanted(os.environ)
        devices = granted(os.environ)
        if devices is None:
            devices = _devices_of_node(timeout_s) if is_wanted else _device_files()
        device, lock = claim(devices, worker, job_of(os.environ, os.getppid()))
    except (RunError, UsageError) as error:
        return Gpu("", problem=f"{error.what}: expected {error.expected}, got {error.got}"), None
    os.environ[_VISIBLE] = device
    return (look_at(device, timeout_s) if is_wanted else Gpu(device)), lock


def say_broken(gpu: Gpu, worker: str) -> str:
    """Return why a worker leaves, and what to do about it."""
    return str(
        RunError(
            "this worker has no GPU that works",
            where=f"worker {worker} on {node_name()}, GPU {gpu.device or 'unknown'}",
            expected="a GPU that allocates memory and holds what is written to it",
            got=gpu.problem.rstrip("."),
            do="leave this node out (`directives` of the pool, such as --exclude=NODE) and tell those who look after "
            f"it; `export {CHECK_VARIABLE}=none` in `setup` of the pool takes GPUs unseen",
        )
    )


def look_at(device: str, timeout_s: float = CHECK_TIMEOUT_S) -> Gpu:
    """Use the one GPU that this process sees, in a process of its own, and say how that went."""
    found, problem = _ask(timeout_s)
    if not problem and len(found) != 1:
        problem = f"CUDA sees {len(found)} GPUs where the batch system gave {device}"
    if problem:
        return Gpu(device, True, problem=problem)
    (gpu,) = found
    return Gpu(device, True, gpu["name"], gpu["total_gb"], gpu["free_gb"], gpu["problem"])


def _devices_of_node(timeout_s: float) -> tuple[str, ...]:
    """Return the names of the GPUs that this process can see, which mean the same in every process of the node."""
    found, problem = _ask(timeout_s)
    if problem:
        raise RunError(
            f"{_VISIBLE} is not set, and no GPU can be seen",
            where=node_name(),
            expected="a GPU that works",
            got=problem,
            do="look with `ibl-dask jobscript` whether the job asks for a GPU",
        )
    return tuple(gpu["uuid"] for gpu in found)


def _device_files() -> tuple[str, ...]:
    files = Path("/dev").glob("nvidia[0-9]*")
    return tuple(sorted((file.name.removeprefix("nvidia") for file in files), key=int)) or ("0",)


def _ask(timeout_s: float) -> tuple[list[dict[str, Any]], str]:
    """Return what `gpu_probe` says in a process of its own, and why it says nothing."""
    command = [sys.executable, "-m", "ibl_dask.deploy.cluster.gpu_probe"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        # One that hangs in the driver cannot even be killed, so nobody waits for its end.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1.0)
        return [], f"it does not answer within {timeout_s:g} s"
    try:
        answer = json.loads(said.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = complaint.strip().splitlines()[-1:]
        return [], f"looking at it ended with exit code {process.returncode}: {''.join(last) or 'nothing was said'}"
    return answer.get("devices", []), answer.get("problem", "")


def _say(devices: Sequence[str]) -> str:
    return f"{_VISIBLE}={','.join(devices)}"
