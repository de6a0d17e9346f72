"""Plan of a session: exposures of each camera, those that become frames, and those that the DAQ records.

Nothing is written here.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.synth.clocks import CameraClock
from ibl_dask.synth.scene import FULL_SIZE
from ibl_dask.synth.truth import CameraTruth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ibl_dask.synth.camera_files import RigRecords

    Floats = NDArray[np.float64]

NOMINAL_FPS = {"left": 60.0, "right": 150.0, "body": 30.0}
"""Frame rates of an ephys rig, Hz."""

_DRIFT_PPM = 60.0
_QUIET_S = 0.3


@dataclass(frozen=True, slots=True)
class CameraFaults:
    """Deviations of the recording of one camera from one pulse per frame."""

    n_dropped: int = 0
    """Exposures within the video that never became a frame."""
    surplus_start_s: float = 0.0
    """Time for which the DAQ saw pulses before the first frame."""
    surplus_end_s: float = 0.0
    """Time for which the DAQ saw pulses after the last frame."""
    missing_start_frames: int = 0
    """Frames at the start whose pulses the DAQ missed."""
    missing_end_frames: int = 0
    """Frames at the end whose pulses the DAQ missed."""


def camera_rng(seed: int, label: str) -> np.random.Generator:
    """Return the random numbers of one camera; they do not depend on which other cameras there are."""
    return np.random.default_rng([seed, zlib.crc32(f"clock {label}".encode())])


def frame_size(label: str, scale: float) -> tuple[int, int]:
    """Return even (width, height) of a camera's frames at a scale, pixels.

    Raises
    ------
    UsageError
        If the rig has no such camera, or nothing would be left of its frames.
    """
    if label not in FULL_SIZE:
        raise UsageError("the rig has no such camera", expected=", ".join(FULL_SIZE), got=label)
    width, height = (2 * round(side * scale / 2) for side in FULL_SIZE[label])
    if min(width, height) < 64:
        raise UsageError("these frames are too small to show anything", got=f"{width}x{height}", do="raise the scale")
    return width, height


def plan_camera(
    label: str,
    n_frames: int,
    size: tuple[int, int],
    faults: CameraFaults,
    rng: np.random.Generator,
    fps: float | None = None,
) -> CameraTruth:
    """Plan a camera that runs at its nominal rate.

    Parameters
    ----------
    label : str
        left, right, body or belly.
    n_frames : int
        Frames of the video.
    size : tuple of int
        (width, height) of the frames, pixels.
    faults : CameraFaults
        Deviations from one pulse per frame.
    rng : numpy.random.Generator
        Source of clock phase, drift and jitter.
    fps : float, optional
        Nominal frame rate, Hz; that of an ephys rig by default.
    """
    fps = NOMINAL_FPS[label] if fps is None else fps
    before, after = _surplus(faults, fps, n_frames)
    drift_ppm = float(rng.uniform(-_DRIFT_PPM, _DRIFT_PPM))
    clock = CameraClock(fps, float(rng.uniform(1.0, 1.6)), drift_ppm)
    exposures = clock.exposure_times(before + n_frames + faults.n_dropped + after, rng)
    frames = before + kept_exposures(n_frames, faults.n_dropped, rng)
    return _truth(label, fps, size, exposures, frames, faults)


def plan_from_records(
    label: str, records: RigRecords, size: tuple[int, int], faults: CameraFaults, rng: np.random.Generator
) -> CameraTruth:
    """Plan a camera around files of a real rig, which also determine the dropped frames.

    Parameters
    ----------
    label : str
        left, right or body.
    records : RigRecords
        Content of the files.
    size : tuple of int
        (width, height) of the frames, pixels.
    faults : CameraFaults
        Pulses that are left over or missing at either end.
    rng : numpy.random.Generator
        Source of clock phase and drift.
    """
    period = float(np.median(np.diff(records.seconds) / np.diff(records.counts)))
    nominal = NOMINAL_FPS[label]
    fps = nominal if abs(nominal * period - 1) < 0.05 else float(round(1 / period))
    before, after = _surplus(faults, 1 / period, records.seconds.size)
    seconds = records.seconds * (1 + float(rng.uniform(-_DRIFT_PPM, _DRIFT_PPM)) * 1e-6)
    within = np.interp(np.arange(records.counts[-1] + 1), records.counts, seconds)
    early = period * np.arange(-before, 0)
    late = within[-1] + period * np.arange(1, after + 1)
    start_s = float(rng.uniform(1.0, 1.6)) + before * period
    exposures = start_s + np.concatenate([early, within, late])
    return _truth(label, fps, size, exposures, before + records.counts, faults)


def quiet_window(cameras: Iterable[CameraTruth]) -> tuple[float, float]:
    """Return start and end of the time in which the DAQ records pulses of all cameras, less a margin, s."""
    starts, stops = [], []
    for camera in cameras:
        times = camera.frame_times_s[camera.has_pulse]
        starts.append(float(times[0]))
        stops.append(float(times[-1]))
    return max(starts) + _QUIET_S, min(stops) - _QUIET_S


def edges_of_pin(frame_times_s: Floats, high: NDArray[np.bool_]) -> Floats:
    """Return audio TTL edges that explain a recorded pin: each halfway before the frame that shows it first.

    A pin that is high from the first frame on and falls later has risen just before. A pin that never changes gives no
    edge.
    """
    changes = np.flatnonzero(np.diff(high)) + 1
    edges = (frame_times_s[changes - 1] + frame_times_s[changes]) / 2
    if changes.size and high[0]:
        edges = np.concatenate([[1.5 * frame_times_s[0] - 0.5 * frame_times_s[1]], edges])
    return edges


def _surplus(faults: CameraFaults, fps: float, n_frames: int) -> tuple[int, int]:
    """Return exposures before the first and after the last frame."""
    both_start = faults.surplus_start_s > 0 and faults.missing_start_frames > 0
    both_end = faults.surplus_end_s > 0 and faults.missing_end_frames > 0
    if both_start or both_end or faults.missing_start_frames + faults.missing_end_frames > n_frames - 2:
        raise UsageError(
            "pulses cannot be both missing and left over at one end, and two frames must keep theirs",
            got=f"{faults} for {n_frames} frames",
            do="set one of surplus and missing to 0 at each end",
        )
    return round(faults.surplus_start_s * fps), round(faults.surplus_end_s * fps)


def kept_exposures(n_frames: int, n_dropped: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the exposures that become frames; dropped ones are within the middle four fifths.

    Parameters
    ----------
    n_frames, n_dropped : int
        Number of exposures that do and do not become frames.
    rng : numpy.random.Generator
        Source of the dropped ones.

    Raises
    ------
    UsageError
        If more are to be dropped than there are.
    """
    total = n_frames + n_dropped
    edge = max(2, total // 10)
    inner = np.arange(edge, total - edge)
    if n_dropped > inner.size:
        raise UsageError(f"{n_dropped} of {total} frames cannot be dropped", expected=f"at most {inner.size}")
    lost = rng.choice(inner, n_dropped, replace=False)
    return np.setdiff1d(np.arange(total), lost)


def _truth(
    label: str, fps: float, size: tuple[int, int], exposures: Floats, frames: NDArray[np.int64], faults: CameraFaults
) -> CameraTruth:
    first = int(frames[0]) + faults.missing_start_frames if faults.missing_start_frames else 0
    stop = int(frames[-1]) + 1 - faults.missing_end_frames if faults.missing_end_frames else exposures.size
    return CameraTruth(label, fps, *size, exposures, frames.astype(np.int64), first, stop)
