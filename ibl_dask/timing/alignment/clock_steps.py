"""Steps between two clocks that noted the same exposures, and the drift between them.

`apart` is the time of a frame on the main clock minus its time on the camera's, s: constant but for drift and steps.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]


STEP_S = 1.7e-4
"""Smallest step between two frames, s: above the camera's tick of 125 us and a sample of a DAQ."""
DEVIATIONS = 8.0
"""Smallest step in median deviations of the intervals, for clocks that are read less exactly."""
SMALL_STEP_S, _MEAN_OF = 1.3e-4, 64
"""Smallest difference between the means before and after a small step, s, and the frames in each: above a tick of the
camera's clock, which may beat with its rate."""
DRIFT_UNKNOWN = 5e-6
"""Relative error of the drift: a pause adds this share of its length to a step."""
SHORT = 12
"""Frames below which a stretch has no level of its own."""
MOST_STEPS = 0.1
"""Share of the frames at which a clock may step; beyond it the clock is too rough to be compared."""


def noise_s(apart: Floats) -> float:
    """Return the standard deviation of single frames without drift, s.

    The second difference of three frames in a row has no drift and a standard deviation of sqrt(6) = 2.45; its mean
    absolute value is 0.798 of that: 1.95. It is clipped at four times its median, beyond which there are steps.
    """
    bends = np.abs(apart[2:] - 2 * apart[1:-1] + apart[:-2])
    return float(np.minimum(bends, 4 * np.median(bends)).mean()) / 1.95


def small_steps(apart: Floats, leaps: Bools) -> Ints:
    """Return the intervals at which the clocks step by less than a leap, and stay apart.

    Means of frames before and after each interval are compared, of fewer frames towards the ends; a leap ends them. Of
    a run of intervals beyond the limit, the one with the largest difference is the step.

    Parameters
    ----------
    apart : ndarray of float
        Main clock minus camera clock, without drift, s (frame,).
    leaps : ndarray of bool
        Intervals at which the clocks leap (frame - 1,).
    """
    steps = []
    ends = np.concatenate(([0], np.flatnonzero(leaps) + 1, [apart.size]))
    noise = noise_s(apart)
    for first, stop in pairwise(ends.tolist()):
        part = apart[first:stop]
        if part.size < 2 * SHORT:
            continue
        # Means as differences of a running sum, which is relative to the first value to keep its digits.
        total = np.concatenate(([0.0], np.cumsum(part - part[0])))
        middle = np.arange(1, part.size)
        before, after = np.minimum(middle, _MEAN_OF), np.minimum(part.size - middle, _MEAN_OF)
        means = (total[middle + after] - total[middle]) / after - (total[middle] - total[middle - before]) / before
        limit = np.maximum(SMALL_STEP_S, DEVIATIONS * noise * np.sqrt(1 / before + 1 / after))
        over = np.abs(means) > limit
        if not over.any() or np.count_nonzero(over) > MOST_STEPS * part.size:
            continue
        edges = np.flatnonzero(np.diff(np.concatenate(([False], over, [False])).astype(np.int8)))
        steps += [first + low + int(np.argmax(np.abs(means[low:high]))) for low, high in edges.reshape(-1, 2).tolist()]
    return np.array(steps, dtype=np.int64)


def drift_share(apart: Floats, clock: Floats) -> float:
    """Return the drift of the main clock against the camera's, s per s.

    The median over pairs of frames an eighth of the recording apart, few of which have a step in between.
    """
    lag = max(apart.size // 8, 1)
    spans = clock[lag:] - clock[:-lag]
    good = spans > 0
    return float(np.median((apart[lag:] - apart[:-lag])[good] / spans[good])) if good.any() else 0.0
