"""Check of the GPUs of this node, as a process of its own: the driver of a broken GPU may never return.

`python -m ibl_dask.deploy.cluster.gpu_probe` checks the GPUs in `CUDA_VISIBLE_DEVICES` and prints the result as JSON.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import sys
import uuid
from typing import Any, TypedDict

_LIBRARY = "libcuda.so.1"
_BYTES = 1 << 20
_PATTERN = 0xA5


class ProbedGpu(TypedDict):
    """Result of the check of one GPU."""

    uuid: str
    """Name that is the same in every process of the node."""
    name: str
    """Model."""
    total_gb: float
    """Memory, GB."""
    free_gb: float
    """Unused memory, GB."""
    problem: str
    """Reason for which it does not work; empty if it does."""


class _Broken(Exception):
    """Error of a GPU or its driver."""


def probe(cuda: Any) -> list[ProbedGpu]:  # a library of ctypes finds its functions by name
    """Use every visible GPU: allocate, fill and read back 1 MB.

    Parameters
    ----------
    cuda
        NVIDIA's driver library, as ctypes loads it.

    Raises
    ------
    _Broken
        If the driver does not work.
    """
    _call(cuda, "cuInit", 0)
    count = ctypes.c_int()
    _call(cuda, "cuDeviceGetCount", ctypes.byref(count))
    return [_device(cuda, number) for number in range(count.value)]


def _device(cuda: Any, number: int) -> ProbedGpu:
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    identity = (ctypes.c_ubyte * 16)()
    found: ProbedGpu = {"uuid": "", "name": "", "total_gb": 0.0, "free_gb": 0.0, "problem": ""}
    try:
        _call(cuda, "cuDeviceGet", ctypes.byref(device), number)
        _call(cuda, "cuDeviceGetName", name, len(name), device)
        _call(cuda, "cuDeviceGetUuid", ctypes.byref(identity), device)
        found["name"] = name.value.decode(errors="replace")
        found["uuid"] = f"GPU-{uuid.UUID(bytes=bytes(identity))}"
        total, free = _use(cuda, device)
        found["total_gb"], found["free_gb"] = round(total / 1e9, 2), round(free / 1e9, 2)
    except _Broken as error:
        found["problem"] = str(error)
    return found


def _use(cuda: Any, device: ctypes.c_int) -> tuple[int, int]:
    """Write memory of a GPU and read it back; return its total and free memory, bytes."""
    context, memory = ctypes.c_void_p(), ctypes.c_uint64()
    total, free = ctypes.c_size_t(), ctypes.c_size_t()
    back = ctypes.create_string_buffer(_BYTES)
    _call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    _call(cuda, "cuCtxSetCurrent", context)
    _call(cuda, "cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    _call(cuda, "cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(_BYTES))
    _call(cuda, "cuMemsetD8_v2", memory, ctypes.c_ubyte(_PATTERN), ctypes.c_size_t(_BYTES))
    _call(cuda, "cuMemcpyDtoH_v2", back, memory, ctypes.c_size_t(_BYTES))
    _call(cuda, "cuMemFree_v2", memory)
    if back.raw != bytes([_PATTERN]) * _BYTES:
        raise _Broken("memory of the GPU does not hold the data written to it")
    return total.value, free.value


def _call(cuda: Any, function: str, *arguments: object) -> None:
    """Call a function of the driver, and raise for any result but 0."""
    code = int(getattr(cuda, function)(*arguments))
    if code:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        raise _Broken(f"{function}: {(text.value or b'unknown error').decode(errors='replace')} (error {code})")


def torch_problem() -> str:
    """Return the error of PyTorch on the GPU; empty if it works, or no PyTorch with CUDA is installed."""
    if importlib.util.find_spec("torch") is None:
        return ""
    try:
        torch: Any = importlib.import_module("torch")
        if torch.version.cuda is None:
            return ""
        total = float(torch.ones(1000, device="cuda").sum().item())
    except Exception as error:  # noqa: BLE001  # any error of the library is the answer
        return f"PyTorch cannot use it: {' '.join(str(error).split())}"
    return "" if total == 1000 else f"PyTorch adds a thousand ones on it and gets {total:g}"


def main() -> None:
    """Print the result: `{"devices": [...]}`, or `{"problem": "..."}`."""
    answer: dict[str, object]
    try:
        devices = probe(ctypes.CDLL(_LIBRARY))
        problem = torch_problem() if devices and not any(device["problem"] for device in devices) else ""
        answer = {"devices": [{**device, "problem": device["problem"] or problem} for device in devices]}
    except _Broken as error:
        answer = {"problem": str(error)}
    except OSError as error:
        answer = {"problem": f"NVIDIA's driver library is not there ({error})"}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
