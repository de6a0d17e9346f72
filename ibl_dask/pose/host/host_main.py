"""Program of the host: loads engines in their own environment and predicts on request, until its worker is gone.

`python host_main.py` needs the standard library and numpy, Python 3.8 or later. A message is the length of its header
(4 bytes, big-endian), the header (JSON in UTF-8), and as many raw bytes as the header gives under `n_bytes`. The host
writes a greeting, then answers one message after another; its standard output is the standard error for all that
libraries print. It ends with its worker: at the end of its standard input, and on Linux by a signal of the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib.util
import json
import mmap
import os
import platform
import queue
import re
import signal
import struct
import sys
import threading
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, BinaryIO

PROTOCOL = 1
"""Version of the messages."""
LENGTH = struct.Struct(">I")
OUT_OF_MEMORY = re.compile(
    r"out of memory|OUT_OF_MEMORY|\bOOM\b|failed to allocate memory|MemoryAllocation|ALLOC_FAILED|bad_alloc",
    re.IGNORECASE,
)
"""Messages of runtimes that lack memory, of a GPU or of the machine."""
OF_GPU = re.compile(r"\bCUDA|cuda[A-Z]\w+|CUDNN|CUBLAS|\bNVML\b|\bGPU\b")
"""Messages of runtimes about a GPU."""
_PR_SET_PDEATHSIG = 1


class HostError(Exception):
    """Error with a category of the package."""

    def __init__(self, what: str, category: str, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.category, self.expected, self.got, self.do = category, expected, got, do


def main() -> None:
    """Greet, then answer requests until there are no more."""
    # Modules in the folder of this program are for another environment.
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    end_with_worker()
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)  # the worker asks a host that hangs where it is
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which ends this process
    requests, answers = take_pipes()
    waiting: queue.Queue[tuple[dict[str, Any], bytes]] = queue.Queue()
    threading.Thread(target=read_requests, args=(requests, waiting), daemon=True).start()
    greeting: dict[str, Any] = {"protocol": PROTOCOL, "python": platform.python_version()}
    try:
        import numpy

        greeting["numpy"] = numpy.__version__
    except Exception as error:  # noqa: BLE001  # it is the answer
        greeting["error"] = explained(error)
    write(answers, greeting)
    host = Host()
    while True:
        header, content = waiting.get()
        try:
            answer, result = host.answer(header, content)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  # it is the answer
            answer, result = {"error": explained(error)}, b""
        write(answers, answer, result)


def end_with_worker() -> None:
    """Let the kernel end this process when its worker ends, in whatever way, and whatever this process does then."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # the end of the standard input has to do
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes of requests and answers, and let nothing else read or write them."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def read_requests(pipe: BinaryIO, waiting: queue.Queue[tuple[dict[str, Any], bytes]]) -> None:
    """Put requests into a queue; end the process when there will be none any more."""
    while True:
        length = pipe.read(LENGTH.size)
        if len(length) < LENGTH.size:
            os._exit(0)
        header = json.loads(pipe.read(LENGTH.unpack(length)[0]).decode())
        content = pipe.read(header.get("n_bytes", 0))
        if len(content) < header.get("n_bytes", 0):
            os._exit(0)
        waiting.put((header, content))


def write(pipe: BinaryIO, header: dict[str, Any], content: bytes = b"") -> None:
    """Write a message."""
    text = json.dumps({**header, "n_bytes": len(content)}, default=str).encode()
    try:
        pipe.write(LENGTH.pack(len(text)) + text + content)
        pipe.flush()
    except BrokenPipeError:
        os._exit(0)


class Host:
    """Engines that are loaded, and the memory that frames arrive in."""

    def __init__(self) -> None:
        self._engines: dict[str, Any] = {}
        self._memory: mmap.mmap | None = None

    def answer(self, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Do what a message asks for; return the header and the raw bytes of the answer."""
        do = header["do"]
        if do == "map":
            with open(header["path"], "rb") as file:  # noqa: PTH123
                self._memory = mmap.mmap(file.fileno(), header["size"], access=mmap.ACCESS_READ)
            return {}, b""
        if do == "load":
            adapter = load_module(header["adapter"]).load(
                header["weights"], header["options"], header["keypoints"], header["device"]
            )
            self._engines[header["engine"]] = adapter
            return {"info": adapter.info()}, b""
        if do == "export":
            adapter = load_module(header["adapter"])
            exporter = load_module(header["exporter"])
            described, exported = exporter.export(adapter, header["weights"], header["options"])
            return {"info": described}, exported
        if do == "predict":
            return self._predict(header, content)
        if do == "smooth":
            return self._smooth(header, content)
        raise HostError(f"there is no request {do}", "bug")

    def _predict(self, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        import numpy

        shape = tuple(header["shape"])
        source: Any = content if header["n_bytes"] else self._memory
        frames = numpy.frombuffer(source, numpy.uint8, int(numpy.prod(shape))).reshape(shape)
        frames.flags.writeable = False
        found = self._engines[header["engine"]].predict(frames, header["before"], header["after"])
        result = numpy.ascontiguousarray(found, dtype="<f4")
        return {"shape": list(result.shape)}, result.tobytes()

    def _smooth(self, header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Smooth a whole series, of 64-bit numbers."""
        import numpy

        series = numpy.frombuffer(content, "<f8").reshape(tuple(header["shape"]))
        result = numpy.ascontiguousarray(self._engines[header["engine"]].smooth(series), dtype="<f8")
        return {"shape": list(result.shape)}, result.tobytes()


def load_module(path: str) -> Any:
    """Return the module of a file."""
    name = os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HostError("this adapter is no Python file", "environment", got=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def explained(error: BaseException) -> dict[str, str]:
    """Return an error as plain values: its category, and the parts of its message."""
    text = f"{type(error).__name__}: {error}"
    parts = {"what": str(error), "expected": "", "got": "", "do": "", "kind": type(error).__name__}
    parts["traceback"] = "".join(traceback.format_exception(type(error), error, error.__traceback__))[-8000:]
    if hasattr(error, "category"):
        parts["category"] = str(error.category)
        parts.update({name: str(getattr(error, name, "")) for name in ("expected", "got", "do")})
        return parts
    parts["got"] = text
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        parts.update(category="memory", what="the engine ran out of memory")
    elif isinstance(error, ImportError):
        name = error.name or "a package"
        parts.update(
            category="environment",
            what=f"the environment of the engine lacks {name}",
            expected=f"an environment in which `import {name}` works",
            do="install it there, or name another environment under `engines:` of the site profile",
        )
    elif OF_GPU.search(text):
        parts.update(category="gpu", what="the engine cannot use the GPU")
    else:
        parts.update(category="bug", what="the engine failed")
    return parts


if __name__ == "__main__":
    main()
