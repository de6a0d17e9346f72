"""Exposure index of a camera: the number of each frame's exposure, by the camera's counter or by its clock.

With the counter, numbers go up by one for each exposure, dropped frames included. With the clock they go up by one for
each period, so that a pause of the camera counts as well, as it does between the pulses of the main clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnequalLengths
from ibl_dask.timing.alignment.rates import same_period
from ibl_dask.timing.clocks.pulses import typical_period_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.camera.camera_files import CameraFiles
    from ibl_dask.timing.clocks.pulses import Gap, Pulses

    IntArray = NDArray[np.int64]


_MOST_LEAPS = 0.01
"""Share of the frames at which a camera clock may leap back; beyond it the clock is not used."""
_LEAPS_TOGETHER = 3
"""Frames within which leaps of the clock are added up: one whose time is noted late or out of order leaps both ways."""
_ORDINARY, _MOST_ODD = 3, 1000
"""Periods above which an interval of the camera's clock is examined for a missed cycle, and most such intervals: with
more of them, the clock is damaged."""
_DRIFT_UNKNOWN = 1e-5
"""Relative difference of the rates of both clocks, once they are scaled to the same period."""
_ABOUT_A_NUMBER = 0.1
"""Pauses by two clocks are the same if they differ by less than this, periods."""


@dataclass(frozen=True, slots=True, eq=False)
class ExposureIndex:
    """Number of the exposure of each frame of a video, by the camera."""

    numbers: IntArray
    """Exposure of each frame, 0 at the first, strictly increasing (frame,)."""
    notes: tuple[str, ...] = ()
    pauses: IntArray | None = None
    """Periods after each frame in which the camera's clock went on without an exposure being counted (frame - 1,);
    None where the numbers are the camera's own count."""
    is_damaged: bool = False
    """True where the counter is contradicted by the clock, or does not have as many frames as the video."""
    assumed: str = ""
    """Reason why the exposures of frames are an assumption; empty where they are not."""

    @property
    def n_exposures(self) -> int:
        """Return the number of exposures from the first frame to the last."""
        return int(self.numbers[-1]) + 1


@dataclass(frozen=True, slots=True)
class UnusableClock:
    """A camera clock that cannot be used, and the reason."""

    notes: tuple[str, ...] = ()
    period_s: float | None = None
    """Its period, s, where that differs from the pulses'; None for other reasons."""


def index_by_counter(n_frames: int, camera: CameraFiles | None, n_tolerated: int, where: str) -> ExposureIndex:
    """Return exposures by the camera's count, fitted to the video: its tail is cut, or it goes on by ones.

    Parameters
    ----------
    n_frames : int
        Frames of the video.
    camera : CameraFiles or None
        Files of the camera; without them every frame is the next exposure.
    n_tolerated : int
        Frames by which the camera's files may be shorter than the video.
    where : str
        Camera and session, for messages.

    Raises
    ------
    UnequalLengths
        If the camera's files are shorter by more than `n_tolerated`.
    """
    if camera is None or not camera.n_frames:
        return ExposureIndex(np.arange(n_frames, dtype=np.int64))
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
        return ExposureIndex(values, (note,), is_damaged=True)
    n_beyond = camera.n_beyond + max(-short, 0)
    if n_beyond:
        note = (
            f"the video has {n_beyond:,} frames fewer than the camera's files describe, and nothing says which are "
            "missing; the first records were taken for its frames"
        )
        return ExposureIndex(values[:n_frames], (note,), is_damaged=True, assumed=note)
    return ExposureIndex(values)


def index_by_clock(
    counter: ExposureIndex, camera: CameraFiles | None, pulses: Pulses, gaps: tuple[Gap, ...]
) -> ExposureIndex | UnusableClock:
    """Return exposures by the periods of the camera's clock.

    Numbers by clock and by counter are the same until the camera pauses, or its counter is wrong. Where a frame's time
    is noted late or out of order, the clock leaps forth and back again, and the counter is kept.

    Parameters
    ----------
    counter : ExposureIndex
        Exposures by the counter.
    camera : CameraFiles or None
        Files of the camera, with its clock.
    pulses : Pulses
        Pulses of the main clock, for their period.
    gaps : tuple of Gap
        Gaps between the pulses: pauses are rounded as these were.

    Returns
    -------
    ExposureIndex or UnusableClock
        The latter without clock, or where it stands still, has another period than the pulses, or is behind the counter
        at more than 1 % of the frames.
    """
    known = (
        0 if camera is None or camera.camera_time_s is None else min(camera.camera_time_s.size, counter.numbers.size)
    )
    if camera is None or camera.camera_time_s is None or known < 2:
        return UnusableClock()
    clock = camera.camera_time_s[:known]
    period = typical_period_s(clock)
    if not period > 0:
        return UnusableClock(("the camera's clock stands still and was not used",))
    if not same_period(period, pulses.period_s):
        note = f"the camera's clock shows a frame every {1e3 * period:.3f} ms, the pulses one every "
        return UnusableClock((f"{note}{1e3 * pulses.period_s:.3f} ms: the clock was not used",), period)
    steps = np.diff(counter.numbers)
    # A leap is the number of periods by which the clock goes beyond the counter: above 0 a pause, below a wrong count.
    leaps = np.zeros_like(steps)
    leaps[: known - 1] = _whole_periods(np.diff(clock) / period, pulses, gaps) - steps[: known - 1]
    _take_back(leaps)
    leaps = np.maximum(leaps, 1 - steps)
    n_back = int(np.count_nonzero(leaps < 0))
    if n_back > _MOST_LEAPS * known:
        return UnusableClock((f"the camera's clock is behind its counter at {n_back:,} frames and was not used",))
    notes = counter.notes
    if n_back:
        frame = int(np.flatnonzero(leaps < 0)[0]) + 1
        notes = (
            *notes,
            f"the frame counter leaps beyond the camera's clock at frame {frame:,}; the clock was used",
        )
    numbers = np.concatenate([[0], np.cumsum(steps + leaps)])
    return ExposureIndex(numbers, notes, np.maximum(leaps, 0), counter.is_damaged or n_back > 0, counter.assumed)


def repair_cycles(camera: CameraFiles | None, pulses: Pulses, cycle_s: float) -> CameraFiles | None:
    """Add or remove cycles of the camera's clock where the pulses show a pause of another length.

    Cycles within a pause were counted by the computer's clock (`camera_clock.unwrap_cycles`), which may have stood
    still meanwhile, or been set. An interval is corrected if it lies a whole number of cycles beside a gap between
    pulses, to within a quarter of a period and the drift, and every such gap asks for the same number of cycles.

    Parameters
    ----------
    camera : CameraFiles or None
        Files of the camera, with its clock.
    pulses : Pulses
        Pulses of the main clock.
    cycle_s : float
        Cycle of the camera's clock, s.
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
    # Also a few single periods: a wrong cycle may hide a pause of none at all.
    gaps = np.concatenate((gaps, period * np.arange(1, _ORDINARY + 1)))
    added = np.zeros(steps.size)
    for frame in odd.tolist():
        cycles = np.rint((gaps - steps[frame]) / cycle_s)
        off = np.abs(gaps - steps[frame] - cycles * cycle_s)
        fits = off <= period / 4 + _DRIFT_UNKNOWN * gaps
        if fits.any() and (cycles[fits] != 0).all() and np.unique(cycles[fits]).size == 1:
            added[frame] = cycles[fits][0] * cycle_s
    if not added.any():
        return camera
    at = np.flatnonzero(added)
    changes = ", ".join(f"{added[frame]:+,.0f} s after frame {frame:,}" for frame in at[:3].tolist())
    note = (
        "the pulses show how often the camera's clock went round in a pause, and the computer's clock did not: "
        f"{changes}"
    )
    mended = clock.copy()
    mended[1:] += np.cumsum(added)
    return replace(camera, camera_time_s=mended, notes=(*camera.notes, note))


def longest_gap_periods(counter: ExposureIndex, camera: CameraFiles | None, period_s: float) -> int:
    """Return the longest gap that can lie within the recording of the camera, in periods.

    Parameters
    ----------
    counter
        Numbers of the exposures of the frames.
    camera
        Files of the camera; None without.
    period_s
        Usual time between exposures, s.
    """
    clock = None if camera is None else camera.camera_time_s
    duration = 0 if clock is None or not clock.size else float(clock.max() - clock.min()) / period_s
    return max(counter.n_exposures, int(duration))


def _whole_periods(in_periods: NDArray[np.float64], pulses: Pulses, gaps: tuple[Gap, ...]) -> IntArray:
    """Round intervals of the camera's clock to whole periods, those near a half as the gap of that length was."""
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
    """Replace leaps forth and back within a few frames by their sum at the last of them, in place."""
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
