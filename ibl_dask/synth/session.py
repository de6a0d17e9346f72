"""Whole sessions of an ephys rig, in the formats of its acquisition software, with the truth beside them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.synth.camera_files import (
    camera_records,
    copy_files,
    read_rig_files,
    write_frame_data,
    write_separate_files,
)
from ibl_dask.synth.plan import (
    NOMINAL_FPS,
    CameraFaults,
    camera_rng,
    edges_of_pin,
    frame_size,
    plan_camera,
    plan_from_records,
    quiet_window,
)
from ibl_dask.synth.render import CameraVideo, VideoStyle, write_videos
from ibl_dask.synth.rig_files import SYNC_FOLDER, VIDEO_FOLDER, write_description, write_sync, write_wheel
from ibl_dask.synth.truth import CameraTruth, Truth
from ibl_dask.synth.wheel import Behaviour, simulate_behaviour, sound_edges, trial_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.synth.camera_files import RigRecords
    from ibl_dask.synth.render import Frames, Progress

_Value = TypeVar("_Value", int, float)


def write_session(
    folder: Path,
    *,
    duration_s: float = 20.0,
    cameras: Sequence[str] = ("left", "right", "body"),
    seed: int = 0,
    scale: float = 1.0,
    raw_avi: bool = False,
    codec: str | None = None,
    video_options: Mapping[str, str] | None = None,
    gop: int = 250,
    b_frames: int = 0,
    ssv_cameras: Sequence[str] = (),
    camera_first: bool = False,
    n_dropped: int | Mapping[str, int] = 0,
    surplus_start_s: float | Mapping[str, float] = 0.0,
    surplus_end_s: float | Mapping[str, float] = 0.0,
    missing_start_frames: int | Mapping[str, int] = 0,
    missing_end_frames: int | Mapping[str, int] = 0,
    dark_frames: Mapping[str, range] | None = None,
    footage: Mapping[str, Frames] | None = None,
    camera_files: Mapping[str, Mapping[str, Path]] | None = None,
    burn: bool = True,
    on_progress: Progress | None = None,
    workers: int = 2,
) -> Truth:
    """Write a session of the ephys rig and return its ground truth.

    Settings that take a number also take a mapping from camera to number; cameras it leaves out get none.

    Parameters
    ----------
    folder
        Session folder, ending in `subject/YYYY-MM-DD/NNN`; made if need be.
    duration_s
        Length of the videos.
    cameras
        Some of left, right and body.
    seed
        Chooses everything that varies; equal arguments give equal sessions.
    scale
        Scales the frames.
    raw_avi, codec, video_options, gop, b_frames
        See `VideoStyle`.
    ssv_cameras
        Cameras with `timestamps.ssv`, `GPIO.bin` and `frame_counter.bin` instead of `frameData.bin`.
    camera_first
        Camera clock before wall clock in `timestamps.ssv`, the order of training rigs.
    n_dropped, surplus_start_s, surplus_end_s, missing_start_frames, missing_end_frames
        See `CameraFaults`.
    dark_frames
        Camera -> frames for which the lamp is off.
    footage
        Frames `(y, x)` to use instead of drawn ones, at least as many as the video needs; the first gives the size.
    camera_files
        Files of a real rig to put beside a camera's video, by kind: `frame_data`, or `timestamps`, `gpio` and
        `frame_counter`. The video gets as many frames as their clock has entries, and pulses and audio TTL follow
        them. Only one camera's files may carry changes of pin 4: there is one audio TTL.
    burn
        Burn frame numbers into the pixels.
    on_progress
        Called as `(camera, frames written, frames in all)` now and then, from the threads that write.
    workers
        Videos written at a time, each by a thread; OpenCV and the encoders release the interpreter.

    Raises
    ------
    UsageError
        If arguments contradict each other or footage is too short.
    NotASession
        If the folder's name is not that of a session.
    """
    _check_cameras(cameras)
    folder.mkdir(parents=True, exist_ok=True)
    date = Session(folder).date
    files = {label: kinds for label, kinds in (camera_files or {}).items() if label in cameras}
    recorded = {label: read_rig_files(kinds) for label, kinds in files.items()}
    pictures, sizes = _open_footage(footage or {}, cameras, scale)
    rngs = {label: camera_rng(seed, label) for label in cameras}
    planned: dict[str, CameraTruth] = {}
    for label in cameras:
        faults = CameraFaults(
            _for_camera(n_dropped, label, 0),
            _for_camera(surplus_start_s, label, 0.0),
            _for_camera(surplus_end_s, label, 0.0),
            _for_camera(missing_start_frames, label, 0),
            _for_camera(missing_end_frames, label, 0),
        )
        if label in recorded:
            planned[label] = plan_from_records(label, recorded[label], sizes[label], faults, rngs[label])
        else:
            n_frames = round(duration_s * NOMINAL_FPS[label])
            planned[label] = plan_camera(label, n_frames, sizes[label], faults, rngs[label])
    behaviour, edges = _behaviour(planned, recorded, np.random.default_rng(seed))
    truth = Truth(planned, behaviour.times_s, behaviour.wheel_rad, edges)
    write_description(folder, planned)
    write_sync(folder / SYNC_FOLDER, truth, behaviour)
    write_wheel(folder / "alf", behaviour)
    videos = folder / VIDEO_FOLDER
    videos.mkdir(exist_ok=True)
    zero = datetime.fromisoformat(date).replace(hour=14, tzinfo=UTC)
    for label, camera in planned.items():
        if label in files:
            copy_files(videos, label, files[label])
        elif label in ssv_cameras:
            records = camera_records(camera, edges, zero, rngs[label])
            write_separate_files(videos, label, records, camera_first=camera_first)
        else:
            write_frame_data(videos, label, camera_records(camera, edges, zero, rngs[label]))
    dark = dark_frames or {}
    camera_videos = [
        CameraVideo(c, behaviour, pictures.get(label), seed, burn, on_progress, dark.get(label, range(0)))
        for label, c in planned.items()
    ]
    write_videos(videos, camera_videos, VideoStyle(raw_avi, codec, video_options, gop, b_frames), workers)
    truth.save(folder)
    return truth


def _check_cameras(cameras: Sequence[str]) -> None:
    unknown = sorted(set(cameras) - set(NOMINAL_FPS))
    if unknown or not cameras:
        expected = "some of " + ", ".join(NOMINAL_FPS)
        raise UsageError("the rig has no such camera", expected=expected, got=", ".join(unknown) or "none")


def _for_camera(value: _Value | Mapping[str, _Value], label: str, absent: _Value) -> _Value:
    return value.get(label, absent) if isinstance(value, Mapping) else value


def _open_footage(
    footage: Mapping[str, Frames], cameras: Sequence[str], scale: float
) -> tuple[dict[str, Frames], dict[str, tuple[int, int]]]:
    """Return the footage, and (width, height) of each camera."""
    sizes = {label: frame_size(label, scale) for label in cameras}
    opened: dict[str, Frames] = {}
    for label in set(footage) & set(cameras):
        source = iter(footage[label])
        first = next(source, None)
        if first is None:
            raise UsageError(f"the footage of camera {label} has no frame")
        sizes[label] = (first.shape[1], first.shape[0])
        opened[label] = chain([first], source)
    return opened, sizes


def _behaviour(
    cameras: Mapping[str, CameraTruth], recorded: Mapping[str, RigRecords], rng: np.random.Generator
) -> tuple[Behaviour, NDArray[np.float64]]:
    """Return the behaviour and the edges of the audio TTL, from recorded pins where there are any.

    Parameters
    ----------
    cameras : mapping
        Label -> plan of the camera.
    recorded : mapping
        Label -> records of a real camera.
    rng : numpy.random.Generator
        Source of the behaviour.
    """
    duration_s = max(float(camera.exposure_times_s[-1]) for camera in cameras.values()) + 1.0
    pin_edges = {label: edges_of_pin(cameras[label].frame_times_s, recorded[label].high) for label in recorded}
    changing = [label for label, edges in pin_edges.items() if edges.size]
    if len(changing) > 1:
        raise UsageError(
            "pin 4 changes in the files of several cameras, but there is one audio TTL",
            got=", ".join(changing),
            do="leave out the gpio file of all but one",
        )
    if changing:
        edges = pin_edges[changing[0]]
        return simulate_behaviour(duration_s, edges[::2], rng), edges
    return simulate_trials(cameras, rng)


def simulate_trials(
    cameras: Mapping[str, CameraTruth], rng: np.random.Generator
) -> tuple[Behaviour, NDArray[np.float64]]:
    """Return the behaviour while all cameras run, and the edges of the audio TTL."""
    duration_s = max(float(camera.exposure_times_s[-1]) for camera in cameras.values()) + 1.0
    window = quiet_window(cameras.values())
    behaviour = simulate_behaviour(duration_s, trial_times(window, rng), rng)
    return behaviour, sound_edges(behaviour, window[1], rng)
