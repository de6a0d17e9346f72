"""Status of a run: a matrix of sessions, and their failures by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from ibl_dask.model.failure import Failure
from ibl_dask.report.failure_groups import FailureGroup, group_failures
from ibl_dask.report.failure_lines import failure_lines, group_numbers
from ibl_dask.report.lines import Line, count
from ibl_dask.report.matrix import MOST_ROWS, MatrixRow, matrix, outcome_mark
from ibl_dask.report.session_rows import SessionRow, bad_tasks, needs_someone, not_required
from ibl_dask.report.terminal import STATE_STYLES, status_table
from ibl_dask.store.run_progress import SessionProgress

FEW = 5
"""Number of sessions up to which each is shown in full."""
_URGENCY = ("failed", "interrupted", "running", "put off", "waiting", "not started", "done")


def session_row(progress: SessionProgress) -> SessionRow:
    """Return the progress of a session as tables take it."""
    task_failures: dict[str, list[Failure]] = {}
    for each in progress.failures:
        if each.task:
            task_failures.setdefault(each.task, []).append(each.failure)
    row: SessionRow = {
        "session": "/".join(progress.session.rstrip("/").split("/")[-3:]),
        "path": progress.session,
        "state": progress.state,
        "planned": progress.planned,
        "done": progress.ended,
        "kept": progress.kept,
        "tasks": progress.tasks,
        "qc": progress.qc,
        "failures": [each.failure for each in progress.failures],
        "task_failures": task_failures,
        "waiting": {each.task: each.failure for each in progress.delays if each.task},
        "delays": [each.failure for each in progress.delays if not each.task],
        "report": progress.report,
    }
    if progress.not_required is not None:
        row["not_required"] = progress.not_required
    return row


@dataclass(slots=True)
class RowsInSight:
    """Rows of a run of any length: the most urgent ones, and counts of all."""

    shown: list[SessionRow] = field(default_factory=list)
    """Sessions that are shown."""
    states: Counter[str] = field(default_factory=Counter)
    """State -> number of sessions."""
    hidden: Counter[str] = field(default_factory=Counter)
    """State -> number of sessions that are not shown."""
    groups: list[FailureGroup] = field(default_factory=list)
    """Failures by cause."""

    @classmethod
    def of(cls, rows: Iterable[SessionRow], most: int = MOST_ROWS) -> RowsInSight:
        """Look at each row once, and keep all in their order, or the most urgent ones that are not done.

        Parameters
        ----------
        rows : iterable of SessionRow
            Sessions.
        most : int
            Number of sessions that are shown.
        """
        found = cls()
        kept: list[tuple[int, int, SessionRow]] = []

        def each() -> Iterator[SessionRow]:
            for number, row in enumerate(rows):
                found.states[_state(row)] += 1
                kept.append((_urgency(row), number, row))
                if len(kept) > 2 * most + 100:
                    kept.sort(key=lambda item: item[:2])
                    del kept[most:]
                yield row

        found.groups = group_failures(each())
        n = found.states.total()
        if n > most:
            kept = sorted((item for item in kept if _state(item[2]) != "done"), key=lambda item: item[:2])
        found.shown = [row for _, _, row in kept[:most]]
        found.hidden = found.states - Counter(_state(row) for row in found.shown)
        return found


def status_view(sight: RowsInSight, width: int, most_lines: int, details: bool = False) -> tuple[Table, list[Line]]:
    """Return a table of sessions, and the lines below it: legend, counts, failures by cause.

    Parameters
    ----------
    sight : RowsInSight
        Sessions.
    width : int
        Width of the terminal, characters.
    most_lines : int
        Lines for the failures.
    details : bool
        Whether to print each session in full, as where they are few.
    """
    n = sight.states.total()
    if details or n <= FEW:
        table, lines = status_table(sight.shown), list[Line]()
    else:
        table, lines = _matrix(sight, width)
        lines.insert(0, Line(count_states(sight.states), "bold"))
    if sight.hidden:
        text = f"and {count(sight.hidden.total(), 'more session')} ({count_states(sight.hidden)})"
        text += "; --state, --category, --json show them"
        lines.append(Line(text))
    return table, [*lines, *failure_lines(sight.groups, width, most_lines, n)]


def count_states(states: Mapping[str, int]) -> str:
    """Return the number of sessions in each state, the worst first.

    >>> count_states({"done": 1000, "failed": 2})
    '2 failed, 1,000 done'
    """
    known = sorted(states, key=lambda state: _URGENCY.index(state) if state in _URGENCY else len(_URGENCY))
    return ", ".join(f"{states[state]:,} {state}" for state in known)


def _matrix(sight: RowsInSight, width: int) -> tuple[Table, list[Line]]:
    numbers = group_numbers(sight.shown, sight.groups)
    rows = []
    for row, number in zip(sight.shown, numbers, strict=True):
        state, planned = _state(row), row.get("planned") or 0
        n_tasks = len(row.get("tasks") or {}) - len(not_required(row))
        tasks = f"{n_tasks - len(bad_tasks(row))}/{n_tasks}" if row.get("tasks") else ""
        steps = f"{row.get('done') or 0:,}/{planned:,}" if planned else ""
        marks = {camera: outcome_mark(outcome) for camera, outcome in (row.get("qc") or {}).items()}
        rows.append(
            MatrixRow(row["session"], marks, (Text(state, STATE_STYLES.get(state, "")), steps, tasks), (number,))
        )
    labels = dict.fromkeys(label for row in sight.shown for label in row.get("qc") or {})
    return matrix(rows, list(labels), width, ("state", "steps", "tasks"), ("reason" if any(numbers) else "",))


def _state(row: SessionRow) -> str:
    return str(row.get("state") or "waiting")


def _urgency(row: SessionRow) -> int:
    state = _state(row)
    known = _URGENCY.index(state) if state in _URGENCY else 0
    return 0 if needs_someone(row) else known
