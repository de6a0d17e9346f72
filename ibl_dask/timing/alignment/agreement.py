"""Frame times beside the camera's own clock: what pulses were passed over, and where the main clock lost samples.

Both clocks noted the same exposures, so that the difference between a frame's time and the camera's clock changes by
nothing but their drift. Where it steps, one of four things happened:

- a pulse was passed over, since it came sooner than any should, or a pause was rounded otherwise: then there is a pulse
  where the camera's clock says, and it is taken;
- the camera's clock leapt: then the pulses go on evenly, and nothing is done;
- a Bpod noted the start of a trial wrongly: then both clocks go on afterwards as before, and the camera's is believed;
- the main clock lost samples: then pulses are missing, and only the sync line beyond says how many. Where it does not,
  which pulse belongs to a frame is an assumption from there on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.pin_matching import Reading, pin_edges, reading_delay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.nidq import Fronts

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

STEP_S = 1.7e-4
"""A step between two clocks is larger than this, s: the camera's tick of 125 us and a sample of a DAQ."""
_DEVIATIONS = 8.0
"""And larger than this many median deviations of the intervals, for clocks that are read less exactly."""
_SMALL_STEP_S, _MEAN_OF = 1.3e-4, 16
"""The means of so many frames on either side of a step are apart by more than this, s: a tick of the camera's clock,
which may beat with its rate."""
_DRIFT_UNKNOWN = 5e-6
"""The drift is known to this share: what a pause may add to a step."""
_NEAR_S = 3e-4
"""A pulse belongs to a frame that the camera's clock puts this near, s."""
_LEVEL_FRAMES = 64
"""Frames whose median says how far the clocks are apart."""
_SHORT = 12
"""Fewer frames than this are no level of their own."""
_MOST_STEPS = 0.1
"""A camera clock that steps at more than this share of the frames is too rough to be compared."""
_MOST_LOST_S = 2.5
"""Samples lost in a row that are searched for, s."""
_CALM = 0.1
"""Intervals this near to one period, in periods, are those of a camera that nothing disturbs."""
_EDGE = 0.03
"""A change may lie this far outside the period that it belongs to, periods."""
_CLEAR_VOTES = 3
"""Changes of the sync line that must agree on where a stretch belongs."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the times of a camera are compared with."""

    clock_s: Floats
    """The camera's clock (frame,)."""
    period_s: float
    pulses_s: Floats
    """All pulses that were noted, before any was left out (pulse,)."""
    pins: Bools | None = None
    """Pin states (frame, 4); None where they do not count."""
    ttl: Fronts | None = None
    delay_periods: float = 0.0
    """When the camera reads its pin, periods after the exposure began."""
    by_trials: bool = False
    """True where the pulses were noted trial by trial, on a clock that loses no samples."""


@dataclass(slots=True, eq=False)
class Agreement:
    """Times that agree with the camera's clock as far as they can."""

    times_s: Floats
    """(frame,)"""
    is_measured: Bools
    """Where a time is that of a pulse (frame,)."""
    is_assumed: Bools
    """Where the main clock lost samples and nothing says how many (frame,)."""
    is_moved: Bools
    """Where the time is not what it was (frame,)."""
    steps: list[int] = field(default_factory=list)
    """Frames before which the main clock lost samples."""
    n_confirmed: int = 0
    """Stretches between them of which the sync line says where they belong."""
    n_levels: int = 1
    """Stretches between them."""
    notes: list[str] = field(default_factory=list)

    @property
    def why(self) -> str:
        """Return why some frames are where they are by assumption; empty where none are."""
        frames = np.flatnonzero(self.is_assumed)
        if not frames.size:
            return ""
        if not self.steps:
            return self.notes[-1] if self.notes else f"the clocks put {frames.size:,} frames in another order"
        if self.is_settled:
            return f"{frames.size:,} frames were exposed while samples were lost (first {int(frames[0]):,})"
        return (
            f"how many samples were lost is not known for {frames.size:,} frames (first {int(frames[0]):,}), "
            "since too few changes of the sync line come beyond"
        )

    @property
    def is_settled(self) -> bool:
        """Return whether samples were lost, and the sync line places every stretch."""
        return bool(self.steps) and self.n_confirmed == self.n_levels

    @property
    def is_whole(self) -> bool:
        """Return whether the clocks went on side by side throughout."""
        return not self.steps


def agree(times_s: Floats, measured: Bools, evidence: Evidence) -> Agreement | None:
    """Compare times with the camera's clock, and mend what disagrees.

    Parameters
    ----------
    times_s, measured
        One per frame, and whether it is that of a pulse (frame,).

    Returns
    -------
    Agreement
        None where the clock is too rough to be compared.
    """
    known = min(times_s.size, evidence.clock_s.size)
    frames = np.flatnonzero(measured[:known])
    if frames.size < 2 * _SHORT:
        return None
    clock = evidence.clock_s[:known]
    apart = times_s[:known] - clock
    apart = apart - _drift(apart[frames], clock[frames]) * clock
    steps, spans = np.diff(apart[frames]), np.abs(np.diff(clock[frames]))
    rough = max(STEP_S, _DEVIATIONS * float(np.median(np.abs(steps))))
    leaps = np.abs(steps) > rough + _DRIFT_UNKNOWN * spans
    if np.count_nonzero(leaps) > max(_MOST_STEPS * frames.size, 4):
        return None
    at = np.union1d(np.flatnonzero(leaps), _small_steps(apart[frames], leaps))
    runs = np.split(frames, at + 1)
    return _Comparison(evidence, times_s, measured, clock, times_s[:known] - apart, runs, rough).compared()


def _noise(apart: Floats) -> float:
    """Return the standard deviation of what is not drift, from every three frames in a row."""
    return float(np.median(np.abs(apart[2:] - 2 * apart[1:-1] + apart[:-2]))) / 1.65


def _small_steps(apart: Floats, leaps: Bools) -> Ints:
    """Return before which intervals the clocks step by less than a leap, and stay apart.

    Means of frames on either side are compared, of fewer towards the ends; a leap ends them.
    """
    found = []
    ends = np.concatenate(([0], np.flatnonzero(leaps) + 1, [apart.size]))
    noise = _noise(apart)
    for first, stop in pairwise(ends.tolist()):
        part = apart[first:stop]
        if part.size < 2 * _SHORT:
            continue
        total = np.concatenate(([0.0], np.cumsum(part - part[0])))
        middle = np.arange(1, part.size)
        before, after = np.minimum(middle, _MEAN_OF), np.minimum(part.size - middle, _MEAN_OF)
        means = (total[middle + after] - total[middle]) / after - (total[middle] - total[middle - before]) / before
        limit = np.maximum(_SMALL_STEP_S, _DEVIATIONS * noise * np.sqrt(1 / before + 1 / after))
        over = np.abs(means) > limit
        if not over.any() or np.count_nonzero(over) > _MOST_STEPS * part.size:
            continue
        edges = np.flatnonzero(np.diff(np.concatenate(([False], over, [False])).astype(np.int8)))
        found += [first + low + int(np.argmax(np.abs(means[low:high]))) for low, high in edges.reshape(-1, 2).tolist()]
    return np.array(found, dtype=np.int64)


def _drift(apart: Floats, clock: Floats) -> float:
    """Return how much faster the main clock runs, as a share: over an eighth of the frames, so that few pairs step."""
    lag = max(apart.size // 8, 1)
    spans = clock[lag:] - clock[:-lag]
    good = spans > 0
    return float(np.median((apart[lag:] - apart[:-lag])[good] / spans[good])) if good.any() else 0.0


def _best_of(lags: Floats, *, is_known: bool) -> Reading:
    """Return the period in which most lags lie: any, or one that ends at a whole number where the delay is known."""
    if not is_known:
        return reading_delay(lags)
    low, high = np.ceil(lags - _EDGE).astype(np.int64), np.ceil(lags + _EDGE).astype(np.int64)
    wholes, votes = np.unique(np.concatenate([low, high[high != low]]), return_counts=True)
    best = int(np.argmax(votes)) if votes.size else 0
    return Reading(int(wholes[best]), 0.0, int(votes[best])) if votes.size else Reading()


class _Comparison:
    """The stretches between the steps, looked at one after the other from the longest on to both ends."""

    def __init__(
        self,
        evidence: Evidence,
        times_s: Floats,
        measured: Bools,
        clock: Floats,
        scaled: Floats,
        runs: list[Ints],
        rough: float,
    ) -> None:
        self.evidence = evidence
        self.clock = clock
        self.scaled = scaled
        """The camera's clock at the rate of the main clock (frame,)."""
        self.runs = runs
        self.near = max(_NEAR_S, 1.5 * rough)
        self.rough = rough
        frames = np.concatenate(runs)
        self.noise = _noise((times_s[: clock.size] - scaled)[frames])
        self.before = times_s
        n = times_s.size
        self.out = Agreement(times_s.copy(), measured.copy(), np.zeros(n, np.bool_), np.zeros(n, np.bool_))

    def compared(self) -> Agreement:
        """Go through all stretches, then place those between samples that were lost."""
        main = self._main()
        for side in (1, -1):
            level = self._level(self.runs[main], side)
            at = main + side
            while 0 <= at < len(self.runs):
                level = self._next(at, side, level)
                at += side
        out = self.out
        if out.steps:
            out.steps.sort()
            ends = [0, *out.steps, out.times_s.size]
            stretches = sorted(pairwise(ends), key=lambda ends: ends[0] - ends[1])
            out.n_levels = len(stretches)
            delay = None
            for first, stop in stretches:  # the longest tells when the pin is read
                delay = self._place(first, stop, delay)
            self._straighten()
        self._fill_in()
        self._put_in_order()
        out.is_moved = out.times_s != self.before
        return out

    def _main(self) -> int:
        """Return the stretch that the others are judged by: the longest; of trials one that most others agree with."""
        sizes = np.array([run.size for run in self.runs])
        if not self.evidence.by_trials or sizes.size == 1:
            return int(sizes.argmax())
        levels = np.array([float(np.median(self.out.times_s[run] - self.scaled[run])) for run in self.runs])
        same = np.array([self._same(int(size)) for size in sizes])
        friends = np.array(
            [
                int(sizes[(np.abs(levels - level) <= limit) & (np.arange(sizes.size) != at)].sum())
                for at, (level, limit) in enumerate(zip(levels, same, strict=True))
            ]
        )
        if not friends.any():
            self.out.is_assumed[:] = True
            self.out.notes.append("the starts of trials were noted wrongly, and no two trials agree on which")
        return int(np.lexsort((sizes, friends))[-1])

    def _level(self, run: Ints, side: int) -> float:
        """Return how far the clocks are apart at the end of a stretch that the next one follows, s."""
        near = run[-_LEVEL_FRAMES:] if side > 0 else run[:_LEVEL_FRAMES]
        return float(np.median(self.out.times_s[near] - self.scaled[near]))

    def _next(self, at: int, side: int, level: float) -> float:
        """Judge a stretch by the level of the one before it; return the level for the next."""
        run, out = self.runs[at], self.out
        own = self._level(run, -side)
        if abs(own - level) <= self._same(run.size) + self._unknown(run, side):
            return self._level(run, side) if run.size >= _SHORT else level
        if self._is_calm(run) and self._returns(at, side, level):
            return level
        if self._take_pulses(at, level, side):
            return self._level(run, side) if run.size >= _SHORT else level
        if self.evidence.by_trials:
            self._by_clock(at, level)
            return level
        if self._returns(at, side, level):
            return level
        if self._is_even(run, side):
            return self._level(run, side)
        out.steps.append(int(run[0]) if side > 0 else int(self.runs[at + 1][0]))
        return self._level(run, side)

    def _same(self, size: int) -> float:
        """Return by how much the level of so many frames may be off another, s."""
        few = min(size, _LEVEL_FRAMES)
        return max(_SMALL_STEP_S, _DEVIATIONS * self.noise * float(np.sqrt(1 / few + 1 / _LEVEL_FRAMES)))

    def _unknown(self, run: Ints, side: int) -> float:
        """Return what the drift may have added since the stretch before, s."""
        edge = int(run[0]) if side > 0 else int(run[-1])
        other = max(edge - 1, 0) if side > 0 else min(edge + 1, self.clock.size - 1)
        return _DRIFT_UNKNOWN * abs(float(self.clock[edge] - self.clock[other]))

    def _frames(self, at: int) -> Ints:
        """Return the frames of a stretch, with those beside it that have no pulse."""
        first = int(self.runs[at - 1][-1]) + 1 if at else 0
        stop = int(self.runs[at + 1][0]) if at + 1 < len(self.runs) else self.clock.size
        return np.arange(first, stop)

    def _take_pulses(self, at: int, level: float, side: int) -> bool:
        """Take the pulses that are where the camera's clock says, if nearly all frames of a stretch have one."""
        frames = self._frames(at)
        due = self.scaled[frames] + level
        found = self._nearest(due)
        has = np.abs(found - due) <= self.near
        inner = np.isin(frames, self.runs[at])
        if np.count_nonzero(has & inner) < (1.0 if self.runs[at].size < _SHORT else 0.8) * self.runs[at].size:
            return False
        new = np.where(has, found, due)
        edges = new
        if side > 0:
            edges = np.concatenate((self.out.times_s[frames[0] - 1 : frames[0]], new))
        elif frames[-1] + 1 < self.out.times_s.size:
            edges = np.append(new, self.out.times_s[frames[-1] + 1])
        if (np.diff(edges) <= 0).any():
            return False
        apart = float(np.median((new - due)[inner]))
        if abs(apart) > self._same(self.runs[at].size) + self._unknown(self.runs[at], side):
            return False
        self.out.times_s[frames], self.out.is_measured[frames] = new, has
        return True

    def _nearest(self, due: Floats) -> Floats:
        pulses = self.evidence.pulses_s
        right = np.clip(np.searchsorted(pulses, due), 1, pulses.size - 1)
        left = right - 1
        return np.where(due - pulses[left] < pulses[right] - due, pulses[left], pulses[right])

    def _by_clock(self, at: int, level: float) -> None:
        """Time a stretch by the camera's clock: its trial was noted at another time than it had."""
        frames = self._frames(at)
        self.out.times_s[frames] = self.scaled[frames] + level
        self.out.is_measured[frames] = False
        self.out.notes.append(
            f"frames {int(frames[0]):,} to {int(frames[-1]):,} are timed by the camera's clock: the start of their "
            "trial was noted wrongly"
        )

    def _fill_in(self) -> None:
        """Give frames without a pulse the time that the camera's clock says, where that is another."""
        out = self.out
        frames = np.flatnonzero(~out.is_measured[: self.clock.size] & ~out.is_assumed[: self.clock.size])
        known = np.flatnonzero(out.is_measured)
        if not frames.size or not known.size:
            return
        beside = known[np.clip(np.searchsorted(known, frames), 0, known.size - 1)]
        before = known[np.clip(np.searchsorted(known, frames) - 1, 0, known.size - 1)]
        level = (out.times_s[beside] - self.scaled[beside] + out.times_s[before] - self.scaled[before]) / 2
        due = self.scaled[frames] + level
        nearest = self._nearest(due)
        has = np.abs(nearest - due) <= self.near
        new = np.where(has, nearest, due)
        for at in np.flatnonzero(np.abs(out.times_s[frames] - new) > self.near).tolist():
            frame = int(frames[at])
            low = out.times_s[frame - 1] if frame else -np.inf
            high = out.times_s[frame + 1] if frame + 1 < out.times_s.size else np.inf
            if low < new[at] < high:
                out.times_s[frame], out.is_measured[frame] = new[at], has[at]

    def _put_in_order(self) -> None:
        """Let times grow where they do not yet: such frames share what is left between their neighbours."""
        times = self.out.times_s
        if (np.diff(times) > 0).all():
            return
        latest, soonest = np.maximum.accumulate(times), np.minimum.accumulate(times[::-1])[::-1]
        is_good = (times >= latest) & (times <= soonest)
        is_good[1:] &= np.diff(latest) > 0
        if np.count_nonzero(is_good) < 2:
            return
        frames = np.arange(times.size)
        bad = ~is_good
        good = frames[is_good]
        times[bad] = np.interp(frames[bad], good, times[good])
        for end, step in ((good[0], -1), (good[-1], 1)):  # beyond the ends, one period after the other
            beyond = frames[:end] if step < 0 else frames[end + 1 :]
            times[beyond] = times[end] + (beyond - end) * self.evidence.period_s
        self.out.is_measured[bad] = False
        self.out.is_assumed[bad] = True

    def _returns(self, at: int, side: int, level: float) -> bool:
        """Return whether the clocks are soon as far apart again as before: frames that were noted late."""
        if self.runs[at].size >= _SHORT:
            return False
        n = self.runs[at].size
        at += side
        while 0 <= at < len(self.runs) and n < 2 * _SHORT:
            size = self.runs[at].size
            if size >= _SHORT and abs(self._level(self.runs[at], -side) - level) <= self._same(size):
                return True
            n += self.runs[at].size
            at += side
        return False

    def _is_calm(self, run: Ints) -> bool:
        """Return whether pulses go on one by one through a stretch: its frames were noted late, or out of order."""
        first, last = int(run[0]) - 1, int(run[-1]) + 1
        if first < 0 or last >= self.clock.size or not self.out.is_measured[first : last + 1].all():
            return False
        steps = np.diff(self.out.times_s[first : last + 1]) / self.evidence.period_s
        return bool((np.abs(steps - 1) < _CALM).all())

    def _is_even(self, run: Ints, side: int) -> bool:
        """Return whether pulses go on evenly where the camera's clock does not: that clock leapt."""
        first, second = (int(run[0]) - 1, int(run[0])) if side > 0 else (int(run[-1]), int(run[-1]) + 1)
        if not (self.out.is_measured[first] and self.out.is_measured[second]):
            return False
        steps = [float(values[second] - values[first]) for values in (self.out.times_s, self.scaled)]
        whole = [max(round(step / self.evidence.period_s), 1) * self.evidence.period_s for step in steps]
        by_pulses, by_clock = (abs(step - even) for step, even in zip(steps, whole, strict=True))
        return by_clock > self.rough and 3 * by_pulses < by_clock

    # -- samples that were lost --------------------------------------------------------------------------------

    def _place(self, first: int, stop: int, delay: float | None) -> float | None:
        """Put a stretch where the sync line says, and return when the pin is read.

        Where the line does not say, the place of the stretch is an assumption.
        """
        found = self._reading(first, stop, delay)
        if found is None:
            self.out.is_assumed[first:stop] = True
            return delay
        shift = found.whole
        self.out.n_confirmed += 1
        if shift:
            frames = np.arange(first, stop)
            due = self.out.times_s[frames] + shift * self.evidence.period_s
            known = frames < self.clock.size
            level = float(np.median(self.out.times_s[frames[known]] - self.scaled[frames[known]]))
            due[known] = self.scaled[frames[known]] + level + shift * self.evidence.period_s
            nearest = self._nearest(due)
            has = np.abs(nearest - due) <= self.near
            self.out.times_s[frames], self.out.is_measured[frames] = np.where(has, nearest, due), has
        return found.delay

    def _reading(self, first: int, stop: int, delay: float | None) -> Reading | None:
        """Return by how many periods the sync line wants a stretch later; None where it does not say."""
        pins, ttl = self.evidence.pins, self.evidence.ttl
        if pins is None or ttl is None or not len(ttl):
            return None
        period = self.evidence.period_s
        frames, polarities = pin_edges(pins[: self.clock.size])
        within = (frames > first) & (frames < stop)
        frames, polarities = frames[within], polarities[within]
        single = np.diff(self.out.times_s)[frames - 1] < 1.5 * period
        frames, polarities = frames[single], polarities[single]
        if frames.size < _CLEAR_VOTES:
            return None
        lags = []
        for polarity in (1, -1):
            times = np.sort(ttl.times_s[ttl.polarities == polarity])
            due = self.out.times_s[frames[polarities == polarity]]
            low, high = (np.searchsorted(times, due + side * (_MOST_LOST_S + period)) for side in (-1, 1))
            lags += [times[a:b] - t for a, b, t in zip(low.tolist(), high.tolist(), due.tolist(), strict=True)]
        lag = np.concatenate(lags) / period
        found = _best_of(lag - (delay or 0.0), is_known=delay is not None)
        others = lag[np.abs(lag - found.whole - found.delay + 0.5) > 1.5]
        second = _best_of(others - (delay or 0.0), is_known=delay is not None).n_inside if others.size else 0
        least = max(_CLEAR_VOTES, 0.5 * frames.size)
        if found.doubt or found.n_inside < least or second > 0.6 * found.n_inside or found.n_inside - second < 2:
            return None
        return replace(found, delay=found.delay + (delay or 0.0))

    def _straighten(self) -> None:
        """Make times grow again beside samples that were lost, where frames were exposed within them."""
        times = self.out.times_s
        for frame in self.out.steps:
            self.out.is_assumed[max(frame - 1, 0) : frame + 1] = True
            if times[frame] > times[frame - 1]:
                continue
            if times[frame] != self.before[frame]:
                low, later = frame - 1, times[frame:] > times[frame - 1]
                high = frame + int(np.argmax(later)) if later.any() else times.size - 1
            else:
                high, earlier = frame, np.flatnonzero(times[:frame] < times[frame])
                low = int(earlier[-1]) if earlier.size else 0
            if high - low > 1 and times[high] > times[low]:
                times[low : high + 1] = np.linspace(times[low], times[high], high - low + 1)
            self.out.is_measured[low + 1 : high] = False
            # Exposed while the main clock stood still, or next to that.
            self.out.is_assumed[max(low, 0) : high + 1] = True
