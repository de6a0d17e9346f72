"""Tables for the terminal, made from plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypedDict

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ibl_dask.model.qc_record import CameraRecord
from ibl_dask.report.check_rows import CheckRow, read_check_rows, read_pose_rows, worst_first
from ibl_dask.report.lines import count
from ibl_dask.report.palette import look_of
from ibl_dask.report.session_rows import ENDS, SessionRow, bad_tasks, end_of, not_required, summarise_ends

STATE_STYLES = {
    "done": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "running": "cyan",
    "put off": "yellow",
    "waiting": "dim",
    "not started": "dim",
}


class QcContent(TypedDict, total=False):
    """Part of `qc.json` that a table shows."""

    session: str
    outcome: str
    cameras: Mapping[str, CameraRecord]
    pose: Mapping[str, CameraRecord]


def qc_table(record: QcContent) -> Table:
    """Return the checks of a session, failing ones first."""
    cameras = record.get("cameras") or {}
    of_cameras = (row for label, content in cameras.items() for row in read_check_rows(str(label), content))
    of_keypoints = (row for rows in read_pose_rows(record.get("pose") or {}).values() for row in rows)
    rows = worst_first((*of_cameras, *of_keypoints))
    table = _table(Text(f"{record.get('session') or 'session'}: ") + _outcome(record.get("outcome") or "NOT_SET"))
    for name in ("outcome", "camera", "check"):
        table.add_column(name, no_wrap=True)
    for name in ("measured", "threshold"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (Text(row.camera), Text(row.check or "all"), _measured(row), Text(row.threshold))
        table.add_row(_outcome(row.outcome), *cells)
    if not rows:
        table.caption = "no camera was checked"
    return table


def outcome_table(sessions: Iterable[SessionRow]) -> Table:
    """Return the outcome of a run, one row per session, failed ones first.

    Failures are not part of it: the caller prints them in full.
    """
    rows = sorted(sessions, key=lambda row: ENDS.index(end_of(row)))
    table = _table(Text(f"{count(len(rows), 'session')}, {summarise_ends(rows)}"))
    table.add_column("session", no_wrap=True)
    for name in ("tasks", "checks"):
        table.add_column(name, overflow="fold", min_width=12)
    for name in ("chunks", "kept"):
        table.add_column(name, justify="right")
    for row in rows:
        done, kept = row.get("chunks_done") or 0, row.get("chunks_kept") or 0
        chunks = (f"{done + kept:,}" if done + kept else "", f"{kept:,}" if kept else "")
        session = Text(str(row.get("session", "")))
        table.add_row(session, _tasks(row, end_of(row)), _checks(row.get("qc")), *chunks)
    return table


def status_table(rows: Iterable[SessionRow]) -> Table:
    """Return the progress of a run, one row per session."""
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
        planned, done, kept = row.get("planned") or 0, row.get("done") or 0, row.get("kept") or 0
        table.add_row(
            Text(str(row.get("session", ""))),
            Text(state, style=STATE_STYLES.get(state, "")),
            f"{done:,} of {planned:,}" if planned else "",
            f"{kept:,}" if kept else "",
            _tasks(row),
            _checks(row.get("qc")),
        )
    states = Counter(str(row.get("state") or "waiting") for row in rows)
    table.caption = ", ".join(f"{n:,} {state}" for state, n in states.items()) or "no session"
    return table


def doctor_table(findings: Iterable[Mapping[str, str]], site: str) -> Table:
    """Return the findings at a site, place by place; each problem with its solution.

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
        found = Text(str(finding["found"])) + Text(f"\n→ {do}" if do else "")
        table.add_row(_outcome(finding["importance"]), Text(str(finding["place"])), Text(str(finding["check"])), found)
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


def _outcome(word: object) -> Text:
    look = look_of(word)
    return Text(f"{look.glyph} {word}", style=look.style)


def _measured(row: CheckRow) -> Text:
    failure = row.failure
    lines = [row.measured or row.numbers, row.message if failure is None else failure.what]
    lines += [f"→ {failure.do}"] if failure is not None and failure.do else []
    return Text("\n".join(line for line in lines if line))


def _tasks(row: SessionRow, state: str = "") -> Text:
    """Return the number of complete tasks, and the names of those that should be complete and are not."""
    tasks = row.get("tasks") or {}
    optional = not_required(row)
    waiting = [name for name in tasks if name in optional]
    bad = bad_tasks(row)
    n_asked = len(tasks) - len(waiting)
    lines = [Text(f"{n_asked - len(bad)} of {n_asked} complete")] if tasks else []
    if waiting:
        lines.append(Text(f"{len(waiting)} for other environments", style=STATE_STYLES["waiting"]))
    if not tasks and state in ("interrupted", "not started"):
        lines.append(Text(state, style=STATE_STYLES[state]))
    lines += [Text(f"{name} ") + Text(str(status), style=look_of(status).style) for name, status in bad.items()]
    return Text("\n").join(lines)


def _checks(qc: Mapping[str, object] | None) -> Text:
    lines = [Text(f"{camera} ") + _outcome(outcome) for camera, outcome in (qc or {}).items()]
    return Text("\n").join(lines)
