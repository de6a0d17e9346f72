"""Rows of tables with one session each, and how a session ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from ibl_dask.model.failure import Failure


class SessionRow(TypedDict, total=False):
    """One session of a run; all but `session` may be missing."""

    session: str
    """subject/date/number."""
    path: str
    """Session folder."""
    state: str
    """waiting, put off, running, done, failed, interrupted or not started."""
    planned: int
    """Steps that were planned."""
    done: int
    """Steps that ended."""
    kept: int
    """Those of them that were found finished."""
    chunks_done: int
    """Chunks of video computed in this run."""
    chunks_kept: int
    """Chunks of video kept from an earlier run."""
    tasks: Mapping[str, str]
    """Task -> status."""
    qc: Mapping[str, str]
    """Camera -> worst outcome of its checks."""
    failures: Sequence[Failure]
    """Errors of the session."""
    task_failures: Mapping[str, Sequence[Failure]]
    """Task that ended with errors -> these."""
    delays: Sequence[Failure]
    """Reasons for which the session or a task of it had to wait."""
    waiting: Mapping[str, Failure]
    """Task that did not start -> reason."""
    not_required: Sequence[str]
    """Tasks that wait without being required."""
    passed_over: bool
    """True if the session has none of the requested tasks."""
    report: str
    """Path of its report; empty where there is none."""


ENDS = ("failed", "interrupted", "not started", "done")
"""States in which a session can end, the worst first."""
_SUCCESSES = ("Complete", "Empty")
_UNSTARTED: tuple[str, ...] = ("Waiting", "Held")


def end_of(row: SessionRow) -> str:
    """Return the state in which a session ended: its own, else by its tasks."""
    state = str(row.get("state") or "")
    return state if state in ENDS else "done" if _is_good(row) else "failed"


def needs_someone(row: SessionRow) -> bool:
    """Return whether a session failed, or has failures though it has not ended."""
    state = str(row.get("state") or "")
    if state in ("waiting", "put off", "not started"):
        return False
    return bool(row.get("failures")) if state in ("running", "interrupted") else end_of(row) == "failed"


def not_required(row: SessionRow) -> list[str]:
    """Return the tasks without which a session is done: they wait for an environment or a database."""
    if "not_required" in row:
        return list(row["not_required"])
    # Journals of before 0.1 do not name them: a session that failed for nothing else lacks those that wait.
    lacks = row.get("state") == "failed" and not row.get("failures")
    optional = _UNSTARTED if row.get("state") == "done" else _UNSTARTED[:0] if lacks else _UNSTARTED[:1]
    return [name for name, status in (row.get("tasks") or {}).items() if str(status) in optional]


def bad_tasks(row: SessionRow) -> dict[str, str]:
    """Return the tasks that should be complete and are not, with their status."""
    optional = not_required(row)
    return {n: str(s) for n, s in (row.get("tasks") or {}).items() if str(s) not in _SUCCESSES and n not in optional}


def summarise_ends(rows: Iterable[SessionRow]) -> str:
    """Return the number of sessions in each state, and of cameras with each outcome other than PASS."""
    rows = tuple(rows)
    ends = Counter(end_of(row) for row in rows)
    checks = Counter(str(outcome) for row in rows for outcome in (row.get("qc") or {}).values())
    bad = [f"{checks[word]:,} {word}" for word in ("CRITICAL", "FAIL", "WARNING") if checks[word]]
    if set(ends) <= {"done"} and not bad:
        return "all well"
    counts = [f"{ends[end]:,} {end}" for end in ENDS if ends[end] and (end != "done" or len(ends) > 1)] or ["all done"]
    return ", ".join(counts) + (f"; checks of cameras: {', '.join(bad)}" if bad else "")


def _is_good(row: SessionRow) -> bool:
    return bool(row.get("tasks")) and not row.get("failures") and not bad_tasks(row)
