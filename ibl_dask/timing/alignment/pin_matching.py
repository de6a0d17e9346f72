"""Which camera pulse belongs to the first frame, found from a line that camera and main clock both saw.

The sync line (usually audio) is wired to the camera's pin 4 as well. A change first seen on frame f
happened after the exposure before and no later than that frame's own: with `count[f]` exposures since the
first frame, the change lies between pulses `start + count[f] - 1` and `start + count[f]`. Every pair of a
pin change and a sync change thus votes for one `start`, in whole pulses, and the true one collects nearly
all votes however many changes either side missed or made up.

Some cameras read their pin late. Then a change up to so much after a pulse still shows on its frame, and more or less
of the votes go to the start before. Where between two pulses the changes lie, seen from their frames, tells how late:
all of them lie within one period, which ends when the pin is read (`reading_delay`).

All matches then answer for the start: it is sure only if chance would not make so many coincide, if the changes do
not repeat themselves at an interval that would make another start as good, and if no stretch of the recording wants
another start than the rest. A start that is not sure is given with its `doubt`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, special

from ibl_dask.timing.clocks.nidq import Fronts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.pulses import Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

PIN = 3
"""Column of the pin that carries the sync line: pin 4."""
SLACK_PULSES = 1
"""A change this many pulses off still counts as the same one."""
_LEAST_SHARE = 0.3
"""Least share of the shorter list of changes that must find its partner: where each side lost 40 % of the changes, 60 %
do; unrelated lists stay below 0.2."""
_SURE_SHARE = 0.5
"""Share from which a start can be sure."""
_LEAST_LEAD = 0.2
"""Least lead of the best start over the next, as a share of the best."""
_MOST_BY_CHANCE = 1e-5
"""A start is sure if fewer wrong places than this are expected to fit as well by chance: one in 100,000 recordings."""
_REGULAR_SHARE = 0.5
"""Changes of which more than this share repeat after one and the same interval are regular: other starts may be as
good, and changes that were missed decide between them."""
_NEARLY_ALL = 0.9
"""Share of the changes of a stretch that fit badly where the stretch wants another start: the rest fits by chance."""
_SHORTEST_STRETCH = 4
"""Changes below which no stretch is judged."""
_MOST_LEAP = 4
"""Exposures that are looked at, as a multiple of frames and pulses: a counter that leaps further is damaged."""
LATEST_READING = 0.65
"""Periods after the exposure began until which a camera may read its pin. Nearer to the next exposure nobody can tell
one from the other."""
_EDGE = 0.02
"""Periods that a change may lie beyond the period it should be in: sampling of the DAQ, jitter of the camera."""
_STRAY = 0.05
"""Share of the changes beyond that period, besides one, that are taken for chance: a pin that is read at once is
likelier than one that is read just before the next exposure and agrees with hardly more of them."""
_TOGETHER, _LEAST_TOGETHER = 0.75, 6
"""Share of the changes near the best start that must lie within one period, where there are more than so many: else
part of the recording wants the start before or after."""
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
    n_exact: int = 0
    """Matches on the very frame; the others are off by one."""
    frames: IntArray | None = None
    """Frames that first show a matched change (match,)."""
    ttl_times_s: FloatArray | None = None
    """Times of the same changes on the main clock, s (match,)."""
    residuals_s: FloatArray | None = None
    """Change minus time of its frame, s, in (delay - period, delay] where all is right (match,)."""
    delay_periods: float = 0.0
    """When the camera reads its pin, periods after the exposure began."""
    confidence: float = 0.0
    """Lead of this start over the next best, 0 (none) to 1 (nothing else matches at all)."""
    reason: str = ""
    """Why the pins cannot be used; empty where they can."""
    unsure: str = ""
    """Why another start is possible for all frames; empty where it is sure."""
    stretch: str = ""
    """Which frames want another start than the rest; empty where none do."""
    end: str = ""
    """At which end a sound wants another start: where a clock may have lost samples, all beyond may want it too."""

    @property
    def doubt(self) -> str:
        """Return why another start is possible, though this one fits best; empty where it is sure."""
        return "; ".join(filter(None, (self.unsure, self.stretch)))

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
        Exposures before each frame, 0 at the first, increasing (frame,).
    pins
        Pin states (frame, 4); may be longer or shorter than `count`.
    ttl
        Fronts of the line that is wired to the pin.

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
    match, lead, shown, off, pairs = _match(pulses, count, (frames, polarities), line, reach, 0.0)
    delay, doubt = _delay(pulses, count, (frames, polarities), line, match.start)
    if delay:
        match, lead, shown, off, pairs = _match(pulses, count, (frames, polarities), line, reach, delay)
    shown_to_camera = shown[(shown >= 0) & (shown <= count[-1])]
    reason = _too_bad(match, shown_to_camera.size, lead)
    if reason:
        return replace(match, reason=reason)
    numbers = shown + match.start
    ups = _visible_changes(pulses, line, delay)[1]
    doubts = (
        doubt,
        _too_few(match, shown_to_camera.size, int(count[-1]) + 1),
        _too_regular(reach, (numbers, ups), (count[frames], polarities)),
    )
    stretch = _stretch_elsewhere(count, frames, shown_to_camera, pairs[0], off)
    end = _end_off(match, count, pulses) or _end_elsewhere(
        (count[frames], polarities), (shown, ups), pairs, int(count[-1])
    )
    return replace(match, unsure="; ".join(filter(None, doubts)), stretch=stretch, end=end)


def _match(
    pulses: Pulses, count: IntArray, seen: tuple[IntArray, NDArray[np.int8]], line: Fronts, reach: int, delay: float
) -> tuple[PinMatch, int, IntArray, IntArray, tuple[IntArray, IntArray]]:
    """Return the start that most changes want, if pins are read with a delay, in periods.

    Returns
    -------
    tuple
        The match; its lead over the next best start in votes; the exposure that shows each change of the line; by how
        many exposures each match is off; the changes of pin and line of each match.
    """
    frames, polarities = seen
    numbers, ups, times = _visible_changes(pulses, line, delay)
    starts = range(1 - reach, len(pulses))
    start, confidence, lead = _best_start(numbers, ups, count[frames], polarities, starts)
    shown = numbers - start
    pin_index, ttl_index, off = _pair(shown, ups, count, frames, polarities)
    matched = frames[pin_index]
    match = PinMatch(
        start,
        pin_index.size,
        frames.size,
        len(line),
        int(np.count_nonzero(off == 0)),
        matched,
        times[ttl_index],
        times[ttl_index] - pulses.at(start + count[matched]),
        delay,
        confidence,
    )
    return match, lead, shown, off, (pin_index, ttl_index)


def _delay(
    pulses: Pulses, count: IntArray, seen: tuple[IntArray, NDArray[np.int8]], line: Fronts, start: int
) -> tuple[float, str]:
    """Return how late the camera reads its pin, periods, and why that may be otherwise."""
    frames, polarities = seen
    single = count[frames] - count[frames - 1] == 1
    frames, polarities = frames[single], polarities[single]
    numbers, ups, times = _visible_changes(pulses, line, 0.0)
    due = pulses.at(numbers)
    places = numbers + (times - due) / np.maximum(due - pulses.at(numbers - 1), 1e-9)
    places = np.clip(places, numbers - 1.0, numbers)
    lags = []
    for polarity in (1, -1):
        line_places, exposures = places[ups == polarity], count[frames[polarities == polarity]] + float(start)
        first = np.searchsorted(line_places, exposures - 2.5)
        for step in range(5):
            at = first + step
            known = np.flatnonzero(at < line_places.size)
            lag = line_places[at[known]] - exposures[known]
            lags.append(lag[lag < 2.5])
    lag = np.concatenate(lags)
    fit = reading_delay(lag)
    around = np.count_nonzero((lag > fit.whole + fit.delay - 2) & (lag <= fit.whole + fit.delay + 1))
    if around > _LEAST_TOGETHER and fit.n_inside < _TOGETHER * around:
        told = f"only {fit.n_inside:,} of {around:,} changes lie within one period, seen from their frames"
        return 0.0, told
    return fit.delay, fit.doubt


@dataclass(frozen=True, slots=True)
class Reading:
    """When a camera reads its pin."""

    whole: int = 0
    """Exposures by which the frames are off."""
    delay: float = 0.0
    """Periods after an exposure began."""
    n_inside: int = 0
    """Changes that agree."""
    doubt: str = ""
    """Why it may be otherwise; empty where it may not."""


def reading_delay(lags: FloatArray) -> Reading:
    """Return when a camera reads its pin.

    Parameters
    ----------
    lags
        Changes minus the exposures of the frames that first show them, periods; with strays among them (change,).

    Notes
    -----
    Whatever the delay, all lags lie within one period that ends with it. So every end of a period that holds nearly
    all of them is possible. A camera reads its pin after the exposure began, and not as late as the next: an end
    shortly before a whole number would be one frame wrong, and two frames are possible where few changes leave more
    than 1 - `LATEST_READING` of a period free.
    """
    lags = np.sort(lags[np.isfinite(lags)])
    if not lags.size:
        return Reading()
    # Changes in the period that ends with each, and in the one that begins with it.
    ending = np.arange(1, lags.size + 1) - np.searchsorted(lags, lags - 1 - 2 * _EDGE)
    beginning = np.searchsorted(lags, lags + 1 + 2 * _EDGE, side="right") - np.arange(lags.size)
    most = int(ending.max())
    enough = max(most - 1 - round(_STRAY * most), 1)
    earliest = float(lags[ending >= enough].min()) - _EDGE
    latest = float(lags[beginning >= enough].max()) + 1 + _EDGE
    whole = int(np.ceil(earliest))
    if whole <= latest:
        few = whole - float(lags[ending == most].min()) >= 1 - LATEST_READING
        told = (
            f"its {lags.size:,} changes are so few that the camera may have read its pin just before the next exposure"
        )
        return Reading(whole, 0.0, most, told if few else "")
    delay = (earliest + latest) / 2 - (whole - 1)
    told = f"the camera reads its pin {delay:.2f} periods after an exposure, or before the next one"
    return Reading(whole - 1, delay, most, told if earliest - (whole - 1) > LATEST_READING else "")


def _visible_changes(pulses: Pulses, line: Fronts, delay: float) -> tuple[IntArray, NDArray[np.int8], FloatArray]:
    """Return the changes that a camera can see: number of the pulse that first shows each, direction, time in s.

    The pin is read `delay` periods after each pulse.
    Of several changes between two pulses only the sum is seen: a pulse that is over before the next frame leaves
    nothing, and two pulses 3 ms apart (the go cue of some sound cards) are one.
    """
    times, ups = line.times_s, line.polarities
    numbers = pulses.number_at(times - delay * pulses.period_s)
    first = np.flatnonzero(np.concatenate(([True], np.diff(numbers) > 0)))
    last = np.append(first[1:], numbers.size) - 1
    first = first[ups[first] == ups[last]]
    return numbers[first], ups[first], times[first]


# -- judgement ---------------------------------------------------------------------------------------------


def _too_bad(match: PinMatch, n_shown: int, lead: int) -> str:
    """Return why the best start cannot be used; empty where it can."""
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


def _too_few(match: PinMatch, n_shown: int, span: int) -> str:
    """Return why so many coincidences may be chance; empty where they may not.

    A sound makes a rise and a fall, which coincide together wherever sounds are of one length; so sounds are counted.
    Of a and b sounds on either side, m can be chosen in C(a, m) C(b, m) ways that keep the order, and those of one
    choice have all the same distance, to within the slack, with a chance of (width / span)^(m - 1).
    """
    if match.n_matched < _SURE_SHARE * min(match.n_pin_edges, n_shown):
        return f"only {match.n_matched:,} of {match.n_pin_edges:,} pin changes and {n_shown:,} sync changes coincide"
    n_sounds, n_pin, n_ttl = (max(n / 2, 1.0) for n in (match.n_matched, match.n_pin_edges, n_shown))
    ways = sum(
        special.gammaln(n + 1) - special.gammaln(n_sounds + 1) - special.gammaln(max(n - n_sounds, 0) + 1)
        for n in (n_pin, n_ttl)
    )
    log_expected = ways + (n_sounds - 1) * np.log((2 * SLACK_PULSES + 1) / max(span, 2 * SLACK_PULSES + 2))
    if log_expected > np.log(_MOST_BY_CHANCE):
        return f"{match.n_matched:,} coincidences are so few that chance may have made them"
    return ""


def _too_regular(reach: int, *changes: tuple[IntArray, NDArray[np.int8]]) -> str:
    """Return that the changes on one side repeat at one interval, below `reach`; empty where they do not."""
    for numbers, polarities in changes:
        n_most = 0
        for polarity in (1, -1):
            own = numbers[polarities == polarity]
            if own.size**2 > _MOST_PAIRS:
                return ""  # of so many, the lead over the next best start says enough
            distances = np.subtract.outer(own, own).ravel()
            distances = distances[(distances > 2 * SLACK_PULSES) & (distances < reach)]
            if distances.size:
                n_most += int(np.convolve(np.bincount(distances), np.ones(2 * SLACK_PULSES + 1)).max())
        if n_most > _REGULAR_SHARE * numbers.size:
            return f"{n_most:,} of {numbers.size:,} changes repeat after one and the same interval"
    return ""


def _stretch_elsewhere(count: IntArray, frames: IntArray, shown: IntArray, pin_index: IntArray, off: IntArray) -> str:
    """Return which frames want another start than the rest; empty where none do.

    There, hardly any pin change has a partner, though the sync line changed as often; or, where the other start is
    next to this one, most partners are off by one to the same side.
    """
    alone = np.ones(frames.size, np.bool_)
    alone[pin_index] = False
    odd = [(np.arange(frames.size), alone), *((pin_index, off == side) for side in (-1, 1))]
    for changes, is_odd in odd:
        stretch = _odd_stretch(is_odd)
        if stretch is None:
            continue
        first, last = (int(frames[changes[at]]) for at in (stretch.start, stretch.stop - 1))
        n_shown = np.count_nonzero((shown >= count[first]) & (shown <= count[last]))
        if 2 * n_shown >= len(stretch):
            return f"between frames {first:,} and {last:,} the changes want another place than elsewhere"
    return ""


def _end_off(match: PinMatch, count: IntArray, pulses: Pulses) -> str:
    """Return at which end a sound is off by one, so that frames from there on may be; empty where none is."""
    if match.frames is None or match.residuals_s is None or match.n_matched < _LEAST_TOGETHER:
        return ""
    single = count[match.frames] - count[match.frames - 1] == 1
    shown = match.start + count[match.frames]
    since = pulses.at(shown) - pulses.at(shown - 1)
    late = match.residuals_s - match.delay_periods * pulses.period_s
    edge = _EDGE * pulses.period_s
    inside = np.clip(shown, 1, len(pulses) - 1)
    known = (inside == shown) & pulses.measured[inside] & pulses.measured[inside - 1]
    is_off = known & single & ((late > edge) | (late <= -since - edge))
    for name, end in (("first", slice(2)), ("last", slice(-2, None))):
        if is_off[end].any():
            return f"one of the {name} two changes is a frame off, and all beyond may be"
    return ""


def _end_elsewhere(
    pin: tuple[IntArray, NDArray[np.int8]],
    line: tuple[IntArray, NDArray[np.int8]],
    pairs: tuple[IntArray, IntArray],
    last: int,
) -> str:
    """Return at which end a sound wants another start: none of its changes has a partner, and all would have elsewhere.

    Parameters
    ----------
    pin, line
        Exposure that first shows each change, and its direction, by the camera and by the main clock.
    pairs
        Changes of either that belong together.
    last
        Exposures from the first frame to the last, less one.
    """
    (seen, seen_up), (shown, shown_up) = pin, line
    if not pairs[0].size:
        return ""
    ends = (("first", -1, int(seen[pairs[0]].min())), ("last", int(seen[pairs[0]].max()), last + 1))
    for name, low, high in ends:
        alone, other = ((exposures > low) & (exposures < high) for exposures in (seen, shown))
        lags = [
            np.subtract.outer(shown[other & (shown_up == sign)], seen[alone & (seen_up == sign)]).ravel()
            for sign in (1, -1)
        ]
        if np.intersect1d(*lags).size:
            return f"the {name} changes, which have no partner, want another place than the rest"
    return ""


def _odd_stretch(is_odd: NDArray[np.bool_]) -> range | None:
    """Return the stretch in which nearly all are odd, against the usual share; None where chance may have made it.

    The stretch is the one whose log likelihood gains most if nearly all of its members are expected to be odd. It is
    taken seriously if a share of its own for it and for the rest explains all better than one share by more than the
    logarithm of the number of stretches there are, and 3 (chance: 5 %).
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
    return float(special.xlogy(k, k / max(n, 1)) + special.xlogy(n - k, (n - k) / max(n, 1)))


# -- votes -------------------------------------------------------------------------------------------------


def _best_start(
    numbers: IntArray, ups: NDArray[np.int8], counts: IntArray, polarities: NDArray[np.int8], starts: range
) -> tuple[int, float, int]:
    """Return the start with most votes, its confidence, and its lead over the next best in votes.

    Votes next to each other are added, since a change close to a pulse can fall on either side of it; among
    the neighbours the one with most votes of its own is the answer.
    """
    votes = _votes([(numbers[ups == sign], counts[polarities == sign]) for sign in (1, -1)], starts)
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


def _votes(sides: list[tuple[IntArray, IntArray]], starts: range) -> IntArray:
    """Count the differences sync - seen that are possible starts, of rises and of falls."""
    first, size = starts.start, len(starts)
    n_seen = 1 - first  # starts begin where only the last exposure still has a pulse
    sides = [(sync[(sync >= first) & (sync < size)] - first, seen[seen < n_seen]) for sync, seen in sides]
    if sum(sync.size * seen.size for sync, seen in sides) <= _MOST_PAIRS:
        lags = np.concatenate([np.subtract.outer(sync, seen).ravel() for sync, seen in sides])
        return np.bincount(lags[(lags >= 0) & (lags < size)], minlength=size)
    # A circle this long keeps the differences that alias apart from those that are asked for. Single precision is
    # exact to 0.01 votes for 10,000 changes.
    length = fft.next_fast_len(size + n_seen, real=True)
    spectra = [[fft.rfft(np.bincount(side, minlength=length).astype(np.float32)) for side in both] for both in sides]
    product = sum(sync * seen.conj() for sync, seen in spectra)
    votes: IntArray = np.rint(fft.irfft(product, length)[:size]).astype(np.int64)
    return votes


def _pair(
    shown: IntArray, ups: NDArray[np.int8], count: IntArray, frames: IntArray, polarities: NDArray[np.int8]
) -> tuple[IntArray, IntArray, IntArray]:
    """Pair pin changes with sync changes one to one: exact ones first, then those off by the slack.

    Returns
    -------
    tuple
        Pin changes in order, the sync change of each, and by how many pulses that is late (-1 to 1).
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
    """Return pairs (interval, first of the sorted values inside it), each value used once."""
    j = np.searchsorted(values, low, side="left")
    inside = np.flatnonzero(j < values.size)
    inside = inside[values[j[inside]] <= high[inside]]
    _, first = np.unique(j[inside], return_index=True)
    chosen = inside[first].astype(np.int64)
    return chosen, j[chosen].astype(np.int64)
