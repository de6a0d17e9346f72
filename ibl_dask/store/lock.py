"""Holding a session, so that two drivers never write into it at once."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import SessionLocked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEARTBEAT_S = 20.0
STALE_S = 600.0
"""A lock of another host that was not touched for this long belongs to nobody."""


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold a lock file; its time stamp is renewed while it is held.

    Raises
    ------
    SessionLocked
        If another driver holds it.
    """
    _acquire(path)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True, name="session-lock")
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        path.unlink(missing_ok=True)


def _acquire(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID") or ""
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "job": job, "since": time.time()}
    for _ in range(2):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            if not _is_stale(path):
                break
            path.unlink(missing_ok=True)
        else:
            with os.fdopen(handle, "w") as file:
                json.dump(owner, file)
            return
    holder = _owner(path)
    raise SessionLocked(
        "another run holds this session",
        where=str(path),
        expected="a session that nobody else is running",
        got=f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        + (f", job {holder['job']}" if holder.get("job") else ""),
        do="wait for that run or stop it; if it is surely gone, remove the lock file",
    )


def _is_stale(path: Path) -> bool:
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True
    owner = _owner(path)
    if owner.get("host") == socket.gethostname() and isinstance(owner.get("pid"), int):
        return not _is_alive(owner["pid"])
    return age_s > STALE_S


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner(path: Path) -> dict[str, Any]:  # whatever JSON holds
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)
