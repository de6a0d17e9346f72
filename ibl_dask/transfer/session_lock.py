"""Holding a session against runs while its files are moved or removed, without leaving a trace in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.store.lock import LOCK_NAME, Held, holding


def lock_of(session: Path) -> Path:
    """Return the path of the lock of a session."""
    return session / OWN_FOLDER / LOCK_NAME


def is_lock(within: str) -> bool:
    """Return whether a path within a session is that of a lock."""
    folder, _, name = within.rpartition("/")
    stem, ending = LOCK_NAME.split(".")
    return folder == OWN_FOLDER and name.startswith(f"{stem}.") and name.endswith(f".{ending}")


def is_attempt(within: str) -> bool:
    """Return whether a path within a session is that of the file with which an attempt at a lock begins."""
    folder, _, name = within.rpartition("/")
    return folder == OWN_FOLDER and name.startswith(f".{LOCK_NAME.split('.')[0]}.") and name.endswith(".tmp")


def is_locked(session: Path) -> bool:
    """Return whether a session has a lock, be it of a run that has ended."""
    try:
        return any(is_lock(f"{OWN_FOLDER}/{path.name}") for path in lock_of(session).parent.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextlib.contextmanager
def held(session: Path) -> Iterator[Held]:
    """Hold a session alone; the folder of the lock is removed afterwards if it was made for it.

    Parameters
    ----------
    session : Path
        Session folder. If it is renamed meanwhile, `Held.path` is to be set.

    Raises
    ------
    SessionLocked
        If a run holds it.
    NotWritable
        If nothing can be written in it.
    """
    is_new = not lock_of(session).parent.exists()
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(holding(lock_of(session)))
        try:
            yield lock
        finally:
            stack.close()
            if is_new:
                with contextlib.suppress(OSError):
                    lock.path.parent.rmdir()
