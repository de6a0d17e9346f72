"""Intervals at the ends of a recording: frames that fit other pulses, since samples were lost next to them.

So few frames, without a change of the sync line, lie beyond such a loss that neither its step between the clocks nor
the sync line need show it. The exposures of an uneven camera do: they fit their own pulses alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.clock_policy import MOST_LOST_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_LENGTHS = (6, 8, 12, 16, 24, 32, 48, 64)
"""Frames at an end that are compared together."""
_UNUSUAL, _USUAL = 1.8, 1.3
"""Mean disagreement of the clocks from which on frames fit their pulses badly, and up to which they fit others well, as
a multiple of that of all frames."""
_CHANCE = 3.4
"""Times the root of the number of intervals: by how much their mean disagreement exceeds that of all frames at least.
For normal noise these are 4.5 standard errors (a magnitude scatters by 0.76 of its mean). 69 of 5,000 simulated
recordings without a loss had an end beyond 1.8 alone, and none one beyond this."""
_FOREIGN = 0.75
"""Frames fit their own pulses as badly as pulses of other frames: share of the usual disagreement with those."""


def odd_end(times_s: Floats, clock_s: Floats, frames: Ints, pulses_s: Floats, period_s: float, side: int) -> int:
    """Return the number of frames at an end that fit other pulses well and their own badly; 0 for none.

    Samples that the main clock loses bring pulses closer to the rest: the pulses of the first frames would come later,
    and those of the last ones sooner.

    Parameters
    ----------
    times_s, clock_s : ndarray of float
        Frame times on the main clock, and the camera's clock at its rate, s (frame,).
    frames : ndarray of int
        Frames with a pulse, in order (frame with pulse,).
    pulses_s : ndarray of float
        Recorded pulses, s (pulse,).
    period_s : float
        Usual time between pulses, s.
    side : int
        1 for the first frames, -1 for the last.
    """
    steps = np.abs(np.diff(times_s[frames]) - np.diff(clock_s[frames]))
    usual = float(np.minimum(steps, 4 * np.median(steps)).mean())
    found = 0
    for n in _LENGTHS:
        if 2 * n > frames.size:
            break
        own = frames[:n] if side > 0 else frames[-n:]
        intervals = np.diff(clock_s[own])
        disagreement = np.abs(np.diff(times_s[own]) - intervals).mean()
        if disagreement < max(_UNUSUAL, 1 + _CHANCE / np.sqrt(n - 1)) * usual:
            continue
        numbers = np.searchsorted(pulses_s, times_s[own] - period_s / 10)
        shifts = side * np.arange(1, int(MOST_LOST_S / period_s) + 1)
        last = numbers[-1] if side > 0 else numbers[0]
        shifts = shifts[(last + shifts >= 0) & (last + shifts < pulses_s.size)]
        if not shifts.size:
            continue
        others = np.abs(np.diff(pulses_s[numbers + shifts[:, np.newaxis]], axis=1) - intervals).mean(axis=1)
        if others.min() <= _USUAL * usual and disagreement >= _FOREIGN * np.median(others):
            found = n
    return found
