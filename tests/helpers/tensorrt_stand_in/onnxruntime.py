"""A stand-in for onnxruntime on a machine with TensorRT: the real one, on the CPU, which goes by another name.

As the TensorRT provider of onnxruntime documents: an engine is built at the first run for each size of batch, kept in
`trt_engine_cache_path` under a name that ends in `.engine`, and loaded from there by whoever comes later. Two builds of
one network are never the same, here as there. `IBL_DASK_STAND_IN_TAKES=nothing` is a network of which TensorRT takes no
part, `refused` one whose libraries do not load: onnxruntime then goes on with the next provider.
"""

import os
import sys
import time
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))
del sys.modules["onnxruntime"]
import onnxruntime  # noqa: E402  # the real one

TENSORRT, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
BUILD_S = 0.3
Real = onnxruntime.InferenceSession
takes = os.environ.get("IBL_DASK_STAND_IN_TAKES", "all")


class Session:
    def __init__(self, path, settings, providers):
        names = [each if isinstance(each, str) else each[0] for each in providers]
        self._options = dict(providers[0][1]) if names[0] == TENSORRT else None
        self._names = names if takes != "refused" else names[1:]
        self._session = Real(path, settings, providers=["CPUExecutionProvider"])

    def get_providers(self):
        return self._names

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run(self, names, given):
        if self._options is not None and takes == "all":
            (frames,) = given.values()
            kind = "fp16" if self._options["trt_fp16_enable"] else "fp32"
            file = Path(self._options["trt_engine_cache_path"]) / f"{TENSORRT}_{len(frames)}_{kind}_sm90.engine"
            if not file.exists():
                time.sleep(BUILD_S)
                file.write_bytes(os.urandom(64))
        return self._session.run(names, given)


onnxruntime.InferenceSession = Session
onnxruntime.get_available_providers = lambda: [TENSORRT, CUDA, "CPUExecutionProvider"]
