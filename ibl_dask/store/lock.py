"""Holding a session, so that two drivers never write into it at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import SessionLocked
from ibl_dask.store.atomic import make_folder
from ibl_dask.store.disk import explained
from ibl_dask.store.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HEARTBEAT_S = 20.0
STALE_S = 600.0
"""A lock of another host that was not touched for this long belongs to nobody, if it is not touched either while it is
watched."""
WATCHED_S = 1.5 * HEARTBEAT_S
"""How long it is watched: clocks of two hosts differ, and may be set while a run goes on."""
UNWRITTEN_S = 30.0
"""A lock that names no owner is being written; after this long its writer is gone."""


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold a lock file; its time stamp is renewed while it is held.

    Raises
    ------
    SessionLocked
        If another driver holds it.
    """
    owner = _acquire(path)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True, name="session-lock")
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if _owner(path) == owner:  # another host may have taken it over while this one slept
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> dict[str, Any]:  # as `_owner` reads it back
    make_folder(path.parent)
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID") or ""
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "job": job, "since": time.time(), "token": token_hex(8)}
    for _ in range(2):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            seen = _signature(path)
            if not _is_stale(path):
                break
            _remove_stale(path, seen)
        else:
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(owner, file)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise (explained(error, path) or error) from error
            return owner
    holder = _owner(path)
    raise SessionLocked(
        "another run holds this session",
        where=str(path),
        expected="a session that nobody else is running",
        got=f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        + (f", job {holder['job']}" if holder.get("job") else "")
        + _since(holder),
        do="wait for that run or stop it; if it is surely gone, remove the lock file",
    )


def _remove_stale(path: Path, seen: tuple[object, ...]) -> None:
    """Remove a lock that belongs to nobody, unless somebody else did so before and holds a new one."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            pass  # a file system without locks: the window is small
        if os.fstat(file.fileno()).st_ino == path.stat().st_ino and _signature(path) == seen:
            path.unlink()


def _signature(path: Path) -> tuple[object, ...]:
    try:
        return (path.stat().st_mtime_ns, path.read_bytes())
    except FileNotFoundError:
        return ()


def _since(holder: Mapping[str, Any]) -> str:
    try:
        return f", since {datetime.fromtimestamp(holder['since'], UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return ""


def _is_stale(path: Path) -> bool:
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True
    owner = _owner(path)
    if owner.get("host") == socket.gethostname() and isinstance(owner.get("pid"), int):
        return not is_alive(owner["pid"])
    if "host" not in owner:
        return abs(age_s) > UNWRITTEN_S
    # A time stamp that far in the future is as old: somebody set a clock back.
    return abs(age_s) > STALE_S and not _beats(path)


def _beats(path: Path) -> bool:
    """Watch a lock for a heartbeat."""
    with contextlib.suppress(FileNotFoundError):
        before = path.stat().st_mtime_ns
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            time.sleep(min(1.0, WATCHED_S))
            if path.stat().st_mtime_ns != before:
                return True
    return False


def _owner(path: Path) -> dict[str, Any]:  # whatever JSON holds
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)
