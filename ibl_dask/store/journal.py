"""Journal of a run: one JSON object per line, appended by the driver alone.

A line is on disk before the driver goes on. A driver that is killed while it writes leaves a torn last line, which
reading drops.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any  # Any: values of JSON

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
    """Appends events to `events-<run>.jsonl`.

    A disk that takes no more lines stops no run: the lines are kept, tried again with the next event, and the error is
    in `failure`. Lines count as written once the disk has confirmed them; others are written again at the same place.

    Parameters
    ----------
    folder : Path
        Folder of the journal, made if it is not there.
    run : str
        Name of the run.

    Raises
    ------
    NotWritable
        If the file cannot be opened for writing.
    """

    def __init__(self, folder: Path, run: str) -> None:
        make_folder(folder)
        self.path = folder / f"events-{run}.jsonl"
        self.failure: IblDaskError | None = None
        """Error because of which lines are not on disk yet; None where all are."""
        self._unwritten = b""
        self._n_bytes: int | None = None
        self._file: FileIO | None = None
        try:
            retry_transient(self._open)
        except OSError as error:
            raise (explain_os_error(error, self.path) or error) from error

    def _open(self) -> FileIO:
        """Open the file, and cut off the parts of lines that are still to be written."""
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

    @property
    def n_bytes(self) -> int:
        """Return the length of the journal, lines that are still to be written included, bytes."""
        return (self._n_bytes or 0) + len(self._unwritten)

    def append(self, event: Mapping[str, object]) -> None:
        """Write one event."""
        line = json.dumps({"v": JOURNAL_VERSION, **event}, separators=(",", ":"), default=str)
        self._unwritten += line.encode() + b"\n"
        self._try()

    def _try(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._let_go()
            self.failure = self._explain_os_error(error)
        else:
            self.failure = None

    def _write(self) -> None:
        file, left = self._file or self._open(), self._unwritten
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
        self._n_bytes = (self._n_bytes or 0) + len(self._unwritten)
        self._unwritten = b""

    def _explain_os_error(self, error: OSError) -> IblDaskError:
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
        """Close the file. Lines that are not on disk are tried again, for a while if the error may be transient."""
        if self._unwritten:
            try:
                retry_transient(self._write_afresh)
            except OSError as error:
                self.failure = self._explain_os_error(error)
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


def read_journal(path: Path, start: int = 0, stop: int | None = None, mark: bytes = b"") -> Iterator[dict[str, Any]]:
    """Yield the events of a run; a torn line, or one that is no event of this version, is dropped.

    Parameters
    ----------
    path : Path
        The journal.
    start : int
        Byte at which a line starts, from which on events are read.
    stop : int, optional
        Byte at which a later line starts; by default the end of the file.
    mark : bytes
        Text that a line must hold: others are dropped without being parsed.
    """
    with path.open("rb") as file:
        place = file.seek(start)
        for line in file:
            if stop is not None and place >= stop:
                return
            place += len(line)
            if mark not in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:  # not JSON, or the zeros that a power cut leaves
                continue
            if isinstance(event, dict) and event.get("v") == JOURNAL_VERSION:
                yield event


def find_journals(folder: Path) -> list[Path]:
    """Return the journals of a work folder, newest first."""
    return sorted(folder.glob("events-*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
