"""Sessions of a widefield rig: cameras recorded by labcams, with logs instead of pin states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.model.session import Session
from ibl_dask.synth.plan import NOMINAL_FPS, CameraFaults, camera_rng, frame_size, plan_camera
from ibl_dask.synth.render import CameraVideo, VideoStyle, write_videos
from ibl_dask.synth.rig_files import VIDEO_FOLDER, camera_entry, write_sync, write_wheel, write_yaml
from ibl_dask.synth.session import simulate_trials
from ibl_dask.synth.truth import CameraTruth, Truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SYNC_FOLDER = "raw_sync_data"
"""Folder of the NI-DAQ's files."""

_CLOCK_DRIFT_PPM = 40.0
_CLOCK_STEP_S = 1e-7
_FILE_EVERY_FRAMES = 256


@dataclass(frozen=True, slots=True)
class CamlogStyle:
    """Layout of the log of a camera as labcams writes it."""

    first_id: int = 1
    """Id of the first frame: 1, or wherever the camera's counter was."""
    origin_s: float = 0.0
    """Reading of the camera's clock at the first exposure, s."""
    in_ns: bool = False
    """Write the clock in whole ns, as for cameras of Allied Vision, instead of s."""
    extra: Sequence[str] = ("0",)
    """Further columns of each line."""
    events: bool = True
    """Note LEDs and sync counts between the frames."""
    slow_at: Sequence[int] = ()
    """Frames before which labcams complained that the computer is too slow."""
    torn: bool = False
    """The computer stopped while it wrote the last line."""


@dataclass(frozen=True, slots=True)
class WidefieldFaults:
    """Deviations of the recording of each camera from one pulse per frame; by label."""

    cameras: Mapping[str, CameraFaults] = field(default_factory=dict)
    """See `CameraFaults`."""
    logs: Mapping[str, CamlogStyle] = field(default_factory=dict)
    """See `CamlogStyle`."""


def write_widefield_session(
    folder: Path,
    *,
    duration_s: float = 10.0,
    cameras: Sequence[str] = ("left", "right"),
    seed: int = 0,
    scale: float = 1.0,
    faults: WidefieldFaults | None = None,
    as_recorded: bool = False,
    burn: bool = True,
    gop: int = 250,
) -> Truth:
    """Write a session of a widefield rig and return its ground truth.

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
    faults
        Deviations from one pulse per frame and from plain logs; none by default.
    as_recorded
        Videos and logs under the names that labcams gives them, the videos as AVI, before they are converted.
    burn
        Burn frame numbers into the pixels.
    gop
        Greatest distance of keyframes, frames.

    Raises
    ------
    UsageError, NotASession
        If arguments contradict each other, or the folder's name is not that of a session.
    """
    faults = faults or WidefieldFaults()
    folder.mkdir(parents=True, exist_ok=True)
    date = Session(folder).date
    planned = {
        label: plan_camera(
            label,
            round(duration_s * NOMINAL_FPS[label]),
            frame_size(label, scale),
            faults.cameras.get(label, CameraFaults()),
            camera_rng(seed, label),
        )
        for label in cameras
    }
    behaviour, edges = simulate_trials(planned, np.random.default_rng(seed))
    truth = Truth(planned, behaviour.times_s, behaviour.wheel_rad, edges)
    _write_description(folder, planned)
    write_sync(folder / SYNC_FOLDER, truth, behaviour)
    write_wheel(folder / "alf", behaviour)
    videos = folder / VIDEO_FOLDER
    videos.mkdir(exist_ok=True)
    for label, camera in planned.items():
        style = faults.logs.get(label, CamlogStyle())
        rng = camera_rng(seed, f"log {label}")
        text = camlog_text(camera, style, date, rng)
        (videos / f"_iblrig_{label}Camera.raw.camlog").write_bytes(text.encode("utf-8"))
    camera_videos = [CameraVideo(camera, behaviour, None, seed, burn, None) for camera in planned.values()]
    write_videos(videos, camera_videos, VideoStyle(raw_avi=as_recorded, gop=gop), workers=2)
    if as_recorded:
        for path in list(videos.iterdir()):
            label = path.name.removeprefix("_iblrig_").partition("Camera")[0]
            path.rename(videos / f"{label}_cam_{date.replace('-', '')}_00000000{path.suffix}")
    truth.save(folder)
    return truth


def camlog_text(camera: CameraTruth, style: CamlogStyle, date: str, rng: np.random.Generator) -> str:
    """Return the log that labcams writes about the frames of a camera.

    Parameters
    ----------
    camera
        Exposures and frames of the camera.
    style
        Layout of the log.
    date
        YYYY-MM-DD.
    rng
        Chooses the drift of the camera's clock.
    """
    year, month, day = date.split("-")
    stamp = f"# [{year[2:]}-{month}-{day} 14:00:00] - "
    exposures = camera.frame_exposures - camera.frame_exposures[0]
    clock = _camera_clock(camera.frame_times_s, style.origin_s, rng)
    shown = [str(round(t * 1e9)) if style.in_ns else repr(round(t, 7)) for t in clock.tolist()]
    lines = [
        f"# Camera: {camera.label}cam log file",
        f"# Date: {day}-{month}-{year}",
        "# labcams version: 0.7",
        "# Log header:frame_id,timestamp",
        f"{stamp}D:\\data\\{camera.label}_cam\\run000_00000000.avi",
        f"{stamp}Queue: 3",
    ]
    slow = set(style.slow_at)
    for number, (exposure, time) in enumerate(zip(exposures.tolist(), shown, strict=True)):
        line = ",".join([str(style.first_id + exposure), time, *style.extra])
        if number in slow:  # without line breaks, as labcams does
            line = (
                "# ISSUE RECORDING. FRAME COUNT ON QUEUE TOO HIGH. DROPPING FRAMES."
                f"# THIS IS NOT NORMAL, CHECK THE INSTALATION.{line}"
            )
        lines.append(line)
        if style.events and number % _FILE_EVERY_FRAMES == 7:
            lines.append(f"#LED:{5 + number % 2},{exposure},{time}")
            lines.append(f"#SYNC:{number // _FILE_EVERY_FRAMES + 1},{exposure},{time}")
    if style.torn:
        return "\n".join(lines)[: -len(style.extra) * 2 - 3]
    lines.append(f"{stamp}Wrote {camera.n_frames} frames on {camera.label}cam (1 files).")
    return "\n".join(lines) + "\n"


def _camera_clock(times_s: Floats, origin_s: float, rng: np.random.Generator) -> Floats:
    """Return readings of the camera's clock at some times: its own drift and zero, steps of 100 ns."""
    drift = 1 + float(rng.uniform(-_CLOCK_DRIFT_PPM, _CLOCK_DRIFT_PPM)) * 1e-6
    clock: Floats = origin_s + np.rint((times_s - times_s[0]) * drift / _CLOCK_STEP_S) * _CLOCK_STEP_S
    return clock


def _write_description(folder: Path, cameras: Mapping[str, CameraTruth]) -> None:
    described = {label: {**camera_entry(camera), "compressed": True} for label, camera in cameras.items()}
    content = {
        "version": "1.0.0",
        "sync": {"nidq": {"collection": SYNC_FOLDER, "extension": "bin", "acquisition_software": "spikeglx"}},
        "devices": {
            "cameras": described,
            "widefield": {"widefield": {"collection": "raw_widefield_data", "sync_label": "frame_trigger"}},
        },
        "tasks": [{"_iblrig_tasks_widefieldChoiceWorld": {"collection": "raw_task_data_00", "sync_label": "bpod"}}],
    }
    write_yaml(folder, content)
