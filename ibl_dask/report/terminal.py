"""Tables for a terminal, from plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ibl_dask.report.findings import Finding, read_findings, worst_first
from ibl_dask.report.messages import take_apart
from ibl_dask.report.palette import look_of

_SUCCESSES = ("Complete", "Empty")
_UNSTARTED = ("Waiting", "Held")
_STATE_STYLES = {
    "done": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "running": "cyan",
    "put off": "yellow",
    "waiting": "dim",
    "not started": "dim",
}


def qc_table(record: Mapping[str, Any]) -> Table:
    """Return the checks of a session, failing ones first.

    Parameters
    ----------
    record : mapping
        Content of `qc.json`.
    """
    cameras = record.get("cameras") or {}
    found = worst_first(f for label, content in cameras.items() for f in read_findings(str(label), content))
    table = _table(Text(f"{record.get('session') or 'session'}: ") + _judge(record.get("outcome") or "NOT_SET"))
    for name in ("outcome", "camera", "check"):
        table.add_column(name, no_wrap=True)
    for name in ("measured", "threshold"):
        table.add_column(name, overflow="fold")
    for finding in found:
        cells = (Text(finding.camera), Text(finding.check or "all"), _measured(finding), Text(finding.threshold))
        table.add_row(_judge(finding.outcome), *cells)
    if not found:
        table.caption = "no camera was checked"
    return table


def outcome_table(sessions: Iterable[Mapping[str, Any]]) -> Table:
    """Return how the sessions of a run ended, those that failed first.

    Parameters
    ----------
    sessions : iterable of mappings
        `session`, `state` (done, failed, interrupted, not started), `tasks` {name: status}, `not_required` (names),
        `qc` {camera: outcome}, `chunks_done`, `chunks_kept`, `failures` (messages); all but the first may be missing.
        What went wrong is for the caller to tell, in full.
    """
    rows = sorted(sessions, key=lambda row: _ENDS.index(_end(row)))
    many = "1 session" if len(rows) == 1 else f"{len(rows):,} sessions"
    table = _table(Text(f"{many}, {_summary(rows)}"))
    table.add_column("session", no_wrap=True)
    for name in ("tasks", "checks"):
        table.add_column(name, overflow="fold", min_width=12)
    for name in ("chunks", "kept"):
        table.add_column(name, justify="right")
    for row in rows:
        done, kept = int(row.get("chunks_done") or 0), int(row.get("chunks_kept") or 0)
        chunks = (f"{done + kept:,}" if done + kept else "", f"{kept:,}" if kept else "")
        session = Text(str(row.get("session", "")))
        table.add_row(
            session, _tasks(row.get("tasks"), row.get("not_required") or (), _end(row)), _checks(row.get("qc")), *chunks
        )
    return table


def status_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return where the sessions of a run are.

    Parameters
    ----------
    rows : iterable of mappings
        `session`, `state` (waiting, put off, running, done, failed, interrupted, not started), `planned`, `done` and
        `kept` (steps), `tasks`
        {name: status}, `qc` {camera: outcome}, `failures` (messages); all but the first may be missing.
    """
    rows = tuple(rows)
    table = _table(None)
    table.add_column("session", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("steps", "kept"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("tasks", "checks"):
        table.add_column(name, overflow="fold", min_width=12)
    for row in rows:
        state = str(row.get("state") or "waiting")
        planned, done, kept = (int(row.get(key) or 0) for key in ("planned", "done", "kept"))
        table.add_row(
            Text(str(row.get("session", ""))),
            Text(state, style=_STATE_STYLES.get(state, "")),
            f"{done:,} of {planned:,}" if planned else "",
            f"{kept:,}" if kept else "",
            _tasks(row.get("tasks"), _excused(row.get("tasks"), state)),
            _checks(row.get("qc")),
        )
    states = Counter(str(row.get("state") or "waiting") for row in rows)
    table.caption = ", ".join(f"{n:,} {state}" for state, n in states.items()) or "no session"
    return table


def doctor_table(findings: Iterable[Mapping[str, Any]], site: str) -> Table:
    """Return what was found at a site, place by place; each problem with what to do.

    Parameters
    ----------
    findings : iterable of mappings
        `place`, `check`, `importance` (ok, note, warning, problem), `found`, `do`.
    site : str
        Name of the site.
    """
    findings = tuple(findings)
    counts = Counter(str(finding["importance"]) for finding in findings)
    bad = [f"{counts[word]} {word}{'s' * (counts[word] > 1)}" for word in ("problem", "warning") if counts[word]]
    table = _table(Text(f"{site}: {', '.join(bad) or 'all well'}"))
    for name in ("", "where", "what"):
        table.add_column(name, no_wrap=True)
    table.add_column("found", overflow="fold")
    for number, finding in enumerate(findings):
        if number and finding["place"] != findings[number - 1]["place"]:
            table.add_section()
        do = str(finding.get("do") or "")
        told = Text(str(finding["found"])) + Text(f"\n→ {do}" if do else "")
        table.add_row(_judge(finding["importance"]), Text(str(finding["place"])), Text(str(finding["check"])), told)
    return table


def _table(title: Text | None) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        header_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )


def _judge(word: object) -> Text:
    look = look_of(word)
    return Text(f"{look.glyph} {word}", style=look.style)


def _measured(finding: Finding) -> Text:
    told = take_apart(finding.message)
    lines = [finding.measured or finding.numbers, told.what, f"→ {told.do}" if told.do else ""]
    return Text("\n".join(line for line in lines if line))


_ENDS = ("failed", "interrupted", "not started", "done")


def _end(row: Mapping[str, Any]) -> str:
    """Return how a session went: in its own words, else by its tasks."""
    state = str(row.get("state") or "")
    return state if state in _ENDS else "done" if _is_good(row) else "failed"


def _summary(rows: Iterable[Mapping[str, Any]]) -> str:
    """Count sessions by how they went, and checks of cameras that are not well."""
    rows = tuple(rows)
    ends = Counter(_end(row) for row in rows)
    checks = Counter(str(outcome) for row in rows for outcome in (row.get("qc") or {}).values())
    bad = [f"{checks[word]:,} {word}" for word in ("CRITICAL", "FAIL", "WARNING") if checks[word]]
    if set(ends) <= {"done"} and not bad:
        return "all well"
    told = [f"{ends[end]:,} {end}" for end in _ENDS if ends[end] and (end != "done" or len(ends) > 1)] or ["all done"]
    return ", ".join(told) + (f"; checks of cameras: {', '.join(bad)}" if bad else "")


def _is_good(row: Mapping[str, Any]) -> bool:
    tasks, excused = row.get("tasks") or {}, row.get("not_required") or ()
    is_good = all(str(status) in _SUCCESSES or name in excused for name, status in tasks.items())
    return bool(tasks) and not row.get("failures") and is_good


def _excused(tasks: Mapping[str, object] | None, state: str) -> list[str]:
    """Return the tasks of a session that only wait for what is not part of it: it was done without them."""
    return [name for name, status in (tasks or {}).items() if state == "done" and str(status) in _UNSTARTED]


def _tasks(tasks: Mapping[str, object] | None, excused: Container[str] = (), state: str = "") -> Text:
    """Say how many tasks are complete, and name those that should be and are not."""
    tasks = tasks or {}
    waiting = [name for name in tasks if name in excused]
    bad = {name: s for name, s in tasks.items() if str(s) not in _SUCCESSES and name not in excused}
    n_asked = len(tasks) - len(waiting)
    lines = [Text(f"{n_asked - len(bad)} of {n_asked} complete")] if tasks else []
    if waiting:
        lines.append(Text(f"{len(waiting)} for other environments", style=_STATE_STYLES["waiting"]))
    if not tasks and state in ("interrupted", "not started"):
        lines.append(Text(state, style=_STATE_STYLES[state]))
    lines += [Text(f"{name} ") + Text(str(status), style=look_of(status).style) for name, status in bad.items()]
    return Text("\n").join(lines)


def _checks(qc: Mapping[str, object] | None) -> Text:
    lines = [Text(f"{camera} ") + _judge(outcome) for camera, outcome in (qc or {}).items()]
    return Text("\n").join(lines)
