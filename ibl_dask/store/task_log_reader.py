"""Reading the logs of tasks: attempts, records of several hosts merged by time, and what is too old to keep."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.store.task_logs import file_parts

KEPT_ATTEMPTS = 10
"""Attempts at a task whose logs are kept."""
ENDED = "ended: "
"""Start of the text of the last record of a task, before its status."""
_STAMP_LENGTH = len("2026-05-01T10:11:12.345Z")
_RECORD = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>\S+) +(?P<worker>\S+) (?P<step>\S+) "
    r"#(?P<attempt>\d+)(\.\d+)? (?P<text>.*)"
)
_TITLE = re.compile(r"attempt \d+ of (?P<task>.+?)(?: \((?P<executable>[^()]*)\))?(?:, run .*)?, ibl_dask .*, on .*")
_END_BYTES = 16_384
"""Bytes at the end of a file that are searched for its last records."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Logs of one attempt at a task."""

    number: int
    """Its number, from 1."""
    hosts: tuple[tuple[Path, ...], ...]
    """Files of each host, in the order of their content."""
    n_bytes: int
    """Size of all files, bytes."""
    changed_s: float
    """Unix time of the last write."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """End of an attempt."""

    time: str = ""
    """Time of the last record, UTC; empty without one."""
    text: str = ""
    """First line of its text."""
    status: str = ""
    """Status with which the task ended; empty where it runs, or was killed."""


def find_attempts(folder: Path) -> list[Attempt]:
    """Return the attempts at a task, oldest first.

    Parameters
    ----------
    folder : Path
        Folder of the task's logs; without one there are no attempts.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    files: dict[int, dict[str, list[tuple[int, Path]]]] = defaultdict(lambda: defaultdict(list))
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            parts = file_parts(path)
            if parts is not None:
                number, place, part = parts
                files[number][place].append(((0, 2, 1)[part], path))  # part 2 is older than part 1
    return [_attempt(number, found.values()) for number, found in sorted(files.items())]


def _attempt(number: int, hosts: Iterable[list[tuple[int, Path]]]) -> Attempt:
    ordered = tuple(tuple(path for _, path in sorted(files)) for files in hosts)
    n_bytes, changed_s = 0, 0.0
    for path in (path for files in ordered for path in files):
        with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
            found = path.stat()
            n_bytes, changed_s = n_bytes + found.st_size, max(changed_s, found.st_mtime)
    return Attempt(number, ordered, n_bytes, changed_s)


def find_logs(folder: Path) -> dict[str, list[Attempt]]:
    """Return the attempts at each task of a session that has logs, by task.

    Parameters
    ----------
    folder : Path
        Folder of all logs of the session, `ibl_dask/logs`.
    """
    found: dict[str, list[Attempt]] = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for below in sorted(path for path in folder.iterdir() if path.is_dir()):
            attempts = find_attempts(below)
            if attempts:
                found[title_of(attempts[-1])[0] or below.name] = attempts
    return found


def title_of(attempt: Attempt) -> tuple[str, str]:
    """Return name and class of the task, from the first record of an attempt; empty where that is missing."""
    for files in attempt.hosts:
        for record in _records(files[:1]):
            match = _RECORD.match(record)
            title = None if match is None else _TITLE.match(match["text"])
            if title is not None:
                return title["task"], (title["executable"] or "").rpartition(".")[2]
            break
    return "", ""


def read_attempt(attempt: Attempt) -> Iterator[str]:
    """Yield the records of an attempt by time, each with the line feed at its end."""
    yield from heapq.merge(*(_records(files) for files in attempt.hosts), key=lambda record: record[:_STAMP_LENGTH])


def _records(files: Sequence[Path]) -> Iterator[str]:
    """Yield the records of one host."""
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            text = path.open(encoding="utf-8", errors="replace", newline="\n")
            with text:
                yield from _split(text)


def _split(lines: Iterable[str]) -> Iterator[str]:
    """Yield records, each with a line feed at its end; a line that starts none belongs to the record before."""
    record: list[str] = []
    for line in lines:
        if record and _RECORD.match(line):
            yield "".join(record)
            record = []
        record.append(line if line.endswith("\n") else line + "\n")
    if record:
        yield "".join(record)


class Reading:
    """Place up to which the logs of a task were read, for a reader that follows them.

    Files are known by number and first line: they keep both when they are renamed, and numbers are given out again.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[int, bytes], int] = {}

    def more(self, attempt: Attempt) -> list[str]:
        """Return the records that were added to an attempt since the last call, by time."""
        found: list[str] = []
        for path in (path for files in attempt.hosts for path in files):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                key = (os.fstat(file.fileno()).st_ino, file.readline())
                file.seek(self._read.get(key, 0))
                text, end, _ = file.read().rpartition(b"\n")
                self._read[key] = self._read.get(key, 0) + len(text) + len(end)
                if end:
                    found.extend(_split(line + "\n" for line in text.decode("utf-8", "replace").split("\n")))
        return sorted(found, key=lambda record: record[:_STAMP_LENGTH])


def last_words(attempt: Attempt) -> LastWords:
    """Return the end of an attempt, without reading the whole."""
    last, status, ended = ("", ""), "", ""
    for path in (path for files in attempt.hosts for path in files):
        for line in _end(path).split("\n"):
            match = _RECORD.match(line)
            if match is None:
                continue
            last = max(last, (match["time"], match["text"]), key=lambda found: found[0])
            if match["text"].startswith(ENDED) and match["time"] >= ended:
                status, ended = match["text"].removeprefix(ENDED).split(";")[0], match["time"]
    return LastWords(*last, status)


def _end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def remove_old_attempts(folder: Path, kept: int = KEPT_ATTEMPTS) -> None:
    """Remove the logs of all but the latest attempts at a task; what cannot be removed stays.

    Of the older ones the longest is kept: many a run finds nearly all done, and the log of the work is an earlier one.

    Parameters
    ----------
    folder : Path
        Folder of the task's logs.
    kept : int
        Number of attempts to keep.
    """
    with contextlib.suppress(OSError):
        old = find_attempts(folder)[:-kept]
        old.sort(key=lambda attempt: attempt.n_bytes)
        for path in (path for attempt in old[:-1] for files in attempt.hosts for path in files):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
