"""A file that only grows, and stays whole over a disk that fails for a while."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from ibl_dask.errors import NotWritable
from ibl_dask.store.disk import explain_os_error, retry_transient

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.errors import IblDaskError

RETRY_S = 0.5
"""Time after an error before lines that are appended are written again, s: all that the disk has not confirmed are."""


class AppendedFile:
    """File to which lines are appended.

    Lines are handed to the system at once, and so outlive this process; `sync` puts them on disk. Those that the disk
    has not confirmed are kept in memory, and written again, at the same place, where it failed.

    Parameters
    ----------
    path : Path
        The file. One that is there is continued: a torn line at its end is closed first.

    Raises
    ------
    NotWritable
        If the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure: IblDaskError | None = None
        """Error because of which lines are not on disk yet; None where all are, or will be by the next `sync`."""
        self._confirmed: int | None = None
        """Bytes that are on disk; None before the file was opened."""
        self._pending = bytearray()
        """Bytes after these."""
        self._n_passed = 0
        """Those of them that were handed to the system."""
        self._handle: int | None = None
        self._failed_s = 0.0
        try:
            retry_transient(self._open)
        except OSError as error:
            raise (explain_os_error(error, path) or error) from error

    def _open(self) -> int:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            found = os.lseek(handle, 0, os.SEEK_END)
            if self._confirmed is None:
                if found and os.pread(handle, 1, found - 1) != b"\n":
                    self._pending += b"\n"  # a torn line must not swallow the next one
                self._confirmed = found
            else:
                self._confirmed = min(found, self._confirmed)  # a server may have lost what it confirmed
            self._n_passed = 0
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return handle

    @property
    def n_bytes(self) -> int:
        """Return the length of the file, lines that are still to be written included, bytes."""
        return (self._confirmed or 0) + len(self._pending)

    @property
    def is_on_disk(self) -> bool:
        """Return True if the disk has confirmed every line."""
        return not self._pending

    def append(self, lines: bytes) -> None:
        """Append whole lines. An error does not raise, see `failure`; the next attempt is made a moment later."""
        self._pending += lines
        if self.failure is None or time.monotonic() - self._failed_s > RETRY_S:
            self._try(is_to_sync=self.failure is not None)

    def sync(self) -> None:
        """Put all lines on disk. An error does not raise, see `failure`."""
        if self._pending:
            self._try(is_to_sync=True)

    def line_at(self, start: int) -> bytes:
        """Return the line that starts at a byte.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        confirmed = self._confirmed or 0
        if start >= confirmed:
            return bytes(self._pending[start - confirmed :]).partition(b"\n")[0]
        with self.path.open("rb") as file:
            file.seek(start)
            return file.readline().rstrip(b"\n")

    def _try(self, is_to_sync: bool) -> None:
        try:
            self._write(is_to_sync)
        except OSError as error:
            self.let_go()
            self.failure, self._failed_s = self._explain(error), time.monotonic()
        else:
            if is_to_sync:
                self.failure = None

    def _write(self, is_to_sync: bool) -> None:
        handle = self._open() if self._handle is None else self._handle
        start = self._confirmed or 0
        while self._n_passed < len(self._pending):
            # At its place, so that whatever interrupts this only leads to the same bytes being written twice.
            left = bytes(self._pending[self._n_passed :])
            self._n_passed += os.pwrite(handle, left, start + self._n_passed)
        if is_to_sync:
            os.fsync(handle)
            self._confirmed = start + len(self._pending)
            self._pending, self._n_passed = bytearray(), 0

    def _explain(self, error: OSError) -> IblDaskError:
        n_bytes = len(self._pending)
        return explain_os_error(error, self.path, n_bytes) or NotWritable(
            "the journal cannot be written",
            where=str(self.path),
            expected=f"{n_bytes} bytes written",
            got=str(error),
            do="look at this disk; results of the run are not concerned",
        )

    def let_go(self) -> None:
        """Close the file as it is, until it is written to again: one that a server forgot must be opened anew."""
        handle, self._handle = self._handle, None
        with contextlib.suppress(OSError):
            if handle is not None:
                os.close(handle)

    def close(self) -> None:
        """Close the file. Lines that are not on disk are tried again, for a while if the error may be transient."""
        if self._pending:
            try:
                retry_transient(self._write_afresh)
            except OSError as error:
                self.failure = self._explain(error)
            else:
                self.failure = None
        self.let_go()

    def _write_afresh(self) -> None:
        try:
            self._write(is_to_sync=True)
        except OSError:
            self.let_go()
            raise
