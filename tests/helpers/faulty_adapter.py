"""An adapter that fails on request, for tests of the host: `options` hold what goes wrong, and when.

A keypoint has the mean of its frame as x, its first pixel as y, and likelihood 1.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy


class Faulty:
    def __init__(self, options, keypoints):
        self._options = options
        self._keypoints = options.get("declares", keypoints or ["point"])

    def info(self):
        return {
            "keypoints": self._keypoints,
            "halo": 0,
            "batch_hint": self._options.get("batch", 8),
            "build": "faulty {}".format(self._options.get("build", 1)),
        }

    def predict(self, frames, before, after):
        fault = self._options.get("fault")
        first_time = self._options.get("first_time")
        if first_time is not None:  # a file: the fault comes until it is there
            if Path(first_time).exists():
                fault = None
            else:
                Path(first_time).touch()
        sizes = self._options.get("sizes")
        if sizes is not None:
            with Path(sizes).open("a", encoding="utf-8") as file:
                file.write(f"{len(frames)}\n")
        n_run = max(len(frames), self._options["batch"]) if self._options.get("fills") else len(frames)
        if fault is not None and n_run > self._options.get("fits", 0):
            getattr(self, fault)()
        rows = numpy.ones((len(frames), len(self._keypoints), 3))
        rows[..., 0] = frames.reshape(len(frames), -1).mean(axis=1)[:, None]
        rows[..., 1] = frames[:, 0, 0, 0][:, None]
        return self.spoilt(rows, fault)

    def spoilt(self, rows, fault):
        if fault == "too_few_rows":
            return rows[1:]
        if fault == "no_likelihood":
            rows[..., 2] = 3.5
        if fault == "nowhere":
            rows[0, 0, 0] = numpy.inf
        return rows

    def too_few_rows(self):
        pass

    def no_likelihood(self):
        pass

    def nowhere(self):
        pass

    def memory(self):
        raise MemoryError

    def cuda_memory(self):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.77 GiB total capacity)")

    def gpu(self):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def bug(self):
        raise KeyError("logits")

    def crash(self):
        print("about to crash", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)

    def killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def quits(self):
        os._exit(3)

    def talks(self):
        print("a line that libraries print")
        os.write(1, b"a line that C code prints\n")

    def hangs(self):
        time.sleep(600)

    def hangs_in_c(self):
        ctypes.PyDLL(None).sleep(600)  # with the lock of the interpreter

    def hangs_alone(self):
        """Hang without the kernel's signal at the end of the worker."""
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        time.sleep(600)


def load(weights, options, keypoints, device):
    at_load = options.get("at_load")
    if at_load == "missing_package":
        import no_such_runtime  # noqa: F401
    if at_load == "hangs":
        time.sleep(600)
    if at_load == "memory_again" and Path(options["first_time"]).exists():
        raise MemoryError
    if at_load == "no_gpu":
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
    if at_load == "dies":
        os._exit(5)
    return Faulty(options, keypoints)
