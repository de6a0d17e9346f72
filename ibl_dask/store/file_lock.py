"""Locks of files for a moment: two processes that change one file wait for each other."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

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
            stack.enter_context(locked(file.fileno(), CHANGE_S))
        yield
