"""Verdicts on keypoints: written beside the results, and shown by the checks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.choices import advice
from ibl_dask.model.places import require_inside
from ibl_dask.model.verdict import DECISIONS, Decision, Verdict
from ibl_dask.pose.features import Tracker
from ibl_dask.pose.worst_frames import worst_frames
from ibl_dask.store.verdicts import add_verdict
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.pose.posed_cameras import PoseTable, choose_tables, find_pose_video
from ibl_dask.tasks.pose.post_files import PoseFiles
from ibl_dask.tasks.pose.record import hash_of
from ibl_dask.tasks.qc_file import update_verdicts

LABELS = "labels"
"""Folder of frames to label beside the other results of a session."""


def decision_of(text: str) -> Decision:
    """Return a decision by its name.

    Raises
    ------
    UsageError
        If there is none of this name.
    """
    found = next((decision for decision in DECISIONS if decision == text), None)
    if found is None:
        expected = " or ".join(get_args(Decision))
        raise UsageError("there is no such decision", "DECISION", expected, text, advice(text, DECISIONS))
    return found


def judge(
    workspace: Workspace,
    camera: str,
    decision: Decision,
    reason: str,
    by: str,
    tracker: Tracker | None = None,
) -> Verdict:
    """Write a verdict on the keypoints of a camera, and show it with the checks of the session.

    Parameters
    ----------
    workspace : Workspace
        The session.
    camera : str
        Label.
    decision : str
        The decision.
    reason, by : str
        Reason and author.
    tracker : str, optional
        Estimator that it is about; whatever there is by default.

    Raises
    ------
    UsageError
        If reason or author is empty.
    MissingFile
        If the camera has no keypoints.
    CorruptOutput, FormatTooNew
        If verdicts or checks that are there cannot be read.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    for name, text in (("--reason", reason), ("--by", by)):
        if not text.strip():
            raise UsageError("a verdict needs a reason and an author", name, "a text", "nothing", f"give {name} TEXT")
    tables = choose_tables(workspace, [camera], tracker)
    workspace.require_own(workspace.session.own)
    verdict = Verdict(
        camera=camera,
        decision=decision,
        reason=" ".join(reason.split()),
        by=" ".join(by.split()),
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        tracker=tracker or "",
        tables={str(table.tracker): hash_of(table.path) for table in tables},
    )
    add_verdict(workspace.session, verdict)
    update_verdicts(workspace)
    return verdict


def label_worst_frames(
    workspace: Workspace, camera: str, tracker: Tracker | None, n: int, scorer: str, target: Path | None
) -> tuple[Path, tuple[int, ...]]:
    """Write the worst frames of a camera as folders to label, and return the folder and their numbers.

    Parameters
    ----------
    workspace : Workspace
        The session.
    camera : str
        Label.
    tracker : str or None
        Estimator whose keypoints are looked at; needed where there are several.
    n : int
        Most frames.
    scorer : str
        Person who labels.
    target : Path or None
        The folder; a new one beside the results where not given.

    Raises
    ------
    UsageError
        If there are keypoints of several estimators, or no frame is worse than others.
    MissingFile
        If there are no keypoints, or there is no video.
    """
    from ibl_dask.export.labelling import write_labelling  # OpenCV and FFmpeg

    scorer = require_inside(scorer, "the name of the person who labels", where="--scorer", is_name=True)
    table = _only_table(choose_tables(workspace, [camera], tracker))
    keypoints = PoseFiles(workspace, table.tracker).read_keypoints(camera)
    video = find_pose_video(workspace, camera)
    if video is None:
        raise MissingFile(
            f"frames of the {camera} camera need its video",
            where=str(workspace.session.path),
            expected=f"_iblrig_{camera}Camera.raw.mp4, once",
            got="no such file, or several that differ",
            do="copy or fetch the video first",
        )
    frames = worst_frames(keypoints, n)
    if not frames:
        raise UsageError("no frame is worse than the others", str(table.path), "frames to label", "none", "accept it")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    if target is None:
        workspace.require_own(workspace.session.own)
    folder = target or workspace.session.own / LABELS / f"{camera}Camera-{table.tracker}_{stamp}"
    name = f"{workspace.session.reference.replace('/', '_')}_{camera}Camera"
    return folder, write_labelling(folder, name, video, keypoints, frames, scorer)


def _only_table(tables: tuple[PoseTable, ...]) -> PoseTable:
    if len(tables) > 1:
        raise UsageError(
            "there are keypoints of several estimators",
            expected="one of them",
            got=", ".join(map(str, tables)),
            do="name one with --estimator dlc or --estimator lightning_pose",
        )
    return tables[0]
