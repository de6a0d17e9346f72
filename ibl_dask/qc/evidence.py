"""What the camera checks look at: values only, gathered by whoever has them."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Column at which the reference frame shows the face (body camera: the holder), pixels."""
    top: int
    """Row at which it does, pixels."""
    x: NDArray[np.float64]
    """Column at which each sampled frame shows it, pixels. (sample,)"""
    y: NDArray[np.float64]
    """Row at which it does, pixels. (sample,)"""
    score: NDArray[np.float64]
    """How well it matches there, correlation coefficient. (sample,)"""
    histogram_correlation: NDArray[np.float64]
    """Correlation of the histograms of grey levels, -1 to 1. (sample,)"""
    laplacian: NDArray[np.float64]
    """Variance of the Laplacian there. (focus sample,)"""
    is_sharp: NDArray[np.float64]
    """1 where that of the median match of all samples is over the threshold of `focus`. (focus sample,)"""


@dataclass(frozen=True, slots=True)
class WheelEvidence:
    """The video beside the wheel, with the times that were published."""

    has_bout: bool
    """Whether the wheel has a bout of movement that the reference looks at."""
    overlaps: bool
    """Whether video and wheel have any time in common."""
    offset_frames: int | None
    """The reference's offset in that bout, frames, positive where the video is late; None where the video lacks it."""
    shift_frames: float | None
    """Offset by the whole session, frames; None where the wheel never turned."""
    shift_s: float | None
    """The same, s."""
    confidence: float
    """How far the whole session tells that offset from any other, 0 to 1."""
    is_confident: bool
    """Whether that is enough."""
    why_not: str
    """Why it is not; empty where it is."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraEvidence:
    """One camera of one session, as far as it is known. None means that a part could not be had."""

    camera: Camera
    """What the rig was set to."""
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
    """Why there are no times; None where there are."""
    n_not_measured: int = 0
    """Frames whose time is interpolated, extrapolated or assumed."""
    n_assumed: int = 0
    """Frames of which it is an assumption which pulse is theirs."""
    timing_outcome: Outcome = Outcome.NOT_SET
    """What the alignment thinks of its own result, where that is not the best."""
    timing_notes: tuple[str, ...] = ()
    """What the alignment has to say."""
    n_camera_times: int | None = None
    """Entries of the camera's own clock."""
    count: NDArray[np.int64] | None = None
    """The camera's own frame counter; None where it does not grow, too. (record,)"""
    n_count_stuck: int = 0
    """Records at which that counter does not grow."""
    n_records_beyond: int = 0
    """Records beyond the frames of the video, which `count` does not hold."""
    pin_state: NDArray[np.bool_] | None = None
    """State of the synchronisation pin (pin 4). (record,)"""
    n_ttl_rises: int | None = None
    """Rises of the TTL that is wired to that pin, on the main clock."""
    sample_brightness: NDArray[np.float64] | None = None
    """Mean first channel of the QC region of each sampled frame, 0 to 255; NaN where it did not decode. (sample,)"""
    sample_laplacian: NDArray[np.float64] | None = None
    """Variance of the Laplacian in each focus region. (focus sample, region)"""
    sample_high_frequency: NDArray[np.float64] | None = None
    """Mean of the frame without low frequencies. (focus sample,)"""
    face: FaceEvidence | None = None
    """Where the face is; None without a reference frame."""
    no_face: str = "no reference frame was looked for"
    """Why there is no reference frame."""
    brightness: NDArray[np.float32] | None = None
    """Mean luma of the QC region, NaN where the frame did not decode. (frame,)"""
    motion_energy: NDArray[np.float32] | None = None
    """Mean absolute luma difference of the wheel region to the frame two later; NaN where there is none. (frame,)"""
    thumbnails: NDArray[np.uint8] | None = None
    """Small pictures of frames over the whole video, luma; black where the frame did not decode. (picture, y, x)"""
    thumbnail_frames: NDArray[np.int64] | None = None
    """Their frames. (picture,)"""
    time_quality: NDArray[np.uint8] | None = None
    """How each time was obtained: 0 measured, 1 interpolated, 2 extrapolated, 3 assumed. (frame,)"""
    residuals_s: NDArray[np.float64] | None = None
    """Changes of the sync line minus the times of the frames that first show them, s. (match,)"""
    period_s: float | None = None
    """Usual time between exposures, s."""
    wheel: WheelEvidence | None = None
    """The video beside the wheel; None where they were not compared."""
    no_wheel: str = "the video was not compared with a wheel"
    """Why they were not."""
    n_decode_errors: int | None = None
    """Frames that do not decode; None where nobody tried."""
    undecoded_runs: tuple[tuple[int, int], ...] = ()
    """First and last frame of each run of frames that do not decode, in order."""
