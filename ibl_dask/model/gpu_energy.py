"""Energy that the GPU of this worker has taken, from the counter of its driver."""

from __future__ import annotations

import contextlib
import ctypes
import os
from functools import cache
from typing import Any

GPU_VARIABLE = "IBL_DASK_GPU"
"""Variable of a worker with the UUID of its GPU, by which every library of NVIDIA knows it."""
_LIBRARY = "libnvidia-ml.so.1"


def read_gpu_j() -> float | None:
    """Return the energy that the GPU of this worker has taken since its driver was loaded, J.

    None without a GPU, and where its driver has no such counter: GPUs before Volta have none, and a part of a GPU
    (MIG) cannot be told from the others.

    References
    ----------
    NVIDIA Management Library, `nvmlDeviceGetTotalEnergyConsumption`: mJ, GPUs from Volta on.
    """
    name = os.environ.get(GPU_VARIABLE, "")
    return _read_j(_library(), name) if name.startswith("GPU-") else None


@cache
def _library() -> Any:  # a library of ctypes finds its functions by name
    """Return NVIDIA's library once it is ready; None where it is not there."""
    with contextlib.suppress(OSError):
        library = ctypes.CDLL(_LIBRARY)
        return library if library.nvmlInit_v2() == 0 else None
    return None


def _read_j(library: Any, name: str) -> float | None:
    device, energy_mj = ctypes.c_void_p(), ctypes.c_ulonglong()
    if library is None or library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(device)):
        return None
    failed = library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(energy_mj))
    return None if failed else energy_mj.value / 1e3
