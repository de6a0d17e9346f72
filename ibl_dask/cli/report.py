"""`ibl-dask report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ibl_dask.cli.console import out
from ibl_dask.cli.guard import Sessions
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.session import Session
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
