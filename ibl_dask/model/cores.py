"""Number of cores that a process may use."""

from __future__ import annotations

import os

CORES_VARIABLE = "IBL_DASK_CORES"
"""Variable of a worker with the number of its cores."""
GPU_CORES = "GPU_CORES"
"""Dask resource of a worker with a GPU: its cores, which decode for the GPU. No step asks for it."""


def available_cores() -> int:
    """Return the number of cores that this process may use: in a batch job fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_cores() -> int:
    """Return the number of cores of this worker; where this process is none, of those that it may use."""
    given = os.environ.get(CORES_VARIABLE, "")
    return int(given) if given.isdecimal() and int(given) else available_cores()
