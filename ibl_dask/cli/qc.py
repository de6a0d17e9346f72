"""`ibl-dask qc`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ibl_dask.cli.console import print_table
from ibl_dask.cli.guard import Sessions
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import MissingFile
from ibl_dask.model.qc_record import CameraRecord
from ibl_dask.model.session import Session
from ibl_dask.report.terminal import QcContent, qc_table
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.qc_file import read_qc


def show_qc(sessions: Sequence[str], output_root: Path | None) -> int:
    """Print the checks of some sessions; return 1 if one has none."""
    each = Sessions()
    for path in find_sessions(sessions):
        with each.one():
            print_table(qc_table(_read(Session(path, output_root))))
    return each.code


def _read(session: Session) -> QcContent:
    session.look()
    workspace = Workspace(session, default_work_dir(session))
    content = read_qc(workspace)
    if content is None:
        raise MissingFile(
            "this session was not checked yet",
            where=str(workspace.qc_file),
            expected="a record of checks",
            got="nothing",
            do=f"run: ibl-dask run {session.path}",
        )
    unchecked = {camera.label for camera in session.description.cameras} - content["cameras"].keys()
    missing: CameraRecord = {"outcome": "NOT_SET", "failure": "this camera was not checked yet"}
    cameras = {**content["cameras"], **dict.fromkeys(sorted(unchecked), missing)}
    return {"session": content["session"], "outcome": content["outcome"], "cameras": cameras}
