"""Savitzky-Golay filter for samples with gaps: a polynomial fitted to the samples around each one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_WINDOWS_AT_ONCE = 4096
"""Windows fitted at once; bounds the memory."""


def smooth_uneven(places: NDArray[np.int64], values: Floats, window: int, order: int) -> Floats:
    """Smooth samples at increasing whole places, some of which may be missing.

    A polynomial is fitted by least squares to the `window` samples around each sample; its value there is the result.
    The first and last half window are those of the first and last polynomial. Samples count, not distances: a window
    that spans a gap is longer. The same as `ibldsp.smooth.non_uniform_savgol`, in two respects better: it takes no
    loop per sample, and places are scaled before the fit, since powers of long distances lose all digits otherwise.

    Parameters
    ----------
    places : (sample,) int64
        Places of the samples, increasing; for a video the numbers of its frames.
    values : (sample,) float64
        Values, none NaN.
    window : int
        Number of samples of a fit, odd, at most that of all samples.
    order : int
        Order of the polynomial, less than `window`.

    Returns
    -------
    (sample,) float64
    """
    half, n = window // 2, len(values)
    out = np.empty(n)
    at = np.arange(half, n - half)
    is_whole = places[at + half] - places[at - half] == window - 1
    weights = np.linalg.pinv(_powers(np.arange(-half, half + 1) / half, order))[0]
    out[at[is_whole]] = np.convolve(values, weights[::-1], "valid")[is_whole]
    gapped = at[~is_whole]
    for start in range(0, len(gapped), _WINDOWS_AT_ONCE):
        some = gapped[start : start + _WINDOWS_AT_ONCE]
        out[some] = _fit(places, values, some, half, order)[0][:, 0]
    ends = np.array([half, n - half - 1])
    coefficients, scales = _fit(places, values, ends, half, order)
    for coefficient, scale, end, part in zip(
        coefficients, scales, ends, (slice(0, half), slice(n - half, n)), strict=True
    ):
        out[part] = _powers((places[part] - places[end]) / scale, order) @ coefficient
    return out


def _fit(
    places: NDArray[np.int64], values: Floats, at: NDArray[np.int64], half: int, order: int
) -> tuple[Floats, Floats]:
    """Return the coefficients around each of some samples, and the distance that is 1 in them."""
    rows = at[:, None] + np.arange(-half, half + 1)
    distances = (places[rows] - places[at][:, None]).astype(np.float64)
    scales = np.abs(distances).max(axis=1)
    orthogonal, triangular = np.linalg.qr(_powers(distances / scales[:, None], order))
    projected = np.matmul(values[rows][:, None, :], orthogonal)[:, 0, :]
    return np.linalg.solve(triangular, projected[:, :, None])[:, :, 0], scales


def _powers(x: Floats, order: int) -> Floats:
    """Return the powers 0 to `order`. (..., order + 1)"""
    return x[..., None] ** np.arange(order + 1)
