"""Claim of one GPU per worker process, among the GPUs that the batch system gave to its job."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping, Sequence

from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS, node_name, own_job
from ibl_dask.errors import GpuFailed

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Variable in which batch systems list the GPUs of a job, and CUDA reads those of a process."""


def granted(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the GPUs of a process; None where no variable lists them.

    >>> granted({"CUDA_VISIBLE_DEVICES": "2,3"})
    ('2', '3')
    >>> granted({"CUDA_VISIBLE_DEVICES": "NoDevFiles"})
    ()
    """
    value = environment.get(VISIBLE)
    if value is None:
        # In a job without GPUs, those of the node belong to other jobs.
        return () if any(system.is_without_gpu(environment) for system in BATCH_SYSTEMS.values()) else None
    devices: list[str] = []
    for entry in value.split(","):
        device = entry.strip()
        if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/.-]+", device):
            break  # CUDA itself stops at the first invalid entry
        devices.append(device)
    return tuple(devices)


def claim(devices: Sequence[str], worker: str, job: str) -> tuple[str, socket.socket]:
    """Claim a GPU that no other worker of the job has.

    Parameters
    ----------
    devices
        GPUs of the job.
    worker
        Name of the worker; the i-th of a job ends in `-i` and claims the i-th GPU if that is free.
    job
        Text that distinguishes this job from others on the node, for GPUs that are given by number.

    Returns
    -------
    str
        The GPU.
    socket
        The claim, which lasts until it is closed or the process ends.

    Raises
    ------
    GpuFailed
        If every GPU is claimed.
    """
    found = re.search(r"-(\d+)$", worker)
    first = int(found[1]) if found and int(found[1]) < len(devices) else 0
    for device in (*devices[first:], *devices[:first]):
        lock = _lock(device if not device.isdigit() else f"{job}/{device}")
        if lock is not None:
            return device, lock
    listed = f"{VISIBLE}={','.join(devices)}"
    raise GpuFailed(
        "this worker has no GPU for itself",
        where=f"worker {worker} on {node_name()}",
        expected="as many GPUs as workers in a job",
        got=f"{listed}, each taken by another worker" if devices else "a job without GPU",
        do="set `gpus` of the pool to the number of GPUs that one job asks for, and check with `ibl-dask jobscript` "
        "that the job asks for them",
    )


def _lock(name: str) -> socket.socket | None:
    """Bind a name that one process of this node can hold at a time; None if another process holds it."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0ibl_dask-gpu-{digest}")  # Linux's abstract names leave no file behind
    except OSError:
        lock.close()
        return None
    return lock


def job_of(environment: Mapping[str, str], parent: int) -> str:
    """Return a text that the workers of one job share: user, job number and the process that started them.

    Parameters
    ----------
    environment
        Variables of the process.
    parent
        Number of the process that started the workers.
    """
    return f"{os.getuid()}/{own_job(environment)}/{parent}"
