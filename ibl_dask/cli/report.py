"""`ibl-dask report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ibl_dask.cli.console import out
from ibl_dask.cli.guard import Sessions
from ibl_dask.cli.run_choice import choose_run
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.session import Session
from ibl_dask.pipeline.cohort import cohort_content
from ibl_dask.report.cohort import render_cohort
from ibl_dask.store.atomic import write_text
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.provenance import read_provenance
from ibl_dask.tasks.session_report import write_report


def write_reports(sessions: Sequence[str], output_root: Path | None, target: Path | None) -> int:
    """Write reports and print their paths; return 1 if one could not be written.

    Parameters
    ----------
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`.
    output_root : Path or None
        Folder of the results, where they are not in the sessions.
    target : Path or None
        File to write; beside the results where not given.
    """
    paths = find_sessions(sessions)
    if target is not None and len(paths) > 1:
        raise UsageError("--out takes one session", expected="one session", got=f"{len(paths)} sessions")
    each = Sessions()
    for path in paths:
        with each.one():
            session = Session(path, output_root)
            session.look()
            workspace = Workspace(session, default_work_dir(session))
            out.print(str(_write(workspace, target or workspace.report_file)), markup=False)
    return each.code


def write_run_report(work_dir: Path | None, name: str, target: Path | None) -> int:
    """Write the report of a run, and print its path.

    Parameters
    ----------
    work_dir : Path or None
        Work folder of the run; see `choose_run`.
    name : str
        Name of the run, its beginning, or `latest`.
    target : Path or None
        File to write; beside its journal where not given.
    """
    run = choose_run(work_dir, None if name == "latest" else name).summary.run
    path = (target or run.path.parent / run.name / f"report-{run.name}.html").expanduser().absolute()
    write_text(path, render_cohort(cohort_content(run)))
    out.print(str(path), markup=False)
    return 0


def _write(workspace: Workspace, target: Path) -> Path:
    known = read_provenance(workspace)
    if not known and not workspace.session.own.is_dir():
        raise MissingFile(
            "there is nothing to report on yet",
            where=str(workspace.session.own),
            expected="results of a run",
            got="no such folder",
            do=f"run: ibl-dask run {workspace.session.path}",
        )
    write_report(workspace, known, target)
    return target
