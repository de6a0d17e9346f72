"""Running a program that is not ours: in a process group of its own, which ends when it should."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ibl_dask.errors import SessionLocked, TaskTimedOut
from ibl_dask.tasks.step_log import StepLog

GRACE_S = 10.0
"""Between the request to end and the end, s."""
LOOK_S = 0.2
"""How often a program is looked after, s."""
LIFELINE = "IBL_DASK_LIFELINE"
"""Environment variable with the number of a pipe that is open for as long as this process is there."""


def run_child(
    command: Sequence[str],
    *,
    folder: Path,
    log: StepLog,
    variables: Mapping[str, str],
    timeout_s: float,
    is_cancelled: Callable[[], bool] = lambda: False,
    mask: Callable[[str, bool], str] | None = None,
) -> int:
    """Run a program to its end; its output goes to a log as it comes.

    It gets the reading end of a pipe, which closes when this process ends; see `LIFELINE`.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; no shell reads them.
    folder : Path
        Where it starts.
    log : StepLog
        Log that its output goes to, errors as well.
    variables : mapping
        Its environment variables.
    timeout_s : float
        How long it may take, s.
    is_cancelled : callable
        Polled; the program is ended once it returns True.
    mask : callable, optional
        Takes secrets from its output; see `StepLog.read_from`.

    Returns
    -------
    int
        Its exit status; negative for a signal.

    Raises
    ------
    TaskTimedOut
        If it took too long.
    SessionLocked
        If it was cancelled.
    """
    clock = time.monotonic()
    with _lifeline() as pipe:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**variables, LIFELINE: str(pipe)},
            pass_fds=(pipe,),
            start_new_session=True,
        )
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        reader = log.read_from(process.stdout, mask)
        try:
            while process.poll() is None:
                if time.monotonic() - clock > timeout_s:
                    raise TaskTimedOut(
                        "a task in another environment took too long",
                        where=command[0],
                        expected=f"an end within {timeout_s:,.0f} s",
                        got=f"a process that still ran; it was ended; the end of its log: {log.tail}",
                        do=f"{log.advice}, for how far it came; give the task more time (time_out_secs)",
                    )
                if is_cancelled():
                    raise SessionLocked(
                        "a task in another environment was ended, because the run was",
                        where=command[0],
                        do="run again",
                    )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
        finally:
            _end(process)
            # A program that left the group may keep the pipe open.
            reader.join(GRACE_S)
            if not reader.is_alive():
                process.stdout.close()
    return process.returncode


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """Yield the reading end of a pipe without a writer."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started: first ask, then insist."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
