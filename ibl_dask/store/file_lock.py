"""Locks of files for a moment: two processes that change one file wait for each other."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

_ATTEMPTS, _PAUSE_S = 50, 0.01


@contextlib.contextmanager
def locked(file: int) -> Iterator[None]:
    """Lock an open file for the time of a block; it goes on without: a holder may be stopped, and a disk lack locks.

    Parameters
    ----------
    file : int
        Descriptor of the file.
    """
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        except OSError:
            break
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked_by(path: Path) -> Iterator[None]:
    """Hold the lock of a file that is there already for the time of a block; without the file, do without.

    Parameters
    ----------
    path : Path
        Any file that all who change the same thing agree on. Its content stays.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("r+b"))
        except OSError:
            pass
        else:
            stack.enter_context(locked(file.fileno()))
        yield
