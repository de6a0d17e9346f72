"""Sessions of both rigs with videos of a few pixels, what can be changed in them, and what ours makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

import ibl_dask as ibd
from ibl_dask.synth.movie import write_video
from ibl_dask.synth.session import write_session
from ibl_dask.synth.training import TrainingFaults, TrainingTruth, write_training_session
from ibl_dask.tasks.video_sync.pulse_times import load_timing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ibl_dask.synth.truth import CameraTruth, Truth

SIDE = 64
GREY = np.full((SIDE, SIDE), 100, np.uint8)
AUDIO = 7
CHANNELS = {"left": 0, "right": 1, "body": 2}
SAMPLE_S = 1 / 30_000
"""A DAQ sees an edge at its next sample."""
TICK_S = 1e-4
"""A Bpod notes an event to the nearest of its ticks."""


@dataclass(frozen=True)
class Timed:
    """What ours makes of a camera."""

    times: np.ndarray
    """s (frame,); empty where it was refused."""
    measured: np.ndarray
    """Whether the pulse of each frame was recorded (frame,)."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    """Kind and message of the error, if it was refused."""

    @property
    def notes(self) -> str:
        return "; ".join(self.facts["notes"])


# -- sessions --------------------------------------------------------------------------------------------------------


def folder_in(root: Path) -> Path:
    return root / "Subjects" / "SW_001" / "2023-05-01" / "001"


def ephys_session(root: Path, cameras: Sequence[str] = ("body",), **settings: Any) -> tuple[Path, Truth]:
    """Write a session of the ephys rig whose frames are all grey; see `write_session`."""
    folder = folder_in(root)
    footage = {label: repeat(GREY) for label in cameras}
    truth = write_session(folder, cameras=cameras, footage=footage, burn=False, **{"duration_s": 20.0, **settings})
    return folder, truth


def training_session(
    root: Path, duration_s: float = 40.0, seed: int = 3, frame_data: bool = False, **faults: Any
) -> tuple[Path, TrainingTruth]:
    """Write a session of the training rig whose frames are all grey; see `TrainingFaults`."""
    folder = folder_in(root)
    truth = write_training_session(
        folder,
        duration_s=duration_s,
        seed=seed,
        scale=SIDE / 1024,
        frame_data=frame_data,
        faults=TrainingFaults(**faults),
        footage=repeat(np.full((64, 80), 100, np.uint8)),
        burn=False,
    )
    return folder, truth


def camera_file(folder: Path, label: str, name: str) -> Path:
    return folder / "raw_video_data" / f"_iblrig_{label}Camera.{name}"


def shorten_video(folder: Path, label: str, n_frames: int) -> None:
    """Make the video end early: its computer lost the last frames."""
    write_video(camera_file(folder, label, "raw.mp4"), repeat(GREY, n_frames), SIDE, SIDE, 30)


def edit_sync(folder: Path, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the fronts that the DAQ noted, a table of (time, channel, polarity), kept in order of time."""
    paths = [folder / "raw_ephys_data" / f"_spikeglx_sync.{part}.npy" for part in ("times", "channels", "polarities")]
    table = edit(np.stack([np.load(path) for path in paths], axis=1))
    table = table[np.argsort(table[:, 0], kind="stable")]
    for path, column in zip(paths, table.T, strict=True):
        np.save(path, column)


def without_front(channel: int, polarity: int, number: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return an edit that loses one rise or fall of a channel."""

    def edit(table: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero((table[:, 1] == channel) & (table[:, 2] == polarity))
        return np.delete(table, rows[number], axis=0)

    return edit


def edit_frame_data(folder: Path, label: str, edit: Callable[[np.ndarray], None]) -> None:
    """Change, in place, the table that the camera's computer wrote: (PC ticks, camera clock, counter, pins)."""
    path = camera_file(folder, label, "frameData.bin")
    table = np.fromfile(path).reshape(-1, 4)
    edit(table)
    table.tofile(path)


def silence_pins(table: np.ndarray) -> None:
    table[:, 3] = 0


# -- ours ------------------------------------------------------------------------------------------------------------


def time_by_daq(folder: Path, label: str) -> Timed:
    return _timed(ibd.VideoSyncQcNidq(folder, cameras=label), label)


def time_by_camlog(folder: Path, label: str) -> Timed:
    return _timed(ibd.VideoSyncQcCamlog(folder, cameras=label), label)


def time_by_bpod(folder: Path) -> Timed:
    return _timed(ibd.VideoSyncQcBpod(folder), "left")


def _timed(task: Any, label: str) -> Timed:
    times, _ = task.extract_camera()
    failures = [record.failure for record in task.records.values() if record.failure is not None]
    if failures:
        return Timed(np.empty(0), np.empty(0, bool), failure=f"{failures[0].kind}: {failures[0].message}")
    arrays, facts = load_timing(task.workspace.timing_file(label))
    return Timed(times[0], arrays["pulse_quality"] == 0, facts)


# -- beside the truth ------------------------------------------------------------------------------------------------


def frames_off(times: np.ndarray, camera: CameraTruth) -> np.ndarray:
    """Return how late each time is, in frames."""
    return (times - camera.frame_times_s) * camera.fps
