"""Report of a run as one HTML file: a row per session and camera, failures by cause, throughput, durations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ibl_dask.report import drawing
from ibl_dask.report.check_rows import severity
from ibl_dask.report.failure_groups import FailureGroup, group_failures
from ibl_dask.report.lines import count, some
from ibl_dask.report.page_environment import page_environment
from ibl_dask.report.quantities import format_duration, format_moment
from ibl_dask.report.session_rows import SessionRow, bad_tasks, end_of, needs_someone, not_required, summarise_ends

Rows = tuple[tuple[str, str], ...]

N_BINS = 60
"""Bars of the figure of throughput."""
MOST_SLOW = 10
"""Sessions and kinds of steps that are listed as the slowest."""
MOST_SHOWN = 300
"""Rows that are shown at first, so that the page of a large run opens at once; filters look through all."""
_WIDTH_PX, _HEIGHT_PX, _FOOT_PX = 1180.0, 110.0, 22.0


@dataclass(frozen=True, slots=True)
class CohortSession:
    """One session of a run, with its cameras."""

    row: SessionRow
    """State, tasks, checks by camera, failures."""
    ended_s: float = 0.0
    """Unix time of its end; 0 where it is not known."""
    seconds: float | None = None
    """Time from its first to its last event, s; None where it is not known."""
    core_s: float = 0.0
    """Duration of all its steps, s."""
    failing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Camera -> names of checks that are worse than PASS."""
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    """Camera -> data URI of a small picture."""


@dataclass(frozen=True, slots=True)
class CohortContent:
    """A run, as values."""

    name: str
    """Name of the run."""
    facts: Rows
    """Facts about the run, such as host and version."""
    sessions: Sequence[CohortSession]
    """Its sessions."""
    started_s: float = 0.0
    """Unix time of its start; 0 where it is not known."""
    kinds: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Kind of step -> number of steps, and their duration together, s."""


@dataclass(frozen=True, slots=True)
class CohortRow:
    """Row of the table: one camera of a session, or a session without cameras."""

    session: str
    camera: str
    outcome: str
    """Worst outcome of the checks of the camera; empty where none was made."""
    checks: str
    """Names of its checks that are worse than PASS."""
    state: str
    tasks: str
    """Complete tasks of those required."""
    reason: str
    """First failure of the session."""
    do: str
    """The next step."""
    duration: str
    seconds: float
    """Value that the column of durations is sorted by, s."""
    report: str
    """Address of the report of the session; empty where there is none."""
    thumbnail: str
    rank: int
    """Place in an order that starts with those that need someone."""


def render_cohort(content: CohortContent) -> str:
    """Render the report of a run.

    Returns
    -------
    str
        A whole HTML page with styles, pictures and a short script inside. Without scripts it shows the same, and
        cannot be sorted or filtered.
    """
    sessions = content.sessions
    table = sorted((row for session in sessions for row in _rows(session)), key=lambda row: row.rank)
    plain = [session.row for session in sessions]
    groups = group_failures(plain)
    return (
        page_environment()
        .get_template("cohort.html.j2")
        .render(
            name=content.name,
            summary=f"{count(len(sessions), 'session')}, {summarise_ends(plain)}",
            started=format_moment(content.started_s) if content.started_s else "",
            facts=content.facts,
            failures=[_group(group) for group in groups if not group.is_wait],
            waits=[_group(group) for group in groups if group.is_wait],
            rows=table,
            most_shown=MOST_SHOWN,
            states=tuple(dict.fromkeys(row.state for row in table)),
            outcomes=tuple(sorted({row.outcome for row in table if row.outcome}, key=severity)),
            cameras=tuple(dict.fromkeys(row.camera for row in table if row.camera)),
            has_pictures=any(row.thumbnail for row in table),
            throughput=draw_throughput(content),
            slow_sessions=_slow_sessions(sessions),
            slow_kinds=_slow_kinds(content.kinds),
        )
    )


def _rows(session: CohortSession) -> Iterable[CohortRow]:
    row = session.row
    checks = row.get("qc") or {}
    failures = list(row.get("failures") or ())
    n_tasks = len(row.get("tasks") or {}) - len(not_required(row))
    state = str(row.get("state") or end_of(row))
    urgent = 0 if needs_someone(row) else 100
    path = str(row.get("report") or "")
    for camera in checks or ("",):
        outcome = str(checks.get(camera, ""))
        yield CohortRow(
            session=str(row.get("session", "")),
            camera=camera,
            outcome=outcome,
            checks=", ".join(session.failing.get(camera, ())),
            state=state,
            tasks=f"{n_tasks - len(bad_tasks(row))}/{n_tasks}" if row.get("tasks") else "",
            reason=failures[0].what if failures else "",
            do=failures[0].do if failures else "",
            duration=format_duration(session.seconds) if session.seconds is not None else "",
            seconds=session.seconds or 0.0,
            report=Path(path).as_uri() if Path(path).is_absolute() else "",
            thumbnail=session.thumbnails.get(camera, ""),
            rank=urgent + severity(outcome or "NOT_SET"),
        )


def _group(group: FailureGroup) -> dict[str, str]:
    return {
        "n": count(len(group.sessions), "session"),
        "category": group.category.replace("_", " "),
        "what": group.first.what,
        "got": group.first.got,
        "do": group.first.do,
        "who": ", ".join((*group.tasks, *group.cameras)),
        "sessions": some(group.sessions),
    }


def _slow_sessions(sessions: Iterable[CohortSession]) -> Rows:
    timed = [session for session in sessions if session.seconds]
    slowest = sorted(timed, key=lambda session: -(session.seconds or 0.0))[:MOST_SLOW]
    return tuple((str(each.row.get("session", "")), format_duration(each.seconds)) for each in slowest)


def _slow_kinds(kinds: Mapping[str, tuple[int, float]]) -> tuple[tuple[str, str, str, str, float], ...]:
    total_s = sum(seconds for _, seconds in kinds.values()) or 1.0
    order = sorted(kinds.items(), key=lambda item: -item[1][1])[:MOST_SLOW]
    return tuple(
        (kind, f"{n:,}", format_duration(seconds), f"{seconds / max(n, 1):,.2f} s", 100 * seconds / total_s)
        for kind, (n, seconds) in order
    )


def draw_throughput(content: CohortContent) -> str:
    """Draw the sessions that ended along the run, done and failed above each other; empty where fewer than two did."""
    ended = sorted((each.ended_s, end_of(each.row) == "done") for each in content.sessions if each.ended_s)
    if len(ended) < 2:
        return ""
    start_s = min(content.started_s or ended[0][0], ended[0][0])
    span_s = max(ended[-1][0] - start_s, 1.0)
    done, failed = [0] * N_BINS, [0] * N_BINS
    for time_s, is_done in ended:
        place = min(int((time_s - start_s) / span_s * N_BINS), N_BINS - 1)
        (done if is_done else failed)[place] += 1
    highest = max(a + b for a, b in zip(done, failed, strict=True))
    width, body = _WIDTH_PX / N_BINS, ""
    for place, (n_done, n_failed) in enumerate(zip(done, failed, strict=True)):
        low = 0
        for n, kind in ((n_done, "bar"), (n_failed, "bar off")):
            if n:
                y = _HEIGHT_PX * (1 - (low + n) / highest)
                body += drawing.draw_box(place * width, y, width - 2, _HEIGHT_PX * n / highest, kind)
            low += n
    body += drawing.draw_rule(0, _HEIGHT_PX, _WIDTH_PX, _HEIGHT_PX, "grid")
    body += drawing.write_text(0, _HEIGHT_PX + 16, "0 s", "tick")
    body += drawing.write_text(_WIDTH_PX, _HEIGHT_PX + 16, format_duration(span_s), "tick", "end")
    rate = f"{count(len(ended), 'session')} ended, {3600 * len(ended) / span_s:,.1f} per hour; "
    rate += f"a bar is {format_duration(span_s / N_BINS)}"
    size = f"{_WIDTH_PX:g} {_HEIGHT_PX + _FOOT_PX:g}"
    return f'<svg viewBox="0 0 {size}" role="img" aria-label="{rate}"><title>{rate}</title>{body}</svg>'
