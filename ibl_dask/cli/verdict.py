"""`ibl-dask verdict`."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

from ibl_dask.cli.console import out, print_whole
from ibl_dask.cli.guard import printable
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.pose.judging import decision_of, judge, label_worst_frames
from ibl_dask.tasks.pose.posed_cameras import tracker_of


def give_verdict(
    session: str,
    camera: str | None,
    decision: str | None,
    reason: str | None,
    by: str | None,
    estimator: str | None,
    output_root: Path | None,
    n_frames: int,
    scorer: str | None,
    target: Path | None,
    as_json: bool,
) -> int:
    """Write a verdict on the keypoints of a camera, or print those of a session.

    Parameters
    ----------
    session : str
        Argument of the command line; see `find_sessions`.
    camera, decision : str or None
        Label and decision; without both the verdicts are printed.
    reason, by : str or None
        Reason, and author: the name of the user where not given.
    estimator : str or None
        dlc or lightning_pose.
    output_root : Path or None
        Folder of the results, where they are not in the sessions.
    n_frames, scorer, target
        Of `label`: most frames, the person who labels, and the folder.
    as_json : bool
        Print JSON.
    """
    paths = find_sessions([session])
    if len(paths) > 1:
        raise UsageError("a verdict is about one session", expected="one session", got=f"{len(paths)} sessions")
    about = Session(paths[0], output_root)
    about.look()
    workspace = Workspace(about, default_work_dir(about))
    if camera is None:
        _show(about, as_json)
        return 0
    if decision is None:
        raise UsageError("a verdict needs a decision", "DECISION", "accept, rerun, exclude or label", "nothing")
    chosen, tracker, author = decision_of(decision), tracker_of(estimator), by or getpass.getuser()
    if chosen == "label":
        if not (reason or "").strip():
            raise UsageError("a verdict needs a reason", "--reason", "a text", "nothing", "give --reason TEXT")
        folder, numbers = label_worst_frames(workspace, camera, tracker, n_frames, scorer or author, target)
        out.print(f"{len(numbers)} frames to label: {printable(folder)}", markup=False)
    verdict = judge(workspace, camera, chosen, reason or "", author, tracker)
    out.print(printable(verdict), markup=False)
    return 0


def _show(session: Session, as_json: bool) -> None:
    verdicts = read_verdicts(session)
    if as_json:
        print_whole(json.dumps([verdict.to_json() for verdict in verdicts], indent=1))
        return
    for verdict in verdicts:
        out.print(printable(verdict), markup=False)
    if not verdicts:
        out.print("no verdict on this session")
