"""The one writer to Alyx: sends the results of a spool, each once, whatever happens in between.

Each step may be repeated without harm: a file that is registered again keeps its dataset, a field that is written again
has the same value, a note has a key. So a result is removed from the spool only after all of it was accepted, and a
writer that is killed leaves nothing but a result that is sent again.

Requests: one change of its task for each result; for all results of a session together one `register-file` per 50
files, and one reading and one writing of the session for their checks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ibl_dask.alyx.client import Alyx, is_answered, status_of
from ibl_dask.alyx.deck import read_deck
from ibl_dask.alyx.registrar import Parcel, Registrar, Registration
from ibl_dask.alyx.session_notes import find_notes, write_notes
from ibl_dask.alyx.session_qc import merged_qc
from ibl_dask.alyx.spool import Letter, Spool
from ibl_dask.alyx.task_result import TaskResult
from ibl_dask.errors import AlyxLoginFailed, AlyxRefused, AlyxUnreachable, IblDaskError, SessionLocked
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.status import Status

_log = logging.getLogger(__name__)

MOST_FAILURES = 5
"""Failures of the server with one result, `COUNTED_EVERY_S` apart at least, after which it is set aside."""


_ODD_ANSWER = (KeyError, IndexError, TypeError, AttributeError, ValueError)
"""Errors of code that reads an answer of another form than that of Alyx 3."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Outcome of one pass over a spool."""

    n_sent: int = 0
    """Results that were sent."""
    n_left: int = 0
    """Results that are to be sent later."""
    n_dead: int = 0
    """Results that were set aside in this pass."""
    n_requests: int = 0
    """Requests of this pass."""
    retry_in_s: float = 0.0
    """Time for which the server asked for no request, s."""
    problems: tuple[str, ...] = ()
    """Reasons for which results were left or set aside."""
    datasets: Mapping[str, tuple[JsonObject, ...]] = field(default_factory=dict, repr=False)
    """Task -> records of the datasets of its results that were sent, as Alyx answered them, each with its `path`."""


@dataclass
class _Open:
    """A result that is being sent."""

    letter: Letter
    datasets: Mapping[str, JsonObject] = field(default_factory=dict)
    """Path -> record of the dataset, of its files."""
    refused: list[IblDaskError] = field(default_factory=list)
    """What Alyx refused of it."""
    is_left: bool = False
    """It has to wait for another pass."""
    has_failed: bool = False
    """The server answered with an error of its own, though not that of a mistake."""
    is_registered: bool = False
    """All its files are registered."""


class Writer:
    """Writer of one spool; keeps ids of sessions and kinds of files from pass to pass.

    Parameters
    ----------
    spool : Spool
        The spool.
    alyx : Alyx
        The client.
    registration : Registration
        Repository at which files are registered.
    now : callable, optional
        Returns Unix time, s.
    """

    def __init__(
        self, spool: Spool, alyx: Alyx, registration: Registration, now: Callable[[], float] = time.time
    ) -> None:
        self.spool = spool
        self._now = now
        self._alyx = alyx
        self._registrar = Registrar(alyx, registration, spool)
        self._session_ids: dict[str, str] = {}

    def run(
        self,
        keep_going: Callable[[], bool] = lambda: True,
        is_ripe: Callable[[Sequence[TaskResult]], bool] = lambda _: True,
    ) -> SyncReport:
        """Send the results that are in the spool now; those that cannot be sent stay there.

        Parameters
        ----------
        keep_going : callable
            Asked before each session; a pass ends early where it returns False.
        is_ripe : callable
            Asked for the results of each session, oldest first; those for which it returns False are left in the spool.

        Raises
        ------
        SessionLocked
            If another process sends from this spool.
        AlyxLoginFailed
            If the token is not accepted; nothing is set aside for that.
        """
        n_before, n_sent, n_dead = self._alyx.n_requests, 0, 0
        problems: list[str] = []
        datasets: dict[str, tuple[JsonObject, ...]] = {}
        with self.spool.writing() as held:
            for letters in _by_session(self.spool.pending()):
                held.require_own()
                if not keep_going():
                    break
                if not is_ripe([letter.result for letter in letters]):
                    continue
                try:
                    rows = self._send_session(letters)
                    if any(row.has_failed for row in rows):
                        self._alyx.read("users", self._alyx.user)  # raises where the whole server fails
                        self._count_failures(rows)
                except AlyxUnreachable as error:
                    problems.append(str(error))
                    if self._alyx.is_of_one(error):
                        continue  # its results stay, and those of other sessions do not wait for them
                    break
                for row in rows:
                    problems += [f"{_name(row.letter)}: {error}" for error in row.refused]
                    if row.is_left:
                        continue
                    if row.refused:
                        self.spool.bury(row.letter, _joined(row.refused))
                        n_dead += 1
                    else:
                        ids = {path: record["id"] for path, record in row.datasets.items()}
                        self.spool.settle(row.letter, {"datasets": ids})
                        n_sent += 1
                        if task := row.letter.result.task_id:
                            records = ({**record, "path": path} for path, record in row.datasets.items())
                            datasets[task] = (*datasets.get(task, ()), *records)
                if not any(row.is_left for row in rows):
                    self.spool.end_call(rows[0].letter.result.session_id)
        left = self.spool.n_pending()
        n_requests = self._alyx.n_requests - n_before
        return SyncReport(n_sent, left, n_dead, n_requests, self._alyx.parked_s, tuple(problems), datasets)

    def _count_failures(self, rows: list[_Open]) -> None:
        for row in rows:
            if row.has_failed:
                row.letter = self.spool.count_failure(row.letter, self._now())
        given_up = [row for row in rows if row.has_failed and row.letter.n_failed >= MOST_FAILURES]
        for row in given_up:
            row.is_left = False
        self._write_tasks(given_up)
        for row in given_up:  # also where its task cannot be changed, which may be what fails
            row.is_left = False

    # -- one session ------------------------------------------------------------------------------------------------

    def _send_session(self, letters: list[Letter]) -> list[_Open]:
        """Send the results of one session, oldest first.

        Raises
        ------
        AlyxUnreachable
            If there is no connection: other sessions would fare no better.
        """
        rows = [_Open(letter) for letter in letters]
        session_id = ""
        with _Guard(*rows):
            session_id = self._session_id(rows[0].letter.result)
        if not session_id:
            return rows
        for row in rows:
            if not row.letter.result.session_id:
                row.letter = replace(row.letter, result=replace(row.letter.result, session_id=session_id))
        for step in (self._register, self._write_qc, self._write_notes, self._write_tasks):
            step([row for row in rows if not row.is_left])
        return rows

    def _session_id(self, result: TaskResult) -> str:
        if result.session_id:
            return result.session_id
        if result.session not in self._session_ids:
            dates = f"{result.date},{result.date}"
            found = self._alyx.rows("sessions", subject=result.subject, date_range=dates, number=result.number)
            if len(found) != 1:
                raise AlyxRefused(
                    "Alyx has not exactly one session of this name",
                    where=result.session,
                    expected="one session",
                    got=f"{len(found)} sessions",
                    do="create the session in Alyx, or remove all but one of it; then ibl-dask alyx sync --again",
                )
            self._session_ids[result.session] = str(found[0]["id"])
        return self._session_ids[result.session]

    def _register(self, rows: list[_Open]) -> None:
        def parcel(row: _Open) -> Parcel:
            def keep(changed: TaskResult) -> None:
                row.letter = self.spool.update(row.letter, changed)

            return Parcel(row.letter.result, keep)

        parcels = [parcel(row) for row in rows]
        with _Guard(*rows):
            self._registrar.register(parcels)
            for row, sent in zip(rows, parcels, strict=True):
                with _Guard(row):
                    if sent.error is not None:
                        raise sent.error
                    row.datasets = sent.datasets
                    row.refused += [_not_registered(row.letter, path, why) for path, why in sent.refused.items()]
                    row.is_registered = not sent.refused

    def _write_qc(self, rows: list[_Open]) -> None:
        with_qc = [row for row in rows if row.letter.result.qc or row.letter.result.outcome]
        if not with_qc:
            return
        session_id = with_qc[0].letter.result.session_id
        with _Guard(*with_qc):
            changes = merged_qc((row.letter.result for row in with_qc), self._alyx.read("sessions", session_id))
            if changes:
                self._alyx.change("sessions", session_id, changes)

    def _write_notes(self, rows: list[_Open]) -> None:
        with_notes = [row for row in rows if row.letter.result.notes]
        if not with_notes:
            return
        with _Guard(*with_notes):
            present = find_notes(self._alyx, with_notes[0].letter.result.session_id)
            for row in with_notes:
                with _Guard(row):
                    write_notes(self._alyx, row.letter.result, present)

    def _write_tasks(self, rows: list[_Open]) -> None:
        deck: list[JsonObject] | None = None
        for row in rows:
            if row.is_left:
                continue
            with _Guard(row):
                task_id = row.letter.result.task_id
                if not task_id and row.letter.result.session_id:  # an empty filter would list the tasks of all sessions
                    if deck is None:
                        deck = read_deck(self._alyx, row.letter.result.session_id)
                    task_id = _find_task(deck, row.letter.result.task)
                if not task_id:
                    continue  # Alyx has no such task: its files and checks count
                try:
                    self._alyx.change("tasks", task_id, self._task_fields(row))
                except AlyxLoginFailed:
                    raise
                except AlyxRefused as error:
                    if status_of(error) != 404:
                        raise
                    _log.warning("%s: the task is no longer in Alyx", _name(row.letter))

    def _task_fields(self, row: _Open) -> dict[str, object]:
        """Return the fields of a task: its status is Errored if files were not registered, as in the reference."""
        result = row.letter.result
        status, log = result.status, result.log.replace(self._alyx.access.token.reveal(), "[token]")
        if row.refused:
            log = "\n".join([log.rstrip("\n"), *(f"not accepted by Alyx: {error}" for error in row.refused)])
        if not row.is_registered:
            status = Status.ERRORED.value
        known = {"log": log, "version": result.version, "time_elapsed_secs": result.seconds}
        return {"status": status, **{name: value for name, value in known.items() if value not in ("", None)}}


class _Guard:
    """Block in which an error that concerns some results alone is noted on them, and the others go on."""

    def __init__(self, *rows: _Open) -> None:
        self._rows = rows

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, _ODD_ANSWER) and not isinstance(error, IblDaskError):
            error = _odd_answer(self._rows[0].letter, error)
        if isinstance(error, AlyxLoginFailed) or not isinstance(error, IblDaskError):
            return False
        if isinstance(error, AlyxUnreachable):
            if not is_answered(error):
                return False
            for row in self._rows:
                row.is_left = row.has_failed = True
                row.refused.append(error)
            return True
        for row in self._rows:
            row.is_left = row.is_left or isinstance(error, SessionLocked)
            row.refused.append(error)
        return True


def _odd_answer(letter: Letter, error: BaseException) -> AlyxUnreachable:
    return AlyxUnreachable(
        "an answer of Alyx is not of the expected form",
        where=_name(letter),
        expected="the fields of Alyx 3",
        got=f"status 200, {type(error).__name__}: {error}",
        do="check the address and the version of Alyx; report it if both are right",
    )


def _by_session(letters: Iterable[Letter]) -> list[list[Letter]]:
    """Return the results of each session together, the session with the oldest one first."""
    groups: dict[tuple[str, str], list[Letter]] = {}
    for letter in letters:
        groups.setdefault((letter.result.session, letter.result.session_id), []).append(letter)
    return list(groups.values())


def _find_task(deck: Iterable[JsonObject], name: str) -> str:
    """Return the id of the latest task of a name; empty if there is none."""
    named = [row for row in deck if row.get("name") == name]
    return str(max(named, key=lambda row: str(row.get("datetime") or ""))["id"]) if named else ""


def _not_registered(letter: Letter, path: str, why: str) -> AlyxRefused:
    return AlyxRefused(
        "a file is not registered",
        where=f"{letter.result.session}/{path}",
        expected="a file that Alyx can register",
        got=why,
        do="correct that, in Alyx or here, then ibl-dask alyx sync --again",
    )


def _joined(errors: list[IblDaskError]) -> IblDaskError:
    first = errors[0]
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    return type(first)(first.what, first.where, first.expected, first.got + more, first.do)


def _name(letter: Letter) -> str:
    return f"{letter.result.session}, {letter.result.task}"
