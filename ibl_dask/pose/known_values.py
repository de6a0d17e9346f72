"""Mean, spread and median of the values that are known; NaN where none is.

The same values as NumPy's `nanmean`, `nanvar`, `nanstd` and `nanmedian`, which warn where nothing is known: filters of
warnings are shared by all threads of a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


def known_mean(values: Floats, axis: int = 0, keepdims: bool = False) -> Floats:
    """Return the mean along an axis of the values that are not NaN."""
    known = ~np.isnan(values)
    n = known.sum(axis=axis, keepdims=keepdims)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(np.sum(np.where(known, values, 0), axis=axis, keepdims=keepdims) / n, values.dtype)


def known_variance(values: Floats, axis: int = 0, keepdims: bool = False) -> Floats:
    """Return the population variance along an axis of the values that are not NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        squares = (values - known_mean(values, axis, keepdims=True)) ** 2
    return known_mean(np.where(np.isnan(values), np.nan, squares), axis, keepdims)


def known_std(values: Floats, axis: int = 0, keepdims: bool = False) -> Floats:
    """Return the population standard deviation along an axis of the values that are not NaN."""
    return np.asarray(np.sqrt(known_variance(values, axis, keepdims)))


def known_median(values: Floats) -> Floats:
    """Return the median along the first axis of the values that are not NaN."""
    ordered = np.sort(values, axis=0)  # NaN goes last
    n = np.count_nonzero(~np.isnan(ordered), axis=0, keepdims=True)
    low, high = (np.take_along_axis(ordered, np.maximum(place, 0) // 2, axis=0)[0] for place in (n - 1, n))
    with np.errstate(invalid="ignore", over="ignore"):
        middle = np.where(low == high, low, (low + high) / 2)
    return np.asarray(np.where(n[0] > 0, middle, np.nan), values.dtype)
