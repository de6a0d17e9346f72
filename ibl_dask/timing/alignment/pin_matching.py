"""Pulse of frame 0, from a line that both the camera and the main clock recorded.

The sync line (usually audio) is wired to the camera's pin 4 as well. A change first seen on frame f happened after the
exposure before and no later than that frame's own: with `count[f]` exposures since the first frame, the change lies
between pulses `start + count[f] - 1` and `start + count[f]`. Every pair of a pin change and a sync change thus votes
for one `start`, in whole pulses, and the true one collects nearly all votes however many changes either side missed or
made up (`start_votes`).

Some cameras read their pin late. Then a change shortly after a pulse still shows on its frame, and some or most votes
go to the start before. The places of the changes within a period, relative to their frames, give the delay: all of them
lie within one period, which ends when the pin is read (`pin_delay`).

All matches then test the start (`match_doubts`): it is sure only if chance would not make so many coincide, if the
changes do not repeat at an interval that would make another start as good, and if no stretch of the recording fits
another start better. A start that is not sure is returned with its `doubt`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.clock_policy import MOST_LOST_S
from ibl_dask.timing.alignment.match_doubts import (
    LEAST_TOGETHER,
    doubt_of_chance,
    doubt_of_end,
    doubt_of_lead,
    doubt_of_neighbour,
    doubt_of_regularity,
    doubt_of_stretch,
    rounding_explains,
    unusable_reason,
)
from ibl_dask.timing.alignment.part_doubts import doubt_of_lone_end, doubt_of_part
from ibl_dask.timing.alignment.pin_changes import PIN, PinMatch, pin_edges, visible_changes
from ibl_dask.timing.alignment.pin_delay import LATEST_READING, reading_delay
from ibl_dask.timing.alignment.start_votes import best_start, pair_changes
from ibl_dask.timing.clocks.nidq import Fronts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.pulses import Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    Changes = tuple[IntArray, NDArray[np.int8]]


_MOST_LEAP = 4
"""Largest range of exposures, as a multiple of frames and pulses: a counter that leaps further is damaged, and the
votes (one counter per start) would not fit into memory."""
_SHORT = 0.005
"""Quantile of the intervals between pulses that counts as a short one."""
_TOGETHER = 0.75
"""Share of the changes near the best start that must lie within one period, where there are more than
`LEAST_TOGETHER`: else part of the recording fits the start before or after."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Best start for one reading delay, and its matched changes."""

    match: PinMatch
    lead: int
    """Votes by which the start leads over the next best."""
    shown: IntArray
    """Exposure that shows each visible change of the sync line, 0 at frame 0 (change,)."""
    off: IntArray
    """Exposures by which each match is off, -1 to 1 (match,)."""
    pairs: tuple[IntArray, IntArray]
    """Changes of the pin and of the sync line that are matched (match,)."""


def match_pins(pulses: Pulses, count: IntArray, pins: NDArray[np.bool_], ttl: Fronts, pin: int = PIN) -> PinMatch:
    """Find the pulse of frame 0 that makes most pin changes coincide with sync changes.

    Parameters
    ----------
    pulses : Pulses
        Pulses on the main clock.
    count : ndarray of int
        Exposures before each frame, 0 at the first, increasing (frame,).
    pins : ndarray of bool
        Pin states (frame, 4); may be longer or shorter than `count`.
    ttl : Fronts
        Fronts of the line that is wired to the pin.
    pin : int
        Column of that pin in `pins`.

    Returns
    -------
    PinMatch
        With a `reason` where changes are too few, fit too badly, or fit two starts about equally well; with a `doubt`
        where the best start is not certain.
    """
    frames, polarities = pin_edges(pins[: count.size], pin)
    n_pin, n_ttl = frames.size, len(ttl)
    if min(n_pin, n_ttl) < 2:
        return PinMatch(
            n_pin_edges=n_pin,
            n_ttl_edges=n_ttl,
            reason=f"the pin changes {n_pin:,} times and the sync line {n_ttl:,} times, each must twice or more",
        )
    order = np.argsort(ttl.times_s, kind="stable")
    order = order[np.isfinite(ttl.times_s[order])]
    line = Fronts(ttl.times_s[order], ttl.polarities[order])
    reach = min(int(count[-1]) + 1, _MOST_LEAP * (count.size + len(pulses)))
    # The delay needs a start to begin with, and the start is found again with it: late readings shift votes.
    fit = _fit(pulses, count, (frames, polarities), line, reach, 0.0)
    delay, doubt = _delay(pulses, count, (frames, polarities), line, fit.match.start)
    if delay:
        fit = _fit(pulses, count, (frames, polarities), line, reach, delay)
    match, shown = fit.match, fit.shown
    shown_to_camera = shown[(shown >= 0) & (shown <= count[-1])]
    reason = unusable_reason(match, shown_to_camera.size, fit.lead)
    if reason:
        return replace(match, reason=reason)
    ups = visible_changes(pulses, line, delay)[1]
    doubts = (
        doubt,
        doubt_of_lead(match, fit.lead),
        doubt_of_chance(match, shown_to_camera.size, int(count[-1]) + 1),
        doubt_of_regularity(reach, (shown + match.start, ups), (count[frames], polarities)),
    )
    part = doubt_of_part(match, count, pulses)
    stretch = doubt_of_stretch(count, frames, shown_to_camera, fit.pairs[0], fit.off)
    rounded = rounding_explains(pulses, match.start + count[frames], line.times_s, delay)
    end = (
        doubt_of_neighbour(match, count, pulses, line.times_s)
        or doubt_of_end((count[frames], polarities, rounded), (shown, ups), fit.pairs, MOST_LOST_S / pulses.period_s)
        or doubt_of_lone_end(count[frames], shown, fit.pairs, int(count[-1]))
    )
    return replace(match, unsure="; ".join(filter(None, doubts)), stretch=stretch or part, end=end)


def _fit(pulses: Pulses, count: IntArray, changes: Changes, line: Fronts, reach: int, delay: float) -> _Fit:
    """Find the start with most votes if the pin is read with a delay.

    Parameters
    ----------
    pulses, count
        See `match_pins`.
    changes : tuple of ndarray
        Frame and direction of each pin change (change,).
    line : Fronts
        Sync line in order of time, finite times only.
    reach : int
        Range of exposures: starts down to ``1 - reach`` are possible.
    delay : float
        Delay of the reading, periods.
    """
    frames, polarities = changes
    numbers, ups, times = visible_changes(pulses, line, delay)
    starts = range(1 - reach, len(pulses))
    start, confidence, lead = best_start(numbers, ups, count[frames], polarities, starts)
    shown = numbers - start
    pin_index, ttl_index, off = pair_changes(shown, ups, count, frames, polarities)
    matched = frames[pin_index]
    match = PinMatch(
        start=start,
        n_matched=pin_index.size,
        n_pin_edges=frames.size,
        n_ttl_edges=len(line),
        n_exact=int(np.count_nonzero(off == 0)),
        frames=matched,
        ttl_times_s=times[ttl_index],
        residuals_s=times[ttl_index] - pulses.at(start + count[matched]),
        delay_periods=delay,
        confidence=confidence,
    )
    return _Fit(match, lead, shown, off, (pin_index, ttl_index))


def _delay(pulses: Pulses, count: IntArray, changes: Changes, line: Fronts, start: int) -> tuple[float, str]:
    """Return the delay of the pin's reading in periods, and the reason why it may be another (empty where none)."""
    frames, polarities = changes
    # After a dropped frame a change may have happened two exposures ago.
    single = count[frames] - count[frames - 1] == 1
    frames, polarities = frames[single], polarities[single]
    numbers, ups, times = visible_changes(pulses, line, 0.0)
    due = pulses.at(numbers)
    places = numbers + (times - due) / np.maximum(due - pulses.at(numbers - 1), 1e-9)
    places = np.clip(places, numbers - 1.0, numbers)
    lags: list[FloatArray] = []
    for polarity in (1, -1):
        line_places, exposures = places[ups == polarity], count[frames[polarities == polarity]] + float(start)
        # Up to five changes of the line are within reach of a pin change: visible ones are a pulse or more apart.
        first = np.searchsorted(line_places, exposures - 2.5)
        for step in range(5):
            at = first + step
            known = np.flatnonzero(at < line_places.size)
            lag = line_places[at[known]] - exposures[known]
            lags.append(lag[lag < 2.5])
    lag = np.concatenate(lags)
    intervals = np.diff(pulses.times_s)
    shortest = np.quantile(intervals, _SHORT) / np.median(intervals) if intervals.size else 1.0
    reading = reading_delay(lag, float(np.clip(shortest, LATEST_READING, 1.0)))
    latest = reading.whole + reading.delay
    n_around = np.count_nonzero((lag > latest - 2) & (lag <= latest + 1))
    if n_around > LEAST_TOGETHER and reading.n_inside < _TOGETHER * n_around:
        return 0.0, (f"only {reading.n_inside:,} of {n_around:,} changes lie within one period, seen from their frames")
    return reading.delay, reading.doubt
