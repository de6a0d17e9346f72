"""The run journal: one JSON object a line, appended by the driver alone.

A line is on disk before the driver goes on. A driver that is killed while writing leaves a torn last line, which
reading drops.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import NotWritable
from ibl_dask.store.atomic import make_folder
from ibl_dask.store.disk import explain_os_error, retry_transient

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

    from ibl_dask.errors import IblDaskError

JOURNAL_VERSION = 1


class Journal:
    """Append events to `events-<run>.jsonl`.

    A disk that takes no more lines stops no run: they are kept, tried again with the next event, and `failure` says so.
    Lines count as written once the disk says that they are on it; others are written again in their place.
    """

    def __init__(self, folder: Path, run: str) -> None:
        make_folder(folder)
        self.path = folder / f"events-{run}.jsonl"
        self.failure: IblDaskError | None = None
        """Why the lines that are not on disk yet could not be written; None where all are."""
        self._unwritten = b""
        self._n_bytes: int | None = None
        self._file: FileIO | None = None
        try:
            retry_transient(self._open)
        except OSError as error:
            raise (explain_os_error(error, self.path) or error) from error

    def _open(self) -> FileIO:
        """Open the file, and forget what is in it of lines that are still to be written."""
        file = self.path.open("ab+", buffering=0)
        try:
            found = file.seek(0, os.SEEK_END)
            if self._n_bytes is not None:
                if found > self._n_bytes:
                    file.truncate(self._n_bytes)
            elif found:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    self._unwritten = b"\n"  # a torn line must not swallow the next one
            self._n_bytes = found if self._n_bytes is None else min(found, self._n_bytes)
        except BaseException:
            file.close()
            raise
        self._file = file
        return file

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event."""
        line = json.dumps({"v": JOURNAL_VERSION, **event}, separators=(",", ":"), default=str)
        self._unwritten += line.encode() + b"\n"
        self._try()

    def _try(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._let_go()
            self.failure = self._explained(error)
        else:
            self.failure = None

    def _write(self) -> None:
        file, left = self._file or self._open(), self._unwritten
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
        self._n_bytes = (self._n_bytes or 0) + len(self._unwritten)
        self._unwritten = b""

    def _explained(self, error: OSError) -> IblDaskError:
        return explain_os_error(error, self.path, len(self._unwritten)) or NotWritable(
            "the journal cannot be written",
            where=str(self.path),
            expected=f"{len(self._unwritten)} bytes written",
            got=str(error),
            do="look at this disk; results of the run are not concerned",
        )

    def _let_go(self) -> None:
        """Close the file; one that a server forgot must be opened anew."""
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if file is not None:
                file.close()

    def close(self) -> None:
        """Close the file. Lines that are not on disk are tried again, for a while where what is wrong may pass."""
        if self._unwritten:
            try:
                retry_transient(self._write_afresh)
            except OSError as error:
                self.failure = self._explained(error)
            else:
                self.failure = None
        self._let_go()

    def _write_afresh(self) -> None:
        try:
            self._write()
        except OSError:
            self._let_go()
            raise

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
