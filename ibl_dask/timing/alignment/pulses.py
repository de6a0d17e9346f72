"""Camera pulses out of the fronts of a camera's line: one pulse per exposure, at its rise."""

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
"""Pulses at an end from which the period beyond that end is taken."""
_REGULAR = 0.25
"""Intervals within this fraction of the median are single periods."""
_BOUNCE = 0.05
"""A pulse sooner than this fraction of a period after another is its echo: whichever is right, the time is."""
_SOONEST = 0.5
"""No camera exposes again within this fraction of its period."""
_SPREADS, _LEAST_REGULAR = 4.5, 0.02
"""Pulses are in a row as long as their intervals are within so many median deviations of the period (three standard
deviations), not less than this fraction of it."""
_AROUND = 2
"""Pulses at either end of a row that are looked at again, since a glitch may have joined it."""
_GLITCH, _MISSED, _GAP = 3.0, 3.0, 12.0
"""What it costs to call a pulse a glitch, to call one missed, and at most for all that are missed in a row: as much as
an interval that is off by 2.4 standard deviations (whose cost is half their square)."""
_PAUSE = 2.5
"""What a gap costs at most for being no whole number of periods: a pause may be of any length, and no exposure beside
it must be called a glitch to make it even."""
_USUAL_JITTER = 0.1
"""Standard deviation of an interval for these costs, in periods: wider than any camera's, so that a late exposure is
not taken for a glitch beside a missed one."""
_LOOKBACK = 12
"""Glitches in a row that are thought of."""


@dataclass(frozen=True, slots=True, eq=False)
class Pulses:
    """One time per exposure."""

    times_s: NDArray[np.float64]
    """When the exposure began, s on the main clock, strictly increasing (pulse,)."""
    measured: NDArray[np.bool_]
    """False where the pulse was put in by reasoning (pulse,)."""
    notes: tuple[str, ...] = ()
    """What was mended."""
    n_inserted: int = 0
    """Pulses put in by reasoning."""
    period_s: float = field(init=False)
    """The usual time between pulses, s: never rounded, not even to the sampling of the clock."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "period_s", typical_period_s(self.times_s))

    def __len__(self) -> int:
        return self.times_s.size

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the time of pulses by number; beyond either end they go on at the local period."""
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
        """Return the number of the first pulse at or after each time, negative before the first pulse.

        A line that changed within (pulse k-1, pulse k] is first seen on frame k, so this is the pulse whose
        frame shows the change. Counting in pulses instead of seconds makes jitter and clock drift vanish.
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
        """Return the usual period of some pulses, s, from those that were measured where there are enough."""
        times, measured = self.times_s[part], self.measured[part]
        intervals = np.diff(times)[measured[1:] & measured[:-1]]
        return _typical(intervals) if intervals.size > 1 else typical_period_s(times)


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where one or more pulses may be missing."""

    after: int
    """Number of the last pulse before it."""
    n_periods: int
    """Its length in periods, to the nearest whole number, at least 2."""
    duration_s: float
    """Its length, s."""


def typical_period_s(times_s: NDArray[np.float64]) -> float:
    """Return the mean of the intervals near their median, s.

    The median alone is quantised to the sampling of the sync (33 us of 16.7 ms, or 7 s an hour); the mean
    of all is bent by every gap. NaN for fewer than two times.
    """
    return _typical(np.diff(times_s)) if times_s.size > 1 else float("nan")


def _typical(intervals: NDArray[np.float64]) -> float:
    median = float(np.partition(intervals, (intervals.size - 1) // 2)[(intervals.size - 1) // 2])
    return float(intervals[np.abs(intervals - median) <= _REGULAR * abs(median)].mean())


def camera_pulses(fronts: Fronts, *, where: str = "", fronts_per_channel: Mapping[int, int] | None = None) -> Pulses:
    """Return one pulse per rise, and one for each rise that the falls show to be missing.

    Parameters
    ----------
    fronts
        Rises and falls of the camera's line.
    where
        Camera and session, for messages.
    fronts_per_channel
        Fronts on every channel of the sync: shows a reader of the message where the camera may really be
        wired.

    Raises
    ------
    NoPulses
        If the line rises fewer than two times.
    UnusableFile
        If a time is no number.
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
    """Put evenly spaced pulses into gaps; `why` tells the reader of the notes what they were not noted by."""
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


def drop_spurious(pulses: Pulses) -> Pulses:
    """Leave out pulses that no camera gave, so that at most one is left per period.

    A glitch comes at any moment between two exposures, and its distance from its neighbours alone does not tell which
    of them is the glitch. So rows of pulses a period apart are kept, and between two rows those pulses that make the
    intervals most regular, with few called glitches and few called missed. The period is the usual one of the pulses,
    which holds as long as fewer than a third of them are glitches.
    """
    period = pulses.period_s
    if (np.abs(np.diff(pulses.times_s) - period) <= _REGULAR * period).all():
        return pulses
    left_out = np.flatnonzero(~_exposures(pulses.times_s, period))
    if not left_out.size:
        return pulses
    note = f"{left_out.size:,} pulses did not fit between their neighbours, a period apart, and were left out"
    return replace(drop_pulses(pulses, left_out), notes=(*pulses.notes, note))


def drop_pulses(pulses: Pulses, numbers: NDArray[np.intp]) -> Pulses:
    """Return the pulses without some of them."""
    measured = np.delete(pulses.measured, numbers)
    n_inserted = pulses.n_inserted - int(np.count_nonzero(~pulses.measured[numbers]))
    return Pulses(np.delete(pulses.times_s, numbers), measured, pulses.notes, n_inserted)


def _exposures(times: NDArray[np.float64], period: float) -> NDArray[np.bool_]:
    """Return which pulses are exposures (pulse,)."""
    keep = np.concatenate(([True], np.diff(times) >= _BOUNCE * period))
    places = times[keep] / period
    off = np.abs(np.diff(places) - 1)
    linked = off <= np.clip(_SPREADS * np.median(off), _LEAST_REGULAR, _REGULAR)
    is_sure = np.convolve(np.concatenate(([False], linked, [False])), np.ones(2 * _AROUND), "valid") == 2 * _AROUND
    is_sure = np.concatenate((np.zeros(_AROUND - 1, np.bool_), is_sure, np.zeros(_AROUND - 1, np.bool_)))
    chosen = is_sure.copy()
    edges = np.flatnonzero(np.diff(np.concatenate(([True], is_sure, [True])).astype(np.int8)))
    for first, stop in edges.reshape(-1, 2).tolist():
        start, end = max(first - 1, 0), min(stop + 1, places.size)
        chosen[start:end] = _most_regular(places[start:end].tolist(), first > 0, stop < places.size)
    kept = np.flatnonzero(chosen)
    # A pulse all by itself in a long gap is a glitch in a pause, and would make two pauses of it.
    far = np.diff(places[kept]) > _GAP / _MISSED + 1.5
    alone = np.concatenate(([False], far)) & np.concatenate((far, [False]))
    chosen[kept[alone]] = False
    keep[keep] = chosen
    return keep


def _most_regular(places: list[float], from_first: bool, to_last: bool) -> list[bool]:
    """Return which of a few pulses are exposures: those on the cheapest way through them.

    Parameters
    ----------
    places
        When the pulses came, in periods.
    from_first, to_last
        True where the first, or the last, is an exposure for sure.
    """
    n = len(places)
    costs, before = [0.0] * n, [-1] * n
    for i in range(n):
        costs[i] = _GLITCH * i if i == 0 or not from_first else float("inf")
        for j in range(max(i - _LOOKBACK, 0), i):
            distance = places[i] - places[j]
            if distance < _SOONEST:
                continue
            whole = max(round(distance), 1)
            uneven = ((distance - whole) / _USUAL_JITTER) ** 2 / 2
            if whole > 1:
                uneven = min(uneven, _PAUSE)
            cost = costs[j] + _GLITCH * (i - j - 1) + min(_MISSED * (whole - 1), _GAP) + uneven
            if cost < costs[i]:
                costs[i], before[i] = cost, j
    at = n - 1 if to_last else min(range(n), key=lambda i: costs[i] + _GLITCH * (n - 1 - i))
    chosen = [False] * n
    while at >= 0:
        chosen[at] = True
        at = before[at]
    return chosen


def _missed_rises(times: NDArray[np.float64], up: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Return when the line must have risen between two falls, and how many such falls are too close."""
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
        told = ", ".join(f"{channel}: {number:,}" for channel, number in sorted(fronts_per_channel.items()))
        got += f"; fronts per channel: {told or 'none on any'}"
    return NoPulses(
        "the sync holds no pulses of this camera",
        where,
        expected="one rise per exposure on the camera's channel, at least two",
        got=got,
        do="see which channel carries about twice as many fronts as the video has frames, and name it in the "
        "rig's wiring.json; where none does, the camera was not wired to the sync",
    )
