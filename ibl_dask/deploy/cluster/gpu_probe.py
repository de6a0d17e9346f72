"""Ask the GPUs of this node whether they work. Runs as a process of its own: a broken one may never answer.

`python -m ibl_dask.deploy.cluster.gpu_probe` prints what it found as JSON.
`CUDA_VISIBLE_DEVICES` says which are looked at.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import sys
import uuid
from typing import Any

_LIBRARY = "libcuda.so.1"
_BYTES = 1 << 20
_PATTERN = 0xA5


class _Broken(Exception):
    """Carries why a GPU does not work."""


def probe(cuda: Any) -> list[dict[str, Any]]:
    """Use every visible GPU for a moment: allocate, fill and read back 1 MB.

    Parameters
    ----------
    cuda
        NVIDIA's driver library, as ctypes loads it.

    Returns
    -------
    list of mappings
        For each GPU `uuid`, `name`, `total_gb`, `free_gb` and `problem`, which is empty where it works.

    Raises
    ------
    _Broken
        If the driver cannot be used at all.
    """
    _call(cuda, "cuInit", 0)
    count = ctypes.c_int()
    _call(cuda, "cuDeviceGetCount", ctypes.byref(count))
    return [_device(cuda, number) for number in range(count.value)]


def _device(cuda: Any, number: int) -> dict[str, Any]:
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    identity = (ctypes.c_ubyte * 16)()
    found: dict[str, Any] = {"uuid": "", "name": "", "total_gb": 0.0, "free_gb": 0.0, "problem": ""}
    try:
        _call(cuda, "cuDeviceGet", ctypes.byref(device), number)
        _call(cuda, "cuDeviceGetName", name, len(name), device)
        _call(cuda, "cuDeviceGetUuid", ctypes.byref(identity), device)
        found |= {"name": name.value.decode(errors="replace"), "uuid": f"GPU-{uuid.UUID(bytes=bytes(identity))}"}
        total, free = _use(cuda, device)
        found |= {"total_gb": round(total / 1e9, 2), "free_gb": round(free / 1e9, 2)}
    except _Broken as error:
        found["problem"] = str(error)
    return found


def _use(cuda: Any, device: ctypes.c_int) -> tuple[int, int]:
    """Return total and free memory of a GPU after it has proven to hold what it is given, bytes."""
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
        raise _Broken("memory of the GPU does not hold what is written to it")
    return total.value, free.value


def _call(cuda: Any, function: str, *arguments: Any) -> None:
    """Call the driver; what it answers with is an error number."""
    code = int(getattr(cuda, function)(*arguments))
    if code:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        raise _Broken(f"{function}: {(text.value or b'unknown error').decode(errors='replace')} (error {code})")


def torch_problem() -> str:
    """Return what PyTorch says against the GPU; empty where it works, or none is installed that uses one."""
    if importlib.util.find_spec("torch") is None:
        return ""
    try:
        torch: Any = importlib.import_module("torch")
        if torch.version.cuda is None:
            return ""
        total = float(torch.ones(1000, device="cuda").sum().item())
    except Exception as error:  # noqa: BLE001  # whatever a library of others raises is the answer
        return f"PyTorch cannot use it: {' '.join(str(error).split())}"
    return "" if total == 1000 else f"PyTorch adds a thousand ones on it and gets {total:g}"


def main() -> None:
    """Print what was found: `{"devices": [...]}`, or `{"problem": "..."}`."""
    answer: dict[str, Any]
    try:
        devices = probe(ctypes.CDLL(_LIBRARY))
        problem = torch_problem() if devices and not any(device["problem"] for device in devices) else ""
        answer = {"devices": [device | {"problem": device["problem"] or problem} for device in devices]}
    except _Broken as error:
        answer = {"problem": str(error)}
    except OSError as error:
        answer = {"problem": f"NVIDIA's driver library is not there ({error})"}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
