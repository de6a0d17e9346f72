"""Reduction of a track to the columns of a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.model.json_object import JsonObject
    from ibl_dask.view.content import Track


def reduce_track(track: Track, start_s: float, stop_s: float, n_columns: int) -> JsonObject:
    """Return the extremes of a track in each column of a range of time, as JSON.

    Extremes are kept: one odd value among 540,000 is the extreme of its column.

    Parameters
    ----------
    track : Track
        The track.
    start_s, stop_s : float
        The range, s.
    n_columns : int
        Number of columns, all of one width.

    Returns
    -------
    dict
        `column` (numbers of the columns that hold values), `low` and `high` (extremes), and `at` of points and marks:
        the time of the value of the column that is farthest from the middle of all, s.
    """
    edges = np.searchsorted(track.times_s, np.linspace(start_s, stop_s, n_columns + 1), side="left")
    edges[-1] = np.searchsorted(track.times_s, stop_s, side="right")
    column = np.flatnonzero(edges[1:] > edges[:-1])
    if not len(column):
        return {"column": [], "low": [], "high": [], "at": []}
    first = edges[column]
    values = track.values[first[0] : edges[-1]]
    low = np.fmin.reduceat(values, first - first[0])
    high = np.fmax.reduceat(values, first - first[0])
    at: list[float] = []
    if track.kind in ("points", "marks"):
        middle = float(np.nanmedian(track.values)) if np.isfinite(track.values).any() else 0.0
        far = np.nan_to_num(np.abs(track.values - middle))
        places = (int(a) + int(np.argmax(far[a:b])) for a, b in zip(first, edges[column + 1], strict=True))
        at = [float(track.times_s[place]) for place in places]
    known = np.isfinite(low)
    return {
        "column": column[known].tolist(),
        "low": shortened(low[known]),
        "high": shortened(high[known]),
        "at": [time for time, is_known in zip(at, known.tolist(), strict=True) if is_known] if at else [],
    }


def shortened(values: NDArray[np.float64]) -> list[float]:
    """Return values with six significant digits, which is more than a screen shows."""
    return [float(f"{value:.6g}") for value in values.tolist()]
