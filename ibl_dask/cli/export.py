"""`ibl-dask export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ibl_dask.cli.console import err, out
from ibl_dask.cli.guard import Sessions, printable
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.export.content import PosedCamera, require_camera_times
from ibl_dask.export.formats import TIMED, Format, format_of, write_format
from ibl_dask.model.session import Session
from ibl_dask.pose.features import Tracker
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.pose.posed_cameras import choose_tables, exclusion, read_posed_camera, tracker_of

FOLDER = "export"
"""Folder of exports beside the other results of a session."""


def export_poses(
    sessions: Sequence[str],
    form: str,
    target: Path | None,
    cameras: str | None,
    estimator: str | None,
    output_root: Path | None,
) -> int:
    """Write the keypoints of some sessions in the format of another program, and print the files.

    Parameters
    ----------
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`.
    form : str
        Name of the format.
    target : Path or None
        Folder that gets a folder for each session, subject/date/number; beside the results where not given.
    cameras : str or None
        Labels, separated by commas; all that have keypoints where not given.
    estimator : str or None
        dlc or lightning_pose; both where not given.
    output_root : Path or None
        Folder of the results, where they are not in the sessions.

    Returns
    -------
    int
        1 if a session or camera could not be exported.
    """
    wanted, tracker = format_of(form), tracker_of(estimator)
    labels = [label.strip() for label in (cameras or "").split(",") if label.strip()]
    each = Sessions()
    for path in find_sessions(sessions):
        with each.one():
            session = Session(path, output_root)
            session.look()
            workspace = Workspace(session, default_work_dir(session))
            if target is None:
                workspace.require_own(session.own)
            folder = session.own / FOLDER if target is None else target / session.reference
            _export_session(workspace, wanted, folder, labels, tracker, each)
    return each.code


def _export_session(
    workspace: Workspace, form: Format, folder: Path, labels: Sequence[str], tracker: Tracker | None, each: Sessions
) -> None:
    """Export a session; an error of one camera is printed, and the others go on."""
    read: list[PosedCamera] = []
    for table in choose_tables(workspace, labels, tracker):
        excluded = exclusion(workspace, table)
        if excluded is not None:
            err.print(f"left out: {printable(excluded)}", markup=False)
            continue
        with each.one():
            camera = read_posed_camera(workspace, table, with_times=form in TIMED)
            if form == "nwb":
                require_camera_times(camera, "NWB")
                read.append(camera)
            else:
                _show(write_format(form, folder, [camera], workspace.session))
    if read:
        _show(write_format(form, folder, read, workspace.session))


def _show(paths: Sequence[Path]) -> None:
    for path in paths:
        out.print(printable(path), markup=False)
