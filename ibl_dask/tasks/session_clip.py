"""Cameras of a session for a clip, and the place of its file."""

from __future__ import annotations

import os
from pathlib import Path

from ibl_dask.clip.view import CameraView
from ibl_dask.errors import AlreadyThere, MissingFile, UsageError
from ibl_dask.model.description import Camera
from ibl_dask.pose.features import Tracker
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import COPY_VIDEO
from ibl_dask.tasks.pose.post_files import PoseFiles
from ibl_dask.tasks.session_files import find_video

CLIPS = "clips"
"""Folder of clips, beside the results of the session."""
_SUFFIX = ".mp4"


def camera_view(workspace: Workspace, camera: Camera, tracker: Tracker | None) -> CameraView:
    """Return a camera of a clip.

    Parameters
    ----------
    workspace : Workspace
        The session.
    camera : Camera
        The camera.
    tracker : Tracker or None
        Tracker whose keypoints are drawn, where the camera has a table of it; None for none.

    Raises
    ------
    MissingFile
        If there is no video, or there are no frame times.
    InputError
        If a file cannot be used, or they differ in their numbers of frames.
    """
    # Not at the top: other commands import no FFmpeg.
    from ibl_dask.video.container.index import index_video

    label = camera.label
    folder = workspace.session.path / camera.collection
    video = find_video(workspace, camera)
    if video is None:
        raise MissingFile(
            f"the {label} camera has no video",
            where=str(folder),
            expected=f"_iblrig_{label}Camera.raw.mp4 or .avi",
            got="neither",
            do=COPY_VIDEO,
        )
    files = PoseFiles(workspace, tracker or "dlc")
    times_s = files.read_times(label)
    if times_s is None:
        raise MissingFile(
            f"the {label} camera has no frame times yet",
            where=str(workspace.times_file(label)),
            expected="the time of each frame on the main clock",
            got="no such file",
            do=f"run: ibl-dask run {workspace.session.path}",
        )
    has_table = tracker is not None and files.table(label) is not None
    keypoints = files.read_keypoints(label).likely() if has_table else None
    return CameraView(label, video, index_video(video), times_s, keypoints)


def clip_target(workspace: Workspace, asked: Path | None, event_s: float, *, overwrite: bool) -> Path:
    """Return the file of a clip, before anything is decoded.

    Parameters
    ----------
    workspace : Workspace
        The session.
    asked : Path or None
        The file asked for; by default one beside the results, named by the time of the event.
    event_s : float
        Time of the event, s.
    overwrite : bool
        Replace a clip that exists.

    Raises
    ------
    UsageError
        If the file is no MP4, or lies among other files of the session.
    AlreadyThere
        If it exists, and is not to be replaced.
    NotWritable
        If the folder of the results is a link.
    """
    own = workspace.session.own
    if asked is None:
        workspace.require_own(own / CLIPS)
        target = own / CLIPS / f"event_{event_s:.3f}s{_SUFFIX}"
    else:
        target = asked.expanduser().absolute()
    if target.suffix.lower() != _SUFFIX:
        raise UsageError("a clip is written as MP4", expected=f"a file {_SUFFIX}", got=str(target), do="name it so")
    folder = Path(os.path.realpath(target.parent))
    roots = {Path(os.path.realpath(root)) for root in (workspace.session.path, workspace.session.outputs)}
    if any(folder.is_relative_to(root) for root in roots) and folder != Path(os.path.realpath(own / CLIPS)):
        raise UsageError(
            "a clip would lie among the data of its session",
            where=str(target),
            expected=f"a file outside the session, or in {own / CLIPS}",
            got=str(folder),
            do="leave --out out, or name another folder",
        )
    if os.path.lexists(target) and not overwrite:
        raise AlreadyThere(
            "this clip exists already",
            where=str(target),
            expected="no such file",
            got="a file",
            do="replace it with --overwrite, or name another with --out",
        )
    return target
