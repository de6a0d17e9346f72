"""Content of the figure of a session's keypoints, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnequalLengths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ibl_dask.pose.features import Tracker
    from ibl_dask.pose.keypoints import Keypoints

    Floats = NDArray[np.float64]

FIGURE_FRAME_S = 300.0
"""Place of the frame that traces are drawn on, s after the start of the video (`ibllib.plots.figures`)."""
LONGEST_TRIAL_S = 10.0
"""Longest time from stimulus to feedback of a trial that is drawn (`ibllib.plots.figures`)."""
SIDES = ("left", "right")
"""Cameras that show face and paws, in the order of preference."""
TRIAL_COLUMNS = ("stimOn_times", "feedback_times", "choice", "feedbackType")
"""Columns of `_ibl_trials.table.pqt` that results after pose estimation are made of."""


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Trials of a session; all arrays have one value per trial."""

    stim_on_s: Floats
    """Onset of the stimulus, NaN without one."""
    feedback_s: Floats
    """Reward or noise, NaN without either."""
    choice: Floats
    """-1 right, 1 left, 0 none."""
    feedback_type: Floats
    """1 correct, -1 incorrect."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[np.generic]]) -> Trials | None:
        """Return the trials of a table; None if it lacks a column.

        Raises
        ------
        UnequalLengths
            If columns differ in length.
        """
        if not set(TRIAL_COLUMNS) <= set(columns):
            return None
        values = [np.asarray(columns[name], np.float64) for name in TRIAL_COLUMNS]
        if len({len(column) for column in values}) > 1:
            lengths = ", ".join(f"{name}: {len(columns[name]):,}" for name in TRIAL_COLUMNS)
            raise UnequalLengths("columns of the trials differ in length", expected="one length", got=lengths)
        return cls(*values)

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.stim_on_s)

    def drawn(self) -> Trials:
        """Return the trials with all four values, and at most 10 s from stimulus to feedback."""
        columns = np.stack((self.stim_on_s, self.feedback_s, self.choice, self.feedback_type))
        kept = ~np.isnan(columns).any(axis=0) & (self.feedback_s - self.stim_on_s <= LONGEST_TRIAL_S)
        return Trials(*columns[:, kept])


@dataclass(frozen=True, slots=True, eq=False)
class PoseCamera:
    """One camera; None for a part that is not available."""

    label: str
    """left, right or body."""
    keypoints: Keypoints | None = None
    """Keypoints, unlikely ones NaN (`Keypoints.likely`)."""
    times_s: Floats | None = None
    """Frame times on the main clock. (frame,)"""
    frame: NDArray[np.uint8] | None = None
    """A frame of its video, luma. (y, x)"""
    motion_energy: Floats | None = None
    """Motion energy of the region found by pose estimation. (frame,)"""
    pupil_smooth_px: Floats | None = None
    """Diameter of the pupil, smoothed. (frame,)"""


@dataclass(frozen=True, slots=True, eq=False)
class PoseContent:
    """One session; None for a part that is not available."""

    session: str
    """subject/date/number."""
    tracker: Tracker
    """dlc or lightningPose."""
    cameras: tuple[PoseCamera, ...] = ()
    trials: Trials | None = None
    wheel: tuple[Floats, Floats] | None = None
    """Times, s, and positions, rad, of the wheel, as it was sampled."""
    licks_s: Floats | None = None
    """Times of licks."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """`trials`, `wheel`, `licks` or the label of a camera -> reason for a missing part, where one is known."""

    def camera(self, label: str) -> PoseCamera:
        """Return a camera; one without any data where the session has none."""
        return next((camera for camera in self.cameras if camera.label == label), PoseCamera(label))


def figure_frame(n_frames: int, rate_hz: float) -> int:
    """Return the number of the frame that traces are drawn on: that at 5 min, or the middle one of a shorter video.

    >>> figure_frame(200_000, 60), figure_frame(9_000, 60)
    (18000, 4500)
    """
    at = round(FIGURE_FRAME_S * rate_hz)
    return at if at < n_frames else n_frames // 2
