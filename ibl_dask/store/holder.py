"""Who holds a lock, and whether they still do.

A lock belongs to nobody once the process that it names is provably gone, or once nobody renews it any more:
`judge_lock` is the whole rule.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ibl_dask.errors import SessionLocked
from ibl_dask.store.disk import explain_os_error
from ibl_dask.store.processes import Process, Verdict, state_of

HEARTBEAT_S = 20.0
"""How often a lock is renewed."""
STALE_S = 600.0
"""A lock that was not renewed for this long belongs to nobody, if it is not renewed either while it is watched."""
WATCHED_S = 1.5 * HEARTBEAT_S
"""How long it is watched: clocks of two hosts differ, and may be set while a run goes on."""
UNWRITTEN_S = 30.0
"""A lock that names no owner is being written; after this long its writer is gone."""
ASKED_EVERY_S = 60.0
"""How often the batch system is asked of one job."""

JobState = Literal["running", "suspended", "ended", "unknown"]
"""What a batch system says of a job."""
AskJob = Callable[[str], JobState]
"""Asks the batch system of a job, by its number."""
LockVerdict = Literal["held", "free", "open"]
"""open: that will be known once it was watched for a while."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a lock that somebody left."""

    process: Verdict
    """Whether its process is there."""
    age_s: float
    """How long ago it was renewed by its time stamp; one that is that far in the future is as old."""
    watched_s: float
    """For how long it has been watched without being renewed."""
    is_renewed: bool = False
    """Whether it was renewed before, while it was watched."""
    job: JobState = "unknown"
    """What the batch system says of its job."""
    is_copy: bool = False
    """Whether it is not the file that was made; or one of a file system whose files have no lasting numbers."""
    names_owner: bool = True
    """Whether it says whose it is."""


def judge_lock(found: Evidence) -> LockVerdict:
    """Say whether a lock is held; open where that will be known once it was watched for `WATCHED_S`."""
    if not found.names_owner:
        return "free" if found.age_s > UNWRITTEN_S else "held"
    if found.process == "gone":
        return "free"
    is_doubtful = found.is_copy or found.age_s > STALE_S or found.job == "ended"
    if found.job == "suspended" or not is_doubtful:
        return "held"
    if found.is_renewed:  # its clock is another, or its file system's
        return "free" if found.watched_s >= STALE_S else "held"
    return "free" if found.watched_s >= WATCHED_S else "open"


@dataclass(frozen=True, slots=True)
class Sight:
    """A lock file at one moment."""

    number: int
    """Number of the file, as its file system gives it."""
    renewed_ns: int
    content: bytes | None
    """None where it may not be read."""

    @property
    def owner(self) -> dict[str, Any]:  # whatever JSON holds
        """Return what it says of its owner; empty where it says nothing that can be understood."""
        return read_owner(self.content or b"")


def read_owner(content: bytes) -> dict[str, Any]:  # whatever JSON holds
    """Return what a lock says of its owner; empty where that cannot be understood."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def see(path: Path) -> Sight | None:
    """Look at a lock; None where there is none. It is opened: a network file system asks its server then."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            return Sight(status.st_ino, status.st_mtime_ns, file.read())
    except FileNotFoundError:
        return None
    except OSError:
        status = path.stat()
        return Sight(status.st_ino, status.st_mtime_ns, None)


class Watch:
    """Looks at one lock again and again, and remembers for how long nobody has renewed it."""

    def __init__(self, path: Path, ask_job: AskJob | None) -> None:
        self.path = path
        self._ask_job = ask_job
        self._seen: Sight | None = None
        self._since_s = 0.0
        self._is_renewed = False
        self._answer: JobState | None = "unknown"
        self._asked_s: float | None = None

    def look(self) -> LockVerdict:
        """Say whether somebody holds it."""
        found = see(self.path)
        if found is None:
            return "free"
        now_s = time.monotonic()
        if found != self._seen:
            self._is_renewed = self._seen is not None and found.content == self._seen.content
            self._seen, self._since_s = found, now_s
        owner = found.owner
        process = Process.from_json(owner)
        state = "unknown" if process is None else state_of(process)
        job = self._job(str(owner.get("job") or "")) if state == "unknown" else "unknown"
        verdict = judge_lock(
            Evidence(
                state,
                abs(time.time() - found.renewed_ns * 1e-9),
                now_s - self._since_s,
                self._is_renewed,
                job or "unknown",
                owner.get("inode", found.number) != found.number,
                found.content is None or process is not None,
            )
        )
        return "open" if job is None and verdict == "held" else verdict

    def _job(self, number: str) -> JobState | None:
        """Return what the batch system said of a job; None while it is asked."""
        if not number or self._ask_job is None:
            return "unknown"
        if self._asked_s is None or time.monotonic() - self._asked_s > ASKED_EVERY_S:
            if self._asked_s is None:
                self._answer = None
            self._asked_s = time.monotonic()
            threading.Thread(target=self._ask, args=(number,), daemon=True, name="batch-job").start()
        return self._answer

    def _ask(self, number: str) -> None:
        answer: JobState = "unknown"
        try:
            if self._ask_job is not None:
                answer = self._ask_job(number)
        finally:
            self._answer = answer

    def remove(self) -> None:
        """Remove the lock that was looked at, unless somebody else did so before and holds a new one.

        Raises
        ------
        NotWritable
            If its owner is somebody else, and the folder lets only them remove it.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(self.path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, FileNotFoundError):
                return  # somebody else is about to do so, or did
            except OSError:
                pass  # not ours to read, or a file system without such locks: the window is small
            try:
                if see(self.path) == self._seen:
                    self.path.unlink(missing_ok=True)
            except OSError as error:
                raise explain_os_error(error, self.path) or error from error

    def refusal(self) -> SessionLocked:
        """Say who holds it."""
        holder = {} if self._seen is None else self._seen.owner
        return SessionLocked(
            "another run holds this session",
            where=str(self.path),
            expected="a session that nobody else is running",
            got=name_holder(holder),
            do="wait for that run or stop it; if it is surely gone, remove the lock file",
        )


def name_holder(owner: Mapping[str, Any]) -> str:
    """Name whoever a lock belongs to."""
    job = f", job {owner['job']}" if owner.get("job") else ""
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}{job}{_since(owner)}"


def _since(holder: Mapping[str, Any]) -> str:
    try:
        return f", since {datetime.fromtimestamp(holder['since'], UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return ""
