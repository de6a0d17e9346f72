"""HTML for notebooks, and the page on a run, made from plain values."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from ibl_dask.model.failure import Failure
from ibl_dask.report.failure_groups import group_failures
from ibl_dask.report.lines import count, some
from ibl_dask.report.palette import look_of
from ibl_dask.report.session_rows import SessionRow, needs_someone, summarise_ends

if TYPE_CHECKING:
    from ibl_dask.model.outcome import CheckResult, Outcome
    from ibl_dask.model.task import TaskSpec

MOST_ROWS = 40
"""Number of sessions up to which a notebook shows all of a run."""
_log = logging.getLogger(__name__)

_CELL = "text-align:left;vertical-align:top;padding:4px 18px 4px 0;border-bottom:1px solid rgba(128,128,128,.25)"
_PILL = "border-radius:999px;padding:0 8px;font-size:85%;font-weight:600;white-space:nowrap"
_QUIET = "opacity:.7"


class CameraChecks(Protocol):
    """Checks of one camera."""

    @property
    def label(self) -> str: ...

    @property
    def outcome(self) -> Outcome: ...

    @property
    def checks(self) -> Mapping[str, CheckResult]: ...

    @property
    def failure(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page on disk; a notebook shows it, with a link to it."""

    path: Path
    """The file."""

    def _repr_html_(self) -> str:
        content = escape(self.path.read_text(encoding="utf-8"))
        frame = f'<iframe srcdoc="{content}" style="width:100%;height:640px;border:1px solid rgba(128,128,128,.25)">'
        return f"<div>{_link(str(self.path.absolute()))} {_quiet(_near(self.path))}</div>{frame}</iframe>"


def session_html(reference: str, path: str, cameras: Iterable[Mapping[str, str]]) -> str:
    """Return name and folder of a session, with a table of its cameras.

    Parameters
    ----------
    reference : str
        subject/date/number.
    path : str
        Session folder.
    cameras : iterable of mappings
        Head of a column -> cell, one mapping per camera.
    """
    rows = list(cameras)
    heads = list(dict.fromkeys(str(key) for row in rows for key in row))
    cells = [[_text(row.get(head, "")) for head in heads] for row in rows]
    body = _tabulate(heads, cells) if rows else _quiet("no camera is described")
    return _block(f"<b>Session {escape(reference)}</b> {_quiet(_near(Path(path)))}", body)


def pipeline_html(reference: str, specs: Sequence[TaskSpec], notes: Iterable[str] = ()) -> str:
    """Return the tasks of a session with cameras, parents and resources.

    Parameters
    ----------
    reference : str
        subject/date/number of the session.
    specs : sequence of TaskSpec
        Tasks of the session.
    notes : iterable of str
        Notes below the table.
    """
    cells = [
        [f"<b>{escape(s.name)}</b>", _cameras(s), _text(", ".join(s.parents)), _occupies(s), _text(s.priority)]
        for s in specs
    ]
    heads = ["task", "cameras", "after", "occupies", "priority"]
    body = _tabulate(heads, cells) if cells else _quiet("no task runs on this session")
    body += "".join(f"<div>{_quiet(note)}</div>" for note in notes)
    return _block(f"<b>Pipeline of {escape(reference)}</b>", body)


def run_html(rows: Iterable[SessionRow], most: int = MOST_ROWS) -> str:
    """Return the outcome of a run: failures by cause, and one row per session with a link to its report.

    Parameters
    ----------
    rows : iterable of SessionRow
        Sessions.
    most : int
        Number of sessions with a row each: all of them, or, where there are more, those that need someone first. The
        others are counted, and failures are listed by cause.
    """
    rows = list(rows)
    if len(rows) <= most:
        return _block("", _session_table(rows))
    bad = [row for row in rows if needs_someone(row)]
    shown = bad[:most]
    n_others = len(bad) - len(shown)
    more = f"{count(n_others, 'more session')} that failed, and " if n_others else ""
    notes = [f"{more}{count(len(rows) - len(bad), 'session')} without a failure", "Run.report(path) writes all of them"]
    body = _groups(rows) + (_session_table(shown) if shown else "")
    head = f"<b>{count(len(rows), 'session')}, {_text(summarise_ends(rows))}</b>"
    return _block(head, body + "".join(f"<div>{_quiet(note)}</div>" for note in notes))


def _session_table(rows: Sequence[SessionRow]) -> str:
    heads = ["session", "tasks", "checks", "chunks", "what went wrong", "report"]
    return _tabulate(heads, [_run_row(row) for row in rows]) if rows else _quiet("no session was run")


def _groups(rows: Sequence[SessionRow]) -> str:
    """Return a table of the failures by cause, the worst first."""
    cells = []
    for group in group_failures(rows):
        who = ("waits" if group.is_wait else "failed", ", ".join(group.cameras), ", ".join(group.tasks))
        cells.append(
            [
                f"<b>{count(len(group.sessions), 'session')}</b>",
                _text(group.category.replace("_", " ")),
                _failure(group.first),
                "".join(f"<div>{_text(each)}</div>" for each in who if each),
                _text(some(group.sessions)),
            ]
        )
    return _tabulate(["", "category", "reason (of the first)", "concerns", "sessions"], cells) if cells else ""


def qc_html(cameras: Iterable[CameraChecks]) -> str:
    """Return the checks of some cameras, one row each, failing ones first."""
    blocks = []
    for camera in cameras:
        checks = sorted(camera.checks.values(), key=lambda check: -check.outcome)
        cells = [
            [
                f"<b>{_text(check.name)}</b>",
                _pill(check.outcome.name),
                *map(_text, (check.measured, check.threshold)),
                _text(check.message) if check.failure is None else _failure(check.failure),
            ]
            for check in checks
        ]
        heads = ["check", "outcome", "measured", "threshold", "note"]
        body = _tabulate(heads, cells) if cells else _quiet(camera.failure or "no check was made")
        blocks.append(_block(f"<b>{_text(camera.label)} camera</b> {_pill(camera.outcome.name)}", body))
    return "".join(blocks) or _quiet("no camera was checked")


def _run_row(row: SessionRow) -> list[str]:
    done, kept = row.get("chunks_done") or 0, row.get("chunks_kept") or 0
    chunks = f"{done + kept:,}" + (f", {kept:,} kept" if kept else "") if done + kept else ""
    return [
        f'<b style="white-space:nowrap">{_text(row.get("session", ""))}</b>'
        + (f"<div>{_quiet(state)}</div>" if (state := str(row.get("state") or "")) not in ("", "done") else ""),
        _judged(row.get("tasks")),
        _judged(row.get("qc")),
        chunks,
        # Paths break anywhere, or one would make the table wider than the page.
        '<div style="overflow-wrap:anywhere;min-width:12em">'
        + "".join(_failure(failure) for failure in dict.fromkeys(row.get("failures") or ()))
        + "</div>",
        _link(str(row.get("report") or "")),
    ]


def _failure(failure: Failure) -> str:
    do = f"<div>→ {_text(failure.do)}</div>" if failure.do else ""
    where = f"<div>{_quiet(failure.where)}</div>" if failure.where else ""
    return f"<div>{_text(failure.what)}</div>{where}{do}"


def _link(path: str) -> str:
    """Return a link to a file: relative to the working folder where it lies below that, which is a notebook's own.

    Browsers refuse `file:` links on pages of a server, as those of Jupyter are.
    """
    if not Path(path).is_absolute():
        return _text(path)
    near = _near(Path(path))
    address = Path(path).as_uri() if near == path else quote(near)
    return f'<a href="{escape(address)}" title="{escape(near)}" target="_blank">open</a>'


def _near(path: Path) -> str:
    """Return a path relative to the working folder where it lies below that."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _judged(words: Mapping[str, object] | None) -> str:
    return "".join(
        f'<div style="white-space:nowrap">{_text(name)} {_pill(word)}</div>' for name, word in (words or {}).items()
    )


def _cameras(spec: TaskSpec) -> str:
    cameras = spec.arguments.get("cameras") or ()
    return _text(cameras if isinstance(cameras, str) else ", ".join(str(camera) for camera in cameras))


def _occupies(spec: TaskSpec) -> str:
    needs = spec.resources
    gpu = f", {needs.gpu} GPU" if needs.gpu else ""
    return _text(f"{needs.cpu} {'core' if needs.cpu == 1 else 'cores'}{gpu}, {needs.memory_gb:g} GB")


def _pill(word: object) -> str:
    look = look_of(word)
    return f'<span style="{_PILL};{look.css}">{look.glyph} {_text(word)}</span>'


def _quiet(text: str) -> str:
    return f'<span style="{_QUIET}">{escape(text)}</span>'


def _text(value: object) -> str:
    return escape(str(value))


def _tabulate(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; heads are text, cells are HTML."""
    head = "".join(f'<th style="{_CELL};font-weight:500;{_QUIET}">{escape(name)}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _block(head: str, body: str) -> str:
    return f'<div style="line-height:1.5">{head}{body}</div>'


def show_dashboard(link: str, tunnel: str) -> None:
    """Display the link of the dashboard, and the command of a tunnel to it; do nothing outside a notebook.

    A notebook that cannot display it does not stop the run.
    """
    if not link:
        return
    text = (
        f'<p>Dashboard: <a href="{escape(link)}" target="_blank">{escape(link)}</a><br>'
        f"from elsewhere: <code>{escape(tunnel)}</code></p>"
    )
    try:
        ipython = sys.modules.get("IPython")
        if ipython is None or ipython.get_ipython() is None:
            return
        show: Any = ipython.display  # it has no types
        show.display(show.HTML(text))
    except Exception as error:  # noqa: BLE001  # a display must not stop the run
        _log.warning("the link to the dashboard could not be shown", exc_info=error)
