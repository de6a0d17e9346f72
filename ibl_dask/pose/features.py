"""Features of a camera: the columns of `_ibl_{camera}Camera.features.pqt`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ibl_dask.errors import InputError
from ibl_dask.pose.pupil import diameter, diameter_of_medians, has_medians, smooth_diameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints

Tracker = Literal["dlc", "lightningPose"]
"""Tracker, as in the name of its table of keypoints."""
FEATURE_CAMERAS = ("left", "right")
"""Cameras that show eye and tongue: only these have features and licks."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of one camera; row *i* belongs to frame *i*."""

    pupil_raw_px: NDArray[np.float64]
    """Diameter of the pupil, px; NaN where it is not seen. (frame,)"""
    pupil_smooth_px: NDArray[np.float64]
    """The same without jitter and outliers, px; NaN in long gaps. (frame,)"""
    notes: tuple[str, ...] = ()
    """Reasons for columns that are empty or made in another way."""

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns of the table."""
        return {"pupilDiameter_raw": self.pupil_raw_px, "pupilDiameter_smooth": self.pupil_smooth_px}


def features(keypoints: Keypoints, camera: str, tracker: Tracker, rate_hz: float | None = None) -> Features:
    """Compute the features of a camera; they need no frame times.

    Of DeepLabCut's keypoints the raw diameter is that of the likely points, and the smooth one is filtered
    (`smooth_diameter`). Of Lightning Pose's the raw diameter is that of the medians of the ensemble, and the smooth one
    that of x and y, which the ensemble Kalman smoother made.

    Parameters
    ----------
    keypoints : Keypoints
        Keypoints as read, likely or not.
    camera : str
        left or right.
    tracker : str
        dlc or lightningPose.
    rate_hz : float, optional
        Nominal rate of the camera, for the longest gap that is bridged; that of ephys rigs by default.

    Raises
    ------
    MissingKeypoints
        If a point of the pupil is missing.

    Notes
    -----
    `EphysPostDLC` and `PostLP` of ibllib.pipes.video_tasks. A smooth diameter that cannot be computed is a column of
    NaN there as well. A single network has no medians: there the task fails for the camera, here the raw diameter is
    that of the likely points, with a note.
    """
    likely = keypoints.likely()
    raw = diameter(likely)
    if tracker == "lightningPose":
        if has_medians(keypoints):
            return Features(diameter_of_medians(keypoints), raw)
        return Features(raw, raw.copy(), ("a single network: the raw diameter is that of its likely points",))
    try:
        return Features(raw, smooth_diameter(raw, camera, rate_hz))
    except InputError as error:
        return Features(raw, np.full(len(raw), np.nan), (str(error),))
