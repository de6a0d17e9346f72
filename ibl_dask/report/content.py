"""Everything a session's report shows, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class CameraContent:
    """One camera; None or empty where a part could not be had."""

    label: str
    """left, right, body or belly."""
    qc: Mapping[str, Any]
    """Part of `qc.json`: `outcome`, `checks` {name: {outcome, numbers, values, measured, threshold, message}},
    `failure`."""
    video: Mapping[str, Any] = field(default_factory=dict)
    """`frames`, `width`, `height`, `fps`, `codec`, `keyframes`, `hidden`, `video` (path)."""
    compression: Mapping[str, Any] = field(default_factory=dict)
    """How it was compressed: `profile`, `bytes`, `raw_bytes`, `median_psnr_db`, ..., `notes`; empty where not here."""
    timing: Mapping[str, Any] = field(default_factory=dict)
    """`method`, `n_pulses`, `n_surplus_start`, ..., `period_s`, `drift_ppm`, `notes`; empty where not timed."""
    no_times: str = ""
    """Why there are no times."""
    times_s: NDArray[np.float64] | None = None
    """Frame times on the main clock. (frame,)"""
    time_quality: NDArray[np.uint8] | None = None
    """0 measured, 1 interpolated, 2 extrapolated, 3 assumed. (frame,)"""
    residual_frames: NDArray[np.int64] | None = None
    """Frames at which the synchronisation pin changed. (match,)"""
    residuals_s: NDArray[np.float64] | None = None
    """Sync edge minus time of that frame, s; right in (-period, 0]. (match,)"""
    brightness: NDArray[np.float32] | None = None
    """Mean luma of the QC region; NaN where the frame does not decode. (frame,)"""
    sharpness_frames: NDArray[np.int64] | None = None
    """Frames at which sharpness was measured. (n,)"""
    sharpness: NDArray[np.float32] | None = None
    """Variance of the Laplacian at half resolution. (n,)"""
    motion_energy: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Region -> mean absolute luma difference. (frame,)"""
    thumbnail_frames: NDArray[np.int64] | None = None
    """Frames of the thumbnails. (k,)"""
    thumbnails: NDArray[np.uint8] | None = None
    """Small pictures, luma. (k, y, x)"""
    n_decode_errors: int = 0
    """Frames that do not decode."""


@dataclass(frozen=True, slots=True, eq=False)
class SessionContent:
    """One session."""

    reference: str
    """subject/date/number."""
    path: str
    """Session folder."""
    outputs: str
    """Folder that received the results."""
    outcome: str
    """Worst outcome of all checks."""
    cameras: tuple[CameraContent, ...]
    """Cameras, in the order of the description."""
    ran: Mapping[str, Any] = field(default_factory=dict)
    """What ran: `run`, `host`, `n_workers`, `started_s`, `seconds`, `steps` {name: {n, seconds, status, workers}},
    `tasks` {name: status}, `failures` [{kind, category, message, traceback}]."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """Versions of what made it: `ibl_dask`, `ffmpeg`, ..., and `time` (UTC with offset)."""
