"""The camera's ruler: a mark for each exposure that it counted, or for each period of its clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import ClocksDisagree, UnequalLengths
from ibl_dask.timing.alignment.pulses import typical_period_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.pulses import Gap, Pulses
    from ibl_dask.timing.camera.camera_files import CameraFiles

    IntArray = NDArray[np.int64]

_SAME_PERIOD = 0.01
"""Camera clock and pulses must agree on the period to this share: quartzes do to 0.0002, cameras differ by a factor."""
MOST_DRIFT = 0.002
"""Share by which camera clock and pulses may differ: data sheets of cameras and DAQs promise 50 to 100 parts per
million, a tenth of it for both. A sync that was scaled by 1 % is not of the same time."""
_NOMINAL_OFF = 0.018
"""Share by which cameras are off the rate that they were set to: those of real sessions of 60 Hz run at 59.77 to 60.13,
and 59 has been seen."""
_COMPUTER_OFF = 0.05
"""Share by which a computer's clock may be off: it notes frames milliseconds late."""
_TICK_S = 1.25e-4
_MOST_LEAPS = 0.01
"""A camera clock that leaps at more than this share of the frames is no clock."""
_LEAPS_TOGETHER = 3
"""Leaps within so many frames of each other are added up: a frame whose time is noted late or out of order leaps both
ways."""
_FEW = 30
"""Of fewer pulses nobody can tell the rate to a percent."""
_ORDINARY, _MOST_ODD = 3, 1000
"""Intervals of a camera's clock of more periods than the first are looked at, and no more of them than the second."""
_DRIFT_UNKNOWN = 1e-5
"""Both clocks run at one rate to this share, once they are scaled to the same period."""
_ABOUT_A_NUMBER = 0.1
"""Pauses by two clocks are the same if they differ by less than this many periods."""


@dataclass(frozen=True, slots=True, eq=False)
class Ruler:
    """The ruler of the camera: exposures, or periods, before each frame of the video."""

    marks: IntArray
    """Mark of each frame, 0 at the first, increasing (frame,)."""
    notes: tuple[str, ...] = ()
    pauses: IntArray | None = None
    """Periods after each frame in which the camera's clock went on without an exposure being counted (frame - 1,);
    None where the marks are the camera's own count."""
    is_damaged: bool = False
    """True where the counter cannot be right, or is of fewer frames than the video."""
    assumed: str = ""
    """Why it is an assumption which mark is that of a frame; empty where it is none."""

    @property
    def n_marks(self) -> int:
        """Return the marks from the first frame to the last."""
        return int(self.marks[-1]) + 1


def by_counter(n_frames: int, camera: CameraFiles | None, n_tolerated: int, where: str) -> Ruler:
    """Fit the camera's count to the video: cut its tail, or let it go on by ones."""
    if camera is None or not camera.n_frames:
        return Ruler(np.arange(n_frames, dtype=np.int64))
    values = camera.count if camera.count is not None else np.arange(camera.n_frames, dtype=np.int64)
    short = n_frames - values.size
    if short > n_tolerated:
        raise UnequalLengths(
            "the camera's files describe fewer frames than the video has",
            where=f"{where}: {', '.join(camera.sources)}" if camera.sources else where,
            expected=f"{n_frames:,} frames, or at most {n_tolerated:,} fewer",
            got=f"{values.size:,} frames",
            do="copy the camera's files again from the acquisition computer; if the originals are as short, "
            "they belong to another recording or their disk was full: move them aside to time the video by counts",
        )
    if short > 0:
        values = np.concatenate([values, values[-1] + 1 + np.arange(short, dtype=np.int64)])
        note = f"the camera's files lack the last {short:,} frames of the video, taken to follow one by one"
        return Ruler(values, (note,), is_damaged=True)
    n_beyond = camera.n_beyond + max(-short, 0)
    if n_beyond:
        note = (
            f"the video has {n_beyond:,} frames fewer than the camera's files describe, and nothing says which are "
            "missing; the first records were taken for its frames"
        )
        return Ruler(values[:n_frames], (note,), is_damaged=True, assumed=note)
    return Ruler(values)


@dataclass(frozen=True, slots=True)
class NoClock:
    """Why the camera's clock says nothing."""

    notes: tuple[str, ...] = ()
    period_s: float | None = None
    """The period it shows, s, where that is not the pulses'."""


def insist_on_one_rate(pulses: Pulses, camera: CameraFiles | None, nominal_hz: float | None, where: str) -> None:
    """Refuse pulses that come at another rate than the camera's own clock, or else its nominal rate, shows.

    The camera's clock decides where there is one: a rig may be set to another rate than its description says.

    Raises
    ------
    ClocksDisagree
        With the rates by the camera's clock, as it was set, and by the pulses.
    """
    clock = _period_of(None if camera is None else camera.camera_time_s)
    computer = _period_of(None if camera is None else camera.pc_time_s)
    period = pulses.period_s
    if clock is not None and camera is not None and camera.camera_time_s is not None:
        few = 4 * _TICK_S / (min(camera.camera_time_s.size, len(pulses)) * clock)
        is_one = abs(period / clock - 1) <= MOST_DRIFT + few
    elif nominal_hz:
        is_one = abs(period * nominal_hz - 1) <= _NOMINAL_OFF or len(pulses) < _FEW
    else:
        is_one = computer is None or abs(period / computer - 1) <= _COMPUTER_OFF
    if is_one:
        return
    own = f"{1 / clock:.5g} Hz by the camera's own clock" if clock is not None else "no clock of the camera"
    if clock is None and computer is not None:
        own += f" ({1 / computer:.4g} Hz by its computer's)"
    told = f"{own}, {'no nominal rate' if not nominal_hz else f'{nominal_hz:g} Hz as the rig was set'}"
    raise ClocksDisagree(
        "the camera and its pulses are not on clocks of one rate",
        where=where,
        expected=f"pulses at one rate with the camera, to {MOST_DRIFT:.1%}: {told}",
        got=f"{1 / period:.5g} Hz by the pulses",
        do="see whether the times of the sync are in seconds (not samples, ms or us) by the rate in the header of the "
        "recording, and whether the channel in wiring.json is this camera's; where the nominal rate is wrong, correct "
        "`fps` in the experiment description",
    )


def _period_of(clock: NDArray[np.float64] | None) -> float | None:
    """Return the usual time between frames by a clock, s; None where it is none."""
    if clock is None or clock.size < 3:
        return None
    period = typical_period_s(clock)
    return period if period > 0 else None


def by_clock(counter: Ruler, camera: CameraFiles | None, pulses: Pulses, gaps: tuple[Gap, ...]) -> Ruler | NoClock:
    """Count periods instead of exposures, by the camera's clock.

    The two are the same until the camera pauses, or its counter lies. Where a frame's time is noted late or out of
    order, the clock leaps there and back again, and the counter stays right.
    """
    known = 0 if camera is None or camera.camera_time_s is None else min(camera.camera_time_s.size, counter.marks.size)
    if camera is None or camera.camera_time_s is None or known < 2:
        return NoClock()
    clock = camera.camera_time_s[:known]
    period = typical_period_s(clock)
    if not period > 0:
        return NoClock(("the camera's clock stands still and was not used",))
    if not same_period(period, pulses.period_s):
        note = f"the camera's clock shows a frame every {1e3 * period:.3f} ms, the pulses one every "
        return NoClock((f"{note}{1e3 * pulses.period_s:.3f} ms: the clock was not used",), period)
    steps = np.diff(counter.marks)
    leaps = np.zeros_like(steps)
    leaps[: known - 1] = _whole_periods(np.diff(clock) / period, pulses, gaps) - steps[: known - 1]
    _take_back(leaps)
    leaps = np.maximum(leaps, 1 - steps)
    n_back = int(np.count_nonzero(leaps < 0))
    if n_back > _MOST_LEAPS * known:
        return NoClock((f"the camera's clock is behind its counter at {n_back:,} frames and was not used",))
    notes = counter.notes
    if n_back:
        frame = int(np.flatnonzero(leaps < 0)[0]) + 1
        notes = (
            *notes,
            f"the frame counter leaps beyond the camera's clock at frame {frame:,}; the clock was used",
        )
    marks = np.concatenate([[0], np.cumsum(steps + leaps)])
    return Ruler(marks, notes, np.maximum(leaps, 0), counter.is_damaged or n_back > 0, counter.assumed)


def mended_cycles(camera: CameraFiles | None, pulses: Pulses, cycle_s: float) -> CameraFiles | None:
    """Add or take away turns of the camera's clock where the pulses show a pause of another length.

    Turns within a pause were counted by the computer's clock, which may have stood still meanwhile, or been set.
    """
    if camera is None or camera.camera_time_s is None or camera.camera_time_s.size < 3:
        return camera
    clock = camera.camera_time_s
    period = typical_period_s(clock)
    if not period > 0 or not same_period(period, pulses.period_s):
        return camera
    steps = np.diff(clock)
    odd = np.flatnonzero((steps < 0) | (steps > _ORDINARY * period))
    intervals = np.diff(pulses.times_s) * (period / pulses.period_s)
    gaps = intervals[intervals > 1.5 * period]
    if not odd.size or odd.size > _MOST_ODD or (not gaps.size and steps[odd].max() < cycle_s / 2):
        return camera
    gaps = np.concatenate((gaps, period * np.arange(1, _ORDINARY + 1)))
    added = np.zeros(steps.size)
    for frame in odd.tolist():
        turns = np.rint((gaps - steps[frame]) / cycle_s)
        off = np.abs(gaps - steps[frame] - turns * cycle_s)
        fits = off <= period / 4 + _DRIFT_UNKNOWN * gaps
        if fits.any() and (turns[fits] != 0).all() and np.unique(turns[fits]).size == 1:
            added[frame] = turns[fits][0] * cycle_s
    if not added.any():
        return camera
    at = np.flatnonzero(added)
    told = ", ".join(f"{added[frame]:+,.0f} s after frame {frame:,}" for frame in at[:3].tolist())
    note = (
        f"the pulses show how often the camera's clock went round in a pause, and the computer's clock did not: {told}"
    )
    mended = clock.copy()
    mended[1:] += np.cumsum(added)
    return replace(camera, camera_time_s=mended, notes=(*camera.notes, note))


def _whole_periods(in_periods: NDArray[np.float64], pulses: Pulses, gaps: tuple[Gap, ...]) -> IntArray:
    """Round the intervals of the camera's clock as those between pulses were, so that both make the same of a pause."""
    whole = np.rint(in_periods)
    doubtful = np.flatnonzero(np.abs(in_periods - whole) > 0.5 - _ABOUT_A_NUMBER)
    if doubtful.size and gaps:
        lengths = np.array([gap.duration_s for gap in gaps]) / pulses.period_s
        order = np.argsort(lengths)
        at = np.clip(np.searchsorted(lengths[order], in_periods[doubtful] - _ABOUT_A_NUMBER), 0, lengths.size - 1)
        same = np.abs(lengths[order[at]] - in_periods[doubtful]) <= _ABOUT_A_NUMBER
        whole[doubtful[same]] = np.array([gap.n_periods for gap in gaps])[order[at[same]]]
    return whole.astype(np.int64)


def _take_back(leaps: IntArray) -> None:
    """Add up, in place, leaps back and forth that come within a few frames of each other."""
    at = np.flatnonzero(leaps)
    if not at.size or not (leaps[at] < 0).any():
        return
    group = np.concatenate(([0], np.cumsum(np.diff(at) > _LEAPS_TOGETHER)))
    n_up = np.bincount(group[leaps[at] > 0], minlength=group[-1] + 1)
    n_down = np.bincount(group[leaps[at] < 0], minlength=group[-1] + 1)
    total = np.bincount(group, weights=leaps[at]).astype(np.int64)
    both = (n_up > 0) & (n_down > 0)
    last = np.append(np.flatnonzero(np.diff(group)), group.size - 1)
    leaps[at[both[group]]] = 0
    leaps[at[last[both]]] = total[both]


def longest_gap(counter: Ruler, camera: CameraFiles | None, period_s: float) -> int:
    """Return the longest gap that can lie within the recording, in periods."""
    clock = None if camera is None else camera.camera_time_s
    by_clock = 0 if clock is None or not clock.size else float(clock.max() - clock.min()) / period_s
    return max(counter.n_marks, int(by_clock))


def same_period(a_s: float, b_s: float) -> bool:
    """Return whether two clocks mean the same camera."""
    return abs(a_s - b_s) <= _SAME_PERIOD * b_s
