"""A step in a process of its own: one that kills its process costs no worker and no other step then."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ibl_dask.model.step import Key, Step, StepRecord
from ibl_dask.store.containment import contained
from ibl_dask.store.failures import failure_from
from ibl_dask.tasks.run_step import run_step

LOOK_S = 0.1
"""How often the process is looked after, s."""
_BEGIN = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from ibl_dask.pipeline.isolation import main; main()"
)
"""The interpreter finds what the worker finds, and hands on none of that to what the step itself starts."""


@dataclass(frozen=True, slots=True)
class Death:
    """What a step returns instead of a record where it killed its own process."""

    code: int
    """Exit code; negative for a signal."""
    peak_gb: float
    """Most memory that the process had, GB."""
    limit_gb: float | None = None
    """Memory that it may have together with its worker, GB, where it was ended for having more."""
    worker: str = ""
    """Name of the worker that started it."""

    @property
    def is_lack_of_memory(self) -> bool:
        """Return whether others on the machine may be to blame: the system ends processes where memory is short."""
        return self.limit_gb is None and self.code == -signal.SIGKILL

    def __str__(self) -> str:
        """Say how it ended."""
        if self.limit_gb is not None:
            used = f"{self.peak_gb:.2f} GB of memory beside its worker"
            return f"ended for using {used}, where both may have {self.limit_gb:.2f} GB"
        how = f"exit code {self.code}" if self.code >= 0 else f"signal {_name(-self.code)} ({-self.code})"
        return f"{how}, at most {self.peak_gb:.2f} GB of memory"

    @property
    def advice(self) -> str:
        """Return what people can do."""
        if self.limit_gb is not None:
            return "give each worker more memory (`memory` of the pool, `memory_gb`)"
        if self.code == -signal.SIGKILL:
            return "the system sends SIGKILL where memory is short: take fewer workers, or a machine with more memory"
        if self.code < 0:
            return "a library crashed: try the file with other software, and tell those who maintain this package"
        return "the code of the step, or of a library, ended the process (os._exit): look at what it printed"


def loaded_and_run(step: bytes, key: Key, root: Path, records: Sequence[StepRecord]) -> StepRecord:
    """Run a step that was pickled; one that cannot be read here has failed.

    Parameters
    ----------
    step : bytes
        The step. Reading it imports the module of its function, which may be anybody's.
    key : Key
        Its key.
    root : Path
        See `run_step`.
    records
        Records of the steps that it needs.
    """
    try:
        with contained(f"{key[0]} of {key[1]}, while its module is imported"):
            found: Step = pickle.loads(step)
    except Exception as error:  # noqa: BLE001  # whatever importing it raises is an error of this step
        return StepRecord(key, "failed", failure=failure_from(error))
    return run_step(found, records, root)


def run_apart(
    step: bytes, key: Key, root: Path, records: Sequence[StepRecord], limit_bytes: int | None = None, worker: str = ""
) -> StepRecord | Death:
    """Run a step in a process of its own.

    It is the first that the system ends where memory is short, and ends with this one.

    Parameters
    ----------
    step, key, root, records
        See `loaded_and_run`.
    limit_bytes : int, optional
        Memory that it may have together with this process; one that takes more is ended.
    worker : str
        Name of the worker that this process is.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    given, answers = process.stdin, process.stdout
    if given is None or answers is None:
        raise AssertionError("pipes were asked for")
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(answers.read()), daemon=True)
    reader.start()
    # What is given stays open: its end says that this process is gone. One that died already reads nothing.
    with contextlib.suppress(BrokenPipeError):
        given.write(pickle.dumps(sys.path) + pickle.dumps((step, key, root, list(records))))
        given.flush()
    try:
        death = _watch(process, limit_bytes, worker)
    finally:
        # Whatever it started itself goes with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            given.close()
    reader.join(LOOK_S)
    answers.close()
    try:
        record: StepRecord = pickle.loads(b"".join(said))
    except (EOFError, pickle.UnpicklingError):
        return death
    return record


def _watch(process: subprocess.Popen[bytes], limit_bytes: int | None, worker: str) -> Death:
    """Wait for the end of a process, and say how it ended; end it where it takes too much memory."""
    own = _memory(os.getpid(), "VmHWM")
    peak = 0
    limit_gb: float | None = None
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, _memory(process.pid, "VmHWM"))
        used = _memory(process.pid, "VmRSS") + _memory(os.getpid(), "VmRSS")
        if limit_bytes is not None and limit_gb is None and used > limit_bytes:
            limit_gb = limit_bytes / 1e9
            process.kill()
        time.sleep(LOOK_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    # What the system counted begins with the memory of this process, at the moment in which the other one began.
    counted = usage.ru_maxrss * 1024
    peak = max(peak, counted if counted > own else 0)
    return Death(process.returncode, peak / 1e9, limit_gb, worker)


def _memory(pid: int, field: str) -> int:
    """Return a number of bytes from what Linux says of a process; 0 where it says nothing."""
    with contextlib.suppress(OSError), Path(f"/proc/{pid}/status").open() as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
    return 0


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def main() -> None:
    """Run the step that comes on standard input, and write its record where standard output was."""
    given = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the step prints must not mix with the answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    step, key, root, records = pickle.load(given)
    threading.Thread(target=_end_with, args=(given,), daemon=True).start()
    pickle.dump(loaded_and_run(step, key, root, records), answers)
    answers.flush()
    os._exit(0)  # what happens while an interpreter ends is no matter of the step


def _end_with(given: IO[Any]) -> None:
    """End this process, and what it started, once nobody holds the other end of a pipe."""
    given.read()
    os.killpg(0, signal.SIGKILL)
