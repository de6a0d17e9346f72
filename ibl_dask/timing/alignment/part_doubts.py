"""Tests of a start that holds for one part of a recording, where another part may have the pulse next to it, or others.

Each test returns the reason as text, empty where there is none. They only raise doubts: they move no frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.pin_delay import EDGE_PERIODS, reading_delay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.pin_changes import PinMatch
    from ibl_dask.timing.clocks.pulses import Pulses

    IntArray = NDArray[np.int64]


_LONG_PAUSE_S = 60.0
"""Time between two frames from which two rates that agree to 100 parts per million leave a period of 60 Hz open."""
_FEWEST = 3
"""Changes of the smaller part, and changes that must agree with another pulse beyond those that agree with this one."""
_MOST_PARTS = 100
"""Places that are tried for the end of a part: a long recording with many strays is judged by some of them."""
_WHOLE_SOUND = 2
"""Changes of the pin that a sound makes."""


def doubt_of_part(match: PinMatch, count: IntArray, pulses: Pulses) -> str:
    """Return the frame before or after which the pulse next to this one explains the changes better.

    A recording whose main clock lost about a period of samples, or with a pause so long that the clocks leave its
    length open by a period, has a part that is one frame off. The changes of both parts then look as if the pin were
    read late, or some of them are off by a frame.

    Parameters
    ----------
    match : PinMatch
        Match of the best start.
    count : ndarray of int
        Exposures before each frame (frame,).
    pulses : Pulses
        Pulses on the main clock.

    Notes
    -----
    Moved by one exposure, a part must let `_FEWEST` more changes lie within one period (`pin_delay`). After a long
    pause it is enough that as many do with a shorter delay.
    """
    if match.frames is None or match.residuals_s is None:
        return ""
    order = np.argsort(match.frames)
    frames, lags = match.frames[order], match.residuals_s[order] / pulses.period_s
    # After a dropped frame a change may have happened two exposures ago.
    single = count[frames] - count[frames - 1] == 1
    frames, lags = frames[single], lags[single]
    now = reading_delay(lags)
    pauses = np.flatnonzero(np.diff(count) * pulses.period_s > _LONG_PAUSE_S) + 1
    resumed = np.unique(np.searchsorted(frames, pauses))
    latest = now.whole + now.delay
    strays = np.flatnonzero((lags > latest + EDGE_PERIODS) | (lags <= latest - 1 - EDGE_PERIODS))
    beside = np.unique(np.concatenate((strays, strays + 1))) if strays.size >= _FEWEST else strays[:0]
    # A part that is off begins or ends with a change that strays.
    beside = beside[np.unique(np.linspace(0, beside.size - 1, min(beside.size, _MOST_PARTS)).astype(np.int64))]
    beside = beside[(beside >= _FEWEST) & (beside <= lags.size - _FEWEST)]
    for n_before in np.union1d(beside, resumed[(resumed > 0) & (resumed < lags.size)]).tolist():
        is_long = bool((resumed == n_before).any())
        for step in (-1, 1):
            moved = reading_delay(np.concatenate((lags[:n_before] + step, lags[n_before:])))
            is_simpler = moved.n_inside >= now.n_inside and moved.delay < match.delay_periods
            is_better = moved.n_inside >= now.n_inside + _FEWEST and not moved.doubt
            if (is_long and match.delay_periods > 0 and is_simpler) or is_better:
                return f"the frames before frame {int(frames[n_before]):,} fit the sync line as well a frame off"
    return ""


def doubt_of_lone_end(seen: IntArray, shown: IntArray, pairs: tuple[IntArray, IntArray], last: int) -> str:
    """Return the end at which camera and main clock show different sounds, while they agree everywhere else.

    A main clock that lost samples for a whole number of periods leaves no step between the clocks. The camera shows the
    sounds that were lost, and the main clock those of the frames beyond, at other exposures.

    Parameters
    ----------
    seen, shown : ndarray of int
        Exposure that first shows each change, by the camera and by the main clock, 0 at frame 0 (change,).
    pairs : tuple of ndarray
        Changes of the pin and of the sync line that are matched (match,).
    last : int
        Exposure of the last frame.
    """
    if not pairs[0].size:
        return ""
    lone_pin = np.delete(seen, pairs[0])
    lone_line = np.delete(shown, pairs[1])
    lone_line = lone_line[(lone_line > 0) & (lone_line < last)]
    first, stop = seen[pairs[0].min()], seen[pairs[0].max()]
    ends = (("first", lone_pin < first, lone_line < first), ("last", lone_pin > stop, lone_line > stop))
    for name, of_pin, of_line in ends:
        if of_pin.size >= _WHOLE_SOUND and of_line.size and of_pin.all() and of_line.all():
            return f"the {name} {of_pin.size} changes of the pin and {of_line.size} of the line have no partner"
    return ""
