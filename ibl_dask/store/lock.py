"""Locks of sessions, so that two drivers never write into one session at once.

A lock is a file that names its holder, and whose time stamp is renewed while it is held; `ibl_dask.store.holder` judges
whether it still is.

Drivers hold a session alone. Steps of a graph without a driver hold it together, each with a file of its own beside the
lock (`sharing`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from secrets import token_hex

from ibl_dask.errors import SessionLocked
from ibl_dask.store import holder
from ibl_dask.store.atomic import make_folder, temporary_name
from ibl_dask.store.disk import explain_os_error
from ibl_dask.store.holder import AskJob, LockVerdict, Watch, name_holder, read_lock, read_owner
from ibl_dask.store.processes import this_process

LOCK_NAME = "lock.json"
"""The lock of a session, within the folder of our own files."""
LOCK_VERSION = 2
"""1 named host and process number alone."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_held_here: ContextVar[frozenset[Path]] = ContextVar("held_here", default=frozenset())


class Attempt:
    """Attempt at a lock, which can be repeated and never waits.

    Parameters
    ----------
    path : Path
        The lock.
    ask_job : callable, optional
        Returns the state of the job of a holder that cannot be seen from here; called in a thread of its own.
    beside : callable, optional
        Returns other locks that must be free as well.
    own_job : str
        Number of the batch job that this process runs in; empty outside of one.
    request : str
        Fingerprint of what the holder wants to do, for drivers that share a list of sessions; empty for none.
    """

    def __init__(
        self,
        path: Path,
        ask_job: AskJob | None = None,
        beside: Callable[[], Iterable[Path]] | None = None,
        own_job: str = "",
        request: str = "",
    ) -> None:
        self.path = path
        self._request = request
        self._refused_by = path
        self.is_open = False
        """It was refused only because the holder's lock is still being watched."""
        self._ask_job = ask_job
        self._own_job = own_job
        self._beside = partial(_shares, path) if beside is None else beside
        self._watches: dict[Path, Watch] = {}

    def take(self) -> Held:
        """Take the lock.

        Raises
        ------
        SessionLocked
            If another process holds it, or may hold it; see `is_open`.
        """
        make_folder(self.path.parent)
        while (held := _make(self.path, self._own_job, self._request)) is None:
            self._require_free(self.path)
        try:
            for path in self._beside():
                self._require_free(path)
        except BaseException:
            held.close()
            raise
        return held

    @property
    def is_shared(self) -> bool:
        """Return True if the holder works on the same request, so that its result will do, or has just let go."""
        if not self._request:
            return False
        found = read_lock(self._refused_by)
        return found is None or found.owner.get("request") == self._request

    def _require_free(self, path: Path) -> None:
        """Remove an abandoned lock; raise if it is held."""
        watch = self._watches.setdefault(path, Watch(path, self._ask_job))
        verdict = watch.look()
        self.is_open = verdict == "open"
        if verdict != "free":
            self._refused_by = path
            raise watch.refusal()
        watch.remove()


def _make(path: Path, job: str, request: str = "") -> Held | None:
    """Make a lock of this process, complete from the start; None where there is one."""
    token = token_hex(8)
    owner = {"v": LOCK_VERSION, **this_process().to_json(), "job": job, "since": time.time(), "token": token}
    if request:
        owner["request"] = request
    temporary = temporary_name(path)
    try:
        _write(temporary, owner)
        try:
            os.link(temporary, path)
        except FileExistsError:
            if not _is_ours(path, token):  # a server may have done it, and its answer was lost
                return None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            try:
                _write(path, owner)
            except FileExistsError:
                return None
    except OSError as error:
        raise explain_os_error(error, path) or error from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return Held(path, token)


def _write(path: Path, owner: Mapping[str, object]) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, 0o644)  # other users must be able to read the holder, whatever the mask is
            json.dump({**owner, "inode": os.fstat(handle).st_ino}, file)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _is_ours(path: Path, token: str) -> bool:
    found = read_lock(path)
    return found is not None and found.owner.get("token") == token


class Held:
    """Lock that is held and renewed, in a thread of its own, until it is closed or lost.

    Parameters
    ----------
    path : Path
        The lock.
    token : str
        Hexadecimal digits that tell this lock from any other.
    """

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self.token = token
        """Hexadecimal digits of this lock alone."""
        self.is_lost = False
        """Another process has taken it over or removed it: the session is no longer held."""
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._renew_on_and_on, daemon=True, name="session-lock")
        self._beat.start()

    def _renew_on_and_on(self) -> None:
        while not self.is_lost and not self._stop.wait(holder.HEARTBEAT_S):
            self._renew()

    def _renew(self) -> None:
        try:
            with self.path.open("rb") as file:
                if read_owner(file.read()).get("token") == self.token:
                    os.utime(file.fileno())  # of this very file, whatever bears its name by now
                else:
                    self.is_lost = True
        except FileNotFoundError:
            self.is_lost = self.path.parent.is_dir()  # a disk that is away for a moment comes back
        except OSError:
            pass  # so does one that fails for a moment

    def require_own(self) -> None:
        """Raise unless the lock is still held, as its file says now.

        Raises
        ------
        SessionLocked
            If another process took it over or removed it.
        """
        self._renew()
        if self.is_lost:
            raise taken_over(self.path)

    def close(self) -> None:
        """Release the lock, unless another process took it over."""
        self._stop.set()
        self._beat.join()
        with contextlib.suppress(OSError):
            if _is_ours(self.path, self.token):
                self.path.unlink(missing_ok=True)


def _take(attempt: Attempt) -> Held:
    """Take a lock; wait only where that decides whether it is held."""
    while True:
        try:
            return attempt.take()
        except SessionLocked:
            if not attempt.is_open:
                raise
            time.sleep(min(1.0, holder.WATCHED_S / 10))


@contextlib.contextmanager
def holding(path: Path, ask_job: AskJob | None = None, own_job: str = "") -> Iterator[Held]:
    """Hold a lock alone; see `Attempt`.

    Parameters
    ----------
    path
        The lock.
    ask_job, own_job
        See `Attempt`.

    Raises
    ------
    SessionLocked
        If another process holds it.
    """
    held = _take(Attempt(path, ask_job, own_job=own_job))
    try:
        yield held
    finally:
        held.close()


@contextlib.contextmanager
def holding_unless_held(path: Path, ask_job: AskJob | None = None, own_job: str = "") -> Iterator[None]:
    """Hold a lock alone, unless the caller does so already (`lending`).

    Parameters
    ----------
    path
        The lock.
    ask_job, own_job
        See `Attempt`.
    """
    if path in _held_here.get():
        yield
        return
    with holding(path, ask_job, own_job), lending(path):
        yield


# -- work on behalf of a holder ------------------------------------------------------------------------------


@contextlib.contextmanager
def lending(path: Path) -> Iterator[None]:
    """Mark a session as held for all code that is called in this block."""
    before = _held_here.set(_held_here.get() | {path})
    try:
        yield
    finally:
        _held_here.reset(before)


def require_lease(path: Path, token: str) -> None:
    """Raise if another run has taken a session over from the driver that gave out a step.

    A lock that is not there is no proof: another host may see one that was just made only after a while.

    Parameters
    ----------
    path : Path
        The lock.
    token : str
        `Held.token` of that driver.

    Raises
    ------
    SessionLocked
        If another holds the session now.
    """
    found = read_lock(path)
    if found is not None and found.owner and found.owner.get("token") != token:
        raise taken_over(path)


def taken_over(path: Path) -> SessionLocked:
    """Return the error of a driver whose lock is no longer its own."""
    found = None
    with contextlib.suppress(OSError):
        found = read_lock(path)
    return SessionLocked(
        "this run no longer holds the session",
        where=str(path),
        expected="the lock that it made",
        got="no lock: it was removed" if found is None else f"that of {name_holder(found.owner)}",
        do="wait for the other run, then run again: finished chunks are kept. A run that was suspended, or whose disk "
        f"was away, for {holder.STALE_S / 60:g} min loses its sessions to others that want them",
    )


def look_at_lock(path: Path, ask_job: AskJob | None = None) -> tuple[LockVerdict, str]:
    """Return whether a lock, or a share of it, is held, and by whom; nothing is written or waited for.

    Parameters
    ----------
    path : Path
        The lock.
    ask_job : callable, optional
        See `Attempt`.

    Returns
    -------
    LockVerdict, str
        open: abandoned, unless it is renewed while it is watched. The holder is empty for a free lock.
    """
    for each in (path, *_shares(path)):
        watch = Watch(each, ask_job)
        verdict = watch.look()
        if verdict != "free":
            return verdict, watch.refusal().got
    return "free", ""


@contextlib.contextmanager
def sharing(path: Path, group: str, ask_job: AskJob | None = None, own_job: str = "") -> Iterator[None]:
    """Hold a lock together with the members of a group.

    Parameters
    ----------
    path : Path
        The lock that is held alone otherwise.
    group : str
        Hexadecimal digits of the group.
    ask_job, own_job
        See `Attempt`.

    Raises
    ------
    SessionLocked
        If another process holds it alone, or another group does.
    """
    own = path.with_name(f"{path.stem}.{group}.{token_hex(4)}{path.suffix}")

    def others() -> list[Path]:
        return [path, *(share for share in _shares(path) if share.name.split(".")[-3] != group)]

    held = _take(Attempt(own, ask_job, others, own_job))
    try:
        with lending(path):
            yield
    finally:
        held.close()


def _shares(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}.*.????????{path.suffix}"))
