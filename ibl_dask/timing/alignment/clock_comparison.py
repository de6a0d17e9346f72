"""Comparison of frame times with the camera's own clock: pulses passed over, and samples that the main clock lost.

Both clocks noted the same exposures, so that the difference between a frame's time and the camera's clock changes by
their drift alone. A step in it has one of four causes:

- a pulse was passed over, since it came sooner than any should, or a pause was rounded otherwise: then there is a pulse
  at the time of the camera's clock, and it is taken;
- the camera's clock leapt: then the pulses go on evenly, and nothing is changed;
- a Bpod noted the start of a trial wrongly: then both clocks go on afterwards as before, and the camera's is believed;
- the main clock lost samples: then pulses are missing, and only the sync line beyond shows how many. Where it does not,
  the pulses of all frames beyond are an assumption.

The frames are cut at the steps into stretches. The longest is the reference; from it on, each next stretch to either
side is judged by the level (median difference of the clocks) of the one before.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.agreement import Agreement, Evidence
from ibl_dask.timing.alignment.clock_steps import (
    DEVIATIONS,
    DRIFT_UNKNOWN,
    MOST_STEPS,
    SHORT,
    SMALL_STEP_S,
    STEP_S,
    drift_share,
    noise_s,
    small_steps,
)
from ibl_dask.timing.alignment.end_intervals import odd_end
from ibl_dask.timing.alignment.lost_samples import read_shift
from ibl_dask.timing.alignment.match_doubts import odd_stretch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]


_NEAR_S = 3e-4
"""Largest distance between a pulse and the time of its frame by the camera's clock, s."""
_LEVEL_FRAMES = 64
"""Frames whose median is the level of a stretch."""
_CALM = 0.1
"""Largest deviation from one period in an undisturbed stretch, periods."""


def compare_with_clock(times_s: Floats, measured: Bools, evidence: Evidence) -> Agreement | None:
    """Compare times with the camera's clock, and correct those that disagree.

    Parameters
    ----------
    times_s : ndarray of float
        Frame times, s on the main clock (frame,).
    measured : ndarray of bool
        True where the time is that of a recorded pulse (frame,).
    evidence : Evidence
        The camera's clock, and the records that decide.

    Returns
    -------
    Agreement or None
        None where the clock is too rough to be compared.
    """
    known = min(times_s.size, evidence.clock_s.size)
    frames = np.flatnonzero(measured[:known])
    if frames.size < 2 * SHORT:
        return None
    clock = evidence.clock_s[:known]
    apart = times_s[:known] - clock
    apart = apart - drift_share(apart[frames], clock[frames]) * clock
    steps, spans = np.diff(apart[frames]), np.abs(np.diff(clock[frames]))
    rough = max(STEP_S, DEVIATIONS * float(np.median(np.abs(steps))))
    leaps = np.abs(steps) > rough + DRIFT_UNKNOWN * spans
    if np.count_nonzero(leaps) > max(MOST_STEPS * frames.size, 4):
        return _of_other_pulses(times_s, measured, frames, leaps)
    at = np.union1d(np.flatnonzero(leaps), small_steps(apart[frames], leaps))
    runs = np.split(frames, at + 1)
    return _Comparison(evidence, times_s, measured, clock, times_s[:known] - apart, runs, rough).compared()


def _of_other_pulses(times_s: Floats, measured: Bools, frames: Ints, leaps: Bools) -> Agreement | None:
    """Return the times as an assumption where the clocks disagree all along one stretch, and agree elsewhere.

    The intervals of an uneven camera fit no pulses but its own: there, frames have those of others.

    Parameters
    ----------
    times_s, measured
        See `compare_with_clock`.
    frames : ndarray of int
        Frames with a pulse (frame with pulse,).
    leaps : ndarray of bool
        Intervals between these at which the clocks leap (interval,).

    Returns
    -------
    Agreement or None
        None where the clocks disagree everywhere: one of them is too rough to be compared.
    """
    stretch = odd_stretch(leaps)
    if (
        stretch is None
        or np.count_nonzero(leaps) - np.count_nonzero(leaps[stretch.start : stretch.stop]) > MOST_STEPS * frames.size
    ):
        return None
    first, last = int(frames[stretch.start]), int(frames[stretch.stop])
    is_assumed = np.zeros(times_s.size, np.bool_)
    is_assumed[0 if stretch.start == 0 else first : last + 1] = True
    note = f"the clocks disagree from frame to frame between {first:,} and {last:,}, as they do nowhere else"
    return Agreement(times_s.copy(), measured.copy(), is_assumed, np.zeros(times_s.size, np.bool_), notes=[note])


class _Comparison:
    """Judgement of the stretches between the steps, one after the other from the longest to both ends."""

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
        """Measured frames of each stretch, in order."""
        self.near = max(_NEAR_S, 1.5 * rough)
        self.rough = rough
        """Smallest step of these clocks, s."""
        frames = np.concatenate(runs)
        self.noise = noise_s((times_s[: clock.size] - scaled)[frames])
        self.before = times_s
        n = times_s.size
        self.out = Agreement(times_s.copy(), measured.copy(), np.zeros(n, np.bool_), np.zeros(n, np.bool_))

    def compared(self) -> Agreement:
        """Judge all stretches, then place those between samples that were lost."""
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
            for first, stop in stretches:  # the longest comes first, and gives the delay of the pin
                delay = self._place_stretch(first, stop, delay)
            self._straighten()
        elif not self.evidence.by_trials:
            self._doubt_ends()
        self._fill_in()
        self._put_in_order()
        out.is_moved = out.times_s != self.before
        return out

    def _main(self) -> int:
        """Return the reference stretch: the longest; of trials, one whose level most frames of others share."""
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
        """Return the level at the last (`side` 1) or the first (-1) frames of a stretch, s."""
        near = run[-_LEVEL_FRAMES:] if side > 0 else run[:_LEVEL_FRAMES]
        return float(np.median(self.out.times_s[near] - self.scaled[near]))

    def _next(self, at: int, side: int, level: float) -> float:
        """Judge a stretch by the level of the one before it, and return the level for the next.

        Parameters
        ----------
        at : int
            Stretch.
        side : int
            1 going up from the reference, -1 going down.
        level : float
            Level of the stretch before, s.
        """
        run, out = self.runs[at], self.out
        own = self._level(run, -side)
        if abs(own - level) <= self._same(run.size) + self._unknown(run, side):
            return self._level(run, side) if run.size >= SHORT else level
        if self._is_calm(run) and self._returns(at, side, level):
            return level
        if self._take_pulses(at, level, side):
            return self._level(run, side) if run.size >= SHORT else level
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
        """Return the largest difference between equal levels, one of them of so many frames, s."""
        few = min(size, _LEVEL_FRAMES)
        return max(SMALL_STEP_S, DEVIATIONS * self.noise * float(np.sqrt(1 / few + 1 / _LEVEL_FRAMES)))

    def _unknown(self, run: Ints, side: int) -> float:
        """Return the largest difference that the drift adds since the stretch before, s."""
        edge = int(run[0]) if side > 0 else int(run[-1])
        other = max(edge - 1, 0) if side > 0 else min(edge + 1, self.clock.size - 1)
        return DRIFT_UNKNOWN * abs(float(self.clock[edge] - self.clock[other]))

    def _frames(self, at: int) -> Ints:
        """Return the frames of a stretch, with those beside it that have no pulse."""
        first = int(self.runs[at - 1][-1]) + 1 if at else 0
        stop = int(self.runs[at + 1][0]) if at + 1 < len(self.runs) else self.clock.size
        return np.arange(first, stop)

    def _take_pulses(self, at: int, level: float, side: int) -> bool:
        """Take the pulses at the times of the camera's clock, if nearly all frames of a stretch have one.

        Returns
        -------
        bool
            False, with nothing taken, where fewer than 80 % have one (all of a short stretch), the new times would not
            increase, or they are at another level.
        """
        frames = self._frames(at)
        due = self.scaled[frames] + level
        nearest = self._nearest(due)
        has = np.abs(nearest - due) <= self.near
        inner = np.isin(frames, self.runs[at])
        if np.count_nonzero(has & inner) < (1.0 if self.runs[at].size < SHORT else 0.8) * self.runs[at].size:
            return False
        new = np.where(has, nearest, due)
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
        """Return the recorded pulse nearest to each time, s."""
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
        """Time frames without a pulse by the camera's clock, where that gives another time."""
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
        """Make times increase: frames out of order share the time between their neighbours evenly."""
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
        """Return whether the level soon returns to the one before: frames that were noted late."""
        if self.runs[at].size >= SHORT:
            return False
        n = self.runs[at].size
        at += side
        while 0 <= at < len(self.runs) and n < 2 * SHORT:
            size = self.runs[at].size
            if size >= SHORT and abs(self._level(self.runs[at], -side) - level) <= self._same(size):
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
        """Return whether pulses go on evenly at a step and the camera's clock does not: that clock leapt."""
        first, second = (int(run[0]) - 1, int(run[0])) if side > 0 else (int(run[-1]), int(run[-1]) + 1)
        if not (self.out.is_measured[first] and self.out.is_measured[second]):
            return False
        steps = [float(values[second] - values[first]) for values in (self.out.times_s, self.scaled)]
        whole = [max(round(step / self.evidence.period_s), 1) * self.evidence.period_s for step in steps]
        by_pulses, by_clock = (abs(step - even) for step, even in zip(steps, whole, strict=True))
        return by_clock > self.rough and 3 * by_pulses < by_clock

    # -- samples that were lost --------------------------------------------------------------------------------

    def _place_stretch(self, first: int, stop: int, delay: float | None) -> float | None:
        """Move a stretch to the pulses that the sync line shows, and return the delay of the pin, periods.

        Where the line shows too little, the pulses of the stretch are an assumption.
        """
        reading = read_shift(self.evidence, self.out.times_s, self.clock.size, (first, stop), delay)
        if reading is None:
            self.out.is_assumed[first:stop] = True
            return delay
        shift = reading.whole
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
        return reading.delay

    def _doubt_ends(self) -> None:
        """Make the times of frames at an end an assumption where these fit other pulses."""
        out, frames = self.out, np.flatnonzero(self.out.is_measured[: self.clock.size])
        for name, side in (("first", 1), ("last", -1)):
            n = odd_end(out.times_s, self.scaled, frames, self.evidence.pulses_s, self.evidence.period_s, side)
            if n:
                out.is_assumed[slice(int(frames[n - 1]) + 1) if side > 0 else slice(int(frames[-n]), None)] = True
                out.notes.append(f"the {name} {n:,} frames fit other pulses better than their own")

    def _straighten(self) -> None:
        """Make times increase again beside samples that were lost, where frames were exposed within them."""
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
