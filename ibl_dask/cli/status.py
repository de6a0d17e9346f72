"""`ibl-dask status`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from ibl_dask.cli.console import out, print_table, print_whole, show_failure
from ibl_dask.errors import MissingFile
from ibl_dask.report.session_rows import SessionRow
from ibl_dask.report.terminal import status_table
from ibl_dask.store.holder import JobState
from ibl_dask.store.run_progress import SessionProgress
from ibl_dask.store.run_summary import RunFolder, RunSummary, find_runs, read_summary
from ibl_dask.store.work_folder import nearest_work_folder

MOST_ROWS = 100
"""Sessions that are shown; of a run of more those that are done are only counted."""


def show_status(work_dir: Path | None, failed_only: bool, name: str | None = None, as_json: bool = False) -> int:
    """Print the state of a run; return 0 if it ended and every session succeeded.

    Parameters
    ----------
    work_dir : Path or None
        Work folder; the nearest one where not given.
    failed_only : bool
        Whether to leave out sessions that did not fail.
    name : str or None
        Name of the run, or its beginning; the latest where not given.
    as_json : bool
        Whether to print JSON.
    """
    summary = read_summary(_find_run(work_dir or nearest_work_folder(), name), _ask_job)
    rows = (row for row in summary.rows if not failed_only or row.state == "failed")
    if as_json:
        for line in _json_lines(summary, rows):
            print_whole(line)
    else:
        is_long = sum(summary.states.values()) > MOST_ROWS
        shown = islice((row for row in rows if not is_long or row.state != "done"), MOST_ROWS)
        _print(summary, [_table_row(row) for row in shown])
        if is_long:
            counts = ", ".join(f"{n:,} {state}" for state, n in summary.states.items())
            out.print(f"{counts}; of a long run, the first {MOST_ROWS} that are not done are shown: --json lists all")
    return 0 if summary.state.word == "finished" and summary.states.keys() == {"done"} else 1


def _find_run(folder: Path, name: str | None) -> RunFolder:
    """Return a run of a work folder.

    Raises
    ------
    MissingFile
        If there is none, or none of that name.
    """
    runs = find_runs(folder)
    found = next((run for run in runs if run.name.startswith(name or "")), None)
    if found is None:
        known = ", ".join(run.name for run in runs[:5]) + (f" and {len(runs) - 5} older ones" if len(runs) > 5 else "")
        raise MissingFile(
            "no run has left a journal here" if name is None else "there is no run of this name",
            where=str(folder),
            expected=f"a folder runs/{name or '<run>'}",
            got=known or "none",
            do="name the work folder of the run with --work-dir, or call this from the folder that holds the subjects",
        )
    return found


def _ask_job(number: str) -> JobState:
    from ibl_dask.deploy.batch_systems.registry import ask_job  # needed only for a driver that cannot be seen

    return ask_job(number)


def _print(summary: RunSummary, rows: list[SessionRow]) -> None:
    header, found = summary.header, summary.found
    out.print(
        f"run {header.run} on {header.host}, process {header.pid or '?'}: {summary.state.text}",
        markup=False,
    )
    if found.n_unreadable:
        out.print(
            f"{found.n_unreadable} of {found.n_lines} lines of {summary.run.journal} could not be read: "
            "damaged, or written by another version",
            markup=False,
        )
    for pause in summary.state.pauses:
        show_failure(f"paused{pause.place and ': '}{pause.place}", pause.failure)
    print_table(status_table(rows))
    for row in rows:
        for failure in dict.fromkeys([*row["failures"], *row["delays"]]):
            show_failure(row["session"], failure)


def _table_row(row: SessionProgress) -> SessionRow:
    return {
        "session": _short(row.session),
        "state": row.state,
        "planned": row.planned,
        "done": row.ended,
        "kept": row.kept,
        "tasks": row.tasks,
        "qc": row.qc,
        "failures": [each.failure for each in row.failures],
        "delays": [each.failure for each in row.delays],
    }


def _json_lines(summary: RunSummary, rows: Iterator[SessionProgress]) -> Iterator[str]:
    """Yield the lines of one JSON object, a session a line, so that memory does not grow with their number."""
    header = {name: value for name, value in asdict(summary.header).items() if name != "sessions"}
    state = asdict(summary.state)
    totals, figures = summary.totals.to_json(), {} if summary.beat is None else summary.beat.figures
    about = {"run": header, "state": state, "states": summary.states, "totals": totals, "figures": figures}
    yield json.dumps(about, default=str)[:-1] + ', "sessions": ['
    before = None
    for row in rows:
        if before is not None:
            yield before + ","
        before = json.dumps(row.to_json())
    yield (before or "") + "]}"


def _short(path: str) -> str:
    return "/".join(path.rstrip("/").split("/")[-3:])
