"""Data that the checks of keypoints use, as values; the caller collects them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ibl_dask.pose.features import Tracker
    from ibl_dask.pose.keypoints import Keypoints


@dataclass(frozen=True, slots=True, eq=False)
class PoseEvidence:
    """Keypoints of one camera of one session, with times and features; None for a part that is not available."""

    label: str
    """left, right, body, ..."""
    tracker: Tracker
    """dlc or lightningPose."""
    keypoints: Keypoints
    """Keypoints, unlikely ones NaN (`Keypoints.likely`)."""
    times_s: NDArray[np.float64] | None = None
    """Frame times on the main clock. (frame,)"""
    stim_on_s: NDArray[np.float64] | None = None
    """Onsets of the stimulus, NaN for trials without one. (trial,)"""
    pupil_raw_px: NDArray[np.float64] | None = None
    """Diameter of the pupil. (frame,)"""
    pupil_smooth_px: NDArray[np.float64] | None = None
    """The same, smoothed. (frame,)"""
    frame_size_px: tuple[int, int] | None = None
    """Width and height of the frames; None takes that which the rigs are set to."""
