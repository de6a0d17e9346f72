"""Axes of figures: positions of values, and their ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.report.quantities import format_clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 1e100
"""Limit of drawn values, so that their sums and differences stay finite."""
_SHORTEST_S, _LATEST_S = 1e-6, 1e12
"""Shortest span and latest time of a plausible recording, s."""
_MOST_DIGITS = 17
"""Decimal digits of a number of 64 bits."""
_CLOCK_STEPS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


@dataclass(frozen=True, slots=True)
class Scale:
    """Mapping of a range of values to a length."""

    low: float
    """Value at 0."""
    high: float
    """Value at the other end; over `low`."""
    size_px: float
    """Length."""
    is_log: bool = False
    """True if the scale is logarithmic."""

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distance of values from the start, px; values outside lie on the end."""
        values = np.clip(values, self.low, self.high)
        if self.is_log:
            share = np.log(values / self.low) / math.log(self.high / self.low)
        else:
            share = (values - self.low) / (self.high - self.low)
        return np.asarray(share * self.size_px)

    def place_one(self, value: float) -> float:
        """Return the distance of one value from the start, px."""
        return float(self.place(np.array([value]))[0])

    def ticks(self, n_wanted: int = 4) -> list[float]:
        """Return round values inside the range, about as many as wanted."""
        if self.is_log:
            found = _log_ticks(self.low, self.high, n_wanted)
            if len(found) >= 2:
                return found
        found = _round_ticks(self.low, self.high, n_wanted)
        return found if len(found) >= 2 else _round_ticks(self.low, self.high, 2 * n_wanted)


@dataclass(frozen=True, slots=True, eq=False)
class FrameAxis:
    """Horizontal axis of a camera's figures: the position of each frame."""

    at: NDArray[np.float64]
    """Seconds on the main clock, or the frame's number. (frame,)"""
    is_time: bool
    """True if positions are times."""

    def scale(self, size_px: float) -> Scale:
        """Lay all frames along a length."""
        if not len(self.at):
            return Scale(0.0, 1.0, size_px)
        low, high = float(self.at[0]), float(self.at[-1])
        return Scale(low, high if high > low else low + 1, size_px)

    def ticks(self, n_wanted: int = 10) -> list[tuple[float, str]]:
        """Return (position, label) of the ticks of the axis."""
        scale = self.scale(1.0)
        if not self.is_time:
            return [(t, f"{t:,.0f}") for t in scale.ticks(n_wanted) if t == round(t)]
        span = scale.high - scale.low
        step = next((s for s in _CLOCK_STEPS_S if span / s <= n_wanted), 3600.0 * math.ceil(span / 3600 / n_wanted))
        return [(t, format_clock(t, step)) for t in _multiples(scale.low, scale.high, step)]

    def describe(self, frame: int) -> str:
        """Return the time of one frame as text; empty where it has none."""
        return format_clock(float(self.at[frame])) if self.is_time and 0 <= frame < len(self.at) else ""


def lay_out_frames(times_s: NDArray[np.float64] | None, n_frames: int) -> FrameAxis:
    """Lay frames along their times if every frame has one and they do not go back, else along their numbers."""
    if times_s is not None and len(times_s) >= max(n_frames, 2):
        times = np.asarray(times_s, dtype=np.float64)
        is_known = bool((np.abs(times) < _LATEST_S).all())  # no NaN is
        if is_known and (np.diff(times) >= 0).all() and times[-1] - times[0] > _SHORTEST_S:
            return FrameAxis(times, is_time=True)
    n = max(n_frames, 0 if times_s is None else len(times_s))
    return FrameAxis(np.arange(n, dtype=np.float64), is_time=False)


def drawable(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return values with NaN in place of those too large to draw."""
    found = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(found) < LARGEST, found, np.nan)


def range_of(*values: NDArray[np.float64], least_span: float = 0.0, log: bool = False) -> tuple[float, float]:
    """Return a range, never empty, that holds all drawable values with a margin.

    Parameters
    ----------
    values : ndarray
        Values; NaN is left out.
    least_span : float
        Smallest width of a linear range.
    log : bool
        Whether the range is for a logarithmic scale.
    """
    known = np.concatenate([np.empty(0), *(drawable(v) for v in values)])
    known = known[~np.isnan(known)]
    if not len(known):
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = float(known.min()), float(known.max())
    if log:
        high = max(high, 1e-12)
        return max(low, high * 1e-15) / 1.15, high * 1.15
    span = max(high - low, least_span, 1e-9 * max(abs(low), abs(high)), 1e-12)
    middle = low + (high - low) / 2
    return middle - 0.55 * span, middle + 0.55 * span


def label_values(values: list[float]) -> list[str]:
    """Format the values of an axis with as many digits as are needed to distinguish them.

    >>> label_values([0, 0.5, 1]), label_values([1000, 1500]), label_values([0.1, 1, 10])
    (['0.0', '0.5', '1.0'], ['1,000', '1,500'], ['0.1', '1', '10'])
    >>> label_values([93.0]), label_values([0, 0]), label_values([1e-12, 2e-12])
    (['93'], ['0', '0'], ['1e-12', '2e-12'])
    """
    gaps = np.diff(values)
    if len(gaps) and gaps[0] > 0 and np.allclose(gaps, gaps[0], atol=0) and max(map(abs, values)) < 1e9:
        digits = max(0, -math.floor(math.log10(gaps[0]) + 1e-9))
        if digits <= 6:
            return [f"{v:,.{digits}f}" for v in values]
    n_different = len(set(values))
    for digits in range(6, _MOST_DIGITS):
        labels = [f"{v:,.{digits}g}" for v in values]
        if len(set(labels)) == n_different:
            return labels
    return [f"{v:,.{_MOST_DIGITS}g}" for v in values]


def _round_ticks(low: float, high: float, n_wanted: int) -> list[float]:
    rough = (high - low) / max(1, n_wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * m for m in (1, 2, 5) if power * m >= rough * (1 - 1e-9)), 10 * power)
    return _multiples(low, high, step)


def _multiples(low: float, high: float, step: float) -> list[float]:
    """Return the multiples of a step within a range, rounded to 15 digits."""
    air = 1e-9 * (high - low)
    first, last = math.ceil((low - air) / step), math.floor((high + air) / step)
    found = (float(f"{i * step:.15g}") for i in range(first, last + 1))
    return list(dict.fromkeys(min(max(value, low), high) for value in found))


def _log_ticks(low: float, high: float, n_wanted: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    coarse = [10.0**d for d in decades if low <= 10.0**d <= high]
    if len(coarse) < 3:
        return [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]
    return coarse[:: math.ceil(len(coarse) / (n_wanted + 1))]
