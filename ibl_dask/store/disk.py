"""Errors of the operating system: explanations with advice, and retries of transient ones."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ibl_dask.errors import (
    ConnectionBroke,
    DiskFull,
    IblDaskError,
    NotReadable,
    NotWritable,
    ReadFailed,
    ReadOnlyDisk,
    WriteFailed,
)
from ibl_dask.model.sizes import format_size

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of this disk is used up",
    errno.EFBIG: "the file is larger than this disk, or a limit of this process, allows",
}
_BROKEN = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENXIO, errno.ENODEV)
"""Errors of a failing disk, or of the server of a network file system."""
_CONNECTION = (
    errno.ECONNRESET,
    errno.ECONNREFUSED,
    errno.ECONNABORTED,
    errno.ENOTCONN,
    errno.EPIPE,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENETRESET,
)
_TRANSIENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.EAGAIN, errno.EINTR, *_CONNECTION}
"""Errors of network disks and connections that may not occur again."""
RETRY_PAUSES_S = (1.0, 5.0, 20.0)
"""Pauses before a call with a transient error is repeated, s."""
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_os_error(error: OSError, written: Path | None = None, n_bytes: int = 0) -> IblDaskError | None:
    """Return an error of the package, with advice, for an error of the system; None for one without an explanation.

    Parameters
    ----------
    error : OSError
        The system's error.
    written : Path, optional
        The file or folder that was being written; by default the error is explained as one of reading.
    n_bytes : int
        Bytes to be written, if known.
    """
    if isinstance(error, IblDaskError):
        return error
    where = str(written or error.filename or "")
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        kind = NotWritable if error.errno == errno.EFBIG else DiskFull
        return kind(
            _NO_ROOM[error.errno],
            where=where,
            expected=f"room for {format_size(n_bytes)}" if n_bytes else "room for the result",
            got=f"{reason}{_free(Path(where)) if where else ''}",
            do="free some room, or give --output-root (results) or --work-dir (scratch, journal) on another disk, and "
            "run again: finished chunks are kept",
        )
    if error.errno in _BROKEN:
        wanted = {
            "what": "the disk, or the server that it is on, failed",
            "where": where,
            "expected": "an answer without error" if written is None else "to write it",
            "got": reason,
            "do": "run again once it works: finished chunks are kept; if it happens again, report it to the "
            "administrator of this disk",
        }
        return ReadFailed(**wanted) if written is None else WriteFailed(**wanted)
    if error.errno in _CONNECTION or isinstance(error, ConnectionError):
        return ConnectionBroke(
            "a connection broke",
            where=where,
            expected="an answer",
            got=reason,
            do="run again once it works: finished chunks are kept; if it happens again, report it to the "
            "administrator of the network",
        )
    if error.errno in _REFUSED and (written is not None or error.errno == errno.EROFS):
        refused = ReadOnlyDisk if error.errno == errno.EROFS else NotWritable
        return refused(
            "this result cannot be written",
            where=where,
            expected="a folder that may be written to",
            got=reason,
            do="ask for write permission, or send results elsewhere with --output-root",
        )
    if error.errno in _REFUSED:
        return NotReadable(
            "this file or folder may not be read",
            where=where,
            expected=f"read permission for user {os.geteuid()}",
            got=reason,
            do="ask its owner for read permission (chmod a+r, for folders a+rx), or run as a user who has it",
        )
    return None


def is_transient(error: BaseException | None) -> bool:
    """Return whether an error, or the one it was raised from, may not occur again."""
    while error is not None:
        if not isinstance(error, IblDaskError):
            if isinstance(error, ConnectionError | TimeoutError):
                return True
            if isinstance(error, OSError) and error.errno is not None:
                return error.errno in _TRANSIENT
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def retry_transient(call: Callable[[], _Result]) -> _Result:
    """Call a function, and repeat the call after pauses as long as it fails with a transient error.

    Other errors are raised at once, and a transient one after the last pause.
    """
    for pause_s in RETRY_PAUSES_S:
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.info("tried again in %g s: %s", pause_s, error)
        time.sleep(pause_s)
    try:
        return call()
    except Exception as error:
        if is_transient(error):
            error.add_note(f"It was tried {1 + len(RETRY_PAUSES_S)} times within {sum(RETRY_PAUSES_S):g} s.")
        raise


def mount_of(path: Path) -> Path:
    """Return the folder at which the file system of a path is mounted, by the folders above it."""
    place = nearest_folder(path.absolute())
    with contextlib.suppress(OSError):
        device = place.stat().st_dev
        while place != place.parent and place.parent.stat().st_dev == device:
            place = place.parent
    return place


OF_FULL_DISK = ("DiskFull", "ReadOnlyDisk")
"""Kinds of failures that every step on the same disk would meet, and for which a run waits."""
ROOM = 0.02
"""Share of a disk that must be free before work on it goes on."""
MOST_ROOM_BYTES = 2 * 10**9
"""Room that is enough on any disk, bytes."""
PROBE_BYTES = 1 << 20
"""Size of the file that is written to find out whether a disk takes one, bytes."""


def takes_files(path: Path) -> bool:
    """Return True if a disk has some room, by its own account and for a file that is written there and removed.

    Parameters
    ----------
    path : Path
        A file or folder on the disk, which need not exist.
    """
    folder = next((each for each in (path, *path.parents) if each.is_dir()), path)
    try:
        usage = shutil.disk_usage(folder)
        if usage.free < min(ROOM * usage.total, MOST_ROOM_BYTES):
            return False
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def nearest_folder(path: Path) -> Path:
    """Return the path itself if it exists, also as a dangling link, else the nearest existing folder above it."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def _free(path: Path) -> str:
    try:
        return f", {format_size(shutil.disk_usage(nearest_folder(path)).free)} free"
    except OSError:
        return ""
