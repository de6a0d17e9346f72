"""Samples that the main clock lost: how far the sync line moves the frames beyond them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.clock_policy import MOST_LOST_S
from ibl_dask.timing.alignment.pin_changes import pin_edges
from ibl_dask.timing.alignment.pin_delay import PinReading, reading_delay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.agreement import Evidence

    Floats = NDArray[np.float64]

_EDGE = 0.03
"""Periods by which a change may lie outside its period."""
_CLEAR_VOTES = 3
"""Changes of the sync line that must agree on the place of a stretch."""


def read_shift(
    evidence: Evidence, times_s: Floats, n_known: int, stretch: tuple[int, int], delay: float | None
) -> PinReading | None:
    """Return the periods by which the sync line moves a stretch of frames, and the delay of the pin.

    At least three changes, and half of those of the pin, must agree; the next best place may have 60 % of them at most,
    and two fewer at least.

    Parameters
    ----------
    evidence : Evidence
        Pins and sync line.
    times_s : ndarray of float
        Frame times so far, s on the main clock (frame,).
    n_known : int
        Frames that the camera's clock has.
    stretch : tuple of int
        First frame of the stretch, and one past its last.
    delay : float or None
        Delay of the pin from a longer stretch, periods; None where it is not known yet.

    Returns
    -------
    PinReading or None
        None where the sync line does not place the stretch.
    """
    pins, ttl = evidence.pins, evidence.ttl
    if pins is None or ttl is None or not len(ttl):
        return None
    period = evidence.period_s
    frames, polarities = pin_edges(pins[:n_known])
    within = (frames > stretch[0]) & (frames < stretch[1])
    frames, polarities = frames[within], polarities[within]
    # After a dropped frame a change may have happened two exposures ago.
    single = np.diff(times_s)[frames - 1] < 1.5 * period
    frames, polarities = frames[single], polarities[single]
    if frames.size < _CLEAR_VOTES:
        return None
    lags = []
    for polarity in (1, -1):
        times = np.sort(ttl.times_s[ttl.polarities == polarity])
        due = times_s[frames[polarities == polarity]]
        low, high = (np.searchsorted(times, due + side * (MOST_LOST_S + period)) for side in (-1, 1))
        lags += [times[a:b] - t for a, b, t in zip(low.tolist(), high.tolist(), due.tolist(), strict=True)]
    lag = np.concatenate(lags) / period
    best = _best_of(lag - (delay or 0.0), is_known=delay is not None)
    others = lag[np.abs(lag - best.whole - best.delay + 0.5) > 1.5]
    second = _best_of(others - (delay or 0.0), is_known=delay is not None).n_inside if others.size else 0
    least = max(_CLEAR_VOTES, 0.5 * frames.size)
    if best.doubt or best.n_inside < least or second > 0.6 * best.n_inside or best.n_inside - second < 2:
        return None
    return replace(best, delay=best.delay + (delay or 0.0))


def _best_of(lags: Floats, *, is_known: bool) -> PinReading:
    """Return the period in which most lags lie: any, or one that ends at a whole number where the delay is known.

    Parameters
    ----------
    lags : ndarray of float
        Changes minus the exposures of their frames, periods; less the delay where it is known (change,).
    is_known : bool
        True where the delay is known.
    """
    if not is_known:
        return reading_delay(lags)
    low, high = np.ceil(lags - _EDGE).astype(np.int64), np.ceil(lags + _EDGE).astype(np.int64)
    wholes, votes = np.unique(np.concatenate([low, high[high != low]]), return_counts=True)
    best = int(np.argmax(votes)) if votes.size else 0
    return PinReading(int(wholes[best]), 0.0, int(votes[best])) if votes.size else PinReading()
