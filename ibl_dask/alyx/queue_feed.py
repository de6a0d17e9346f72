"""Feed of a run: sessions with waiting rows, claimed one session at a time, when there is room for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.alyx import description_row
from ibl_dask.alyx.allowed import require_allowed
from ibl_dask.alyx.client import is_answered, status_of
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.deck import read_deck, readable, statuses_by_id, statuses_in
from ibl_dask.alyx.folders import folder_of
from ibl_dask.alyx.put_off import PutOff
from ibl_dask.alyx.reduced import reduced
from ibl_dask.alyx.results import Outbox, result_of, result_of_event, result_of_failure, with_earlier
from ibl_dask.alyx.row_states import RELEASING, ready_together
from ibl_dask.alyx.task_result import TaskResult
from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.errors import (
    AlyxLoginFailed,
    AlyxRefused,
    AlyxUnreachable,
    IblDaskError,
    NotASession,
    SessionLocked,
    UnusableFile,
    UsageError,
)
from ibl_dask.model import events
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.failures import failure_from
from ibl_dask.tasks.registry import build_task

_log = logging.getLogger(__name__)

REFRESH_S = 60.0
"""Interval at which the queue is read again while tasks run, s."""


@dataclass(slots=True)
class _Visit:
    """A session whose rows are claimed."""

    path: Path
    eid: str
    rows: dict[str, TaskRow]
    """Name -> row, of those that have not ended."""
    specs: tuple[TaskSpec, ...]


class QueueFeed:
    """Hands the sessions of waiting rows to a driver, and the ends of their tasks to an outbox.

    It is both `Feed` and listener of one run. Rows are claimed when the driver has room for a session, and returned to
    the queue if the run ends without a result of them.

    Parameters
    ----------
    coordinator : Coordinator
        Claims rows; its lock is held.
    outbox : Outbox
        Receives results.
    subjects : Path
        Folder of the subjects.
    wanted : callable
        Returns the waiting rows to run, most urgent first; called again every `REFRESH_S`.
    packages : iterable of str
        Packages whose classes may run, see `allowed_packages`.
    put_off : PutOff, optional
        Rows that are not tried yet; kept from run to run.
    site : mapping, optional
        What tasks find on the machines of the site: environments, engines, networks (`registry.SITE_OPTIONS`).
    most_tasks : int, optional
        Number of tasks with results to register after which no more is claimed.
    is_stopped : callable
        Returns True once no more is to be claimed.
    refresh_s : float
        See `REFRESH_S`.
    is_list : bool
        The rows are a list, which is read once, and not a queue.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        outbox: Outbox,
        subjects: Path,
        wanted: Callable[[], Sequence[JsonObject]],
        packages: Iterable[str],
        *,
        put_off: PutOff | None = None,
        site: Mapping[str, object] | None = None,
        most_tasks: int | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
        refresh_s: float = REFRESH_S,
        is_list: bool = False,
    ) -> None:
        self.coordinator, self.outbox, self.subjects = coordinator, outbox, subjects.expanduser().absolute()
        self._wanted, self._packages = wanted, tuple(packages)
        self.put_off = PutOff() if put_off is None else put_off
        self._site = dict(site or {})
        self._most_tasks, self._is_stopped, self._refresh_s = most_tasks, is_stopped, refresh_s
        self._queue: list[list[TaskRow]] = []
        self._next_s = 0.0
        self._was_empty = False
        self._is_list, self._is_read = is_list, False
        self._visits: dict[Path, _Visit] = {}
        self._ahead: Path | None = None
        self._folders: dict[str, Path] = {}
        self.n_registered = 0
        """Tasks that ended with files to register."""
        self.ended: list[str] = []
        """Identifiers of the rows that ended, in order."""
        self.errors: list[Exception] = []
        """Errors for which the end of a task was not noted: its row waits again after the next sweep."""

    # -- feed -------------------------------------------------------------------------------------------------

    @property
    def n_sessions(self) -> int:
        """Return 0: rows come to the queue at any time."""
        return 0

    @property
    def is_over(self) -> bool:
        """Return True once the queue is empty and all that was claimed has ended, or no more is to be claimed."""
        if self._is_stopped() or self._is_enough(0):
            return True
        return self._was_empty and not self._queue and not self._visits

    def begin(self) -> bool:
        """Claim the first session, and return whether there is one: no run is made for nothing."""
        self._ahead = self.take()
        return self._ahead is not None

    def take(self) -> Path | None:
        """Claim the rows of a session and return its folder; None where there is none now."""
        if self._ahead is not None:
            path, self._ahead = self._ahead, None
            return path
        try:
            while not self._is_stopped() and not self._is_enough(self._n_in_flight):
                if not self._queue and not self._refill():
                    return None
                busy = {visit.eid for visit in self._visits.values()}
                rows = next((rows for rows in self._queue if rows[0].session not in busy), None)
                if rows is None:
                    return None
                self._queue.remove(rows)
                visit = self._visit_safely(rows)
                if visit is not None:
                    return visit.path
                if not self._visits:
                    self._next_s = 0.0  # nothing is waited for
        except (AlyxUnreachable, AlyxRefused) as error:
            if isinstance(error, AlyxLoginFailed):
                raise
            _log.warning("no rows are claimed for now: %s", error)
            self._next_s = time.monotonic() + self._refresh_s
            self._was_empty = not self._visits
        return None

    def specs(self, session: Path) -> Sequence[TaskSpec] | None:
        """Return the tasks that were claimed in a session."""
        return self._visits[session].specs

    @property
    def _n_in_flight(self) -> int:
        return sum(len(visit.rows) for visit in self._visits.values())

    def _is_enough(self, n_in_flight: int) -> bool:
        return self._most_tasks is not None and self.n_registered + n_in_flight >= self._most_tasks

    def _refill(self) -> bool:
        """Read the queue again, if it is time; return whether there is something in it."""
        if self._is_list and self._is_read:
            self._was_empty = True
            return False
        if time.monotonic() < self._next_s:
            return False
        self._is_read = True
        self._next_s = time.monotonic() + self._refresh_s
        in_flight = {row.id for visit in self._visits.values() for row in visit.rows.values()}
        groups: dict[str, list[TaskRow]] = {}
        for row in readable(self._wanted()):
            if row.id not in in_flight and not self.put_off.holds(row.id) and not self.outbox.is_spooled(row.id):
                groups.setdefault(row.session, []).append(row)
        self._queue = list(groups.values())
        self._was_empty = not self._queue
        return bool(self._queue)

    def _visit_safely(self, rows: list[TaskRow]) -> _Visit | None:
        """Claim rows of a session; one that Alyx does not show is put off."""
        try:
            return self._visit(rows)
        except (AlyxLoginFailed, SessionLocked):
            raise
        except Exception as error:  # noqa: BLE001  # one session must not stop the others
            self._put_off(rows, error)
            return None

    def _put_off(self, rows: Iterable[TaskRow], error: Exception) -> None:
        """Put rows off for an error of theirs.

        Raises
        ------
        AlyxUnreachable, AlyxLoginFailed
            If it is one of the whole server.
        """
        if isinstance(error, AlyxUnreachable | AlyxRefused) and not self.coordinator.alyx.is_of_one(error):
            raise error
        for row in rows:
            self.put_off.add(row.id, str(error) if isinstance(error, IblDaskError) else repr(error))

    def _visit(self, rows: list[TaskRow]) -> _Visit | None:
        """Claim those rows of a session that may run; None where there is none."""
        eid = rows[0].session
        path = self._folder(eid)
        if path in self._visits:
            return None
        asked = {row.id for row in rows}
        deck = read_deck(self.coordinator.alyx, eid)
        known = readable(deck)
        for missing in asked - {row.id for row in known}:
            self.put_off.add(missing, "Alyx does not list it among the tasks of its session")
        fresh = [row for row in known if row.id in asked and row.status is Status.WAITING]
        fresh = [row for row in fresh if self._may_run(row, path)]
        statuses = statuses_in(deck)
        elsewhere = [parent for row in fresh for parent in row.parents if parent not in statuses]
        statuses |= statuses_by_id(self.coordinator.alyx, elsewhere)
        ready, held = ready_together(fresh, statuses)
        if self._most_tasks is not None:
            n_left = max(0, self._most_tasks - self.n_registered - self._n_in_flight)
            ready, later = ready[:n_left], ready[n_left:]
            self._queue += [later] if later else []
        for row in held:
            try:
                self.coordinator.hold(row)
            except (AlyxRefused, AlyxUnreachable) as error:
                self._put_off([row], error)
        visit = self._visits[path] = _Visit(path, eid, {}, ())
        try:
            self._claim_all(ready, visit)
        finally:
            if not visit.rows:
                del self._visits[path]
        names = {row.id: row.name for row in visit.rows.values()}
        visit.specs = tuple(
            row.spec([names[parent] for parent in row.parents if parent in names]) for row in visit.rows.values()
        )
        return visit if visit.rows else None

    def _claim_all(self, rows: Sequence[TaskRow], visit: _Visit) -> None:
        """Claim rows for a visit, parents first.

        A row whose parent was not claimed, or ended here without letting it start, is left waiting. Where Alyx goes
        away in between, the visit has those that were claimed before.
        """
        left: set[str] = set()
        for row in rows:
            if not left.isdisjoint(row.parents):
                left.add(row.id)
                continue
            visit.rows[row.name] = row  # before the claim: an interrupt returns it
            try:
                is_claimed = self._is_claimed(row, visit.path)
            except AlyxUnreachable:
                del visit.rows[row.name]
                if not visit.rows:
                    raise
                break
            is_to_run = is_claimed and row.executable != description_row.EXECUTABLE
            lets_go_on = is_to_run or (is_claimed and self._has_registered(row, visit.path))
            if not is_to_run:
                del visit.rows[row.name]
            if not lets_go_on:
                left.add(row.id)

    def _is_claimed(self, row: TaskRow, path: Path) -> bool:
        """Claim a row; return False, and put it off, where Alyx does not let this one change."""
        try:
            self.coordinator.claim(row)
        except (AlyxRefused, AlyxUnreachable) as error:
            self.coordinator.in_flight.discard(row.id)
            if isinstance(error, AlyxUnreachable) and not is_answered(error):
                self._return(row, path)  # it may have been carried out, although no answer came
            self._put_off([row], error)
            return False
        return True

    def _has_registered(self, row: TaskRow, path: Path) -> bool:
        """Do the work of a claimed row that is about Alyx alone; return whether its children may start."""
        try:
            result = description_row.register_description(self.coordinator.alyx, row, Session(path))
        except AlyxUnreachable as error:
            if self.coordinator.alyx.is_of_one(error):
                self.put_off.add(row.id, str(error))
            self._return(row, path)
            return False
        self._end(row, result)
        return Status(result.status) in RELEASING

    def _may_run(self, row: TaskRow, path: Path) -> bool:
        """Return whether a row can run here; one that cannot is put off, and stays as it is."""
        try:
            require_allowed(row.executable, self._packages)
            if row.executable == description_row.EXECUTABLE:
                return True  # the coordinator does it, and checks it
            task = build_task(row.spec(), Session(path), **self._site)
            unmet = task.unmet_requirement()
        except UsageError as error:
            self.put_off.add(row.id, str(error))
            return False
        except Exception as error:  # noqa: BLE001  # one row must not stop the others
            self.put_off.add(row.id, f"{type(error).__name__}: {error}")
            return False
        if unmet is not None:
            self.put_off.add(row.id, unmet.message)
            return False
        return True

    def _folder(self, eid: str) -> Path:
        """Return the folder of a session here.

        Raises
        ------
        NotASession
            If there is none.
        """
        if eid not in self._folders:
            self._folders[eid] = folder_of(self._row_of_session(eid), self.subjects)
        path = self._folders[eid]
        Session(path).look()
        return path

    def _row_of_session(self, eid: str) -> Mapping[str, object]:
        try:
            row: Mapping[str, object] = self.coordinator.alyx.read("sessions", eid)
            return row
        except AlyxRefused as error:
            if status_of(error) != 404:
                raise
            raise NotASession(
                "Alyx does not have the session of a task", where=eid, do="delete the task in Alyx"
            ) from error

    # -- listener ---------------------------------------------------------------------------------------------

    def __call__(self, event: events.Event) -> None:
        """Take the end of a task or of a session; an error is kept, since the driver drops a listener that raises."""
        try:
            self._take_event(event)
        except Exception as error:  # noqa: BLE001  # the rows are returned by the next sweep
            _log.exception("the end of a task could not be noted")
            self.errors.append(error)

    def _take_event(self, event: events.Event) -> None:
        if isinstance(event, events.TaskFinished):
            visit = self._visits.get(Path(event.session))
            row = None if visit is None else visit.rows.pop(event.task, None)
            if visit is not None and row is not None:
                self._end(row, _result(row, visit.path, event))
        elif isinstance(event, events.SessionFinished):
            visit = self._visits.pop(Path(event.session), None)
            if visit is not None and event.failure is not None:
                for row in visit.rows.values():
                    self._end(row, result_of_failure(row, visit.path, event.failure))
            elif visit is not None:
                for row in visit.rows.values():
                    self._return(row, visit.path)
            self._next_s = 0.0  # children may be free now

    def _end(self, row: TaskRow, result: TaskResult) -> None:
        self.ended.append(row.id)
        self.n_registered += bool(result.outputs)
        if result.status == Status.WAITING:
            self.put_off.add(row.id, result.log.splitlines()[-1] if result.log else "it asked for another try")
        else:
            self.put_off.forget(row.id)
        self._hand_over(result)

    def _return(self, row: TaskRow, path: Path) -> None:
        text = "Returned to the queue: the run was ended before this task was."
        self._hand_over(result_of(row, path, Status.WAITING, text))

    def _hand_over(self, result: TaskResult) -> None:
        """Write a result to the spool; without it, the row is returned by the next sweep, and tried later."""
        try:
            result = with_earlier(result, self.coordinator.earlier_logs.pop(result.task_id, ""))
            try:
                self.outbox.put(result)
            except UnusableFile as error:
                self.outbox.put(reduced(result, error))
        except Exception as error:  # noqa: BLE001  # a listener that raises is dropped, a feed that raises ends its run
            _log.exception("the end of a task could not be noted")
            self.errors.append(error)
            self.put_off.add(result.task_id, f"its result could not be kept: {error}")
        finally:
            self.coordinator.in_flight.discard(result.task_id)

    def return_claims(self) -> None:
        """Return the rows that were claimed and have no result to the queue: the run ended.

        After the loss of the lock they are left to its new holder, which may have claimed them again.
        """
        if self.coordinator.is_lost:
            self._visits.clear()
        for visit in self._visits.values():
            for row in visit.rows.values():
                self._return(row, visit.path)
        self._visits.clear()


def _result(row: TaskRow, session: Path, event: events.TaskFinished) -> TaskResult:
    """Return the result of a row; an error of making it, such as that of a damaged record of checks, is its result."""
    try:
        return result_of_event(row, session, event)
    except Exception as error:  # noqa: BLE001  # the end of a task must reach Alyx
        return result_of(row, session, Status.ERRORED, failure_from(error).message)
