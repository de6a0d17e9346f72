"""Votes of pairs of changes for the pulse of frame 0, and the matching of changes one to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]


SLACK_PULSES = 1
"""Pulses by which a change may be off and still counts as the same one."""
MOST_PAIRS = 4_000_000
"""Pairs of changes above which they are counted by Fourier transform instead of one by one."""


def best_start(
    numbers: IntArray, ups: NDArray[np.int8], counts: IntArray, polarities: NDArray[np.int8], starts: range
) -> tuple[int, float, int]:
    """Return the start with most votes, its confidence (0 to 1), and its lead over the next best in votes.

    Votes next to each other are added, since a change close to a pulse can fall on either side of it; among the
    neighbours the one with most votes of its own is the answer.

    Parameters
    ----------
    numbers, ups : ndarray of int
        Pulse that first shows each change of the sync line, and its direction (line change,).
    counts, polarities : ndarray of int
        Exposure that first shows each pin change, and its direction (pin change,).
    starts : range
        Possible starts, without gaps.
    """
    votes = count_votes([(numbers[ups == sign], counts[polarities == sign]) for sign in (1, -1)], starts)
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


def count_votes(sides: list[tuple[IntArray, IntArray]], starts: range) -> IntArray:
    """Count the differences between sync and pin changes that are possible starts.

    Parameters
    ----------
    sides : list of tuple of ndarray
        Pulses of sync changes and exposures of pin changes: those of the rises, and those of the falls.
    starts : range
        Possible starts.

    Returns
    -------
    ndarray of int
        Votes of each start (start,).
    """
    from scipy import fft

    first, size = starts.start, len(starts)
    n_seen = 1 - first  # the lowest start is the one at which only the last exposure still has a pulse
    sides = [(sync[(sync >= first) & (sync < size)] - first, seen[seen < n_seen]) for sync, seen in sides]
    if sum(sync.size * seen.size for sync, seen in sides) <= MOST_PAIRS:
        lags = np.concatenate([np.subtract.outer(sync, seen).ravel() for sync, seen in sides])
        return np.bincount(lags[(lags >= 0) & (lags < size)], minlength=size)
    # Cross-correlation of two histograms. The transform is circular: at this length, differences that alias fall beyond
    # the first `size` entries. Single precision is exact to 0.01 votes for 10,000 changes.
    length = fft.next_fast_len(size + n_seen, real=True)
    spectra = [[fft.rfft(np.bincount(side, minlength=length).astype(np.float32)) for side in both] for both in sides]
    product = sum(sync * seen.conj() for sync, seen in spectra)
    votes: IntArray = np.rint(fft.irfft(product, length)[:size]).astype(np.int64)
    return votes


def pair_changes(
    shown: IntArray, ups: NDArray[np.int8], count: IntArray, frames: IntArray, polarities: NDArray[np.int8]
) -> tuple[IntArray, IntArray, IntArray]:
    """Match pin changes with sync changes one to one: exact ones first, then those off by the slack.

    After dropped frames a pin change may have happened at any exposure since the frame before, so each stands for an
    interval of exposures.

    Parameters
    ----------
    shown, ups : ndarray of int
        Exposure that shows each change of the sync line, rising, and its direction (line change,).
    count : ndarray of int
        Exposures before each frame (frame,).
    frames, polarities : ndarray of int
        Frame that first shows each pin change, and its direction (pin change,).

    Returns
    -------
    tuple of ndarray
        Pin changes in order, the sync change of each, and the exposures by which that is late, -1 to 1 (match,).
    """
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
    pin, ttl = pin[order], ttl[order]
    off = np.maximum(shown[ttl] - high[pin], 0) + np.minimum(shown[ttl] - low[pin], 0)
    return pin, ttl, off


def _first_inside(low: IntArray, high: IntArray, values: IntArray) -> tuple[IntArray, IntArray]:
    """Return pairs of an interval and the first of the sorted values inside it, each value used once."""
    j = np.searchsorted(values, low, side="left")
    inside = np.flatnonzero(j < values.size)
    inside = inside[values[j[inside]] <= high[inside]]
    _, first = np.unique(j[inside], return_index=True)
    chosen = inside[first].astype(np.int64)
    return chosen, j[chosen].astype(np.int64)
