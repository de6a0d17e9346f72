"""Spurious pulses on a camera's line: glitches and echoes that are no exposures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.clocks.pulses import REGULAR, Pulses, drop_pulses

if TYPE_CHECKING:
    from numpy.typing import NDArray


_BOUNCE = 0.05
"""Fraction of a period within which a pulse is the echo of the one before; either gives the right time."""
_SOONEST = 0.5
"""Fraction of a period within which no camera exposes again."""
_SPREADS, _LEAST_REGULAR = 4.5, 0.02
"""Largest deviation of intervals in a row of exposures: median deviations (4.5 of them are three standard deviations),
and fraction of the period that is allowed in any case."""
_AROUND = 2
"""Pulses at either end of a row that are examined again, since a glitch may have joined it."""
_GLITCH, _MISSED, _GAP = 3.0, 3.0, 12.0
"""Costs of a glitch, of a missed pulse, and at most of all missed in a row. An interval costs half the square of its
deviation in standard deviations, so that 3 is the cost of one that is off by 2.4 of them."""
_PAUSE = 2.5
"""Largest cost of a gap that is no whole number of periods: a pause may be of any length, and no exposure beside it
must be called a glitch to make it even."""
_USUAL_JITTER = 0.1
"""Standard deviation of an interval for these costs, in periods: wider than any camera's, so that a late exposure is
not taken for a glitch beside a missed one."""
_LOOKBACK = 12
"""Glitches in a row that are considered."""


def drop_spurious(pulses: Pulses) -> Pulses:
    """Leave out pulses that no camera gave, so that at most one is left per period.

    A glitch comes at any moment between two exposures, and its distance from its neighbours alone does not show
    which of them is the glitch. So rows of pulses a period apart are kept, and between two rows those pulses that make
    the intervals most regular, with few called glitches and few called missed. The period is the usual one of the
    pulses, which holds as long as fewer than a third of them are glitches.
    """
    period = pulses.period_s
    if (np.abs(np.diff(pulses.times_s) - period) <= REGULAR * period).all():
        return pulses
    left_out = np.flatnonzero(~_exposures(pulses.times_s, period))
    if not left_out.size:
        return pulses
    note = f"{left_out.size:,} pulses did not fit between their neighbours, a period apart, and were left out"
    return replace(drop_pulses(pulses, left_out), notes=(*pulses.notes, note))


def _exposures(times: NDArray[np.float64], period: float) -> NDArray[np.bool_]:
    """Return True for pulses that are exposures. (pulse,)"""
    keep = np.concatenate(([True], np.diff(times) >= _BOUNCE * period))
    places = times[keep] / period
    off = np.abs(np.diff(places) - 1)
    linked = off <= np.clip(_SPREADS * np.median(off), _LEAST_REGULAR, REGULAR)
    # Sure are pulses with regular intervals on both sides, `_AROUND` of them to either.
    is_sure = np.convolve(np.concatenate(([False], linked, [False])), np.ones(2 * _AROUND), "valid") == 2 * _AROUND
    is_sure = np.concatenate((np.zeros(_AROUND - 1, np.bool_), is_sure, np.zeros(_AROUND - 1, np.bool_)))
    chosen = is_sure.copy()
    edges = np.flatnonzero(np.diff(np.concatenate(([True], is_sure, [True])).astype(np.int8)))
    for first, stop in edges.reshape(-1, 2).tolist():
        start, end = max(first - 1, 0), min(stop + 1, places.size)
        chosen[start:end] = _most_regular(places[start:end].tolist(), first > 0, stop < places.size)
    kept = np.flatnonzero(chosen)
    # A pulse all by itself in a long gap is a glitch in a pause, and would make two pauses of it.
    far = np.diff(places[kept]) > _GAP / _MISSED + 1.5
    alone = np.concatenate(([False], far)) & np.concatenate((far, [False]))
    chosen[kept[alone]] = False
    keep[keep] = chosen
    return keep


def _most_regular(places: list[float], from_first: bool, to_last: bool) -> list[bool]:
    """Return True for the exposures among a few pulses: those on the cheapest path through them.

    Dynamic programming: the cheapest path to pulse i comes from one of the `_LOOKBACK` pulses before, and pays for the
    glitches in between, the missed pulses, and the unevenness of the interval.

    Parameters
    ----------
    places : list of float
        Times of the pulses, periods.
    from_first, to_last : bool
        True where the first, or the last, is an exposure for sure.

    Returns
    -------
    list of bool
        (pulse,)
    """
    n = len(places)
    costs, before = [0.0] * n, [-1] * n
    for i in range(n):
        costs[i] = _GLITCH * i if i == 0 or not from_first else float("inf")
        for j in range(max(i - _LOOKBACK, 0), i):
            distance = places[i] - places[j]
            if distance < _SOONEST:
                continue
            whole = max(round(distance), 1)
            uneven = ((distance - whole) / _USUAL_JITTER) ** 2 / 2
            if whole > 1:
                uneven = min(uneven, _PAUSE)
            cost = costs[j] + _GLITCH * (i - j - 1) + min(_MISSED * (whole - 1), _GAP) + uneven
            if cost < costs[i]:
                costs[i], before[i] = cost, j
    at = n - 1 if to_last else min(range(n), key=lambda i: costs[i] + _GLITCH * (n - 1 - i))
    chosen = [False] * n
    while at >= 0:
        chosen[at] = True
        at = before[at]
    return chosen
