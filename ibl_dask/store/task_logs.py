"""Log files of tasks: what a line looks like, and writers that append whole records.

A task has a folder, and in it each attempt a file per host, `logs/<task>/003-node12-5f2a9c.log`. The processes of a
host append to one file with `O_APPEND`, a record per write: the kernel puts each behind the last, whole, on network
disks as well. Hosts do not share a file: NFS clients work out the end of a file themselves, and would write over each
other. The first digits of the boot identifier tell clones of a machine with one name apart. `task_log_reader` merges
the files of an attempt by time.

The file takes the first half of the limit. What follows goes to two files of a quarter each, in turn, so that
beginning and end are kept on disk, also where the process is killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from ibl_dask.model.task_log import TaskLog
from ibl_dask.store.file_lock import locked
from ibl_dask.store.processes import this_process

NO_STEP = "-"
"""Stands in a line for the step, where it concerns the whole task."""
INDENT = "    "
"""Start of each further line of a record."""
RETRY_S = 5.0
"""Pause after a write that failed, s: what is logged meanwhile is lost."""
MOST_CHARACTERS = 100_000
"""Longest record; of a longer one the middle is left out."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_FILE = re.compile(r"(?P<attempt>\d+)-(?P<place>[\w-]+)(?:\+(?P<part>[12]))?\.log")


def format_record(log: TaskLog, level: str, step: str, text: str, at_s: float | None = None) -> str:
    """Return a record as lines: time (UTC), level, host:pid, step, attempt, text; further lines are indented.

    Parameters
    ----------
    log : TaskLog
        The log.
    level : str
        Level of `logging`, or STDOUT or STDERR.
    step : str
        Name and chunk of the step.
    text : str
        The text, which may have several lines.
    at_s : float, optional
        Unix time; now by default.
    """
    lines = _plain(text).split("\n")
    return f"{line_start(log, level, step, at_s)}{f'{chr(10)}{INDENT}'.join(lines)}\n"


def line_start(log: TaskLog, level: str, step: str, at_s: float | None = None) -> str:
    """Return the start of a record, up to its text; see `format_record`."""
    when = datetime.fromtimestamp(time.time() if at_s is None else at_s, UTC)
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"
    return f"{stamp} {level:<7} {socket.gethostname()}:{os.getpid()} {step} {log.number} "


def _plain(text: str) -> str:
    """Return a text without colours and control characters, of bounded length."""
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half:,} characters are left out]\n{text[-half:]}"
    text = text.rstrip("\n")
    if _CONTROL.search(text) is None:
        return text
    text = _COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def file_parts(path: Path) -> tuple[int, str, int] | None:
    """Return attempt, host and part (0: beginning, 2 and then 1: end) of a log file; None for any other file."""
    match = _FILE.fullmatch(path.name)
    return None if match is None else (int(match["attempt"]), match["place"], int(match["part"] or 0))


def next_attempt(folder: Path) -> int:
    """Return the number of the next attempt at a task, from 1; folders that cannot be read count as empty.

    Parameters
    ----------
    folder : Path
        Folder of the task's logs.
    """
    try:
        found = [parts[0] for path in folder.iterdir() if (parts := file_parts(path)) is not None]
    except OSError:
        return 1
    return max(found, default=0) + 1


@lru_cache(maxsize=1)
def _place() -> str:
    """Return the part of a file name that differs between hosts, without dots."""
    process = this_process()
    host = re.sub(r"[^A-Za-z0-9_-]", "-", process.host)[:60] or "host"
    return f"{host}-{process.boot[:6] or 0}"


class LogWriter:
    """Appends records to the log of a task from this process. It never raises: a log must not fail a step.

    The file appears with the first record. Threads may share a writer.

    Parameters
    ----------
    log : TaskLog
        The log.
    """

    def __init__(self, log: TaskLog) -> None:
        self.log = log
        name = f"{log.attempt:03d}-{_place()}"
        self.path = log.folder / f"{name}.log"
        self._newer, self._older = log.folder / f"{name}+1.log", log.folder / f"{name}+2.log"
        self._lock = threading.Lock()
        self._file = -1
        self._is_end = False
        self._is_torn = False
        self._is_closed = False
        self._retry_s = 0.0
        self._made_s = time.time()

    def append(self, records: str) -> bool:
        """Write whole records at once; return False if they could not be written."""
        data = records.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._is_closed or time.monotonic() < self._retry_s:
                return False
            try:
                self._make_room(len(data))
                data = b"\n" * self._is_torn + data
                self._is_torn = os.write(self._file, data) < len(data)
            except OSError:  # a full or read-only disk, no permission, or a server that is gone
                self._retry_s = time.monotonic() + RETRY_S
                self._release()
                return False
            return True

    def close(self) -> None:
        """Close the file; what is written later is dropped."""
        with self._lock:
            self._is_closed = True
            self._release()

    def _release(self) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = -1

    def _make_room(self, n_bytes: int) -> None:
        """Open the file that the next bytes belong into."""
        most = self.log.most_bytes
        if self._file < 0:
            self._open(self.path, lambda: _title(self.log, self._made_s))
            self._is_end = False
        if not self._is_end and self._size() + n_bytes > most // 2:
            self._open(self._newer, lambda: _note(self.log))
            self._is_end = True
        if self._is_end and self._size() + n_bytes > most // 4:
            # Another process may have done it already. If both do it at once, a quarter in the middle is lost.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file), self._newer.stat()):
                    self._newer.replace(self._older)
            self._open(self._newer, lambda: _note(self.log))

    def _size(self) -> int:
        return os.fstat(self._file).st_size

    def _open(self, path: Path, first: Callable[[], str]) -> None:
        """Open a file for appending; the process that finds it empty writes its first record."""
        self._release()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o666)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, flags, 0o666)
        if self._size() == 0:
            record = first().encode("utf-8", "backslashreplace")  # before the lock, which others wait a moment for
            with locked(self._file):
                if self._size() == 0:
                    os.write(self._file, record)


def _title(log: TaskLog, at_s: float) -> str:
    by = f", run {log.run}" if log.run else ""
    kind = f" ({log.executable})" if log.executable else ""
    text = f"attempt {log.attempt} of {log.task}{kind}{by}, ibl_dask {version('ibl_dask')}, on {socket.gethostname()}"
    return format_record(log, "INFO", NO_STEP, text, at_s)


def _note(log: TaskLog) -> str:
    text = f"longer than {log.most_bytes // 2:,} bytes: the beginning and the end of this log are kept"
    return format_record(log, "INFO", NO_STEP, text)
