"""Tests of a start that was voted for: reasons why it cannot be used, or why another is possible.

Each test returns the reason as text, empty where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.pin_delay import EDGE_PERIODS
from ibl_dask.timing.alignment.start_votes import MOST_PAIRS, SLACK_PULSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.pin_changes import PinMatch
    from ibl_dask.timing.clocks.pulses import Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


_LEAST_SHARE = 0.3
"""Least share of the shorter list of changes that must find its partner: where each side lost 40 % of the changes, 60 %
do; unrelated lists stay below 0.2."""
_SURE_SHARE = 0.5
"""Share of the shorter list from which a start can be sure."""
_LEAST_LEAD = 0.2
"""Least lead of the best start over the next, as a share of the best."""
_SURE_LEAD, _CLEAR_LEAD = 0.5, 2.0
"""Lead as a share of the best, and in standard deviations, from either of which on a start can be sure. Were a change
as likely to coincide at one place as at another, the lead of one of them would have a standard deviation of the square
root of all coincidences at both. Where sounds are regular and each side lost many of their changes, a wrong place may
have more of them than the right one: without this rule 3,518 of such recordings passed, and 66 of these were wrong,
all with leads below 0.47 and 1.4. Of 8,294 recordings with 3 to 120 irregular sounds that passed, although each side
lost up to half of their changes, 18 had smaller leads, and none was wrong."""
_MOST_BY_CHANCE = 1e-5
"""A start is sure if fewer wrong places than this are expected to fit as well by chance: one in 100,000 recordings."""
_REGULAR_SHARE = 0.5
"""Share of the changes that repeat after one and the same interval above which they are regular: other starts may be as
good, and changes that were missed decide between them."""
_NEARLY_ALL = 0.9
"""Share of the changes that fit badly in a stretch of another start: the rest fits by chance."""
_SHORTEST_STRETCH = 4
"""Changes below which no stretch is tested."""
_MOST_AT_END = 12
"""Changes of an end that are tried together as a stretch of another start."""
LEAST_TOGETHER = 6
"""Changes below which their places within a period show nothing."""


def unusable_reason(match: PinMatch, n_shown: int, lead: int) -> str:
    """Return the reason why the best start cannot be used.

    Parameters
    ----------
    match : PinMatch
        Match of the best start.
    n_shown : int
        Changes of the sync line within the recording of the camera.
    lead : int
        Votes by which the start leads over the next best.
    """
    shorter = min(match.n_pin_edges, n_shown)
    if match.n_matched < max(2, _LEAST_SHARE * shorter):
        return (
            f"only {match.n_matched:,} of {match.n_pin_edges:,} pin changes and {match.n_ttl_edges:,} sync "
            f"changes coincide at best, {_LEAST_SHARE:.0%} of the shorter list are needed"
        )
    if lead < max(2, _LEAST_LEAD * match.n_matched):
        return (
            f"pin and sync changes fit two places about equally well ({match.n_matched:,} coincidences, "
            f"the next place has only {lead:,} fewer)"
        )
    return ""


def doubt_of_lead(match: PinMatch, lead: int) -> str:
    """Return the reason why the changes that were missed, on either side, may have decided between two starts.

    Parameters
    ----------
    match : PinMatch
        Match of the best start.
    lead : int
        Votes by which the start leads over the next best.
    """
    share = match.confidence
    n_votes = lead * (2 / share - 1) if share > 0 else np.inf
    if share >= _SURE_LEAD or lead >= _CLEAR_LEAD * np.sqrt(n_votes):
        return ""
    return f"at another place {1 - share:.0%} as many pin and sync changes coincide"


def doubt_of_chance(match: PinMatch, n_shown: int, span: int) -> str:
    """Return the reason why the coincidences may be chance.

    Parameters
    ----------
    match : PinMatch
        Match of the best start.
    n_shown : int
        Changes of the sync line within the recording of the camera.
    span : int
        Exposures of the recording.

    Notes
    -----
    A sound makes a rise and a fall, which coincide together wherever sounds are of one length; so sounds are counted.
    Of a and b sounds on either side, m can be chosen in C(a, m) C(b, m) ways that keep the order, and those of one
    choice have all the same distance, to within the slack, with a probability of (width / span)^(m - 1). The expected
    number of such choices, the product, must be below `_MOST_BY_CHANCE`.
    """
    from scipy.special import gammaln

    if match.n_matched < _SURE_SHARE * min(match.n_pin_edges, n_shown):
        return f"only {match.n_matched:,} of {match.n_pin_edges:,} pin changes and {n_shown:,} sync changes coincide"
    n_sounds, n_pin, n_ttl = (max(n / 2, 1.0) for n in (match.n_matched, match.n_pin_edges, n_shown))
    ways = sum(gammaln(n + 1) - gammaln(n_sounds + 1) - gammaln(max(n - n_sounds, 0) + 1) for n in (n_pin, n_ttl))
    log_expected = ways + (n_sounds - 1) * np.log((2 * SLACK_PULSES + 1) / max(span, 2 * SLACK_PULSES + 2))
    if log_expected > np.log(_MOST_BY_CHANCE):
        return f"{match.n_matched:,} coincidences are so few that chance may have made them"
    return ""


def doubt_of_regularity(reach: int, *changes: tuple[IntArray, NDArray[np.int8]]) -> str:
    """Return the reason why the changes of one side repeat at one interval, and fit another start as well.

    Parameters
    ----------
    reach : int
        Intervals from this on are beyond all starts, exposures.
    *changes : tuple of ndarray
        Exposure and direction of each change of a side (change,).
    """
    for numbers, polarities in changes:
        n_most = 0
        for polarity in (1, -1):
            own = numbers[polarities == polarity]
            if own.size**2 > MOST_PAIRS:
                return ""  # of so many, the lead over the next best start is proof enough
            distances = np.subtract.outer(own, own).ravel()
            distances = distances[(distances > 2 * SLACK_PULSES) & (distances < reach)]
            if distances.size:
                n_most += int(np.convolve(np.bincount(distances), np.ones(2 * SLACK_PULSES + 1)).max())
        if n_most > _REGULAR_SHARE * numbers.size:
            return f"{n_most:,} of {numbers.size:,} changes repeat after one and the same interval"
    return ""


def doubt_of_stretch(count: IntArray, frames: IntArray, shown: IntArray, pin_index: IntArray, off: IntArray) -> str:
    """Return the stretch of frames that fits another start better than the rest does.

    There, hardly any pin change has a partner, though the sync line changed as often; or, where the other start is
    next to this one, most partners are off by one to the same side.

    Parameters
    ----------
    count : ndarray of int
        Exposures before each frame (frame,).
    frames : ndarray of int
        Frames that first show a pin change (change,).
    shown : ndarray of int
        Exposures that show a change of the sync line (line change,).
    pin_index, off : ndarray of int
        Pin change of each match, and exposures by which it is off (match,).
    """
    alone = np.ones(frames.size, np.bool_)
    alone[pin_index] = False
    odd = [(np.arange(frames.size), alone), *((pin_index, off == side) for side in (-1, 1))]
    for changes, is_odd in odd:
        stretch = odd_stretch(is_odd)
        if stretch is None:
            continue
        first, last = (int(frames[changes[at]]) for at in (stretch.start, stretch.stop - 1))
        n_shown = np.count_nonzero((shown >= count[first]) & (shown <= count[last]))
        if 2 * n_shown >= len(stretch):
            return f"between frames {first:,} and {last:,} the changes want another place than elsewhere"
    return ""


def doubt_of_neighbour(match: PinMatch, count: IntArray, pulses: Pulses, line_s: FloatArray) -> str:
    """Return the end at which a change is off by one exposure, so that frames beyond may be.

    A change that rounding explains is none (see `rounding_explains`).

    Parameters
    ----------
    match : PinMatch
        Match of the best start.
    count : ndarray of int
        Exposures before each frame (frame,).
    pulses : Pulses
        Pulses on the main clock.
    line_s : ndarray of float
        Changes of the sync line in order, s (change,).
    """
    if match.frames is None or match.residuals_s is None or match.n_matched < LEAST_TOGETHER:
        return ""
    single = count[match.frames] - count[match.frames - 1] == 1
    shown = match.start + count[match.frames]
    since = pulses.at(shown) - pulses.at(shown - 1)
    late = match.residuals_s - match.delay_periods * pulses.period_s
    edge = EDGE_PERIODS * pulses.period_s
    inside = np.clip(shown, 1, len(pulses) - 1)
    known = (inside == shown) & pulses.measured[inside] & pulses.measured[inside - 1]
    is_off = known & single & ((late > edge) | (late <= -since - edge))
    is_off &= ~rounding_explains(pulses, shown, line_s, match.delay_periods)
    for name, end in (("first", slice(2)), ("last", slice(-2, None))):
        if is_off[end].any():
            return f"one of the {name} two changes is a frame off, and all beyond may be"
    return ""


def rounding_explains(pulses: Pulses, shown: IntArray, line_s: FloatArray, delay_periods: float) -> NDArray[np.bool_]:
    """Return which changes of the pin rounding explains: the line changes at the very time of an exposure next to them.

    Such a change, as within a double sound, is seen by the camera and not by the main clock, or the other way round.

    Parameters
    ----------
    pulses : Pulses
        Pulses on the main clock.
    shown : ndarray of int
        Exposure that first shows each change of the pin (change,).
    line_s : ndarray of float
        Changes of the sync line in order, s (change,).
    delay_periods : float
        Delay of the pin's reading, periods.
    """
    explained = np.zeros(shown.size, np.bool_)
    for exposure in (shown - 1, shown):
        read_s = pulses.at(exposure) + delay_periods * pulses.period_s
        low, high = read_s - EDGE_PERIODS * pulses.period_s, read_s + EDGE_PERIODS * pulses.period_s
        explained |= np.searchsorted(line_s, low) < np.searchsorted(line_s, high, "right")
    return explained


def doubt_of_end(
    pin: tuple[IntArray, NDArray[np.int8], NDArray[np.bool_]],
    line: tuple[IntArray, NDArray[np.int8]],
    pairs: tuple[IntArray, IntArray],
    most: float,
) -> str:
    """Return the end at which another start explains more changes, as where the main clock lost samples.

    Up to `_MOST_AT_END` changes of an end are tried, with those of the line that no other change matches. Beyond lost
    samples, the line changes later than the pin at the first end, and sooner at the last.

    Parameters
    ----------
    pin, line : tuple of ndarray
        Exposure that first shows each change, and its direction, by the camera and by the main clock (change,); of the
        pin also whether rounding explains it.
    pairs : tuple of ndarray
        Changes of pin and line that are matched (match,).
    most : float
        Exposures that may be lost at most.
    """
    (seen, seen_up, is_explained), (shown, shown_up) = pin, line
    is_explained = is_explained | np.isin(np.arange(seen.size), pairs[0])
    for name, side in (("first", 1), ("last", -1)):
        order = np.arange(seen.size)[::side]
        # Changes that are all explained have no fewer votes than another place can get.
        odd = np.flatnonzero(~is_explained[order[:_MOST_AT_END]])
        for n in range(max(int(odd[0]) + 1, 2) if odd.size else seen.size + 1, min(_MOST_AT_END, seen.size) + 1):
            is_here = np.isin(pairs[0], order[:n])
            is_free = np.abs(shown - seen[order[0]]) <= np.ptp(seen[order[:n]]) + most
            is_free[pairs[1][~is_here]] = False
            lags, votes = [], []
            for sign in (1, -1):
                own, others = seen[order[:n]][seen_up[order[:n]] == sign], shown[is_free & (shown_up == sign)]
                lag, n_votes = np.unique(side * np.subtract.outer(others, own), return_counts=True)
                is_near = (lag > 1) & (lag <= most)
                lags.append(lag[is_near])
                votes.append(n_votes[is_near])
            both, up, down = np.intersect1d(lags[0], lags[1], assume_unique=True, return_indices=True)
            if both.size and (votes[0][up] + votes[1][down]).max() > np.count_nonzero(is_explained[order[:n]]):
                return f"the {name} changes want another place than the rest"
    return ""


def odd_stretch(is_odd: NDArray[np.bool_]) -> range | None:
    """Return the stretch in which nearly all are odd, against the usual share; None where chance may have made it.

    The stretch is the one whose log likelihood gains most if nearly all of its members (`_NEARLY_ALL`) are expected to
    be odd: the largest sum of gains over a run, as in Kadane's algorithm. It counts if one share for it and another for
    the rest explain all better than one share, by more than the logarithm of the number of stretches (n^2), and 3
    (chance: 5 %).
    """
    n, n_odd = is_odd.size, int(np.count_nonzero(is_odd))
    share = n_odd / max(n, 1)
    if not 0 < share < _NEARLY_ALL:
        return None
    gains = np.where(is_odd, np.log(_NEARLY_ALL / share), np.log((1 - _NEARLY_ALL) / (1 - share)))
    total = np.concatenate(([0.0], np.cumsum(gains)))
    stop = int((total - np.minimum.accumulate(total)).argmax())
    start = int(total[: stop + 1].argmin())
    size, n_inside = stop - start, int(np.count_nonzero(is_odd[start:stop]))
    better = _log_likelihood(n_inside, size) + _log_likelihood(n_odd - n_inside, n - size) - _log_likelihood(n_odd, n)
    return range(start, stop) if size >= _SHORTEST_STRETCH and better > 2 * np.log(n) + 3 else None


def _log_likelihood(k: int, n: int) -> float:
    """Return the log likelihood of k out of n at their own share."""
    from scipy.special import xlogy

    return float(xlogy(k, k / max(n, 1)) + xlogy(n - k, (n - k) / max(n, 1)))
