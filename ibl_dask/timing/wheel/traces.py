"""Motion energy and wheel speed along the exposures, and their correlation at every shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.pulses import Pulses
    from ibl_dask.timing.wheel.motion import Motion

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


LAG = 2
"""Exposures between the two frames of a motion energy, which thus belongs to the exposure between them."""
SEARCHED_S = 2.0
"""Shifts searched to either side, s, besides those that surplus and missing pulses make possible."""
COMPARED_S = 8.0
"""Shifts that the best is compared with, to either side, s: two trials, enough of which are unrelated to it."""
_HIGH_PASS_S = 2.0
"""Span of the running mean that is subtracted from energy and speed, s: a hand stays for seconds, a turn takes half a
one."""
_HALF_SPEED = 1.0
"""Speed at which v / (v + this), the measure of speed, is half its limit, rad/s. Energy saturates as well: once the
pattern has moved by its own grain, more movement makes no more difference between two frames."""
_MOVING = 0.5
"""Speed above which the wheel turns, rad/s. One tick of a Bpod's encoder (6 mrad) peaks at half of that after the
filter."""
_STILL = 0.2
"""Speed below which it stands, rad/s."""
_NOISE = 2.0
"""Upper edge of the noise above its median, as a multiple of the distance from its median to its lowest twentieth (1.64
standard deviations): 3.3 of them."""
_MOVING_S = 0.25
"""Least time for which the wheel must turn in a window, s."""


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """Energy and speed along the exposures; the speed extends beyond both ends as far as any shift reaches."""

    energy: Floats
    """NaN where there is none (exposure,)."""
    speed: Floats
    """rad/s, from `lags[0]` exposures before the first on (exposure + lags - 1,)."""
    steady: Floats
    """v / (v + 1 rad/s) of the speed, less its running mean (exposure + lags - 1,)."""
    lags: Ints
    """Shifts, from the largest down: the speed from place i on belongs to shift `lags[i]` (place,)."""
    searched: slice
    """Places whose shifts are possible; the others are for comparison."""
    half: int
    """Half of the span of the running mean, exposures."""
    period_s: float
    """Usual time between exposures, s."""

    @classmethod
    def make(cls, energy: Floats, first: int, pulses: Pulses, motion: Motion, late: int, early: int) -> Traces:
        """Return the traces of a video and of the wheel at its exposures.

        Parameters
        ----------
        energy
            Motion energy of the wheel's region, one value per exposure (exposure,).
        first
            Number of the pulse of the first value.
        pulses
            Pulses of the camera.
        motion
            Motion of the wheel.
        late, early
            Pulses by which the video may lag behind the pulses, or lead them.
        """
        period = pulses.period_s
        reach, beside = max(1, round(SEARCHED_S / period)), max(2, round(COMPARED_S / period))
        lags = np.arange(beside + late, -beside - early - 1, -1)
        speed = motion.speed_at(pulses.at(np.arange(first - lags[0], first + energy.size - lags[-1])))
        half = max(1, round(_HIGH_PASS_S / period / 2))
        steady = _without_slow(speed / (speed + _HALF_SPEED), np.ones(speed.size), half)
        searched = slice(beside - reach, beside + late + early + reach + 1)
        return cls(energy, speed, steady, lags, searched, half, period)

    def moves(self, window: tuple[int, int]) -> bool:
        """Return whether the wheel turns in a window, at any shift that is possible."""
        return bool(np.count_nonzero(self._within_reach(window) > _MOVING) * self.period_s >= _MOVING_S)

    def correlations(self, window: tuple[int, int]) -> Floats:
        """Return the correlation of energy and speed in a window at every shift. (place,)"""
        ranked, there = self._ranked(window)
        return _correlations(ranked, there, self.steady[window[0] : window[1] + self.lags.size - 1])

    def changes(self, windows: Sequence[tuple[int, int]], places: Ints) -> list[int]:
        """Return the exposure at which each change of the shift explains most of the two windows around it.

        Parameters
        ----------
        windows : sequence of tuple of int
            First exposure of each window, and one past its last.
        places : ndarray of int
            Place of the shift in each window (window,).
        """
        exposures: list[int] = []
        for row in np.flatnonzero(np.diff(places)).tolist():
            start, stop = windows[row][0], windows[row + 1][1]
            ranked, _ = self._ranked((start, stop))
            before, after = (self.steady[start + place : stop + place] for place in places[row : row + 2])
            at = start + int(np.argmax(np.cumsum(ranked * (before - after)))) + 1
            exposures.append(max(at, exposures[-1] + 1) if exposures else at)
        return exposures

    def _ranked(self, window: tuple[int, int]) -> tuple[Floats, Floats]:
        still = float(np.mean(self._within_reach(window) < _STILL))
        return _ranked(self.energy[slice(*window)], still, self.half)

    def _within_reach(self, window: tuple[int, int]) -> Floats:
        return self.speed[window[0] + self.searched.start : window[1] + self.searched.stop - 1]


def energy_per_exposure(energy: NDArray[np.floating], numbers: Ints) -> Floats:
    """Return one motion energy per exposure, at the middle one of three; NaN where there is none. (exposure,)

    Two frames with an exposure lost between them are left out: they are further apart than others, and differ more.
    """
    out = np.full(int(numbers[-1]) + 1, np.nan)
    whole = np.flatnonzero(numbers[LAG:] - numbers[:-LAG] == LAG)
    out[numbers[whole] + 1] = energy[whole]
    return out


def _ranked(values: Floats, still: float, half: int) -> tuple[Floats, Floats]:
    """Return the ranks of energies, -0.5 to 0.5, less their running mean; and 1.0 where an energy is known, else 0.0.

    Energies of a wheel that stands are noise and share one rank. The lowest energies, as many as the share of frames
    in which it stands, are noise; their median and lower edge give its upper edge (`_NOISE`).

    Parameters
    ----------
    values : ndarray of float
        Energies of a window, NaN where not known (exposure,).
    still : float
        Share of the exposures in which the wheel stands, 0 to 1.
    half : int
        Half of the span of the running mean, exposures.
    """
    there = np.isfinite(values)
    low, middle = np.quantile(values[there], [0.05 * still, 0.5 * still])
    above = np.maximum(values[there], middle + _NOISE * (middle - low))
    _, place, counts = np.unique(above, return_inverse=True, return_counts=True)
    out = np.zeros(values.size)
    out[there] = (np.cumsum(counts) - (counts + 1) / 2)[place] / there.sum() - 0.5
    known = there.astype(np.float64)
    return _without_slow(out, known, half), known


def _without_slow(values: Floats, known: Floats, half: int) -> Floats:
    """Subtract from each value the mean of the known ones around it; zero where it is not known.

    Parameters
    ----------
    values : ndarray of float
        (exposure,)
    known : ndarray of float
        1.0 where the value is known, else 0.0 (exposure,).
    half : int
        Half of the span, exposures.
    """
    n = values.size
    sums, numbers = (np.concatenate([[0.0], np.cumsum(part)]) for part in (values * known, known))
    at = np.arange(n)
    left, right = np.maximum(at - half, 0), np.minimum(at + half + 1, n)
    mean = (sums[right] - sums[left]) / np.maximum(numbers[right] - numbers[left], 1)
    out: Floats = (values - mean) * known
    return out


def _correlations(energy: Floats, known: Floats, speed: Floats) -> Floats:
    """Return the correlation of energies with the speed at every place at which they fit into it. (place,)

    Every place counts all known energies: there is no padding, which would favour small shifts. The sums of products,
    of speeds and of squares at all places are three cross-correlations, by Fourier transform.

    Parameters
    ----------
    energy, known : ndarray of float
        Energies of a window, and 1.0 where they are known, else 0.0 (exposure,).
    speed : ndarray of float
        Speeds of the window, longer by the range of shifts (exposure + place - 1,).
    """
    from scipy.fft import irfft, next_fast_len, rfft

    n_places = speed.size - energy.size + 1
    n, size = known.sum(), next_fast_len(speed.size, real=True)
    of_energy, of_known = rfft(np.stack([energy * known, known]), size).conj()
    of_speed, of_square = rfft(np.stack([speed, speed**2]), size)
    products = np.stack([of_energy * of_speed, of_known * of_speed, of_known * of_square])
    both, sums, squares = irfft(products, size)[:, :n_places]
    total = float((energy * known).sum())
    spread = float((energy**2 * known).sum()) - total**2 / n
    variance = np.maximum(squares - sums**2 / n, 0.0) * max(spread, 0.0)
    # Where the wheel stood, or every energy is the same, only rounding errors are left to compare.
    usable = variance > 1e-9 * variance.max()
    correlations = np.divide(both - total * sums / n, np.sqrt(variance), out=np.zeros(n_places), where=usable)
    return np.asarray(np.clip(correlations, -1.0, 1.0))
