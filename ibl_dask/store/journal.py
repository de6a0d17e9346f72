"""The run journal: one JSON object a line, appended by the driver alone.

A line is on disk before the driver goes on. A driver that is killed while writing leaves a torn last line, which
reading drops.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ibl_dask.store.atomic import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

JOURNAL_VERSION = 1


class Journal:
    """Append events to `events-<run>.jsonl`."""

    def __init__(self, folder: Path, run: str) -> None:
        make_folder(folder)
        self.path = folder / f"events-{run}.jsonl"
        self._file = self.path.open("ab+")
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")  # a torn line must not swallow the next one

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event."""
        self._file.write(json.dumps({"v": JOURNAL_VERSION, **event}, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

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
    """Yield the events of a run; a torn line is dropped."""
    for line in path.read_bytes().split(b"\n"):
        if line:
            try:
                event = json.loads(line)
            except ValueError:  # not JSON, or the zeros that a power cut leaves
                continue
            yield event


def find_journals(folder: Path) -> list[Path]:
    """Return the journals of a work folder, the newest first."""
    return sorted(folder.glob("events-*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
