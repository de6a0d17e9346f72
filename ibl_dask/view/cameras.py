"""Cameras of a session that can be shown: those with a video, each frame with its time."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import CorruptOutput, FormatTooNew, IblDaskError, MissingFile
from ibl_dask.model.description import Camera
from ibl_dask.pose.features import Tracker
from ibl_dask.store import alf
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.pose.post_files import PoseFiles
from ibl_dask.tasks.session_files import find_video
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.view.content import ViewCamera

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.store.workspace import Workspace

_VIDEO_NAME = re.compile(r"_iblrig_(\w+)Camera\.raw\..+")
_ANY: Tracker = "dlc"
"""Times do not depend on the tracker."""
_FIRST = ("left", "right", "body")
_VIDEOS = "raw_video_data"


def find_cameras(workspace: Workspace) -> tuple[tuple[ViewCamera, ...], tuple[str, ...]]:
    """Return the cameras that can be shown, and a remark on each that cannot.

    A camera without usable times is shown on the clock of its video, from the start of the others, and is marked so.

    Raises
    ------
    MissingFile
        If there is none that can be shown.
    """
    cameras: list[ViewCamera] = []
    remarks: list[str] = []
    for described in sorted(_described(workspace), key=_order):
        try:
            video = find_video(workspace, described)
            if video is None:
                remarks.append(f"{described.label}: there is no video")
                continue
            index = _index(workspace, described.label, video)
        except (IblDaskError, OSError) as error:
            remarks.append(f"{described.label}: {error}")
            continue
        times, remark = _times(workspace, described.label, len(index))
        cameras.append(ViewCamera(described.label, video, index, _or_own(times, index), times is not None, remark))
    if not cameras:
        raise MissingFile(
            "this session has no video that can be shown",
            where=str(workspace.session.path),
            expected="a video of a camera, such as raw_video_data/_iblrig_leftCamera.raw.mp4",
            got="; ".join(remarks) or "none",
            do="copy or fetch the videos first",
        )
    starts = [camera.times_s[0] for camera in cameras if camera.is_timed]
    start_s = min(starts) if starts else 0.0
    return tuple(camera if camera.is_timed else _moved(camera, float(start_s)) for camera in cameras), tuple(remarks)


def _order(camera: Camera) -> int:
    """Return the place of a camera on the page: faces first."""
    return _FIRST.index(camera.label) if camera.label in _FIRST else len(_FIRST)


def _described(workspace: Workspace) -> list[Camera]:
    """Return the cameras of the description; without one, those whose videos have the usual names."""
    try:
        description = workspace.session.description
        return [description.camera(camera.label) for camera in description.cameras]
    except IblDaskError:
        names = (path.name for path in alf.find_all(workspace.session, _VIDEOS, "_iblrig_*Camera.raw.*"))
        labels = sorted({match[1] for name in names if (match := _VIDEO_NAME.fullmatch(name))})
        return [Camera(label, _VIDEOS) for label in labels]


def _index(workspace: Workspace, label: str, video: Path) -> FrameIndex:
    """Return the index of a video: that of the run where it is of this file, else a new one."""
    try:
        kept = load_index(workspace.index_file(label))
        kept.require_unchanged(video)
    except (FileNotFoundError, CorruptOutput, FormatTooNew, IblDaskError):
        return index_video(video)
    return kept


def _times(workspace: Workspace, label: str, n_frames: int) -> tuple[NDArray[np.float64] | None, str]:
    """Return the frame times of a camera, or the reason for which they cannot be used."""
    files = PoseFiles(workspace, _ANY)
    try:
        times = files.read_times(label)
    except (IblDaskError, OSError) as error:
        return None, str(error)
    if times is None:
        return None, "no frame times: shown by the clock of its video, not in step"
    if len(times) != n_frames:
        return None, f"{len(times):,} times for {n_frames:,} frames: shown by the clock of its video, not in step"
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        return None, "its times are not in order: shown by the clock of its video, not in step"
    return times, ""


def _or_own(times: NDArray[np.float64] | None, index: FrameIndex) -> NDArray[np.float64]:
    return index.times_s if times is None else times


def _moved(camera: ViewCamera, start_s: float) -> ViewCamera:
    return replace(camera, times_s=camera.times_s + start_s)
