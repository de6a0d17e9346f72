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
        if np.abs(np.diff(times_s[own]) - intervals).mean() < _UNUSUAL * usual:
            continue
        numbers = np.searchsorted(pulses_s, times_s[own] - period_s / 10)
        shifts = side * np.arange(1, int(MOST_LOST_S / period_s) + 1)
        last = numbers[-1] if side > 0 else numbers[0]
        shifts = shifts[(last + shifts >= 0) & (last + shifts < pulses_s.size)]
        others = np.diff(pulses_s[numbers + shifts[:, np.newaxis]], axis=1)
        if shifts.size and np.abs(others - intervals).mean(axis=1).min() <= _USUAL * usual:
            found = n
    return found
