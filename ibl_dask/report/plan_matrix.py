"""The plan of many sessions: a matrix of sessions and tasks, and the reasons by which tasks do not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from ibl_dask.errors import split_message
from ibl_dask.model.failure import Failure
from ibl_dask.model.forecast import TaskForecast
from ibl_dask.report.failure_groups import FailureGroup, group_failures, mask
from ibl_dask.report.failure_lines import failure_lines, group_numbers
from ibl_dask.report.lines import Line, count
from ibl_dask.report.matrix import DONE, FAILS, RUNS, WAITS, Mark, MatrixRow, choose_rows, count_words, matrix
from ibl_dask.report.session_rows import SessionRow

_REASON_LINES = 46
_MOST_NOTES = 3
_OF_MANY = {FAILS: "fail", RUNS: "run", DONE: "have nothing to do"}


@dataclass(frozen=True, slots=True)
class PlannedSession:
    """Plan of one session."""

    session: str
    """subject/date/number."""
    path: str
    """Session folder."""
    tasks: tuple[TaskForecast, ...] = ()
    """Forecasts of its tasks, in order."""
    is_asked: bool = False
    """The tasks were asked for by name."""
    failure: Failure | None = None
    """Error for which it cannot be planned; None otherwise."""
    notes: tuple[str, ...] = ()
    """Remarks on what is left out."""

    @property
    def fails(self) -> bool:
        """Return whether a run would fail for a known reason."""
        return self.failure is not None or any(task.fails or (self.is_asked and task.waits) for task in self.tasks)

    @property
    def mark(self) -> Mark:
        """Return the session as a whole."""
        return FAILS if self.fails else RUNS if any(task.runs for task in self.tasks) else DONE

    @property
    def core_hours(self) -> float:
        """Return the time of its tasks on one core, as far as it is known, h."""
        return sum(task.core_s or 0.0 for task in self.tasks if task.runs) / 3600

    @property
    def gpu_hours(self) -> float:
        """Return the time of its tasks on one GPU, as far as it is known, h."""
        return sum(task.gpu_s or 0.0 for task in self.tasks if task.runs) / 3600

    @property
    def has_unknown_length(self) -> bool:
        """Return whether a task runs of which nothing is known."""
        return any(task.runs and task.core_s is None for task in self.tasks)

    def row(self) -> SessionRow:
        """Return its known failures and unmet requirements, as after a run."""
        failures = {task.task: _failures(task) for task in self.tasks if task.fails}
        waiting = {task.task: task.failure for task in self.tasks if task.waits and task.failure is not None}
        return {
            "session": self.session,
            "path": self.path,
            "failures": [] if self.failure is None else [self.failure],
            "task_failures": failures,
            "waiting": waiting,
            "not_required": [] if self.is_asked else list(waiting),
        }


def plan_groups(planned: Sequence[PlannedSession]) -> list[FailureGroup]:
    """Return the known failures and unmet requirements of all sessions, by cause."""
    return group_failures(session.row() for session in planned)


def plan_matrix(
    planned: Sequence[PlannedSession], groups: Sequence[FailureGroup], width: int
) -> tuple[Table, list[Line]]:
    """Return a table of sessions and tasks, and the lines below it: legend, sessions without a row, reasons, notes.

    Tasks that wait in every session have no column; their reasons are below.

    Parameters
    ----------
    planned : sequence of PlannedSession
        Sessions.
    groups : sequence of FailureGroup
        Their failures, as `plan_groups` returns them.
    width : int
        Width of the terminal, characters.
    """
    shown, hidden = choose_rows(planned, lambda session: (FAILS, RUNS, DONE).index(session.mark))
    names = dict.fromkeys(t.task for session in planned for t in session.tasks if not t.waits or session.is_asked)
    numbers = group_numbers([session.row() for session in shown], groups)
    with_gpu = any(session.gpu_hours for session in shown)
    rows = []
    for session, number in zip(shown, numbers, strict=True):
        more = "+" if session.has_unknown_length else ""
        core = "" if session.failure is not None else f"{session.core_hours:.2f}{more}"
        cells = (core, *([f"{session.gpu_hours:.2f}"] if with_gpu else []), number)
        rows.append(MatrixRow(session.session, {t.task: _mark(t) for t in session.tasks}, (), cells))
    heads = ("core h", *(["GPU h"] if with_gpu else []), "reason" if any(numbers) else "")
    table, lines = matrix(rows, list(names), width, after=heads)
    if hidden:
        counts = count_words(_OF_MANY[session.mark] for session in hidden)
        lines.append(Line(f"and {count(len(hidden), 'more session')}: {counts} (--json and --details print all)"))
    lines += failure_lines(groups, width, _REASON_LINES, len(planned), "--json prints all")
    return table, [*lines, *_note_lines(planned)]


def _note_lines(planned: Sequence[PlannedSession]) -> list[Line]:
    notes: dict[str, list[str]] = {}
    for session in planned:
        for note in session.notes:
            notes.setdefault(mask(note), []).append(note)
    ordered = sorted(notes.values(), key=len, reverse=True)
    lines = [Line(f"note, {count(len(each), 'session')}: {each[0]}") for each in ordered[:_MOST_NOTES]]
    if len(ordered) > _MOST_NOTES:
        lines.append(Line(f"and {count(len(ordered) - _MOST_NOTES, 'more note')} (--details)"))
    return lines


def _mark(task: TaskForecast) -> Mark:
    return FAILS if task.fails else RUNS if task.runs else WAITS if task.waits else DONE


def _failures(task: TaskForecast) -> list[Failure]:
    """Return the errors of a task that is known to fail."""
    cameras = [camera for camera in task.cameras if camera.why == "no input"]
    found = [_failure(camera.detail, f"{camera.label} camera") for camera in cameras]
    return found or [task.failure or _failure(task.detail, task.task)]


def _failure(message: str, where: str) -> Failure:
    """Return the error of a forecast, which is kept as a message."""
    parts = {"where": "", "expected": "", "got": "", "do": "", **split_message(message)}
    where = f"{where}: {parts['where']}" if parts["where"] else where
    return Failure("NoInput", "missing_input", parts["what"], where, parts["expected"], parts["got"], parts["do"])
