"""Shifts of sliding windows: their evidence, the steps that explain most of it, and the confidence of a peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


_WINDOW_S = (10.0, 20.0)
"""Shortest and longest window, s; an eighth of the recording between them. Long enough for a few turns of the wheel, so
short that there are several, and that few frames are lost within one. The windows of the reference are of 150 s."""
CORRELATION_S = 0.1
"""Time between independent samples, s: the wheel's speed is filtered, its turns are smooth."""


def sliding_windows(n: int, period_s: float) -> tuple[list[tuple[int, int]], int]:
    """Return windows that slide over all exposures by about half their length, the last ending with the recording.

    Parameters
    ----------
    n : int
        Exposures.
    period_s : float
        Usual time between them, s.

    Returns
    -------
    tuple
        First exposure of each window and one past its last; and the step from window to window, exposures.
    """
    shortest, longest = _WINDOW_S
    size = min(n, max(2, round(min(max(n * period_s / 8, shortest), longest) / period_s)))
    n_windows = 1 + int(np.ceil(2 * (n - size) / size))
    starts = np.unique(np.rint(np.linspace(0, n - size, n_windows)).astype(np.int64))
    every = int(np.ceil(size / 2)) if starts.size > 1 else size
    return [(int(start), int(start) + size) for start in starts], every


def covered_exposures(windows: Sequence[tuple[int, int]]) -> int:
    """Return the number of exposures in windows, which may overlap: each counts once."""
    ends = np.array([0, *(stop for _, stop in windows)])
    return sum(stop - max(start, int(end)) for (start, stop), end in zip(windows, ends, strict=False))


def shift_evidence(rows: NDArray[np.float32], every_s: float) -> NDArray[np.float32]:
    """Return the log likelihood ratio of each shift against no relation at all, for each window. (window, place)

    Of n independent samples with a correlation r it is -n / 2 log(1 - r^2). Windows overlap, so that each counts the
    samples by which it extends beyond the one before.

    Parameters
    ----------
    rows : ndarray of float
        Correlation of each window at each shift, -1 to 1 (window, place).
    every_s : float
        Time from window to window, s.
    """
    return np.asarray(-every_s / CORRELATION_S / 2 * np.log1p(-(np.clip(rows, 0, 0.999) ** 2)), np.float32)


def best_steps(evidence: NDArray[np.float32]) -> Ints:
    """Return the place in each row such that all together have most evidence, less a cost for every change. (window,)

    A change is one of `windows * places` that are possible, so it costs the logarithm of that. Dynamic programming
    (Viterbi): a row comes from the same place in the row before, or from the best one there at that cost.
    """
    n_rows, n_places = evidence.shape
    if not n_rows:
        return np.empty(0, np.int64)
    cost = np.log(n_rows * n_places)
    best = evidence[0].astype(np.float64)
    came_from = np.empty(evidence.shape, np.int32)
    here = np.arange(n_places)
    for row in range(1, n_rows):
        top = int(np.argmax(best))
        jump = best[top] - cost
        came_from[row] = np.where(best >= jump, here, top)
        best = np.maximum(best, jump) + evidence[row]
    steps = np.empty(n_rows, np.int64)
    steps[-1] = np.argmax(best)
    for row in range(n_rows - 1, 0, -1):
        steps[row - 1] = came_from[row, steps[row]]
    return steps


def mean_along_steps(rows: NDArray[np.float32], steps: Ints) -> tuple[Floats, int]:
    """Return the mean of rows that are moved so that their steps coincide, and the place of the steps in it.

    Only places that at least half of the rows reach are returned.

    Parameters
    ----------
    rows : ndarray of float
        Correlation of each window at each place (window, place).
    steps : ndarray of int
        Place of the shift in each window (window,).
    """
    n_places = rows.shape[1]
    sums, counts = np.zeros(2 * n_places - 1), np.zeros(2 * n_places - 1, np.int64)
    for row, step in zip(rows, steps, strict=True):
        start = n_places - 1 - int(step)
        sums[start : start + n_places] += row
        counts[start : start + n_places] += 1
    reached = np.flatnonzero(2 * counts >= steps.size)
    part = slice(reached[0], reached[-1] + 1)
    return sums[part] / counts[part], n_places - 1 - int(reached[0])


def peak_confidence(row: NDArray[np.floating], at: int, guard: int) -> float:
    """Return the height of a peak above the highest value that is not near it, relative to the peak, 0 to 1.

    Parameters
    ----------
    row : ndarray of float
        Correlations (place,).
    at : int
        Place of the peak.
    guard : int
        Places to either side that belong to the peak.
    """
    peak = float(row[at])
    rest = np.concatenate([row[: max(0, at - guard)], row[at + guard + 1 :]])
    rival = float(rest.max()) if rest.size else 0.0
    return float(np.clip(1 - max(rival, 0.0) / peak, 0.0, 1.0)) if peak > 0 else 0.0


def peak_offset(row: NDArray[np.floating], at: int) -> float:
    """Return the maximum of a parabola through a peak and its neighbours, in places beside it, -0.5 to 0.5."""
    if not 0 < at < row.size - 1:
        return 0.0
    left, top, right = (float(value) for value in row[at - 1 : at + 2])
    bend = left - 2 * top + right
    return float(np.clip((left - right) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
