"""Holder of a lock, and evidence on which a lock counts as abandoned.

A lock is abandoned once the process that it names is provably gone, or once it is no longer renewed: `judge_lock` is
the whole rule.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ibl_dask.errors import SessionLocked
from ibl_dask.store.disk import explain_os_error
from ibl_dask.store.processes import Process, Verdict, state_of

_log = logging.getLogger(__name__)

HEARTBEAT_S = 20.0
"""Interval at which a lock is renewed, s."""
STALE_S = 600.0
"""Age at which a lock is abandoned if it is not renewed while it is watched either, s."""
WATCHED_S = 1.5 * HEARTBEAT_S
"""Time for which it is watched, s: clocks of two hosts differ, and may be set during a run."""
UNWRITTEN_S = 30.0
"""Age up to which a lock without an owner counts as being written, s."""
ASKED_EVERY_S = 60.0
"""Interval at which the batch system is asked for one job, s."""
SAME_ANSWER_S = 20.0
"""Time for which its answer holds for other sessions of that job, s."""

JobState = Literal["running", "suspended", "ended", "unknown"]
"""State of a job in its batch system."""
AskJob = Callable[[str], JobState]
"""Returns the state of a job by its number."""
LockVerdict = Literal["held", "free", "open"]
"""open: to be decided once it was watched for a while."""


class JobAnswers:
    """Answers of the batch system, each good for a while: one job may hold hundreds of sessions.

    Parameters
    ----------
    ask_job : callable
        Asks the batch system. Watches call this from threads of their own; it is asked once at a time.
    """

    def __init__(self, ask_job: AskJob) -> None:
        self._ask_job = ask_job
        self._asking = threading.Lock()
        self._known: dict[str, tuple[float, JobState]] = {}

    def __call__(self, number: str) -> JobState:
        """Return the state of a job, at most `SAME_ANSWER_S` old."""
        with self._asking:
            asked_s, answer = self._known.get(number, (-math.inf, "unknown"))
            if time.monotonic() - asked_s > SAME_ANSWER_S:
                answer = self._ask_job(number)
                self._known[number] = (time.monotonic(), answer)
        return answer


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence on a lock of another process."""

    process: Verdict
    """State of its process."""
    age_s: float
    """Time since its renewal by its time stamp, s; a stamp that far in the future counts as old."""
    watched_s: float
    """Time for which it was watched without being renewed, s."""
    is_renewed: bool = False
    """It was renewed before, while it was watched."""
    job: JobState = "unknown"
    """State of its job."""
    is_copy: bool = False
    """It is not the file that its owner made, or the file system does not keep inode numbers."""
    names_owner: bool = True
    """It names its owner."""


def judge_lock(found: Evidence) -> LockVerdict:
    """Judge a lock; open where it must be watched for `WATCHED_S` first."""
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
class LockFile:
    """A lock file at one moment."""

    number: int
    """Inode number of the file."""
    renewed_ns: int
    """Time stamp of the last renewal, ns."""
    content: bytes | None
    """Content; None where it may not be read."""

    @property
    def owner(self) -> dict[str, object]:
        """Return the owner that it names; empty where that cannot be understood."""
        return read_owner(self.content or b"")


def read_owner(content: bytes) -> dict[str, object]:
    """Return the owner that a lock names; empty where that cannot be understood."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_lock(path: Path) -> LockFile | None:
    """Read a lock; None where there is none. Opening it makes a network file system ask its server."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            return LockFile(status.st_ino, status.st_mtime_ns, file.read())
    except FileNotFoundError:
        return None
    except OSError:
        status = path.stat()
        return LockFile(status.st_ino, status.st_mtime_ns, None)


class Watch:
    """Watch over one lock, which notes for how long it was not renewed.

    Parameters
    ----------
    path : Path
        The lock.
    ask_job : callable, optional
        Returns the state of a job, for holders that cannot be seen from here.
    """

    def __init__(self, path: Path, ask_job: AskJob | None) -> None:
        self.path = path
        self._ask_job = ask_job
        self._seen: LockFile | None = None
        self._since_s = 0.0
        self._is_renewed = False
        self._answer: JobState | None = "unknown"
        self._asked_s: float | None = None

    def look(self) -> LockVerdict:
        """Look at the lock and judge it."""
        found = read_lock(self.path)
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
        """Return the last answer of the batch system on a job; None while it is asked."""
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
        except Exception as error:  # noqa: BLE001  # the lock is judged without an answer
            _log.info("the batch system gave no answer on job %s: %r", number, error)
        finally:
            self._answer = answer

    def remove(self) -> None:
        """Remove the lock that was looked at, unless another process did so before and holds a new one.

        Raises
        ------
        NotWritable
            If the file belongs to another user, and only they may remove it.
        """
        if self._seen is None:
            return  # there was none; one that is there now is somebody's
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(self.path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, FileNotFoundError):
                return  # another process is about to do so, or did
            except OSError:
                pass  # not ours to read, or a file system without such locks: the window is small
            try:
                if read_lock(self.path) == self._seen:
                    self.path.unlink(missing_ok=True)
            except OSError as error:
                raise explain_os_error(error, self.path) or error from error

    def refusal(self) -> SessionLocked:
        """Return the error that names the holder."""
        holder = {} if self._seen is None else self._seen.owner
        return SessionLocked(
            "another run holds this session",
            where=str(self.path),
            expected="a session that no other run holds",
            got=name_holder(holder),
            do="wait for that run or stop it; if it is surely gone, remove the lock file",
        )


def name_holder(owner: Mapping[str, object]) -> str:
    """Return the name of a lock's owner, for messages."""
    job = f", job {owner['job']}" if owner.get("job") else ""
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}{job}{_since(owner)}"


def _since(holder: Mapping[str, object]) -> str:
    since = holder.get("since")
    if not isinstance(since, int | float):
        return ""
    try:
        return f", since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return ""
