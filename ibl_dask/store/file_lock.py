"""Locks of files for a moment: two processes that change one file wait for each other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

CHANGES_NAME = "changes.lock"
"""File in the folder of our own files that is locked while one of them is changed."""
_PAUSE_S = 0.01
CHANGE_S = 60.0
"""How long a change of a file waits for another one, s: many times what one takes on a busy network disk."""


@contextlib.contextmanager
def locked(file: int, patience_s: float = 0.5) -> Iterator[None]:
    """Lock an open file for the time of a block; it goes on without: a holder may be stopped, and a disk lack locks.

    Parameters
    ----------
    file : int
        Descriptor of the file.
    patience_s : float
        Longest wait for another holder, s.
    """
    until_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= until_s:
                break
            time.sleep(_PAUSE_S)
        except OSError:
            break
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def changing_records(folder: Path) -> Iterator[None]:
    """Be the one that reads, changes and replaces records in a folder, for the time of a block.

    An empty file is locked, which stays: a lock on the folder itself would hold on this host alone where the disk is
    NFS, and one on a record ends with its replacement. Where that file cannot be had, the block runs without.

    Parameters
    ----------
    folder : Path
        The folder.
    """
    with contextlib.ExitStack() as stack:
        file = _opened(folder / CHANGES_NAME)
        if file is not None:
            stack.callback(os.close, file)
            stack.enter_context(locked(file, CHANGE_S))
        yield


def _opened(path: Path) -> int | None:
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):  # the file of another user can be locked all the same
        with contextlib.suppress(OSError):
            return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    return None
