"""Cameras of a session that can be shown: those with a video, each frame with its time."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import IblDaskError, MissingFile, UnreadableVideo
from ibl_dask.model.description import Camera
from ibl_dask.pose.features import Tracker
from ibl_dask.store import alf
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.pose.post_files import PoseFiles
from ibl_dask.tasks.session_files import find_video
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.container.summary import read_container_summary
from ibl_dask.view.content import ViewCamera

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.store.workspace import Workspace

_VIDEO_NAME = re.compile(r"_iblrig_(\w+)Camera\.raw\..+")
_ANY: Tracker = "dlc"
"""Times do not depend on the tracker."""
_ONE_AT_A_TIME = threading.Lock()
"""One index after the other: the first camera is seen sooner than if all were made at once."""
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
            camera = _camera(workspace, described.label, video)
        except (IblDaskError, OSError) as error:
            remarks.append(f"{described.label}: {error}")
            continue
        cameras.append(camera)
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


def _camera(workspace: Workspace, label: str, video: Path) -> ViewCamera:
    """Return a camera; its video is indexed at once only where its tables and its times do not agree."""
    index = _kept_index(workspace, label, video)
    summary = read_container_summary(video) if index is None else None
    if summary is not None:
        times, _ = _times(workspace, label, summary.n_frames)
        if times is not None:
            size_px, later = (summary.width, summary.height), _LaterIndex(video, summary.n_frames)
            return ViewCamera(label, video, summary.n_frames, size_px, later, times, is_timed=True)
    known = index_video(video) if index is None else index
    times, remark = _times(workspace, label, len(known))
    shown = known.times_s if times is None else times
    size_px = (known.width, known.height)
    return ViewCamera(label, video, len(known), size_px, lambda: known, shown, times is not None, remark)


class _LaterIndex:
    """Index of a video that is made when it is first asked for."""

    def __init__(self, video: Path, n_frames: int) -> None:
        self._video, self._n_frames = video, n_frames
        self._index: FrameIndex | None = None

    def __call__(self) -> FrameIndex:
        """Return the index.

        Raises
        ------
        MissingFile, UnreadableVideo
            If the video cannot be indexed, or has another number of frames than before.
        """
        with _ONE_AT_A_TIME:
            if self._index is None:
                found = index_video(self._video)
                if len(found) != self._n_frames:
                    raise UnreadableVideo(
                        "the number of frames of this video is not the one that its header announces",
                        where=str(self._video),
                        expected=f"{self._n_frames:,} frames",
                        got=f"{len(found):,} frames",
                        do="if it is still being copied, wait and open the page anew; else copy it again",
                    )
                self._index = found
            return self._index


def _kept_index(workspace: Workspace, label: str, video: Path) -> FrameIndex | None:
    """Return the index that a run kept, where it is of this file."""
    try:
        kept = load_index(workspace.index_file(label))
        kept.require_unchanged(video)
    except (FileNotFoundError, IblDaskError):
        return None
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


def _moved(camera: ViewCamera, start_s: float) -> ViewCamera:
    return replace(camera, times_s=camera.times_s + start_s)
