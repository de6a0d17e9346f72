"""The log of a step while it runs, and the first and last records of a task.

What code of this process says gets there through `log_capture`; what another process prints, through a pipe that is
read here (`StepLog.read_from`).
"""

from __future__ import annotations

import codecs
import contextlib
import os
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from ibl_dask.model.failure import Failure
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task_log import TaskLog
from ibl_dask.store.task_log_reader import ENDED, find_attempts, read_attempt, remove_old_attempts
from ibl_dask.store.task_logs import NO_STEP, LogWriter, format_record, line_start, next_attempt
from ibl_dask.store.workspace import Workspace

TAIL_LINES = 12
"""Last lines of a step that are kept for the message of its error."""
_LONGEST_LINE = 8_192
"""Characters without an end of line after which a line is cut."""
_BLOCK_BYTES = 65_536
"""Bytes that are read from a pipe, and written to a log, at once."""


class StepLog:
    """Log of one step in this process; without a `TaskLog` it keeps the last lines alone.

    Threads may share it: each record is written whole.

    Parameters
    ----------
    log : TaskLog or None
        Where its records go.
    step : str
        Name and chunk of the step, for the lines.
    """

    def __init__(self, log: TaskLog | None = None, step: str = NO_STEP) -> None:
        self.log = log
        self.step = step.replace(" ", "_") or NO_STEP
        self.is_written = False
        self._writer = None if log is None else LogWriter(log)
        self._lock = threading.Lock()
        self._first = ""
        self._parts = {"STDOUT": _Lines(), "STDERR": _Lines()}
        self._last: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def path(self) -> Path | None:
        """Return the file that it begins in; None without one."""
        return None if self._writer is None or not self.is_written else self._writer.path

    @property
    def advice(self) -> str:
        """Return the remedy of an error that the log explains."""
        return "read what it printed" if self.log is None else f"read its log: {self.log.command}"

    @property
    def tail(self) -> str:
        """Return its last lines as one; `nothing` without any."""
        lines = (line.strip() for line in tuple(self._last))
        return " / ".join(line for line in lines if line) or "nothing"

    def begin(self, text: str) -> None:
        """Hold the first record back until another follows: a step whose results are kept leaves no line."""
        if self.log is not None:
            self._first = format_record(self.log, "INFO", self.step, text)

    def write(self, level: str, text: str, at_s: float | None = None) -> bool:
        """Write a record; return False if that failed, or there is no log. See `format_record`."""
        self._last.extend(line[:_LONGEST_LINE] for line in text.rstrip("\n").split("\n")[-TAIL_LINES:])
        return self.log is not None and self._append(format_record(self.log, level, self.step, text, at_s))

    def feed(self, stream: str, text: str) -> list[str]:
        """Take text that is printed, in pieces of any size; each line becomes a record.

        A carriage return takes back what stands in the line, as in a terminal: of a progress bar the last state stays.

        Parameters
        ----------
        stream : {"STDOUT", "STDERR"}
            Where it is printed.
        text : str
            The text.

        Returns
        -------
        list of str
            Lines that could not be written.
        """
        with self._lock:
            lines = self._parts[stream].feed(text)
        return self._write_lines(stream, lines)

    def _write_lines(self, stream: str, lines: Sequence[str]) -> list[str]:
        self._last.extend(lines[-TAIL_LINES:])
        if self.log is None or not lines:
            return []
        # Every record has the same start; a block of them is written at once.
        start = line_start(self.log, stream, self.step)
        most = min(_BLOCK_BYTES, self.log.most_bytes // 8)
        block: list[str] = []
        lost: list[str] = []
        first = size = 0
        for n, line in enumerate(lines):
            record = f"{start}{line}\n" if line.isprintable() else format_record(self.log, stream, self.step, line)
            block.append(record)
            size += len(record)
            if size > most or n == len(lines) - 1:
                if not self._append("".join(block)):
                    lost.extend(lines[first : n + 1])
                block, size, first = [], 0, n + 1
        return lost

    def _append(self, records: str) -> bool:
        if self._writer is None:
            return False
        with self._lock:
            first, self._first = self._first, ""
        is_good = self._writer.append(first + records)
        self.is_written |= is_good
        return is_good

    def read_from(self, pipe: IO[bytes], mask: Callable[[str, bool], str] | None = None) -> threading.Thread:
        """Take what another process prints, until the pipe ends; return the thread that reads.

        What cannot be written to the log goes to the standard error of this process.

        Parameters
        ----------
        pipe : binary stream
            The pipe.
        mask : callable, optional
            Called with each piece of text, and whether it is the last one; returns the text without secrets.
        """
        thread = threading.Thread(target=self._read, args=(pipe, mask), name="log of a step", daemon=True)
        thread.start()
        return thread

    def _read(self, pipe: IO[bytes], mask: Callable[[str, bool], str] | None) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        with contextlib.suppress(OSError, ValueError):  # the pipe was closed here
            while block := os.read(pipe.fileno(), _BLOCK_BYTES):
                text = decoder.decode(block)
                self._take(text if mask is None else mask(text, False))
        if mask is not None:
            self._take(mask("", True))

    def _take(self, text: str) -> None:
        if lost := self.feed("STDERR", text):
            with contextlib.suppress(OSError):
                os.write(2, "".join(f"{line}\n" for line in lost).encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Write what was printed without an end of line."""
        for stream, part in self._parts.items():
            with self._lock:
                rest = part.take()
            if rest:
                self._write_lines(stream, [rest])

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.flush()
        if self._writer is not None:
            self._writer.close()


class _Lines:
    """Assembles lines from pieces of text."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[str]:
        """Return the lines that are complete."""
        *lines, rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        # A carriage return at the end may be the first half of an end of line.
        body = rest.rstrip("\r")
        self._rest = _last_state(body) + ("\r" if body != rest else "")
        lines = [_last_state(line.rstrip("\r")) for line in lines]
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self.take())
        return lines

    def take(self) -> str:
        """Return the line that has no end yet, and forget it."""
        rest, self._rest = self._rest.rstrip("\r"), ""
        return rest


def _last_state(line: str) -> str:
    return line.rpartition("\r")[2]


def label(name: str, chunk: int, *, is_split: bool = False) -> str:
    """Return the name of a step in a line; that of a chunk has its number behind it."""
    return f"{name}/{chunk}" if is_split or chunk else name


def start_log(
    workspace: Workspace, task: str, *, run: str = "", executable: str = "", is_echoed: bool = False
) -> TaskLog | None:
    """Return the log of a new attempt at a task; None where its folder does not belong to the session.

    Nothing is written yet: an attempt whose steps leave no line takes no number.

    Parameters
    ----------
    workspace : Workspace
        Folders of the session.
    task : str
        Name of the task within the session.
    run : str
        Name of the run.
    executable : str
        Dotted path of its class.
    is_echoed : bool
        See `TaskLog`.
    """
    folder = workspace.log_folder(task)
    if not workspace.is_own(folder):
        return None
    return TaskLog(folder, task, next_attempt(folder), run, executable, is_echoed=is_echoed)


def with_log(steps: Iterable[Step], log: TaskLog | None) -> list[Step]:
    """Return steps that log there; those that have a log already keep it."""
    return [step if log is None or step.task_log is not None else replace(step, task_log=log) for step in steps]


def with_trial(step: Step, number: int) -> Step:
    """Return a step whose lines bear the number of its trial within the attempt at the task."""
    if step.task_log is None or number == step.task_log.trial:
        return step
    return replace(step, task_log=replace(step.task_log, trial=number))


def log_error(log: TaskLog | None, step: str, error: BaseException, text: str) -> None:
    """Write an error with its traceback, outside of a running step."""
    if log is not None:
        _write(log, step, "ERROR", f"{text}: {error}\n{format_traceback(error)}")


def log_end(
    log: TaskLog | None, status: str, records: Mapping[StepKey, StepRecord], failures: Sequence[Failure]
) -> None:
    """Write the last record of a task, unless nothing was done, and remove the logs of attempts long ago.

    Parameters
    ----------
    log : TaskLog or None
        Its log.
    status : str
        Its status.
    records : mapping of StepKey to StepRecord
        Records of its steps.
    failures : sequence of Failure
        Its errors.
    """
    n = Counter(record.status for record in records.values())
    if log is None or not (n.keys() - {"kept"} or (failures and status == "Errored")):
        return
    steps = ", ".join(f"{count} {status}" for status, count in sorted(n.items())) or "none"
    text = "\n".join([f"{ENDED}{status}; steps: {steps}", *(failure.message for failure in failures)])
    _write(log, NO_STEP, "ERROR" if status == "Errored" else "INFO", text)
    if log.attempt > 1:
        remove_old_attempts(log.folder)


def read_text_of(log: TaskLog) -> str:
    """Return the records of an attempt as one text; empty where there are none, or they cannot be read."""
    with contextlib.suppress(OSError):
        attempts = (attempt for attempt in find_attempts(log.folder) if attempt.number == log.attempt)
        return "".join(record for attempt in attempts for record in read_attempt(attempt))
    return ""


def _write(log: TaskLog, step: str, level: str, text: str) -> None:
    writer = LogWriter(log)
    writer.append(format_record(log, level, step, text, time.time()))
    writer.close()


def format_traceback(error: BaseException) -> str:
    """Return the traceback of an error, those of its causes included."""
    return "".join(traceback.format_exception(error)).rstrip("\n")
