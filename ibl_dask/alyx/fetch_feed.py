"""Feed of a run: sessions that are fetched while it goes on, a few ahead of the workers, in a share of the disk."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.data_login import DataLogin
from ibl_dask.alyx.downloads import DownloadLimits, Downloads, Stopped
from ibl_dask.alyx.fetch_session import FetchPlace, SessionFetcher
from ibl_dask.alyx.fetched import FetchRecord
from ibl_dask.errors import DiskFull, IblDaskError, NoRoomToFetch, TaskFailed
from ibl_dask.model import events
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.free_space import measure_spaces
from ibl_dask.store.task_record import parameters_fingerprint

_log = logging.getLogger(__name__)

MOST_AHEAD = 4
"""Fetched sessions that the driver has not taken yet."""
MOST_BYTES = 200 * 10**9
"""Size of fetched files of sessions that have not ended, beyond which no further one is fetched, bytes."""
_OF_SITE = ("work_dir", "environments", "skip_absent")
"""Arguments of a request that do not change its results."""
_PATIENCE_S = 5.0
"""Wait for the end of downloads at the end of a run, s."""
_WAIT_S = 0.5
"""Interval at which a free place is looked for."""
LOOKED_EVERY_S = 30.0
"""Interval at which room is looked for on a full disk, s."""


@dataclass(frozen=True, slots=True)
class FetchBounds:
    """How much is fetched before it is needed."""

    most_ahead: int = MOST_AHEAD
    """See `MOST_AHEAD`."""
    most_bytes: int = MOST_BYTES
    """See `MOST_BYTES`. A session that is larger alone is fetched when no other one is there."""
    evicts: bool = False
    """Remove fetched files after the success of their session."""
    longest_pause_s: float = 86_400.0
    """How long a full disk is waited for, s."""


@dataclass(eq=False, slots=True)
class _Guest:
    """A session that was fetched, or could not be."""

    path: Path
    record: FetchRecord | None = None
    error: IblDaskError | None = None
    n_bytes: int = 0
    outputs: set[Path] = field(default_factory=set)


class FetchFeed:
    """Hands sessions to a driver: first those that are here, then each that was fetched. A feed and a listener.

    Within its `with` block a thread fetches. A session that cannot be fetched is handed out as well, and fails with
    the reason.

    Parameters
    ----------
    alyx : Alyx
        The database.
    local : sequence of Path
        Sessions that are here.
    eids : sequence of str
        Identifiers of the sessions to fetch.
    place : FetchPlace
        Where to, and what of them.
    bounds : FetchBounds, optional
        How much at a time.
    login : DataLogin, optional
        Login of the server of files.
    limits : DownloadLimits, optional
        Time-outs and tries of downloads.
    """

    def __init__(
        self,
        alyx: Alyx,
        local: Sequence[Path],
        eids: Sequence[str],
        place: FetchPlace,
        bounds: FetchBounds | None = None,
        *,
        login: DataLogin | None = None,
        limits: DownloadLimits | None = None,
    ) -> None:
        self._local, self._eids, self._place = deque(local), list(eids), place
        self._bounds = bounds or FetchBounds()
        self._stop = threading.Event()
        limits = replace(limits or DownloadLimits(), most_bytes=self._bounds.most_bytes)
        downloads = Downloads(login or DataLogin(), limits, self._stop.is_set, self._sleep)
        self._fetcher = SessionFetcher(alyx, downloads, place, self._reserve)
        self._changed = threading.Condition()
        self._ready: deque[_Guest] = deque()
        self._guests: dict[Path, _Guest] = {}
        """Sessions that were handed out, or are about to be, and have not ended."""
        self._now: _Guest | None = None
        self._here = frozenset(local)
        self._n_done = 0
        self._request = _fingerprint(place.request)
        self._n_left = len(self._eids)
        self._n_sessions = len(local) + len(eids)
        self._thread = threading.Thread(target=self._fetch_all, daemon=True, name="alyx-fetch")

    @property
    def n_done(self) -> int:
        """Return the number of sessions that succeeded in an earlier run with this request, and were evicted."""
        return self._n_done

    def __enter__(self) -> FetchFeed:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_PATIENCE_S)  # longer only for a server that is silent; what came is kept

    # -- feed -------------------------------------------------------------------------------------------------

    @property
    def n_sessions(self) -> int:
        """Return the number of sessions."""
        return self._n_sessions

    @property
    def is_over(self) -> bool:
        """Return True once every session was handed out."""
        with self._changed:
            return not self._local and not self._ready and not self._n_left

    def take(self) -> Path | None:
        """Return the next session; None where none has come yet."""
        with self._changed:
            if self._local:
                return self._local.popleft()
            if not self._ready:
                return None
            guest = self._ready.popleft()
            self._changed.notify_all()
            return guest.path

    def specs(self, session: Path) -> Sequence[TaskSpec] | None:
        """Return None: tasks are those of the description.

        Raises
        ------
        IblDaskError
            For which the session could not be fetched.
        """
        guest = self._guests.get(session)
        if guest is not None and guest.error is not None:
            raise guest.error
        return None

    # -- thread -----------------------------------------------------------------------------------------------

    def _fetch_all(self) -> None:
        for eid in self._eids:
            with self._changed:
                self._changed.wait_for(lambda: self._stop.is_set() or len(self._ready) < self._bounds.most_ahead)
            guest = None if self._stop.is_set() else self._fetch(eid)
            with self._changed:
                self._n_left -= 1
                self._now = None
                if guest is not None and (guest.path in self._guests or guest.path in self._here):  # named twice
                    guest = None
                if guest is not None:
                    self._guests[guest.path] = guest
                    self._ready.append(guest)
                self._changed.notify_all()

    def _fetch(self, eid: str) -> _Guest | None:
        """Fetch a session; None where the run ended meanwhile."""
        guest = self._now = _Guest(self._place.folder / eid)
        try:
            guest.path, _ = self._fetcher.folder(eid)
            known = FetchRecord.read(guest.path)
            if known is not None and known.done == self._request != "":
                _log.info("%s succeeded before, and its fetched files were removed", guest.path)
                self._n_done += 1
                return None
            is_own = guest.path.is_dir() and known is None  # somebody else put it there
            if not is_own and guest.path not in self._guests and guest.path not in self._here:
                guest.record = self._bring(eid, guest)
                guest.n_bytes = guest.record.n_bytes()
        except Stopped:
            return None
        except IblDaskError as error:
            guest.error = copy.copy(error)  # without its cause: the tries were made here
            _log.warning("%s was not fetched: %s", eid, error)
        except Exception as error:  # noqa: BLE001  # one session must not stop the others
            _log.exception("%s was not fetched", eid)
            got = f"{type(error).__name__}: {error}"
            guest.error = TaskFailed("a session could not be fetched", where=eid, got=got, do="report it")
        return guest

    def _bring(self, eid: str, guest: _Guest) -> FetchRecord:
        """Fetch the files of a session, once the disk has room for them.

        Raises
        ------
        NoRoomToFetch
            If it has none for the longest pause.
        Stopped
            If the run ended.
        """
        until_s, is_told = time.monotonic() + self._bounds.longest_pause_s, False
        while True:
            try:
                return self._fetcher.fetch(eid, guest.path)
            except DiskFull as error:
                if time.monotonic() >= until_s:
                    raise NoRoomToFetch(
                        error.what, where=error.where, expected=error.expected, got=error.got, do=error.do
                    ) from error
                if not is_told:
                    _log.warning("paused, as no further session can be fetched: %s", error)
                is_told, guest.n_bytes = True, 0
                self._sleep(LOOKED_EVERY_S)
                if self._stop.is_set():
                    raise Stopped from None

    def _reserve(self, n_bytes: int) -> None:
        """Return once there is room for the files of a session, or no other session is left that could make some.

        Raises
        ------
        Stopped
            If the run ended.
        """
        now = self._now
        with self._changed:
            while not self._stop.is_set():
                others = sum(guest.n_bytes for guest in self._guests.values())
                is_first = not any(guest.n_bytes for guest in self._guests.values())
                own = 0 if now is None else now.n_bytes
                fits = others + own + n_bytes <= self._bounds.most_bytes and self._has_room(n_bytes)
                if fits or is_first:
                    if now is not None:
                        now.n_bytes += n_bytes
                    return
                self._changed.wait(_WAIT_S)
        raise Stopped

    def _has_room(self, n_bytes: int) -> bool:
        """Return whether the disk has room; where nothing is evicted, waiting would not make any."""
        space = measure_spaces([self._place.folder]).get(self._place.folder) if self._bounds.evicts else None
        return space is None or space.available_bytes > 2 * n_bytes

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    # -- listener ---------------------------------------------------------------------------------------------

    def __call__(self, event: events.Event) -> None:
        """Note the results of tasks; at the end of a session, free its share, and evict its files if asked."""
        if isinstance(event, events.TaskFinished):
            guest = self._guests.get(Path(event.session))
            if guest is not None:
                guest.outputs.update(map(Path, event.outputs))
        elif isinstance(event, events.SessionFinished):
            with self._changed:
                guest = self._guests.get(Path(event.session))
            if guest is None:
                return
            if event.is_success and self._bounds.evicts:
                self._evict(guest)
            with self._changed:
                guest.n_bytes, guest.record = 0, None
                self._changed.notify_all()

    def _evict(self, guest: _Guest) -> None:
        record = None if guest.record is None else FetchRecord.read(guest.path)
        if record is None:
            return
        try:
            record.evict(guest.outputs, self._request)
        except OSError as error:
            _log.warning("%s: fetched files could not be removed: %s", guest.path, error)


def _fingerprint(request: Mapping[str, Any]) -> str:
    """Return a fingerprint of what is asked for; empty where all is to be made anew."""
    if request.get("overwrite"):
        return ""
    return parameters_fingerprint(sorted((key, repr(value)) for key, value in request.items() if key not in _OF_SITE))
