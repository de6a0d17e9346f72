"""Pulse of frame 0 from intervals: pauses and jitter that the main clock and the camera's clock both recorded.

Differences from the usual interval depend neither on the drift of a clock nor on its zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.clocks.pulses import typical_period_s
from ibl_dask.timing.tolerance import tolerated_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.camera.camera_files import CameraFiles
    from ibl_dask.timing.clocks.pulses import Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


_SURE, _CLEAR = 8.0, 2.0
"""Least correlation of a start, as a multiple of that of chance, and as a multiple of the next best.

Chance gives correlations with a standard deviation of 1/sqrt(number of intervals); 8 of these are out of reach among
as many starts as there can be. Regular patterns, such as the beat of sampling and frame rate, agree at several starts
alike, and are refused by the second condition."""
_ALL_BUT_OUTLIERS = 0.99
"""Share of the intervals whose deviations are kept; the others are clipped to the largest of these."""
_MOST_PAUSES = 1000
"""Pauses that are compared at most: a camera that is triggered in bursts costs no more than a million comparisons."""
_WHOLE = 0.1
"""Deviation from a whole number of periods up to which an interval counts as whole, periods."""
_PAUSE = 0.75
"""Periods beyond those that the frame ids count from which a frame comes after a pause; less is a clock read late."""


@dataclass(frozen=True, slots=True, eq=False)
class PulseIndex:
    """Pulses numbered by periods, so that those which the sync missed shift no other."""

    times_s: FloatArray
    """Time of each pulse, s (pulse,)."""
    numbers: IntArray
    """Number of each pulse in periods, 0 at the first (pulse,)."""
    measured: NDArray[np.bool_]
    """False where a pulse was inserted (pulse,)."""
    period_s: float
    """Usual time between pulses, s."""

    @classmethod
    def of(cls, pulses: Pulses) -> PulseIndex:
        """Count periods from the first pulse: intervals rounded to whole periods, at least one."""
        steps = np.maximum(np.rint(np.diff(pulses.times_s) / pulses.period_s), 1).astype(np.int64)
        numbers = np.concatenate([[0], np.cumsum(steps)])
        return cls(pulses.times_s, numbers, pulses.measured, pulses.period_s)

    def time_at(self, number: int) -> float:
        """Return the time of a pulse by number, s; before the first and after the last at the usual period."""
        beyond = min(number, 0) + max(number - int(self.numbers[-1]), 0)
        return float(np.interp(number, self.numbers, self.times_s)) + beyond * self.period_s

    def span(self, start: int, frames: IntArray, *, has_clock: bool) -> tuple[float, float]:
        """Return the times of the first and the last frame, s.

        Without a camera clock it is not known whether gaps between pulses are pauses; as long as there are enough
        pulses, they are taken for pauses.

        Parameters
        ----------
        start : int
            Number of the first frame's pulse.
        frames : ndarray of int
            Number of each frame, 0 at the first (frame,).
        has_clock : bool
            True where `frames` counts pauses by the camera's clock.
        """
        last = int(frames[-1])
        if not has_clock and last < self.times_s.size:
            return float(self.times_s[0]), float(self.times_s[last])
        return self.time_at(start), self.time_at(start + last)


def frame_numbers(n_frames: int, files: CameraFiles | None) -> IntArray:
    """Return the number of each frame, 0 at the first: exposures that the ids count, and pauses. (frame,)"""
    steps = np.ones(max(n_frames, 1) - 1, dtype=np.int64)
    if files is not None and files.count is not None:
        known = np.diff(files.count[:n_frames])
        steps[: known.size] = known
    if files is not None and files.camera_time_s is not None and files.n_frames > 1:
        intervals = np.diff(files.camera_time_s[:n_frames]) / typical_period_s(files.camera_time_s)
        excess = intervals - steps[: intervals.size]
        steps[: intervals.size] += np.where(excess > _PAUSE, np.rint(excess), 0).astype(np.int64)
    return np.concatenate([[0], np.cumsum(steps)])


def start_by_intervals(pulses: PulseIndex, frames: IntArray, clock: FloatArray | None) -> int | None:
    """Return the number of frame 0's pulse at which intervals by pulses and by the camera's clock agree.

    Pauses decide where there are any, since they are exact; else the jitter of all intervals together.

    Parameters
    ----------
    pulses : PulseIndex
        Pulses on the main clock, numbered.
    frames : ndarray of int
        Number of each frame, 0 at the first (frame,).
    clock : ndarray of float or None
        The camera's clock, s (frame,).

    Returns
    -------
    int or None
        None without clock, or where no start stands out.
    """
    known = frames.size if clock is None else min(clock.size, frames.size)
    if clock is None or known < 3 or pulses.times_s.size < 3:
        return None
    by_camera = np.diff(clock[:known]) * (pulses.period_s / typical_period_s(clock))
    by_pulses = np.diff(pulses.times_s)
    is_measured = pulses.measured[1:] & pulses.measured[:-1]
    surplus = int(pulses.numbers[-1]) - int(frames[-1])
    outside = tolerated_frames(frames.size, pulses.period_s)
    possible = range(min(surplus, 0) - outside, max(surplus, 0) + outside + 1)
    long_pulses, long_frames = (_is_pause(intervals / pulses.period_s) for intervals in (by_pulses, by_camera))
    by_pauses = _start_by_pauses(
        (pulses.numbers[:-1][long_pulses], by_pulses[long_pulses]),
        (frames[: known - 1][long_frames], by_camera[long_frames]),
        pulses.period_s / 4,
        possible,
    )
    if by_pauses is not None:
        return by_pauses
    single = np.diff(frames[:known]) == 1
    return _start_by_jitter(
        _deviations(pulses.numbers, by_pulses, is_measured & (np.diff(pulses.numbers) == 1)),
        _deviations(frames[:known], by_camera, single),
        possible,
    )


def _is_pause(in_periods: FloatArray) -> NDArray[np.bool_]:
    """Return True where an interval is a pause of the camera for certain. (interval,)

    Pulses that the sync missed and frames that were dropped leave whole periods, a pause hardly ever.
    """
    return (in_periods > 1.5) & (np.abs(in_periods - np.rint(in_periods)) > _WHOLE)


def _start_by_pauses(
    pulses: tuple[IntArray, FloatArray], frames: tuple[IntArray, FloatArray], tolerance_s: float, possible: range
) -> int | None:
    """Return the start at which most pauses of equal length coincide; None if there is none, or no clear one.

    Parameters
    ----------
    pulses, frames : tuple of ndarray
        Number of the pulse, or frame, before each long interval, and its length in s (interval,).
    tolerance_s : float
        Lengths that differ by less are equal, s.
    possible : range
        Starts that are possible.
    """
    (pulse, by_pulses), (frame, by_camera) = (
        (numbers[:_MOST_PAUSES], s[:_MOST_PAUSES]) for numbers, s in (pulses, frames)
    )
    alike = np.abs(by_pulses[:, None] - by_camera) < tolerance_s
    starts = (pulse[:, None] - frame)[alike]
    starts, votes = np.unique(starts[(starts >= possible.start) & (starts < possible.stop)], return_counts=True)
    ranked = np.sort(votes)
    if not ranked.size or (ranked.size > 1 and ranked[-1] < _CLEAR * ranked[-2]):
        return None
    return int(starts[np.argmax(votes)])


def _start_by_jitter(pulses: FloatArray, frames: FloatArray, possible: range) -> int | None:
    """Return the start at which deviations from the usual interval correlate; None if no start stands out.

    Parameters
    ----------
    pulses, frames : ndarray of float
        Deviation of the interval after each number, s; zero where it is not known (number,).
    possible : range
        Starts that are possible.
    """
    from scipy.signal import correlate  # takes a second, and plans need none of it

    size = float(np.linalg.norm(pulses) * np.linalg.norm(frames))
    if size == 0:
        return None
    agreement = correlate(pulses, frames, mode="full", method="fft") / size
    starts = np.arange(agreement.size) - (frames.size - 1)
    inside = (starts >= possible.start) & (starts < possible.stop)
    agreement, starts = agreement[inside], starts[inside]
    if not starts.size:
        return None
    best = int(np.argmax(agreement))
    next_best = np.delete(agreement, best).max(initial=0.0)
    chance = 1 / np.sqrt(np.count_nonzero(frames))
    is_clear = agreement[best] > max(_SURE * chance, _CLEAR * next_best)
    return int(starts[best]) if is_clear else None


def _deviations(numbers: IntArray, intervals: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Return the deviation of the interval after each number from the usual one, s; zero where it is not known.

    The largest are clipped to the limit of nearly all: one bad interval must not outweigh all others.

    Parameters
    ----------
    numbers : ndarray of int
        Number of each pulse or frame (pulse,).
    intervals : ndarray of float
        Intervals between them, s (pulse - 1,).
    known : ndarray of bool
        True where an interval is a single measured period (pulse - 1,).
    """
    out = np.zeros(int(numbers[-1]))
    if known.any():
        off = intervals[known] - np.median(intervals[known])
        limit = float(np.quantile(np.abs(off), _ALL_BUT_OUTLIERS))
        off -= off[np.abs(off) <= limit].mean()
        out[numbers[:-1][known]] = np.clip(off, -limit, limit)
    return out
