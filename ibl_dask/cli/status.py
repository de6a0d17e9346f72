"""`ibl-dask status`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.text import Text

from ibl_dask.cli.console import err, out, print_lines, print_table, print_whole, table_width
from ibl_dask.cli.run_choice import ChosenRun, choose_run
from ibl_dask.report.failure_groups import group_failures
from ibl_dask.report.failure_lines import failure_lines
from ibl_dask.report.lines import Line, some
from ibl_dask.report.row_filter import RowFilter
from ibl_dask.report.session_rows import SessionRow
from ibl_dask.report.status_view import RowsInSight, count_states, session_row, status_view
from ibl_dask.store.run_progress import SessionProgress
from ibl_dask.store.run_summary import RunSummary

WATCHED_EVERY_S = 3.0
"""Interval of `--watch` on a terminal, s."""
TOLD_EVERY_S = 30.0
"""Interval of the lines of `--watch` elsewhere, s."""
_REASON_LINES = 46
_MOST_DETAILS = 1000


def show_status(
    work_dir: Path | None,
    failed_only: bool,
    name: str | None = None,
    as_json: bool = False,
    sessions: Sequence[str] = (),
    wanted: RowFilter | None = None,
    watch: bool = False,
    details: bool = False,
) -> int:
    """Print the state of a run; return 0 if it ended and every session succeeded.

    Parameters
    ----------
    work_dir : Path or None
        Work folder; that of the sessions, or the nearest one, where not given.
    failed_only : bool
        Whether to print nothing but the paths of sessions that failed, or of those that `wanted` selects by state, as a
        list for `ibl-dask run`; all else goes to standard error.
    name : str or None
        Name of the run, or its beginning; the latest where not given.
    as_json : bool
        Whether to print JSON.
    sessions : sequence of str
        Sessions to show, as for `find_sessions`; all of the run where not given.
    wanted : RowFilter, optional
        Conditions for the sessions that are shown.
    watch : bool
        Whether to print again until the run ends.
    details : bool
        Whether to print each session in full.
    """
    wanted = wanted or RowFilter()
    if watch:
        return _watch(lambda: choose_run(work_dir, name, sessions), wanted)
    chosen = choose_run(work_dir, name, sessions)
    if as_json:
        for line in _json_lines(chosen, wanted, failed_only):
            print_whole(line)
    elif failed_only:
        _print_list(chosen, wanted)
    else:
        print_lines(_head(chosen, wanted))
        sight = RowsInSight.of(_rows(chosen, wanted), *([_MOST_DETAILS] if details else []))
        sight.groups = wanted.groups(sight.groups)
        table, lines = status_view(sight, table_width(), _REASON_LINES, details)
        print_table(table)
        print_lines(lines)
    return _code(chosen.summary)


def _code(summary: RunSummary) -> int:
    return 0 if summary.state.word == "finished" and summary.states.keys() == {"done"} else 1


def _rows(chosen: ChosenRun, wanted: RowFilter) -> Iterator[SessionRow]:
    """Yield the sessions that were asked for."""
    for progress in chosen.summary.rows:
        if chosen.has(progress.session):
            row = session_row(progress)
            if wanted.takes(row):
                yield row


def _head(chosen: ChosenRun, wanted: RowFilter) -> list[Line]:
    """Return the lines about the run as a whole."""
    lines, found, state = chosen.lines(), chosen.summary.found, chosen.summary.state
    if found.n_unreadable:
        text = f"{found.n_unreadable} of {found.n_lines} lines of {chosen.summary.run.journal} could not be read: "
        lines.append(Line(text + "damaged, or written by another version"))
    for pause in state.pauses:
        lines.append(Line(f"paused{pause.place and ' ' + pause.place}: {pause.failure.what}", "bold"))
        if pause.failure.do:
            lines.append(Line(f"  what to do: {pause.failure.do}"))
    figures = {} if chosen.summary.beat is None or state.is_over else chosen.summary.beat.figures
    queues = figures.get("queues") or {}
    waiting = [f"{pool}: {some([f'{n} {text}' for text, n in jobs.items()])}" for pool, jobs in queues.items() if jobs]
    if waiting:
        lines.append(Line(f"{figures.get('n_workers', 0)} workers; jobs in the queue: {'; '.join(waiting)}"))
    if not wanted.is_empty:
        lines.append(Line(f"sessions of {wanted.text()}", "dim"))
    return lines


def _print_list(chosen: ChosenRun, wanted: RowFilter) -> None:
    """Print the paths of failed sessions to standard output, and why to standard error."""
    if not wanted.states:
        wanted = RowFilter(("failed",), wanted.categories, wanted.cameras, wanted.tasks)
    sight = RowsInSight.of(_rows(chosen, wanted), most=0)
    print_lines(_head(chosen, wanted), err)
    for row in _rows(chosen, wanted):
        print_whole(row["path"])
    groups = [group for group in wanted.groups(sight.groups) if not group.is_wait]
    print_lines(failure_lines(groups, err.width, _REASON_LINES, sight.states.total()), err)


def _watch(choose: Callable[[], ChosenRun], wanted: RowFilter) -> int:
    """Print the state again and again until no driver goes on with the run."""
    if not out.is_terminal:
        told = ""
        while True:
            chosen = choose()
            text = _summary_text(chosen.summary)
            if text != told:
                told = text
                out.print(text, markup=False)
            if chosen.summary.state.is_over:
                return _code(chosen.summary)
            time.sleep(TOLD_EVERY_S)
    with Live(console=out, auto_refresh=False, transient=True) as live:
        while True:
            chosen = choose()
            live.update(_screen(chosen, wanted), refresh=True)
            if chosen.summary.state.is_over:
                break
            time.sleep(WATCHED_EVERY_S)
    out.print(_screen(chosen, wanted))
    return _code(chosen.summary)


def _summary_text(summary: RunSummary) -> str:
    return f"run {summary.header.run}, {summary.state.text}: {count_states(summary.states)}"


def _screen(chosen: ChosenRun, wanted: RowFilter) -> Group:
    """Return what fits on one screen."""
    head = _head(chosen, wanted)
    room = max(out.height - len(head) - 4, 6)
    sight = RowsInSight.of(_rows(chosen, wanted), most=max(3, room // 2))
    sight.groups = wanted.groups(sight.groups)
    table, lines = status_view(sight, out.width, max(3, room // 2 - 3))
    texts = [
        [Text(part, style=line.style) for line in each for part in line.folded(out.width)] for each in (head, lines)
    ]
    return Group(*texts[0], table, *texts[1])


def _json_lines(chosen: ChosenRun, wanted: RowFilter, failed_only: bool) -> Iterator[str]:
    """Yield the lines of one JSON object, a session a line, so that memory does not grow with their number."""
    summary = chosen.summary
    header = {name: value for name, value in asdict(summary.header).items() if name != "sessions"}
    state = asdict(summary.state)
    totals, figures = summary.totals.to_json(), {} if summary.beat is None else summary.beat.figures
    about: dict[str, object] = {
        "run": header,
        "state": state,
        "states": summary.states,
        "totals": totals,
        "figures": figures,
    }
    about["other_runs"] = [run.name for run in chosen.others]
    if failed_only and not wanted.states:
        wanted = RowFilter(("failed",), wanted.categories, wanted.cameras, wanted.tasks)
    about["reasons"] = [group.to_json() for group in wanted.groups(group_failures(_rows(chosen, wanted)))]
    yield json.dumps(about, default=str)[:-1] + ', "sessions": ['
    before = None
    for row in _progress(chosen, wanted):
        if before is not None:
            yield before + ","
        before = json.dumps(row.to_json())
    yield (before or "") + "]}"


def _progress(chosen: ChosenRun, wanted: RowFilter) -> Iterator[SessionProgress]:
    for progress in chosen.summary.rows:
        if chosen.has(progress.session) and wanted.takes(session_row(progress)):
            yield progress
