"""Data that the checks of a camera use, as values; the caller collects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ibl_dask.model.failure import Failure
from ibl_dask.model.outcome import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ibl_dask.model.description import Camera


@dataclass(frozen=True, slots=True, eq=False)
class FaceEvidence:
    """Sampled frames beside the reference frame of a well-placed camera; NaN where a frame did not decode."""

    left: int
    """Left edge of the face (body camera: of the holder) in the reference frame, pixels."""
    top: int
    """Top edge of it, pixels."""
    x: NDArray[np.float64]
    """Left edge of the best match in each sampled frame, pixels. (sample,)"""
    y: NDArray[np.float64]
    """Top edge of it, pixels. (sample,)"""
    score: NDArray[np.float64]
    """Quality of the match, correlation coefficient. (sample,)"""
    histogram_correlation: NDArray[np.float64]
    """Correlation of the histograms of grey levels, -1 to 1. (sample,)"""
    laplacian: NDArray[np.float64]
    """Variance of the Laplacian at the match. (focus sample,)"""
    is_sharp: NDArray[np.float64]
    """1 where that of the median match of all samples is over the threshold of `focus`. (focus sample,)"""


@dataclass(frozen=True, slots=True)
class WheelEvidence:
    """Alignment of video and wheel with the published times."""

    has_bout: bool
    """True if the wheel has a bout of movement that the reference uses."""
    overlaps: bool
    """True if video and wheel have any time in common."""
    offset_frames: int | None
    """Offset in that bout by the method of the reference, frames, positive where the video is late; None where the
    video does not cover it."""
    shift_frames: float | None
    """Offset by the whole session, frames; None where the wheel never turned."""
    shift_s: float | None
    """The same, s."""
    confidence: float
    """Confidence in the offset by the whole session, 0 to 1."""
    is_confident: bool
    """True if the confidence is sufficient."""
    why_not: str
    """Reason for insufficient confidence; empty otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraEvidence:
    """Data of one camera of one session; None for a part that is not available."""

    camera: Camera
    """Settings of the rig."""
    n_frames: int
    """Frames of the video."""
    width: int
    """Width of the video, pixels."""
    height: int
    """Height of the video, pixels."""
    header_fps: float
    """Frame rate in the header of the video, Hz."""
    times_s: NDArray[np.float64] | None = None
    """Frame times on the main clock. (frame,)"""
    no_times: Failure | None = None
    """Reason for missing times; None where there are times."""
    n_not_measured: int = 0
    """Frames whose time is interpolated, extrapolated or assumed."""
    n_assumed: int = 0
    """Frames whose match with a pulse is an assumption."""
    timing_outcome: Outcome = Outcome.NOT_SET
    """Outcome that the alignment assigns to its own result; NOT_SET where it has no objection."""
    timing_notes: tuple[str, ...] = ()
    """Notes of the alignment."""
    n_camera_times: int | None = None
    """Entries of the camera's own clock."""
    count: NDArray[np.int64] | None = None
    """Frame counter of the camera; None where there is none or it does not grow. (record,)"""
    n_count_stuck: int = 0
    """Records at which that counter does not grow."""
    n_records_beyond: int = 0
    """Records beyond the frames of the video, not part of `count`."""
    pin_state: NDArray[np.bool_] | None = None
    """State of the synchronisation pin (pin 4). (record,)"""
    n_ttl_rises: int | None = None
    """Rises of the TTL wired to that pin, on the main clock."""
    sample_brightness: NDArray[np.float64] | None = None
    """Mean first channel of the QC region of each sampled frame, 0 to 255; NaN where it did not decode. (sample,)"""
    sample_laplacian: NDArray[np.float64] | None = None
    """Variance of the Laplacian in each focus region. (focus sample, region)"""
    sample_high_frequency: NDArray[np.float64] | None = None
    """Mean of the frame without low frequencies. (focus sample,)"""
    face: FaceEvidence | None = None
    """Position of the face; None without a reference frame."""
    no_face: str = "no reference frame was looked for"
    """Reason for a missing reference frame."""
    brightness: NDArray[np.float32] | None = None
    """Mean luma of the QC region, NaN where the frame did not decode. (frame,)"""
    motion_energy: NDArray[np.float32] | None = None
    """Mean absolute luma difference of the wheel region to the frame two later; NaN where there is none. (frame,)"""
    thumbnails: NDArray[np.uint8] | None = None
    """Small pictures of frames over the whole video, luma; black where the frame did not decode. (picture, y, x)"""
    thumbnail_frames: NDArray[np.int64] | None = None
    """Their frames. (picture,)"""
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """All arrays of the per-frame store by name, coordinates included: a check reads a new measurement from here."""
    time_quality: NDArray[np.uint8] | None = None
    """Quality of each time: 0 measured, 1 interpolated, 2 extrapolated, 3 assumed. (frame,)"""
    residuals_s: NDArray[np.float64] | None = None
    """Time of a change of the sync line minus that of the first frame that shows it, s. (match,)"""
    period_s: float | None = None
    """Usual time between exposures, s."""
    wheel: WheelEvidence | None = None
    """Alignment of video and wheel; None where they were not compared."""
    no_wheel: str = "the video was not compared with a wheel"
    """Reason for a missing comparison."""
    n_decode_errors: int | None = None
    """Frames that do not decode; None where none was decoded."""
    undecoded_runs: tuple[tuple[int, int], ...] = ()
    """First and last frame of each run of frames that do not decode, in order."""
