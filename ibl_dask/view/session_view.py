"""A session as the viewer shows it; each part is read when it is first asked for."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import IblDaskError, UnequalLengths, UsageError
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.report.content import CameraContent
from ibl_dask.tasks.pose.posed_cameras import pose_tables
from ibl_dask.tasks.pose.post_files import PoseFiles
from ibl_dask.tasks.provenance import read_provenance
from ibl_dask.tasks.session_report import gather
from ibl_dask.video.pictures import WIDTH_PX, Pictures, picture_size
from ibl_dask.view.cameras import find_cameras
from ibl_dask.view.content import Jump, Track, ViewCamera
from ibl_dask.view.places import jumps_of_camera
from ibl_dask.view.tracks import tracks_of_session

if TYPE_CHECKING:
    from ibl_dask.pose.features import Tracker
    from ibl_dask.store.workspace import Workspace


class SessionView:
    """Content of one session.

    Opening it finds the videos and their times, which is all that the first picture needs. Several threads may use it.

    Parameters
    ----------
    workspace : Workspace
        The session.
    tracker : str, optional
        Estimator of the keypoints; lightningPose where there are both.
    width_px : int
        Largest width of the pictures.

    Raises
    ------
    MissingFile
        If there is no video that can be shown.
    """

    def __init__(self, workspace: Workspace, tracker: Tracker | None = None, width_px: int = WIDTH_PX) -> None:
        self.workspace = workspace
        self.cameras, self.remarks = find_cameras(workspace)
        tables = pose_tables(workspace, tracker)
        found = {table.tracker for table in tables}
        self.tracker: Tracker = tracker or ("lightningPose" if "lightningPose" in found else "dlc")
        self.posed = frozenset(table.camera for table in tables if table.tracker == self.tracker)
        self.files = PoseFiles(workspace, self.tracker)
        self._width_px = width_px
        self._pictures: dict[str, Pictures] = {}
        self._lock, self._picture_lock = threading.RLock(), threading.Lock()

    @property
    def span_s(self) -> tuple[float, float]:
        """Return the times of the first and of the last frame of any camera."""
        return (
            min(float(camera.times_s[0]) for camera in self.cameras),
            max(float(camera.times_s[-1]) for camera in self.cameras),
        )

    def camera(self, label: str) -> ViewCamera:
        """Return a camera.

        Raises
        ------
        UsageError
            If there is none of this label.
        """
        for camera in self.cameras:
            if camera.label == label:
                return camera
        labels = ", ".join(camera.label for camera in self.cameras)
        raise UsageError("there is no such camera", expected=labels, got=label)

    def pictures(self, label: str) -> Pictures:
        """Return the pictures of a camera, whose video is indexed with the first call.

        Raises
        ------
        MissingFile, UnreadableVideo
            If the video cannot be indexed.
        """
        camera = self.camera(label)
        index = camera.index()
        with self._picture_lock:
            if label not in self._pictures:
                self._pictures[label] = Pictures(camera.video, index, self._width_px)
            return self._pictures[label]

    def picture_size(self, label: str) -> tuple[int, int]:
        """Return width and height of the pictures of a camera, px."""
        return picture_size(*self.camera(label).size_px, self._width_px)

    @property
    def keypoints(self) -> dict[str, Keypoints]:
        """Return the keypoints of each camera whose table has one row per frame."""
        return self._read[0]

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Return the tracks."""
        return self._read[1]

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """Return the places that need a look."""
        return self._read[2]

    @property
    def later_remarks(self) -> tuple[str, ...]:
        """Return remarks on parts that cannot be shown."""
        return self._read[3]

    @property
    def _read(self) -> tuple[dict[str, Keypoints], tuple[Track, ...], tuple[Jump, ...], tuple[str, ...]]:
        with self._lock:
            return self._all

    @cached_property
    def _all(self) -> tuple[dict[str, Keypoints], tuple[Track, ...], tuple[Jump, ...], tuple[str, ...]]:
        remarks: list[str] = []
        keypoints = self._keypoints(remarks)
        measured = self._measured(remarks)
        tracks, unread = tracks_of_session(self.workspace, self.files, self.cameras, measured, keypoints)
        jumps = [
            jump
            for camera in self.cameras
            for jump in jumps_of_camera(camera, measured.get(camera.label), keypoints.get(camera.label))
        ]
        return keypoints, tracks, tuple(jumps), (*remarks, *unread)

    def _keypoints(self, remarks: list[str]) -> dict[str, Keypoints]:
        found: dict[str, Keypoints] = {}
        for camera in self.cameras:
            if camera.label not in self.posed:
                continue
            try:
                read = self.files.read_keypoints(camera.label)
                _require_rows(read, camera)
                found[camera.label] = read
            except (IblDaskError, OSError) as error:
                remarks.append(f"{camera.label}: {error}")
        return found

    def _measured(self, remarks: list[str]) -> dict[str, CameraContent]:
        try:
            content = gather(self.workspace, read_provenance(self.workspace))
        except (IblDaskError, OSError) as error:
            remarks.append(str(error))
            return {}
        return {camera.label: camera for camera in content.cameras}

    def close(self) -> None:
        """Close the videos."""
        with self._picture_lock:
            opened = list(self._pictures.values())
        for pictures in opened:
            pictures.close()


def _require_rows(keypoints: Keypoints, camera: ViewCamera) -> None:
    if len(keypoints) != camera.n_frames:
        raise UnequalLengths(
            "keypoints and frames differ in number, so they are not shown",
            where=str(camera.video),
            expected=f"{camera.n_frames:,} rows, one per frame",
            got=f"{len(keypoints):,} rows",
            do="estimate the keypoints of this video anew",
        )


def frames_between(camera: ViewCamera, start_s: float, stop_s: float) -> tuple[int, int]:
    """Return the frames that are seen in a range of time: the one shown at its start, and all that begin within.

    Returns
    -------
    int, int
        First and last frame; both 0 or the last frame where the camera recorded nothing in the range.
    """
    first = int(np.searchsorted(camera.times_s, start_s, side="right")) - 1
    last = int(np.searchsorted(camera.times_s, stop_s, side="right")) - 1
    return max(0, first), max(0, first, last)
