"""Tracks of a session: what was measured of its cameras, and what happened, along the main clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import IblDaskError
from ibl_dask.store import alf
from ibl_dask.store.tables import read_table
from ibl_dask.tasks.pose.post_files import licks_file, read_array
from ibl_dask.view.content import Kind, Track, ViewCamera

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints
    from ibl_dask.report.content import CameraContent
    from ibl_dask.store.workspace import Workspace
    from ibl_dask.tasks.pose.post_files import PoseFiles

_PUPIL = "pupilDiameter_smooth"


def tracks_of_session(
    workspace: Workspace,
    files: PoseFiles,
    cameras: tuple[ViewCamera, ...],
    measured: Mapping[str, CameraContent],
    keypoints: Mapping[str, Keypoints],
) -> tuple[tuple[Track, ...], tuple[str, ...]]:
    """Return all tracks, and a remark on each part that cannot be shown.

    Parameters
    ----------
    workspace : Workspace
        The session.
    files : PoseFiles
        Its files of one tracker.
    cameras : tuple of ViewCamera
        Its cameras.
    measured : mapping
        Label -> content of the report.
    keypoints : mapping
        Label -> keypoints.
    """
    tracks: list[Track] = []
    remarks: list[str] = []

    def add(part: str, make: Callable[[], Iterator[Track]]) -> None:
        try:
            tracks.extend(track for track in make() if len(track.times_s))
        except (IblDaskError, OSError, ValueError) as error:
            remarks.append(f"{part}: {error}")

    add("trials", lambda: _trials(files))
    add("licks", lambda: _licks(workspace))
    add("wheel", lambda: _wheel(files))
    for camera in cameras:
        content = measured.get(camera.label)
        if content is not None:
            add(camera.label, partial(_measured, camera, content))
        if camera.label in keypoints:
            add(camera.label, partial(_posed, camera, files, keypoints[camera.label]))
        add(camera.label, partial(_energy, camera, files, content))
    return tuple(tracks), tuple(remarks)


def _trials(files: PoseFiles) -> Iterator[Track]:
    columns = files.read_trials()
    feedback, kinds = columns.get("feedback_times"), columns.get("feedbackType")
    if "stimOn_times" in columns:
        yield _moments("stimulus on", columns["stimOn_times"])
    if feedback is not None and kinds is not None and len(kinds) == len(feedback):
        yield _moments("reward", feedback[kinds > 0])
        yield _moments("error", feedback[kinds < 0])
    elif feedback is not None:
        yield _moments("feedback", feedback)


def _licks(workspace: Workspace) -> Iterator[Track]:
    path = alf.latest(licks_file(workspace)) or alf.find(workspace.session, "alf", "licks.times.npy")
    if path is not None:
        yield _moments("licks", read_array(path))


def _wheel(files: PoseFiles) -> Iterator[Track]:
    found = files.wheel()
    if found is not None:
        times, positions = read_array(found[0]), read_array(found[1])
        n = min(len(times), len(positions))
        yield Track("wheel", "line", times[:n], positions[:n], "rad")


def _measured(camera: ViewCamera, content: CameraContent) -> Iterator[Track]:
    """Yield tracks of the report's content; arrays of another number of frames belong to another video."""
    label, times, n = camera.label, camera.times_s, len(camera.times_s)
    if content.time_quality is not None and len(content.time_quality) == n:
        yield _per_frame(f"{label} time quality", "level", camera, content.time_quality)
    if content.residuals_s is not None and content.residual_frames is not None and camera.is_timed:
        frames = content.residual_frames
        inside = (frames >= 0) & (frames < n)
        order = np.argsort(frames[inside], kind="stable")
        at = frames[inside][order]
        yield Track(
            f"{label} pulse residual", "points", times[at], content.residuals_s[inside][order] * 1e3, "ms", label
        )
    if content.brightness is not None and len(content.brightness) == n:
        yield _per_frame(f"{label} brightness", "line", camera, content.brightness)


def _posed(camera: ViewCamera, files: PoseFiles, keypoints: Keypoints) -> Iterator[Track]:
    label = camera.label
    yield _per_frame(f"{label} likelihood", "line", camera, keypoints.values[:, :, 2].mean(axis=1))
    table = files.features(label)
    columns = {} if table is None else read_table(table, (_PUPIL,))
    if _PUPIL in columns and len(columns[_PUPIL]) == len(camera.times_s):
        yield _per_frame(f"{label} pupil", "line", camera, columns[_PUPIL], "px")


def _energy(camera: ViewCamera, files: PoseFiles, content: CameraContent | None) -> Iterator[Track]:
    path = files.energy(camera.label)
    if path is not None:
        energy = read_array(path)
        if len(energy) == len(camera.times_s):
            yield _per_frame(f"{camera.label} motion energy", "line", camera, energy)
            return
    for region, values in ({} if content is None else content.motion_energy).items():
        if len(values) == len(camera.times_s):
            yield _per_frame(f"{camera.label} motion energy, {region}", "line", camera, values)


def _per_frame(name: str, kind: Kind, camera: ViewCamera, values: NDArray[np.generic], unit: str = "") -> Track:
    return Track(name, kind, camera.times_s, np.asarray(values, np.float64), unit, camera.label, 0)


def _moments(name: str, times_s: NDArray[np.float64]) -> Track:
    times = np.sort(times_s[np.isfinite(times_s)])
    return Track(name, "marks", times, np.ones(len(times)))
