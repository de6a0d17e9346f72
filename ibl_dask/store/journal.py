"""The run journal: one JSON object a line, appended by the driver alone.

A line is on disk before the driver goes on. A driver that is killed while writing leaves a torn last line, which
reading drops.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ibl_dask.store.atomic import make_folder
from ibl_dask.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from ibl_dask.errors import IblDaskError

JOURNAL_VERSION = 1


class Journal:
    """Append events to `events-<run>.jsonl`.

    A disk that takes no more lines stops no run: they are kept, tried again with the next event, and `failure` says so.
    """

    def __init__(self, folder: Path, run: str) -> None:
        make_folder(folder)
        self.path = folder / f"events-{run}.jsonl"
        self.failure: IblDaskError | None = None
        """Why the lines that are not on disk yet could not be written; None where all are."""
        self._unwritten = b""
        try:
            self._file = self.path.open("ab+", buffering=0)
        except OSError as error:
            raise (explained(error, self.path) or error) from error
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._unwritten = b"\n"  # a torn line must not swallow the next one

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event."""
        self._unwritten += json.dumps({"v": JOURNAL_VERSION, **event}, separators=(",", ":")).encode() + b"\n"
        self._write()

    def _write(self) -> None:
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self.failure = explained(error, self.path, len(self._unwritten))
            if self.failure is None:
                raise
        else:
            self.failure = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a run; a torn line, or one that is no event of this version, is dropped."""
    for line in path.read_bytes().split(b"\n"):
        if line:
            try:
                event = json.loads(line)
            except ValueError:  # not JSON, or the zeros that a power cut leaves
                continue
            if isinstance(event, dict) and event.get("v") == JOURNAL_VERSION:
                yield event


def find_journals(folder: Path) -> list[Path]:
    """Return the journals of a work folder, the newest first."""
    return sorted(folder.glob("events-*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
