"""Short alignment of the reference: one bout of movement, whose offset between video and wheel the checks publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.wheel.traces import LAG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.wheel.motion import Motion

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


_BOUT_S = (3.0, 20.0)
"""Shortest and longest bout that is used, s. All values here are the reference's."""
_BOUT_CHANGE = 0.1
"""Change of the acceleration within `_BOUT_SPAN` from which the wheel moves."""
_BOUT_ONSET = 1.5
"""Difference from the value at the onset up to which the onset is delayed."""
_BOUT_SPAN = 200
"""Samples ahead in which changes are sought."""
_BOUT_GAP_S = 0.1
"""Gap between bouts below which they are joined, s."""
_BOUT_SHORTEST_S = 0.05
"""Shortest bout before the choice, s."""


def active_bout(motion: Motion) -> tuple[float, float] | None:
    """Return start and end of the bout of movement that the reference's check uses, s; None where there is none.

    Notes
    -----
    As `CameraQC.get_active_wheel_period`: bouts are stretches of 3 to 20 s in which the *acceleration* changes by more
    than 0.1 within 200 samples, and the middle one is taken. `brainbox.behavior.wheel.movements` with its defaults; it
    leaves the start of a bout near the end of a recording to chance, here that is computed as the others are.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    acceleration, times = motion.acceleration, motion.times_s
    ahead = {"size": _BOUT_SPAN, "origin": -(_BOUT_SPAN // 2), "mode": "nearest"}
    moving = np.concatenate(
        [[False], maximum_filter1d(acceleration, **ahead) - minimum_filter1d(acceleration, **ahead) > _BOUT_CHANGE]
    )
    moving[-1] = False
    onsets, offsets = _edges(moving)
    for at in np.flatnonzero((onsets[1:] - offsets[:-1]) * (times[1] - times[0]) < _BOUT_GAP_S):
        moving[offsets[at] : onsets[at + 1] + 1] = True
    onsets, offsets = _edges(moving)
    if not onsets.size:
        return None
    starts = times[np.minimum(onsets + _onset_delay(acceleration, onsets), times.size - 1)]
    ends = times[offsets]
    long_enough = ends - starts >= _BOUT_SHORTEST_S
    starts, ends = starts[long_enough], ends[long_enough]
    if not starts.size:
        return None
    apart = starts[1:] - ends[:-1] >= _BOUT_GAP_S
    starts, ends = starts[np.concatenate([[True], apart])], ends[np.concatenate([apart, [True]])]
    fitting = np.flatnonzero((ends - starts > _BOUT_S[0]) & (ends - starts < _BOUT_S[1]))
    if not fitting.size:
        return None
    chosen = fitting[fitting.size // 2]
    return float(starts[chosen]), float(ends[chosen])


def _edges(moving: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    steps = np.diff(moving.astype(np.int8))
    return np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)


def _onset_delay(values: Floats, onsets: Ints) -> Ints:
    """Return the delay of each onset, samples: to the last within the span that is near the first's value."""
    ahead = onsets[:, None] + np.arange(_BOUT_SPAN)
    beyond = ahead >= values.size
    far = np.abs(values[np.minimum(ahead, values.size - 1)] - values[onsets][:, None]) > _BOUT_ONSET
    far[beyond] = False
    trailing = np.argmin(far[:, ::-1], axis=1)
    return np.asarray(_BOUT_SPAN - trailing - 1, np.int64)


def bout_offset(energy: NDArray[np.floating], times_s: Floats, motion: Motion, bout: tuple[float, float]) -> int | None:
    """Return the reference's offset in frames for a bout of movement, positive where the video is late.

    Parameters
    ----------
    energy : ndarray of float
        Motion energy of the wheel's region, see `align` (frame,).
    times_s : ndarray of float
        Frame times, s on the main clock (frame,).
    motion : Motion
        Velocity of the wheel.
    bout : tuple of float
        Start and end, s.

    Returns
    -------
    int or None
        None where fewer than four frames are in the bout, less than half of their energies are known, or nothing moves.

    Notes
    -----
    As `MotionAlignment.align_motion`: both series are scaled from 0 to 1, keep their means, and are cross-correlated
    over their whole length. Frames that did not decode are interpolated; the reference takes them for black.
    """
    from scipy.signal import correlate

    start, stop = np.searchsorted(times_s, bout[0], side="left"), np.searchsorted(times_s, bout[1], side="right")
    if stop - start < 2 * LAG:
        return None
    part = np.asarray(energy[start : stop - LAG], np.float64)
    there = np.isfinite(part)
    if 2 * there.sum() < part.size or np.ptp(part[there]) == 0:
        return None
    part = np.interp(np.arange(part.size), np.flatnonzero(there), part[there])
    clock = motion.times_s
    first, last = np.searchsorted(clock, bout[0], side="left"), np.searchsorted(clock, bout[1], side="right")
    after = np.clip(np.searchsorted(clock[first:last], times_s[start:stop]), 1, last - first - 1)
    before = after - 1
    within = clock[first:last]
    nearer = times_s[start:stop] - within[before] <= within[after] - times_s[start:stop]
    speed = np.abs(motion.velocity[first:last][np.unique(np.where(nearer, before, after))])
    if np.ptp(speed) == 0:
        return None
    matched: Floats = correlate(_to_one(part), _to_one(speed))
    return int(np.argmax(matched)) - int(speed.size) + LAG


def _to_one(values: Floats) -> Floats:
    """Scale values from 0 to 1."""
    scaled: Floats = (values - values.min()) / np.ptp(values)
    return scaled
