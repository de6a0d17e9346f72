"""Pulses of a camera on a main clock: one per exposure, at the rise of its line."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import NoPulses, UnusableFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.nidq import Fronts


_LOCAL_PULSES = 200
"""Pulses at an end that give the period beyond that end."""
REGULAR = 0.25
"""Intervals that differ from the median by up to this fraction of it are single periods."""


@dataclass(frozen=True, slots=True, eq=False)
class Pulses:
    """Exposure times of a camera, recorded or inserted."""

    times_s: NDArray[np.float64]
    """Start of each exposure, s on the main clock, strictly increasing (pulse,)."""
    measured: NDArray[np.bool_]
    """False where the pulse was inserted (pulse,)."""
    notes: tuple[str, ...] = ()
    """Remarks on repairs, for the user."""
    n_inserted: int = 0
    """Pulses that were inserted."""
    period_s: float = field(init=False)
    """Usual time between pulses, s: never rounded, not even to the sampling of the clock."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "period_s", typical_period_s(self.times_s))

    def __len__(self) -> int:
        return self.times_s.size

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the times of pulses by number, s; beyond either end they go on at the local period."""
        last = len(self) - 1
        times = self.times_s[np.clip(index, 0, last)]
        before, after = index < 0, index > last
        if before.any():
            times[before] = self.times_s[0] + index[before] * self._period_within(slice(_LOCAL_PULSES + 1))
        if after.any():
            period = self._period_within(slice(-_LOCAL_PULSES - 1, None))
            times[after] = self.times_s[-1] + (index[after] - last) * period
        return times

    def number_at(self, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the number of the first pulse at or after each time, s; 0 or less up to the first pulse.

        A line that changed within (pulse k-1, pulse k] is first seen on frame k, so this is the pulse whose frame shows
        the change. Counting in pulses instead of seconds eliminates jitter and clock drift.
        """
        numbers = np.searchsorted(self.times_s, times_s, side="left").astype(np.int64)
        before, after = times_s <= self.times_s[0], times_s > self.times_s[-1]
        if before.any():
            period = self._period_within(slice(_LOCAL_PULSES + 1))
            numbers[before] = np.ceil((times_s[before] - self.times_s[0]) / period).astype(np.int64)
        if after.any():
            period = self._period_within(slice(-_LOCAL_PULSES - 1, None))
            beyond = np.ceil((times_s[after] - self.times_s[-1]) / period)
            numbers[after] = len(self) - 1 + beyond.astype(np.int64)
        return numbers

    def _period_within(self, part: slice) -> float:
        """Return the usual period of a part of the pulses, s, from measured ones where there are enough."""
        times, measured = self.times_s[part], self.measured[part]
        intervals = np.diff(times)[measured[1:] & measured[:-1]]
        return _typical(intervals) if intervals.size > 1 else typical_period_s(times)


@dataclass(frozen=True, slots=True)
class Gap:
    """Gap between two pulses in which one or more may be missing."""

    after: int
    """Number of the last pulse before it."""
    n_periods: int
    """Its length in periods, to the nearest whole number, at least 2."""
    duration_s: float
    """Its length, s."""


def typical_period_s(times_s: NDArray[np.float64]) -> float:
    """Return the mean of the intervals near their median, s.

    The median alone is quantised to the sampling of the sync (33 us of 16.7 ms, or 7 s an hour); the mean of all is
    bent by every gap. NaN for fewer than two times.
    """
    return _typical(np.diff(times_s)) if times_s.size > 1 else float("nan")


def _typical(intervals: NDArray[np.float64]) -> float:
    median = float(np.partition(intervals, (intervals.size - 1) // 2)[(intervals.size - 1) // 2])
    return float(intervals[np.abs(intervals - median) <= REGULAR * abs(median)].mean())


def camera_pulses(fronts: Fronts, *, where: str = "", fronts_per_channel: Mapping[int, int] | None = None) -> Pulses:
    """Return one pulse per rise, and one for each rise that the falls show to be missing.

    Parameters
    ----------
    fronts : Fronts
        Rises and falls of the camera's line.
    where : str
        Camera and session, for messages.
    fronts_per_channel : mapping of int to int, or None
        Fronts on every channel of the sync, for the message where there are no pulses: it shows where the camera may be
        wired.

    Raises
    ------
    NoPulses
        If the line rises fewer than two times.
    UnusableFile
        If a time is not finite.
    """
    if not np.isfinite(fronts.times_s).all():
        raise _not_finite(fronts.times_s, where)
    order = np.argsort(fronts.times_s, kind="stable")
    times, up = fronts.times_s[order], fronts.polarities[order] > 0
    rises, falls = times[up], times[~up]
    distinct = rises[np.concatenate(([True], np.diff(rises) > 0))[: rises.size]]
    if distinct.size < 2:
        raise _no_pulses(rises.size, falls.size, where, fronts_per_channel)
    notes = []
    inserted, unmendable = _missed_rises(times, up)
    if inserted.size:
        notes.append(f"{inserted.size:,} rises were missed by the sync and placed from the falls that followed them")
    missed_falls = int(np.count_nonzero(up[1:] & up[:-1]))
    if missed_falls:
        notes.append(f"{missed_falls:,} falls were missed by the sync (of no consequence)")
    if unmendable:
        notes.append(f"{unmendable:,} falls follow a fall too closely to stand for a pulse and were left out")
    if not up[0]:
        notes.append("the line starts with a fall: the sync began within a pulse")
    inserted = np.setdiff1d(inserted, distinct) if inserted.size else inserted
    at = np.searchsorted(distinct, inserted)
    measured = np.insert(np.ones(distinct.size, np.bool_), at, False)
    return Pulses(np.insert(distinct, at, inserted), measured, tuple(notes), inserted.size)


def find_gaps(pulses: Pulses) -> tuple[Gap, ...]:
    """Return the places where the interval between pulses is nearer to two periods or more than to one."""
    intervals = np.diff(pulses.times_s)
    n_periods = np.round(intervals / pulses.period_s)
    at = np.flatnonzero(n_periods >= 2)
    values = (at.tolist(), n_periods[at].astype(int).tolist(), intervals[at].tolist())
    return tuple(Gap(*value) for value in zip(*values, strict=True))


def fill_gaps(pulses: Pulses, gaps: tuple[Gap, ...], why: str = "missed by the sync") -> Pulses:
    """Insert evenly spaced pulses into gaps.

    Parameters
    ----------
    pulses : Pulses
        Pulses with gaps.
    gaps : tuple of Gap
        Gaps to be filled, in order.
    why : str
        Reason why the pulses are missing, for the note.
    """
    if not gaps:
        return pulses
    pieces = [
        np.linspace(pulses.times_s[gap.after], pulses.times_s[gap.after + 1], gap.n_periods + 1)[1:-1] for gap in gaps
    ]
    at = np.repeat([gap.after + 1 for gap in gaps], [piece.size for piece in pieces])
    new = np.concatenate(pieces)
    note = f"{new.size:,} pulses were {why} in {len(gaps):,} gaps and placed evenly in them"
    return replace(
        pulses,
        times_s=np.insert(pulses.times_s, at, new),
        measured=np.insert(pulses.measured, at, False),
        notes=(*pulses.notes, note),
        n_inserted=pulses.n_inserted + new.size,
    )


def drop_pulses(pulses: Pulses, numbers: NDArray[np.intp]) -> Pulses:
    """Return the pulses without some of them."""
    measured = np.delete(pulses.measured, numbers)
    n_inserted = pulses.n_inserted - int(np.count_nonzero(~pulses.measured[numbers]))
    return Pulses(np.delete(pulses.times_s, numbers), measured, pulses.notes, n_inserted)


def _missed_rises(times: NDArray[np.float64], up: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Return the times at which the line must have risen between two falls, s, and the number of falls too close.

    A missed rise is a usual pulse width (their median) before the second of two falls.
    """
    pulse = up[:-1] & ~up[1:]
    twice = np.flatnonzero(~up[:-1] & ~up[1:])
    if not twice.size or not pulse.any():
        return np.empty(0), int(twice.size)
    width = float(np.median(np.diff(times)[pulse]))
    rises = times[twice + 1] - width
    possible = rises > times[twice]
    return rises[possible], int(np.count_nonzero(~possible))


def _not_finite(times: NDArray[np.float64], where: str) -> UnusableFile:
    bad = np.flatnonzero(~np.isfinite(times))
    return UnusableFile(
        f"a time of the camera's line is no number at front {int(bad[0]):,} ({bad.size:,} in all)",
        where,
        expected="finite seconds",
        got=str(times[bad[0]]),
        do="extract the sync files anew from the recording",
    )


def _no_pulses(n_rises: int, n_falls: int, where: str, fronts_per_channel: Mapping[int, int] | None) -> NoPulses:
    got = f"{n_rises:,} rises and {n_falls:,} falls"
    if fronts_per_channel is not None:
        channels = ", ".join(f"{channel}: {number:,}" for channel, number in sorted(fronts_per_channel.items()))
        got += f"; fronts per channel: {channels or 'none on any'}"
    return NoPulses(
        "the sync holds no pulses of this camera",
        where,
        expected="one rise per exposure on the camera's channel, at least two",
        got=got,
        do="see which channel carries about twice as many fronts as the video has frames, and name it in the "
        "rig's wiring.json; where none does, the camera was not wired to the sync",
    )
