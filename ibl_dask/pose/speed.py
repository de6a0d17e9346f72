"""Speed of a keypoint, one value per frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.pose.keypoints import Keypoints, require_times
from ibl_dask.pose.known_values import known_median
from ibl_dask.pose.rig import PIXELS_PER_UNIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def speed(keypoints: Keypoints, name: str, times_s: Floats, camera: str) -> Floats:
    """Return the speed of a keypoint at each frame, px/s of the right camera's pixels. (frame,)

    The way between two frames, times the median rate of the camera, is the speed at the middle of the interval. Frames
    get the linear interpolation between two intervals; the first and last frame its continuation. As
    `brainbox.behavior.dlc.get_speed`.

    Parameters
    ----------
    keypoints : Keypoints
        Keypoints of the camera, unlikely ones NaN (`Keypoints.likely`).
    name : str
        The keypoint.
    times_s : (frame,) float64
        Frame times on the main clock.
    camera : str
        left, right, body, ...

    Raises
    ------
    MissingKeypoints
        If the keypoint is missing.
    UnequalLengths
        If there are more or fewer times than rows.
    """
    require_times(keypoints, times_s)
    place = np.asarray(keypoints.of(name), np.float64) / PIXELS_PER_UNIT.get(camera, 1)
    if len(place) < 3:
        return np.full(len(place), np.nan)
    intervals = np.diff(times_s)
    middle = times_s[:-1] + intervals / 2
    with np.errstate(all="ignore"):
        between = np.linalg.norm(np.diff(place, axis=0), axis=1) / known_median(intervals)
    # The two intervals by which a frame's value is found: those on its sides, at the ends the two nearest.
    before = np.clip(np.arange(len(place)) - 1, 0, len(between) - 2)
    with np.errstate(all="ignore"):
        slope = (between[before + 1] - between[before]) / (middle[before + 1] - middle[before])
        return np.asarray(between[before] + slope * (times_s - middle[before]))
