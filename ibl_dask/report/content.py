"""Content of a session's report, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ibl_dask.model.failure import Failure
from ibl_dask.model.qc_record import CameraRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JsonRecord = Mapping[str, Any]
"""Record of the provenance, parsed from JSON; the reader checks each value."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraContent:
    """One camera; None or empty for a part that is not available."""

    label: str
    """left, right, body or belly."""
    qc: CameraRecord
    """Its part of `qc.json`."""
    video: Mapping[str, object] = field(default_factory=dict)
    """`frames`, `width`, `height`, `fps`, `codec`, `keyframes`, `hidden`, `video` (path)."""
    compression: Mapping[str, object] = field(default_factory=dict)
    """Compression: `profile`, `bytes`, `raw_bytes`, `median_psnr_db`, ..., `notes`; empty where not here."""
    timing: Mapping[str, object] = field(default_factory=dict)
    """`method`, `n_pulses`, `n_surplus_start`, ..., `period_s`, `drift_ppm`, `notes`; empty where not timed."""
    no_times: Failure | None = None
    """Reason for missing times; None where there are times."""
    remarks: tuple[str, ...] = ()
    """Notes on the origin of the data."""
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
    pose: Mapping[str, CameraRecord] = field(default_factory=dict)
    """Checks of its keypoints, by their names in `qc.json`: `dlcLeft`, ..."""


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
    ran: JsonRecord = field(default_factory=dict)
    """`ran` of the provenance: `run`, `host`, `n_workers`, `started_s`, `seconds` of the latest run; latest state of
    `steps` {name: {n, seconds, status, workers, run}}, `tasks` {name: status} and `failures` [see `Failure.to_json`]
    over all runs."""
    made: JsonRecord = field(default_factory=dict)
    """Versions of the software: `ibl_dask`, `ffmpeg`, ..., and `time` (UTC with offset)."""
    runs: tuple[JsonRecord, ...] = ()
    """Every run, oldest first: `run`, `host`, `n_workers`, `started_s`, `seconds`, `tasks` {name: status}, `made`."""
    pose_figures: Mapping[str, bytes] = field(default_factory=dict)
    """Figures of keypoints, PNG, by the names of their files."""
    pose_clips: Mapping[str, bytes] = field(default_factory=dict)
    """Clips with keypoints, MP4, by the names of their files."""
