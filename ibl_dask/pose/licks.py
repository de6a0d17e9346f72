"""Times of licks and sniffs: jumps of the points of the tongue, and of the nose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.pose.keypoints import Keypoints, require_keypoints, require_times
from ibl_dask.pose.known_values import known_std

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

TONGUE = ("tongue_end_l", "tongue_end_r")
"""Points of the tongue."""
NOSE = "nose_tip"
JUMP_STD = 0.25
"""Standard deviations of all steps of a trace that a step must exceed (`brainbox.behavior.dlc`)."""


def jump_frames(traces: Sequence[NDArray[np.floating]]) -> NDArray[np.int64]:
    """Return the frames after which at least one of some traces jumps, increasing, each once. (event,)

    Parameters
    ----------
    traces : sequence of (frame,)
        Traces of the same frames, px, NaN where a point is not likely.
    """
    jumps = np.zeros(max(0, len(traces[0]) - 1), np.bool_)
    for trace in traces:
        steps = np.diff(trace)
        # A point that was never likely has no steps, and jumps nowhere.
        jumps |= np.abs(steps) > known_std(steps) * JUMP_STD
    return np.flatnonzero(jumps)


def lick_times(keypoints: Keypoints, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the times of licks: those of the frames before a point of the tongue jumps, s. (lick,)

    Parameters
    ----------
    keypoints : Keypoints
        Keypoints of one camera, unlikely ones NaN (`Keypoints.likely`).
    times_s : (frame,) float64
        Frame times on the main clock.

    Raises
    ------
    MissingKeypoints
        If a point of the tongue is missing.
    UnequalLengths
        If there are more or fewer times than rows.

    Notes
    -----
    As `brainbox.behavior.dlc.get_licks`, which accepts more times than rows, and pairs them from the first one on.
    """
    require_keypoints(keypoints, TONGUE, "licks")
    require_times(keypoints, times_s)
    return np.asarray(times_s[jump_frames([keypoints.of(name)[:, axis] for name in TONGUE for axis in (0, 1)])])


def sniff_times(keypoints: Keypoints, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the times of sniffs: those of the frames before the nose jumps up or down, s. (sniff,)

    Parameters and errors are those of `lick_times`; as `brainbox.behavior.dlc.get_sniffs`.
    """
    require_keypoints(keypoints, (NOSE,), "sniffs")
    require_times(keypoints, times_s)
    return np.asarray(times_s[jump_frames([keypoints.of(NOSE)[:, 1]])])


def session_licks(per_camera: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the content of `licks.times.npy`: licks of all cameras in order, s. (lick,)

    A lick that two cameras show is there twice, as in the reference.
    """
    return np.sort(np.concatenate([np.empty(0), *per_camera]))
