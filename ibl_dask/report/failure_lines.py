"""Groups of failures as lines, in as much detail as there is room for."""

from __future__ import annotations

from collections.abc import Sequence

from ibl_dask.report.failure_groups import FailureGroup, group_failures, session_failures
from ibl_dask.report.lines import Line, count, height, some
from ibl_dask.report.session_rows import SessionRow, bad_tasks, needs_someone

_BRIEF_LINES = 2
_WHAT_TO_DO = "What to do"


def failure_lines(
    groups: Sequence[FailureGroup],
    width: int,
    most_lines: int,
    n_sessions: int,
    elsewhere: str = "ibl-dask status --json",
) -> list[Line]:
    """Return the groups of failures of a run, numbered, in at most some lines of a terminal.

    Each group has its problem and its sessions. Where there is room the next step follows, the worst group first, then
    the other parts of the first failure. Of more groups than there is room for, the last ones are counted.

    Parameters
    ----------
    groups : sequence of FailureGroup
        Groups, the worst first.
    width : int
        Width of the terminal, characters.
    most_lines : int
        Room, in lines of that width.
    n_sessions : int
        Sessions of the run.
    elsewhere : str
        Where the groups are that have no room.
    """
    # What waits needs no more than the next step, unless there is but one session to tell of.
    levels = [
        [_group(group, number, level) for level in _levels(group, n_sessions)] for number, group in _numbered(groups)
    ]
    heights = [[height(lines, width) for lines in each] for each in levels]
    # A line is left for the number of groups that have no room.
    n = len(groups)
    while n and sum(each[0] for each in heights[:n]) + (n < len(groups)) > most_lines:
        n -= 1
    n = max(n, min(1, len(groups)))
    chosen = [0] * n
    used = sum(each[0] for each in heights[:n]) + (n < len(groups))
    for level in (1, 2):
        for i in range(n):
            if level < len(levels[i]) and chosen[i] == level - 1:
                more = heights[i][level] - heights[i][level - 1]
                if used + more <= most_lines:
                    chosen[i], used = level, used + more
    lines = [line for i in range(n) for line in levels[i][chosen[i]]]
    if n < len(groups):
        lines.append(
            Line(f"and {count(len(groups) - n, 'more kind')} of failure or wait: {elsewhere}", "bold", is_cut=True)
        )
    return lines


def session_lines(rows: Sequence[SessionRow], groups: Sequence[FailureGroup], most: int) -> list[Line]:
    """Return a line per session that needs someone, with the numbers of its groups and the tasks that failed.

    Parameters
    ----------
    rows : sequence of SessionRow
        Sessions of the run.
    groups : sequence of FailureGroup
        Their failures, in the order of the numbers.
    most : int
        Number of sessions that are named; the others are counted.
    """
    bad = [row for row in rows if needs_someone(row)]
    shown = bad[:most]
    numbers = _numbers(shown, groups)
    lines = [_session(row, each) for row, each in zip(shown, numbers, strict=True)]
    if len(bad) > most:
        lines.append(Line(f"and {count(len(bad) - most, 'more session')}: ibl-dask status --failed", "bold"))
    return lines


def group_numbers(rows: Sequence[SessionRow], groups: Sequence[FailureGroup]) -> list[str]:
    """Return the numbers of each session's groups, as `[1] [3]`."""
    return [" ".join(f"[{number}]" for number in each) for each in _numbers(rows, groups)]


def _numbers(rows: Sequence[SessionRow], groups: Sequence[FailureGroup]) -> list[list[int]]:
    """Return the numbers of the groups that hold a session's failures, without waits."""
    known = {group.cause: number for number, group in _numbered(groups) if not group.is_wait}
    return [
        sorted({known[group.cause] for group in group_failures([row]) if group.cause in known})
        if session_failures(row)
        else []
        for row in rows
    ]


def _numbered(groups: Sequence[FailureGroup]) -> enumerate[FailureGroup]:
    return enumerate(groups, 1)


def _levels(group: FailureGroup, n_sessions: int) -> tuple[int, ...]:
    return (0, 1) if group.is_wait and n_sessions > 1 else (0, 1, 2)


def _group(group: FailureGroup, number: int, level: int) -> list[Line]:
    """Return a group with its problem and sessions (0), the next step (1), or everything of its first failure (2)."""
    n = len(group.sessions)
    subject = group.sessions[0] if n == 1 else count(n, "session")
    verb = (" waits" if n == 1 else " wait") if group.is_wait else ""
    what = group.reason if level else _first_line(group.reason)
    lines = [Line(f"[{number}] {subject}{verb}: {what} ({group.category})", "" if group.is_wait else "bold")]
    whom = [some(group.sessions, 2)] if n > 1 and not group.is_wait else []
    whom += [f"{name}: {some(each)}" for name, each in _concerned(group) if each]
    if whom:
        lines.append(Line(f"    {'; '.join(whom)}"))
    if level == 0:
        return [Line(line.text, line.style, is_cut=True) for line in lines]
    first = f" (the first of {group.n_failures:,})" if group.n_failures > 1 else ""
    for heading, text in group.first.parts:
        if level == 2 or heading == _WHAT_TO_DO:
            lines.append(Line(f"    {heading.lower()}: {text}{first if heading == 'Where' else ''}", indent=6))
    return lines


def _concerned(group: FailureGroup) -> tuple[tuple[str, Sequence[str]], ...]:
    cameras = "camera" if len(group.cameras) == 1 else "cameras"
    tasks = "task" if len(group.tasks) == 1 else "tasks"
    return (cameras, group.cameras), (tasks, group.tasks)


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0]


def _session(row: SessionRow, numbers: Sequence[int]) -> Line:
    tasks = [f"{name} {status}" for name, status in bad_tasks(row).items()]
    checks = [
        f"{camera} {outcome}" for camera, outcome in (row.get("qc") or {}).items() if outcome in ("FAIL", "CRITICAL")
    ]
    parts = [row["session"], " ".join(f"[{number}]" for number in numbers), some(tasks, 2), some(checks)]
    state = str(row.get("state") or "failed")
    return Line(
        f"✕ {'  '.join(part for part in parts if part)}" + ("" if state == "failed" else f"  {state}"),
        "red",
        is_cut=True,
    )
