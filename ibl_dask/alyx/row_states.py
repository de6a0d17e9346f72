"""Transitions of rows of tasks: a pure function of statuses, as the reference's runner makes them.

Source: `run_alyx_task` and `Pipeline.rerun_failed` of ibllib 4.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.model.status import Status

RELEASING = frozenset({Status.COMPLETE, Status.INCOMPLETE})
"""Statuses of parents that let their children start; an empty parent does not."""
RERUN = tuple(status for status in Status if status is not Status.ABANDONED)
"""Statuses of rows that `rerun` runs again."""
RERUN_FAILED = (Status.WAITING, Status.HELD, Status.STARTED, Status.ERRORED, Status.EMPTY)
"""Statuses of rows that `rerun_failed` runs again; an incomplete one is as complete as it can be."""

Verdict = Literal["run", "hold", "unknown parent"]


def status_after(code: int | None, outputs: Sequence[object] | None) -> Status:
    """Return the status of a row after its task ran.

    Parameters
    ----------
    code : int
        Code that the task returned: 0 done, -1 failed, -2 to be tried again, -3 incomplete.
    outputs : sequence, optional
        Files that it left. None stands for nothing to do; an empty list is complete.
    """
    by_code = {-1: Status.ERRORED, -2: Status.WAITING, -3: Status.INCOMPLETE}
    if code in by_code:
        return by_code[code]
    return Status.EMPTY if outputs is None else Status.COMPLETE


def judge(row: TaskRow, statuses: Mapping[str, Status]) -> Verdict:
    """Return whether a row may run now.

    Parameters
    ----------
    row : TaskRow
        The row.
    statuses : mapping
        Identifier -> status of the tasks that are known. A parent that is not among them is never taken for done.
    """
    if any(parent not in statuses for parent in row.parents):
        return "unknown parent"
    return "run" if all(statuses[parent] in RELEASING for parent in row.parents) else "hold"


def released(deck: Iterable[TaskRow], statuses: Mapping[str, Status]) -> list[TaskRow]:
    """Return the held rows whose parents have all ended so that they may start.

    Parameters
    ----------
    deck : iterable of TaskRow
        Rows, of one session or of many.
    statuses : mapping
        See `judge`.
    """
    return [row for row in deck if row.status is Status.HELD and judge(row, statuses) == "run"]


def ready_together(rows: Sequence[TaskRow], statuses: Mapping[str, Status]) -> tuple[list[TaskRow], list[TaskRow]]:
    """Part the waiting rows of one session: those that run in one pass, and those to be held.

    A row runs in the pass if each of its parents lets it start, or runs in the same pass before it.

    Parameters
    ----------
    rows : sequence of TaskRow
        Waiting rows of one session.
    statuses : mapping
        See `judge`; of all tasks of the session, and of parents elsewhere.

    Returns
    -------
    list of TaskRow, list of TaskRow
        Rows to run, parents first; rows to hold.
    """
    left = list(rows)
    taken: dict[str, TaskRow] = {}
    names: set[str] = set()
    while True:
        fitting = [
            row
            for row in left
            if all(parent in taken or statuses.get(parent) in RELEASING for parent in row.parents)
            and row.name not in names
        ]
        if not fitting:
            break
        for row in fitting:
            if row.name not in names:  # a name that two rows share runs once in a pass
                taken[row.id] = row
                names.add(row.name)
        left = [row for row in left if row.id not in taken]
    held = [row for row in left if row.name not in names]
    return list(taken.values()), held
