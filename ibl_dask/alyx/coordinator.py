"""The one coordinator of a data repository: it alone claims rows, holds them and returns them."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from types import TracebackType

from ibl_dask.alyx.claims import FARTHEST_BEHIND_S, Claim, clock_ahead_s, is_orphan, read_claim, without_claim
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.deck import readable, statuses_by_id
from ibl_dask.alyx.repository import Place
from ibl_dask.alyx.row_states import released
from ibl_dask.alyx.task_queue import rows_of
from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.deploy.batch_systems.registry import ask_job, own_job
from ibl_dask.errors import AlyxRefused, AlyxUnreachable, SessionLocked
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.status import Status
from ibl_dask.model.text import read_text
from ibl_dask.store.atomic import make_folder, writing_path
from ibl_dask.store.lock import holding

_log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{32}")


class Coordinator:
    """Holder of the lock of a data repository.

    Alyx has no conditional change and no owner of a row: of two programs that claim rows of one repository, both may
    run a task. So one lock file on a disk that all of them see decides, and a claim in the log names the owner.

    Parameters
    ----------
    alyx : Alyx
        The database.
    place : Place
        The server whose rows it claims.
    folder : Path
        Folder of the lock.
    spooled : callable
        Returns the identifiers of the rows whose results wait to be sent.
    lease_s : float, optional
        See `ibl_dask.alyx.claims.is_orphan`.
    keeps_logs : bool
        Keep the earlier log of a row before the new one.
    """

    def __init__(
        self,
        alyx: Alyx,
        place: Place,
        folder: Path,
        *,
        spooled: Callable[[], frozenset[str]] = frozenset,
        lease_s: float | None = None,
        keeps_logs: bool = False,
    ) -> None:
        self.alyx, self.place = alyx, place
        self.lock = folder / f"alyx-{place.repository or '-'.join(place.labs)}.lock.json"
        self.spooled, self.lease_s, self.keeps_logs = spooled, lease_s, keeps_logs
        self.in_flight: set[str] = set()
        """Identifiers of the rows that are claimed and have no result."""
        self.clock_ahead_s = FARTHEST_BEHIND_S
        """See `ibl_dask.alyx.claims.clock_ahead_s`; known once a row was changed."""
        self._sessions: dict[str, str] = {}
        """Row that was claimed -> its session."""
        self.earlier_logs: dict[str, str] = {}
        """Row -> its log before it was claimed, where that is kept."""
        self.claim_of_all: Claim | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Coordinator:
        """Take the lock.

        Raises
        ------
        SessionLocked
            If another coordinator holds it.
        """
        make_folder(self.lock.parent)
        try:
            self._held = self._stack.enter_context(holding(self.lock, ask_job, own_job()))
        except SessionLocked as error:
            raise SessionLocked(
                "another program runs the tasks of this data repository",
                where=str(self.lock),
                expected="one coordinator per repository",
                got=error.got,
                do="wait for it, or end it: a row must not run twice",
            ) from error
        self.claim_of_all = Claim.of_this_process(_id_of(self.lock), own_job())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def mine(self) -> Claim:
        """Return the claim of this coordinator, while it holds the lock.

        Raises
        ------
        SessionLocked
            If the lock was taken over.
        """
        if self.claim_of_all is None:
            raise RuntimeError("a coordinator claims within its `with` block")
        self._held.require_own()
        return self.claim_of_all

    @property
    def is_lost(self) -> bool:
        """Return whether another process took the lock over."""
        return self._held.is_lost

    @property
    def sessions_in_flight(self) -> frozenset[str]:
        """Return the identifiers of the sessions of rows that are claimed and have no result."""
        known, rows = self._sessions, frozenset(self.in_flight)  # another thread may claim meanwhile
        return frozenset(known[row] for row in rows if row in known)

    # -- single rows ------------------------------------------------------------------------------------------

    def claim(self, row: TaskRow) -> None:
        """Set a waiting row to Started, with the owner in its log.

        It is run as it was read and checked, and not as the answer has it: that might name another class by now.
        """
        if self.keeps_logs:
            self.earlier_logs[row.id] = without_claim(row.log)
        log = self.mine.to_log(self.earlier_logs.get(row.id, ""))
        self._sessions = {each: self._sessions[each] for each in self._sessions.keys() & self.in_flight}
        self._sessions[row.id] = row.session
        self.in_flight.add(row.id)
        self._change(row, {"status": str(Status.STARTED), "log": log})

    def hold(self, row: TaskRow) -> None:
        """Set a row to Held, until its parents ended."""
        if row.status is not Status.HELD:
            self._change(row, {"status": str(Status.HELD)})

    def give_back(self, row: TaskRow, why: str) -> None:
        """Set a claimed row back to Waiting, with the reason in its log."""
        before = without_claim(row.log)
        log = f"{before}\n{why}" if before else why
        self._change(row, {"status": str(Status.WAITING), "log": log})

    def _change(self, row: TaskRow, fields: JsonObject) -> None:
        answer = self.alyx.change("tasks", row.id, fields)
        written = answer.get("datetime") if isinstance(answer, dict) else None
        ahead_s = clock_ahead_s(str(written), time.time())
        if ahead_s is not None:
            self.clock_ahead_s = ahead_s

    # -- sweeps -----------------------------------------------------------------------------------------------

    def sweep(self) -> tuple[list[TaskRow], list[TaskRow]]:
        """Return rows of dead owners to Waiting, and release held rows whose parents ended.

        A row that Alyx refuses to change is left for the next sweep, and keeps no other from being changed.

        Returns
        -------
        list of TaskRow, list of TaskRow
            Rows that were returned; rows that were released.
        """
        return self.return_orphans(), self.release_held()

    def return_orphans(self) -> list[TaskRow]:
        """Set started rows without a live owner back to Waiting, and return them."""
        kept = self.spooled() | self.in_flight  # before the rows are read
        started = readable(rows_of(self.alyx, self.place, Status.STARTED))
        orphans = [
            row for row in started if is_orphan(row, self.mine, kept, lease_s=self.lease_s, ahead_s=self.clock_ahead_s)
        ]
        return self._each(self._return, orphans)

    def _return(self, row: TaskRow) -> None:
        claim = read_claim(row.log)
        owner = "its runner left no sign of life" if claim is None else f"{claim.host} ended in the middle of it"
        self.give_back(row, f"Returned to the queue: {owner}.")
        _log.warning("%s (%s) was started and had no owner any more: it waits again", row.name, row.id)

    def release_held(self) -> list[TaskRow]:
        """Set held rows whose parents have all ended well to Waiting, and return them.

        Parents are looked up in a fresh list, and only this coordinator holds and releases, so that no parent ends
        between the two without being seen by the next sweep.
        """
        held = readable(rows_of(self.alyx, self.place, Status.HELD))
        unfinished = {row.id for row in held}
        likely = [row for row in held if not unfinished.intersection(row.parents)]
        statuses = statuses_by_id(self.alyx, (parent for row in likely for parent in row.parents))
        return self._each(self._release, released(likely, statuses))

    def _release(self, row: TaskRow) -> None:
        self._change(row, {"status": str(Status.WAITING)})

    def _each(self, change: Callable[[TaskRow], None], rows: Iterable[TaskRow]) -> list[TaskRow]:
        """Change rows one by one, and return those that were changed."""
        done = []
        for row in rows:
            try:
                change(row)
            except (AlyxRefused, AlyxUnreachable) as error:
                if not self.alyx.is_of_one(error):
                    raise
                _log.warning("%s (%s) could not be changed: %s", row.name, row.id, error)
            else:
                done.append(row)
        return done


def _id_of(lock: Path) -> str:
    """Return the identifier of a lock, which the caller holds.

    Its path is none: other hosts have other disks at the same path, and the same disk at others.
    """
    path = lock.with_name(f"{lock.name.removesuffix('.lock.json')}.id")
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        known = read_text(path).strip()
        if _ID.fullmatch(known):
            return known
    fresh = token_hex(16)
    with writing_path(path, len(fresh)) as temporary:
        temporary.write_text(fresh)
    return fresh
