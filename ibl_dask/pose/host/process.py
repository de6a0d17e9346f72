"""One host process: its start, its requests with time-outs, what it prints, and its end."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import EngineFailed, MissingEnvironment, TaskTimedOut
from ibl_dask.pose.host.channel import BadAnswer, Channel, ChannelClosed, NoAnswer
from ibl_dask.pose.host.failures import answered_error, start_error
from ibl_dask.pose.host.frame_memory import FrameMemory, take_memory
from ibl_dask.pose.host.printed_lines import PrintedLines

PROTOCOL = 1
"""Version of the messages, the same as in `host_main`."""
PROGRAM = Path(__file__).with_name("host_main.py")
FIRST_WORD_S = 5.0
"""Time that a host which hangs gets to begin to print where, s."""
LAST_WORDS_S = 0.5
"""Time that it gets from then on, s."""
KILL_S = 10.0
"""Time that the system gets to end a host, s."""
GRACE_S = 2.0
"""Time that a host gets to end by itself, s."""
_SECRET = ("IBL_DASK_ALYX_TOKEN", "IBL_DASK_ALYX_TOKEN_FILE")
"""Variables that are none of the business of an engine."""
_KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
"""Settings of glibc, by which a process keeps the memory that it freed. By default each map of a network, tens of MB,
is taken from the system and given back, and half of the time goes into clearing its pages: with these a ResNet of
DeepLabCut on a CPU takes 34 ms a frame of 640x480 instead of 69, at the same peak memory."""
_UNSET = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX")

# The kernel ends a host when the thread that started it ends, and threads of steps come and go.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pose-host-starter")


class HostDied(Exception):
    """The host ended by itself, while it loaded or predicted."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class HostProcess:
    """A host in its environment.

    Parameters
    ----------
    python : str
        Python of the environment, or a command that runs one; empty for the one that runs this.
    start_s : float
        Longest time to its greeting, s.
    folders : sequence of Path
        Folders for the memory of frames, the fastest first.

    Raises
    ------
    MissingEnvironment, TaskTimedOut
        If the environment is missing, lacks numpy, is too old, or takes too long.
    """

    def __init__(self, python: str, *, start_s: float, folders: Sequence[Path]) -> None:
        self._where = python or sys.executable
        self._folders = folders
        self._memory: FrameMemory | None = None
        self._printed = PrintedLines()
        command = [*(shlex.split(python) if python else [sys.executable]), str(PROGRAM)]
        try:
            self._process = _starter.submit(_start, command).result()
        except OSError as error:
            raise MissingEnvironment(
                "the environment of the engine is not there",
                where=self._where,
                expected="a Python with the runtime of the engine",
                got=error.strerror or str(error),
                do="correct `python:` under `engines:` of the site profile, and check that this node sees that disk",
            ) from error
        self._printed.follow(_pipe(self._process.stderr))
        self._channel = Channel(_pipe(self._process.stdin).fileno(), _pipe(self._process.stdout).fileno())
        try:
            greeting = self._greeting(start_s)
        except BaseException:
            self.end()
            raise
        self.python, self.numpy = str(greeting["python"]), str(greeting.get("numpy", ""))

    @property
    def pid(self) -> int:
        """Return its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    @property
    def tail(self) -> str:
        """Return the end of what it printed."""
        return self._printed.tail

    def take_lines(self) -> list[str]:
        """Return the lines that it printed since the last call."""
        return self._printed.take()

    def ask(
        self, header: Mapping[str, Any], *, timeout_s: float, where: str, content: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        """Send a message and return the answer: its header, and its raw bytes.

        Parameters
        ----------
        header : mapping
            The message.
        timeout_s : float
            Longest time for all of it, s.
        where : str
            The engine, for errors.
        content : bytes
            Raw bytes of the message.

        Raises
        ------
        HostDied
            If it ended meanwhile.
        TaskTimedOut
            If it took too long; it has been ended.
        IblDaskError
            If it answered with an error.
        """
        try:
            self._channel.send(header, content, timeout_s=timeout_s)
            answer, raw = self._channel.receive(timeout_s=timeout_s)
        except ChannelClosed as error:
            raise HostDied(self._wait()) from error
        except NoAnswer as error:
            self._ask_where_it_hangs()
            self.end()
            raise TaskTimedOut(
                f"the engine did not answer ({header['do']})",
                where=where,
                expected=f"an answer within {timeout_s:,.0f} s",
                got=f"none; it was ended, and it printed: {self.tail or 'nothing'}",
                do="give it more time under `engines:` of the site profile (start_time_out, batch_time_out)",
            ) from error
        except BadAnswer as error:
            self.end()
            raise EngineFailed("the host answered nonsense", where=where, got=str(error)) from error
        if "error" in answer:
            raise answered_error(answer["error"], where, self.tail)
        return answer, raw

    def predict(
        self, engine: str, frames: NDArray[np.uint8], before: int, after: int, *, timeout_s: float, where: str
    ) -> NDArray[np.float32]:
        """Return the keypoints of frames, as of `Engine.predict`; see `ask` for errors."""
        header = {"do": "predict", "engine": engine, "shape": frames.shape, "before": before, "after": after}
        memory = self._memory_for(frames.nbytes, timeout_s, where)
        if memory is not None:
            memory.write(frames)
            answer, raw = self.ask(header, timeout_s=timeout_s, where=where)
        else:
            content = frames.tobytes()
            answer, raw = self.ask(header, timeout_s=timeout_s, where=where, content=content)
        shape = tuple(int(length) for length in answer["shape"])
        return np.frombuffer(raw, "<f4").reshape(shape).astype(np.float32)

    def _memory_for(self, n_bytes: int, timeout_s: float, where: str) -> FrameMemory | None:
        """Return memory for that many bytes; None where there is no room, so that frames go through the pipe."""
        if self._memory is not None and self._memory.size >= n_bytes:
            return self._memory
        self._memory = None  # its room may be needed
        memory = take_memory(n_bytes, self._folders) if n_bytes else None
        if memory is None:
            return None
        try:
            self.ask({"do": "map", "path": str(memory.path), "size": memory.size}, timeout_s=timeout_s, where=where)
        finally:
            memory.forget_name()
        self._memory = memory
        return memory

    def end(self) -> None:
        """End it, and all that it started."""
        with contextlib.suppress(OSError, ValueError):
            _pipe(self._process.stdin).close()  # it ends by itself, unless it hangs
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # the driver of a broken GPU may keep it for ever
            self._process.wait(KILL_S)
        self._printed.join(GRACE_S)
        _pipe(self._process.stdout).close()

    def _greeting(self, start_s: float) -> dict[str, Any]:  # JSON
        try:
            greeting, _ = self._channel.receive(timeout_s=start_s)
        except ChannelClosed as error:
            code = self._wait()
            raise start_error(code, self._where, self.tail) from error
        except BadAnswer as error:
            raise start_error(None, self._where, self.tail or str(error)) from error
        except NoAnswer as error:
            raise TaskTimedOut(
                "the environment of the engine does not start",
                where=self._where,
                expected=f"a greeting within {start_s:,.0f} s",
                got=f"none; it was ended, and it printed: {self.tail or 'nothing'}",
                do="try it by hand: PYTHON -c 'import numpy'; a slow disk needs a longer start_time_out",
            ) from error
        if "error" in greeting:
            raise answered_error(greeting["error"], self._where, self.tail)
        if greeting.get("protocol") != PROTOCOL:
            raise EngineFailed(
                "the host speaks another protocol",
                where=str(PROGRAM),
                expected=f"version {PROTOCOL}",
                got=str(greeting.get("protocol")),
                do="install this package again: its files are of two versions",
            )
        return greeting

    def _wait(self) -> int | None:
        """Return its exit status, once it closed its pipe; None if it still runs."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            code = None
        self.end()
        return code

    def _ask_where_it_hangs(self) -> None:
        if hasattr(signal, "SIGUSR1"):
            seen = self._printed.n_lines
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._process.pid, signal.SIGUSR1)
            self._printed.wait_for_more(seen, FIRST_WORD_S)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST_WORDS_S)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=_variables(command[0]),
        start_new_session=True,
    )


def _variables(python: str) -> dict[str, str]:
    """Return the variables for a Python of another environment, without those meant for this one."""
    unset = _SECRET if python == sys.executable else (*_SECRET, *_UNSET)
    variables = {name: value for name, value in os.environ.items() if name not in unset} | _KEPT_MEMORY
    found = shutil.which(python)
    if found is not None:
        variables["PATH"] = os.pathsep.join([str(Path(found).parent), variables.get("PATH", os.defpath)])
    return variables


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("a pipe was asked for")
    return pipe
