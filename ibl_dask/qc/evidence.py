"""What the camera checks look at: values only, gathered by whoever has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibl_dask.model.outcome import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ibl_dask.model.description import Camera


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
    no_times: str = ""
    """Why there are no times."""
    n_not_measured: int = 0
    """Frames whose time is interpolated or extrapolated."""
    timing_outcome: Outcome = Outcome.NOT_SET
    """What the alignment thinks of its own result, where that is not the best."""
    timing_notes: tuple[str, ...] = ()
    """What the alignment has to say."""
    n_camera_times: int | None = None
    """Entries of the camera's own clock."""
    count: NDArray[np.int64] | None = None
    """The camera's own frame counter. (record,)"""
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
    n_decode_errors: int | None = None
    """Frames that do not decode; None where nobody tried."""
    undecoded_runs: tuple[tuple[int, int], ...] = ()
    """First and last frame of each run of frames that do not decode, in order."""
