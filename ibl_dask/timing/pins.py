"""Which camera pulse belongs to the first frame, found from a line that camera and main clock both saw.

The sync line (usually audio) is wired to the camera's pin 4 as well. A change first seen on frame f
happened after the exposure before and no later than that frame's own: with `count[f]` exposures since the
first frame, the change lies between pulses `start + count[f] - 1` and `start + count[f]`. Every pair of a
pin change and a sync change thus votes for one `start`, in whole pulses, and the true one collects nearly
all votes however many changes either side missed or made up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.nidq import Fronts
    from ibl_dask.timing.pulses import Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

PIN = 3
"""Column of the pin that carries the sync line: pin 4."""
SLACK_PULSES = 1
"""A change this many pulses off still counts as the same one."""
_LEAST_SHARE = 0.6
"""Least share of the shorter list of changes that must find its partner."""
_LEAST_LEAD = 0.2
"""Least lead of the best start over the next, as a share of the best."""
_MOST_LEAP = 4
"""Exposures that are looked at, as a multiple of frames and pulses: a counter that leaps further is damaged."""
_MOST_PAIRS = 4_000_000
"""More pairs of changes than this are counted by Fourier transform instead of one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class PinMatch:
    """How well pin changes and sync changes fit together, and where frame 0 is."""

    start: int = 0
    """Pulse of the first frame; negative where the camera started before the pulses were recorded."""
    n_matched: int = 0
    """Changes seen on both sides."""
    n_pin_edges: int = 0
    """Changes of the pin."""
    n_ttl_edges: int = 0
    """Changes of the sync line."""
    frames: IntArray | None = None
    """Frames that first show a matched change (match,)."""
    ttl_times_s: FloatArray | None = None
    """Times of the same changes on the main clock, s (match,)."""
    residuals_s: FloatArray | None = None
    """Change minus time of its frame, s, in (-period, 0] where all is right (match,)."""
    confidence: float = 0.0
    """Lead of this start over the next best, 0 (none) to 1 (nothing else matches at all)."""
    reason: str = ""
    """Why the pins cannot be used; empty where they can."""

    @property
    def usable(self) -> bool:
        """Return whether `start` can be relied on."""
        return not self.reason


def pin_edges(pins: NDArray[np.bool_], pin: int = PIN) -> tuple[IntArray, NDArray[np.int8]]:
    """Return the frames that first show a new state of a pin, and whether it went up (+1) or down (-1).

    A pin already up on frame 0 has not been seen to change.
    """
    state = pins[:, pin].astype(np.int8)
    step = np.diff(state)
    frames = np.flatnonzero(step)
    return frames.astype(np.int64) + 1, step[frames].astype(np.int8)


def match_pins(pulses: Pulses, count: IntArray, pins: NDArray[np.bool_], ttl: Fronts, pin: int = PIN) -> PinMatch:
    """Find the pulse of frame 0 that makes most pin changes coincide with sync changes.

    Parameters
    ----------
    pulses
        Pulses on the main clock.
    count
        Exposures before each frame, 0 at the first (frame,).
    pins
        Pin states (frame, 4); may be longer or shorter than `count`.
    ttl
        Fronts of the line that is wired to the pin.

    Returns
    -------
    PinMatch
        With a `reason` where changes are too few, fit too badly, or fit two starts about equally well.
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
    times, ups = ttl.times_s[order], ttl.polarities[order]
    numbers = pulses.number_at(times)
    reach = min(int(count[-1]) + 1, _MOST_LEAP * (count.size + len(pulses)))
    starts = range(1 - reach, len(pulses))
    start, confidence, lead = _best_start(numbers, ups, count[frames], polarities, starts)
    pin_index, ttl_index = _pair(numbers - start, ups, count, frames, polarities)
    seen = frames[pin_index]
    match = PinMatch(
        start,
        pin_index.size,
        n_pin,
        n_ttl,
        seen,
        times[ttl_index],
        times[ttl_index] - pulses.at(start + count[seen]),
        confidence,
    )
    return _judged(match, lead)


def _judged(match: PinMatch, lead: int) -> PinMatch:
    shorter = min(match.n_pin_edges, match.n_ttl_edges)
    reason = ""
    if match.n_matched < max(2, _LEAST_SHARE * shorter):
        reason = (
            f"only {match.n_matched:,} of {match.n_pin_edges:,} pin changes and {match.n_ttl_edges:,} sync "
            f"changes coincide at best, {_LEAST_SHARE:.0%} of the shorter list are needed"
        )
    elif lead < max(2, _LEAST_LEAD * match.n_matched):
        reason = (
            f"pin and sync changes fit two places about equally well ({match.n_matched:,} coincidences, "
            f"the next place has only {lead:,} fewer)"
        )
    return replace(match, reason=reason)


def _best_start(
    numbers: IntArray, ups: NDArray[np.int8], counts: IntArray, polarities: NDArray[np.int8], starts: range
) -> tuple[int, float, int]:
    """Return the start with most votes, its confidence, and its lead over the next best in votes.

    Votes next to each other are added, since a change close to a pulse can fall on either side of it; among
    the neighbours the one with most votes of its own is the answer.
    """
    votes = np.zeros(len(starts), dtype=np.int64)
    for polarity in (1, -1):
        votes += _votes(numbers[ups == polarity], counts[polarities == polarity], starts)
    window = 2 * SLACK_PULSES + 1
    around = np.convolve(votes, np.ones(window, dtype=np.int64), mode="same")
    centre = int(around.argmax())
    low = max(centre - SLACK_PULSES, 0)
    best = low + int(votes[low : centre + SLACK_PULSES + 1].argmax())
    top = int(around[centre])
    if not top:
        return 0, 0.0, 0
    around[max(centre - window, 0) : centre + window + 1] = 0
    second = int(around.max())
    return starts[best], 1 - second / top, top - second


def _votes(sync: IntArray, seen: IntArray, starts: range) -> IntArray:
    """Count the differences sync - seen that are possible starts."""
    first, size = starts.start, len(starts)
    n_seen = 1 - first  # starts begin where only the last exposure still has a pulse
    sync = sync[(sync >= first) & (sync < size)]
    seen = seen[seen < n_seen]
    if sync.size * seen.size <= _MOST_PAIRS:
        lags = np.subtract.outer(sync - first, seen).ravel()
        return np.bincount(lags[(lags >= 0) & (lags < size)], minlength=size)
    # A circle this long keeps the differences that alias apart from those that are asked for.
    length = fft.next_fast_len(size + n_seen, real=True)
    a = fft.rfft(np.bincount(sync - first, minlength=length).astype(np.float64), length)
    b = fft.rfft(np.bincount(seen, minlength=length).astype(np.float64), length)
    votes: IntArray = np.rint(fft.irfft(a * b.conj(), length)[:size]).astype(np.int64)
    return votes


def _pair(
    shown: IntArray, ups: NDArray[np.int8], count: IntArray, frames: IntArray, polarities: NDArray[np.int8]
) -> tuple[IntArray, IntArray]:
    """Pair pin changes with sync changes one to one: exact ones first, then those off by the slack."""
    low, high = count[frames - 1] + 1, count[frames]
    found_pin, found_ttl = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    free_pin, free_ttl = np.ones(frames.size, np.bool_), np.ones(shown.size, np.bool_)
    for slack in (0, SLACK_PULSES):
        for polarity in (1, -1):
            pin_left = np.flatnonzero(free_pin & (polarities == polarity))
            ttl_left = np.flatnonzero(free_ttl & (ups == polarity))
            i, j = _first_inside(low[pin_left] - slack, high[pin_left] + slack, shown[ttl_left])
            found_pin.append(pin_left[i])
            found_ttl.append(ttl_left[j])
            free_pin[pin_left[i]] = False
            free_ttl[ttl_left[j]] = False
    pin, ttl = np.concatenate(found_pin), np.concatenate(found_ttl)
    order = np.argsort(pin)
    return pin[order], ttl[order]


def _first_inside(low: IntArray, high: IntArray, values: IntArray) -> tuple[IntArray, IntArray]:
    """Return pairs (interval, first of the sorted values inside it), each value used once."""
    j = np.searchsorted(values, low, side="left")
    inside = np.flatnonzero(j < values.size)
    inside = inside[values[j[inside]] <= high[inside]]
    _, first = np.unique(j[inside], return_index=True)
    chosen = inside[first].astype(np.int64)
    return chosen, j[chosen].astype(np.int64)
