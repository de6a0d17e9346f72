"""Steps in a process of their own: a step that kills its process then costs no worker and no other step."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task_log import TaskLog
from ibl_dask.store.containment import contained
from ibl_dask.store.failures import failure_from
from ibl_dask.tasks.run_step import run_step
from ibl_dask.tasks.step_log import StepLog, label, log_error

LOOK_S = 0.1
"""Interval at which the process is watched, s."""
PIPE_S = 5.0
"""Longest wait for the rest of what it printed, once it ended, s: its pipe may be open elsewhere."""
LAST_WORDS_S = 5.0
"""Time that the process gets at its time-out to print where it was, s."""
_MOST_STACK_BYTES = 20_000
_BEGIN = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from ibl_dask.pipeline.isolation import main; main()"
)
"""Program of the process: it has the import path of the worker, and does not pass it on to its own children."""


@dataclass(frozen=True, slots=True)
class Death:
    """Result, instead of a record, of a step that killed its own process."""

    code: int
    """Exit code; negative for a signal."""
    peak_gb: float
    """Peak resident memory of the process, GB."""
    limit_gb: float | None = None
    """Limit for process and worker together, GB, if it was ended for exceeding that; else None."""
    worker: str = ""
    """Name of the worker that started it."""
    time_out_s: float = 0.0
    """Time-out for which it was ended, s; 0 if it ended otherwise."""
    stack: str = ""
    """Where its threads were at the time-out."""

    @property
    def is_lack_of_memory(self) -> bool:
        """Return True if the system may have ended it for lack of memory, which other processes may have caused."""
        return self.limit_gb is None and not self.time_out_s and self.code == -signal.SIGKILL

    def __str__(self) -> str:
        """Return how the process ended, and its memory."""
        if self.time_out_s:
            return f"ended after {self.time_out_s:,.0f} s, at most {self.peak_gb:.2f} GB of memory"
        if self.limit_gb is not None:
            used = f"{self.peak_gb:.2f} GB of memory beside its worker"
            return f"ended for using {used}, where both may have {self.limit_gb:.2f} GB"
        how = f"exit code {self.code}" if self.code >= 0 else f"signal {_name(-self.code)} ({-self.code})"
        return f"{how}, at most {self.peak_gb:.2f} GB of memory"

    @property
    def advice(self) -> str:
        """Return the advice for the user."""
        if self.limit_gb is not None:
            return "give each worker more memory (`memory` of the pool, `memory_gb`)"
        if self.code == -signal.SIGKILL:
            return "the system sends SIGKILL where memory is short: take fewer workers, or a machine with more memory"
        if self.code < 0:
            return (
                "a library crashed: try the file with other software, and report it to the maintainers of this package"
            )
        return "the code of the step, or of a library, ended the process (os._exit): look at what it printed"


def load_and_run_step(
    step: bytes, key: StepKey, root: Path, records: Sequence[StepRecord], log: TaskLog | None = None
) -> StepRecord:
    """Run a pickled step; one that cannot be unpickled here has failed.

    Parameters
    ----------
    step : bytes
        The step. Unpickling imports the module of its function, which may be any package.
    key : StepKey
        Its key.
    root : Path
        See `run_step`.
    records
        Records of the steps that it needs.
    log : TaskLog, optional
        Its log, for the error of one that cannot be unpickled.
    """
    try:
        with contained(f"{key[0]} of {key[1]}, while its module is imported"):
            found: Step = pickle.loads(step)
    except Exception as error:  # noqa: BLE001  # whatever importing it raises is an error of this step
        log_error(log, label(key[0], key[3]), error, "its module cannot be imported")
        return StepRecord(key, "failed", failure=failure_from(error))
    return run_step(found, records, root)


@contextlib.contextmanager
def ended_after(time_out_s: float) -> Iterator[None]:
    """End this process, wherever it hangs, if the block takes too long; print where its threads were.

    A thread of the interpreter that needs no lock of it watches the time, so that code in C ends as well. Processes
    that the block started end with this one.

    Parameters
    ----------
    time_out_s : float
        Time-out, s; 0 for none.
    """
    if not time_out_s:
        yield
        return
    faulthandler.dump_traceback_later(time_out_s, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def run_in_own_process(
    step: bytes,
    key: StepKey,
    root: Path,
    records: Sequence[StepRecord],
    limit_bytes: int | None = None,
    worker: str = "",
    time_out_s: float = 0.0,
    log: TaskLog | None = None,
) -> StepRecord | Death:
    """Run a step in a process of its own; all that it prints goes to its log, also what code in C prints.

    The system ends this process before others where memory is short; it also ends with the calling process.

    Parameters
    ----------
    step, key, root, records
        See `load_and_run_step`.
    limit_bytes : int, optional
        Limit of memory for it and the calling process together; it is ended if it takes more.
    worker : str
        Name of the worker that calls.
    time_out_s : float
        Time after which it is ended, with all processes that it started, s; 0 for none.
    log : TaskLog, optional
        Its log; without one it prints where the worker does.
    """
    step_log = StepLog(log, label(key[0], key[3]))
    with tempfile.TemporaryFile() as stack, contextlib.closing(step_log):
        process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if log is None else subprocess.PIPE,
            start_new_session=True,
            pass_fds=(stack.fileno(),),
        )
        printed = None if process.stderr is None else step_log.read_from(process.stderr)
        given, answers = process.stdin, process.stdout
        if given is None or answers is None:
            raise AssertionError("pipes were asked for")
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(answers.read()), daemon=True)
        reader.start()
        # The pipe stays open: its end means that this process is gone. A process that died already reads nothing.
        with contextlib.suppress(BrokenPipeError):
            request = (step, key, root, list(records), time_out_s, stack.fileno(), log)
            given.write(pickle.dumps(sys.path) + pickle.dumps(request))
            given.flush()
        try:
            death = _watch(process, limit_bytes, worker, time_out_s)
        finally:
            # Its own children end with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(BrokenPipeError):
                given.close()
        reader.join(LOOK_S)
        answers.close()
        if printed is not None and process.stderr is not None:
            printed.join(PIPE_S)
            if not printed.is_alive():
                process.stderr.close()
        try:
            record: StepRecord = pickle.loads(b"".join(received))
        except (EOFError, pickle.UnpicklingError):
            stack.seek(0)
            death = replace(death, stack=stack.read(_MOST_STACK_BYTES).decode(errors="replace"))
            step_log.flush()
            step_log.write("ERROR", f"its process ended: {death}\n{death.stack}")
            return death
        return record


def _watch(process: subprocess.Popen[bytes], limit_bytes: int | None, worker: str, time_out_s: float) -> Death:
    """Wait for the end of a process, and return how it ended; end it if it takes too much memory or time."""
    clock = time.monotonic()
    ended_for_s = 0.0
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
        # The process prints its stack at the time-out, and ends itself unless it is beyond that.
        if time_out_s and not ended_for_s and time.monotonic() - clock > time_out_s:
            ended_for_s = time_out_s
        if ended_for_s and time.monotonic() - clock > time_out_s + LAST_WORDS_S:
            process.kill()
        time.sleep(LOOK_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    # The count of the system starts with the memory of the forking process.
    counted = usage.ru_maxrss * 1024
    peak = max(peak, counted if counted > own else 0)
    if time_out_s and process.returncode == 1 and time.monotonic() - clock > time_out_s:
        ended_for_s = time_out_s
    return Death(process.returncode, peak / 1e9, limit_gb, worker, ended_for_s)


def _memory(pid: int, field: str) -> int:
    """Return a field of `/proc/<pid>/status`, bytes; 0 where there is none."""
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
    """Run the step from standard input, and write its record to the original standard output."""
    given = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of the step must not mix with the answer
    faulthandler.enable(2)  # a crash of a library leaves its traceback in the log
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    step, key, root, records, time_out_s, stack, log = pickle.load(given)
    if time_out_s:
        faulthandler.dump_traceback_later(time_out_s, exit=True, file=stack)
    threading.Thread(target=_end_with, args=(given,), daemon=True).start()
    pickle.dump(load_and_run_step(step, key, root, records, log), answers)
    answers.flush()
    os._exit(0)  # errors of the interpreter's shutdown do not concern the step


def _end_with(given: IO[bytes]) -> None:
    """End this process and its children once the other end of a pipe is closed."""
    given.read()
    os.killpg(0, signal.SIGKILL)
