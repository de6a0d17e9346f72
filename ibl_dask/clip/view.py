"""One camera of a clip: its video, its frame times and its keypoints, which belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnequalLengths, UnusableFile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints
    from ibl_dask.video.container.index import FrameIndex


@dataclass(frozen=True, slots=True, eq=False)
class CameraView:
    """Camera of a clip.

    Raises
    ------
    UnequalLengths
        If there is not one time, or not one row of keypoints, per frame.
    UnusableFile
        If the times are not numbers that never decrease.
    """

    label: str
    """left, right, body or belly."""
    video: Path
    """The video."""
    index: FrameIndex
    """Its index."""
    times_s: NDArray[np.float64]
    """Frame times on the main clock, s. (frame,)"""
    keypoints: Keypoints | None = None
    """Keypoints to draw, NaN where they are not likely; None for none."""

    def __post_init__(self) -> None:
        n_frames = len(self.index)
        if self.times_s.shape != (n_frames,):
            raise UnequalLengths(
                f"frame times of the {self.label} camera do not belong to its video",
                where=str(self.video),
                expected=f"one time for each of {n_frames:,} frames",
                got=f"{self.times_s.size:,} times",
                do="make the frame times anew: ibl-dask run SESSION --overwrite",
            )
        if not np.isfinite(self.times_s).all() or (np.diff(self.times_s) < 0).any():
            raise UnusableFile(
                f"frame times of the {self.label} camera are out of order",
                where=str(self.video),
                expected="times that never decrease",
                got="times that decrease, or are no numbers",
                do="make the frame times anew: ibl-dask run SESSION --overwrite",
            )
        if self.keypoints is not None and len(self.keypoints) != n_frames:
            raise UnequalLengths(
                f"keypoints of the {self.label} camera do not belong to its video",
                where=str(self.video),
                expected=f"one row for each of {n_frames:,} frames",
                got=f"{len(self.keypoints):,} rows",
                do="predict the keypoints of this video anew, or leave --pose out",
            )
