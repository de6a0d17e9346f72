"""Frames that are most worth labelling: where a network is least sure of points that it usually finds.

There is no standard measure. This one compares each point with itself: a tongue that is hidden most of the time is no
fault of the network, and a nose that is lost for once is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints

_SPACING = 4
"""Frames are at least the length of the video over this times their number apart, so that there is room for all."""


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """A frame that is worth labelling."""

    number: int
    """Its number."""
    score: float
    """Mean score of its points, from 0; see `keypoint_scores`."""
    keypoint: str
    """The point with the highest score."""


def keypoint_scores(keypoints: Keypoints) -> NDArray[np.float64]:
    """Return how much worse than usual each point is. (frame, keypoint), from 0 to 2

    The sum of two parts. The first is the median likelihood of the point minus its likelihood, not below 0. The second
    is there for ensembles: with the standard deviation over members s (the root of the variances of x and y added), and
    its median m, it is (s - m) / (s + m), not below 0. A frame without any point, which does not decode, has NaN.
    """
    likelihood = keypoints.values[:, :, 2].astype(np.float64)
    known = ~np.isnan(keypoints.values[:, :, :2]).any(axis=(1, 2)) | (likelihood > 0).any(axis=1)
    scores = np.full(likelihood.shape, np.nan)
    if not known.any():
        return scores
    of_known = np.nan_to_num(likelihood[known])
    scores[known] = np.maximum(np.median(of_known, axis=0) - of_known, 0)
    for place, name in enumerate(keypoints.names):
        columns = [keypoints.further.get(f"{name}_{axis}_ens_var") for axis in "xy"]
        variances = [np.asarray(column, np.float64) for column in columns if column is not None]
        if len(variances) == 2:
            spread = np.sqrt(np.nan_to_num(variances[0] + variances[1]))[known]
            usual = float(np.median(spread))
            total = spread + usual
            excess = np.divide(spread - usual, total, out=np.zeros_like(spread), where=total > 0)
            scores[known, place] += np.maximum(excess, 0)
    return scores


def worst_frames(keypoints: Keypoints, n: int) -> tuple[WorstFrame, ...]:
    """Return the frames with the highest scores, spread over the video, in the order of the video.

    The worst frame comes first, then the worst of those far enough from it, and so on: a quarter of the mean distance
    of `n` frames at least. Frames that are no worse than usual are left out, so there may be fewer.

    Parameters
    ----------
    keypoints : Keypoints
        Keypoints of the whole video, with the variances of an ensemble where there are any.
    n : int
        Most frames.

    Raises
    ------
    UsageError
        If `n` is below 1.
    """
    if n < 1:
        raise UsageError("no frames are asked for", expected="1 frame or more", got=str(n), do="ask for 20")
    of_points = keypoint_scores(keypoints)
    scores = np.nan_to_num(of_points).mean(axis=1) if of_points.size else np.zeros(len(keypoints))
    apart = max(1, len(scores) // (_SPACING * n))
    is_free = scores > 0
    chosen: list[int] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        if len(chosen) == n or scores[number] <= 0:
            break
        if is_free[number]:
            chosen.append(number)
            is_free[max(0, number - apart + 1) : number + apart] = False
    return tuple(
        WorstFrame(number, float(scores[number]), keypoints.names[int(np.nanargmax(of_points[number]))])
        for number in sorted(chosen)
    )
