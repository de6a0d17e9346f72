"""Cameras of a session that have keypoints, with all that other programs ask about them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.errors import IblDaskError, MissingFile, UsageError
from ibl_dask.export.content import PosedCamera
from ibl_dask.model.choices import advice
from ibl_dask.model.description import Camera
from ibl_dask.model.verdict import Verdict, current_verdict
from ibl_dask.pose.features import Tracker
from ibl_dask.pose.networks import ALF_NAMES
from ibl_dask.qc.record import TRACKERS
from ibl_dask.store import alf
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.camera_forecast import outline_or_problem
from ibl_dask.tasks.pose.post_files import ALF, PoseFiles
from ibl_dask.tasks.session_files import find_video

_TABLE = re.compile(r"_ibl_(.+)Camera\.(dlc|lightningPose)(\..+)?\.pqt")


@dataclass(frozen=True, slots=True)
class PoseTable:
    """Table of keypoints of a camera."""

    camera: str
    """Label."""
    tracker: Tracker
    """dlc or lightningPose."""
    path: Path
    """Its newest version."""

    def __str__(self) -> str:
        """Return camera and tracker."""
        return f"{self.camera} ({self.tracker})"


def tracker_of(estimator: str | None) -> Tracker | None:
    """Return the tracker of an estimator of the command line; None for None.

    Raises
    ------
    UsageError
        If there is no such estimator.
    """
    if estimator is None:
        return None
    attribute = next((tracker for name, tracker in ALF_NAMES.items() if estimator in (name, tracker)), None)
    if attribute is None:
        raise UsageError(
            "there is no such estimator",
            where="--estimator",
            expected=" or ".join(ALF_NAMES),
            got=estimator,
            do=advice(estimator, list(ALF_NAMES)),
        )
    return next(tracker for tracker in TRACKERS if tracker == attribute)


def pose_tables(workspace: Workspace, tracker: Tracker | None = None) -> tuple[PoseTable, ...]:
    """Return the tables of keypoints of a session, by camera and tracker; a described session is not needed.

    Parameters
    ----------
    workspace : Workspace
        The session.
    tracker : str, optional
        Only tables of this tracker.
    """
    names = (path.name for path in alf.find_all(workspace.session, ALF, "_ibl_*Camera.*.pqt"))
    matches = (match for name in names if (match := _TABLE.fullmatch(name)) is not None)
    found = sorted({(match[1], match[2]) for match in matches})
    tables = []
    for label, name in found:
        each = next(known for known in TRACKERS if known == name)
        path = PoseFiles(workspace, each).table(label)
        if path is not None and tracker in (None, each):
            tables.append(PoseTable(label, each, path))
    return tuple(tables)


def choose_tables(
    workspace: Workspace, cameras: Collection[str] = (), tracker: Tracker | None = None
) -> tuple[PoseTable, ...]:
    """Return the tables of some cameras; all without any.

    Raises
    ------
    MissingFile
        If there is no table, or none of a camera that is asked for.
    """
    tables = pose_tables(workspace, tracker)
    lacking = [label for label in cameras if label not in {table.camera for table in tables}]
    if lacking or not tables:
        kind = f"*.{tracker or 'dlc'}.pqt"
        raise MissingFile(
            f"there are no keypoints of the {lacking[0]} camera" if lacking else "this session has no keypoints",
            where=str(workspace.session.outputs / ALF),
            expected=f"_ibl_{lacking[0]}Camera{kind[1:]}" if lacking else f"tables such as _ibl_leftCamera{kind[1:]}",
            got=", ".join(map(str, tables)) or "no table of keypoints",
            do="estimate poses first (docs/pose.md), or name another camera",
        )
    return tuple(table for table in tables if not cameras or table.camera in cameras)


def exclusion(workspace: Workspace, table: PoseTable) -> Verdict | None:
    """Return the verdict that excludes the keypoints of a table; None where they may be used.

    Raises
    ------
    CorruptOutput, FormatTooNew
        If the verdicts cannot be read.
    """
    found = current_verdict(read_verdicts(workspace.session), table.camera, table.tracker)
    return found if found is not None and found.decision == "exclude" else None


def read_posed_camera(workspace: Workspace, table: PoseTable, *, with_times: bool = True) -> PosedCamera:
    """Read the keypoints of a camera, its frame times, and the size of its frames.

    Parameters
    ----------
    workspace : Workspace
        The session.
    table : PoseTable
        Table of the keypoints.
    with_times : bool
        Read the frame times, where there are any.

    Raises
    ------
    UnusableFile
        If a file holds other things than it should.
    UnequalLengths
        If keypoints and frame times differ in number.
    """
    session, files = workspace.session, PoseFiles(workspace, table.tracker)
    keypoints = files.read_keypoints(table.camera)
    video = find_pose_video(workspace, table.camera)
    outline = "no video" if video is None else outline_or_problem(video)
    return PosedCamera(
        label=table.camera,
        tracker=table.tracker,
        keypoints=keypoints,
        source=_relative(table.path, session.roots),
        times_s=files.read_times(table.camera) if with_times else None,
        video="" if video is None else _relative(video, session.roots),
        frame_size_px=None if isinstance(outline, str) else (outline.width, outline.height),
    )


def find_pose_video(workspace: Workspace, label: str) -> Path | None:
    """Return the video of a camera; None where there is none, or several that differ."""
    try:
        described = [camera for camera in workspace.session.description.cameras if camera.label == label]
    except IblDaskError:
        described = []
    try:
        return find_video(workspace, described[0] if described else Camera(label, "raw_video_data"))
    except IblDaskError:
        return None


def _relative(path: Path, roots: tuple[Path, ...]) -> str:
    root = next((root for root in roots if path.is_relative_to(root)), path.parent)
    return path.relative_to(root).as_posix()
