"""Reduction of long arrays to the columns of a figure: extremes and median of each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_COLUMNS = 1200
"""Columns of the widest figure."""


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """Extremes and median of the values that fall into each column; columns without values are left out."""

    column: NDArray[np.int64]
    """Number of the column, increasing. (column,)"""
    low: NDArray[np.float64]
    """Smallest value. (column,)"""
    median: NDArray[np.float64]
    """Median. (column,)"""
    high: NDArray[np.float64]
    """Largest value. (column,)"""


def envelope(
    x: NDArray[np.float64], y: NDArray[np.float64], low: float, high: float, n_columns: int = MAX_COLUMNS
) -> Envelope:
    """Reduce values to columns.

    Parameters
    ----------
    x : ndarray
        Positions of the values, not decreasing. (n,)
    y : ndarray
        Values; those that are not finite are left out. (n,)
    low, high : float
        Left edge of the first column, right edge of the last.
    n_columns : int
        Number of columns, all of one width.

    Returns
    -------
    Envelope
        Extremes are kept: a single outlier among 540,000 values is the extreme of its column.
    """
    known = np.isfinite(y) & (x >= low) & (x <= high)
    x, y = x[known], y[known].astype(np.float64)
    starts = np.searchsorted(x, np.linspace(low, high, n_columns + 1)[:-1], side="left")
    stops = np.append(starts[1:], len(x))
    column = np.flatnonzero(stops > starts)
    if not len(column):
        nothing = np.empty(0)
        return Envelope(column, nothing, nothing, nothing)
    first, stop = starts[column], stops[column]
    y = y[first[0] : stop[-1]]
    first, count = first - first[0], stop - first
    ordered = y[np.lexsort((y, np.repeat(column, count)))]
    median = (ordered[first + (count - 1) // 2] + ordered[first + count // 2]) / 2
    return Envelope(column, ordered[first], median, ordered[first + count - 1])


def columns_covered(
    start: NDArray[np.float64], stop: NDArray[np.float64], low: float, high: float, n_columns: int = MAX_COLUMNS
) -> NDArray[np.int64]:
    """Return the columns that at least one of some spans touches, increasing. (column,)

    Parameters
    ----------
    start, stop : ndarray
        Ends of each span. (span,)
    low, high : float
        Left edge of the first column, right edge of the last.
    n_columns : int
        Number of columns, all of one width.
    """
    per_unit = n_columns / (high - low)
    first = np.clip(np.floor((start - low) * per_unit), 0, n_columns - 1).astype(np.int64)
    last = np.clip(np.ceil((stop - low) * per_unit), first + 1, n_columns).astype(np.int64)
    depth = np.zeros(n_columns + 1, np.int64)
    np.add.at(depth, first, 1)
    np.add.at(depth, last, -1)
    return np.flatnonzero(np.cumsum(depth[:-1]) > 0)
