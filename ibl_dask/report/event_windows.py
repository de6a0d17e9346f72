"""Windows around events: pieces of a series, one row per event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.pose.known_values import known_mean, known_std

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BEFORE_S, AFTER_S = 0.5, 1.5
"""Extent of a window before and after its event, s (`brainbox.behavior.dlc`: WINDOW_LAG, WINDOW_LEN)."""
BIN_S = 0.02
"""Width of a bin of licks, and distance of the wheel's samples, s (`brainbox.behavior.dlc`: T_BIN)."""


def windows(values: Floats, times_s: Floats, events_s: Floats) -> tuple[Floats, Floats]:
    """Cut a series into windows that begin at the sample nearest to half a second before each event.

    Parameters
    ----------
    values : (sample,) float64
        The series.
    times_s : (sample,) float64
        Its times, increasing.
    events_s : (event,) float64
        Times of events.

    Returns
    -------
    offsets : (n,) float64
        Time after the event of each column, s.
    rows : (event, n) float64
        Values; NaN where a window reaches beyond the series.
    """
    period = float(np.median(np.diff(times_s)))
    n = max(1, round((BEFORE_S + AFTER_S) / period))
    offsets = np.arange(n, dtype=np.float64) * period - BEFORE_S
    starts = np.round(np.interp(events_s - BEFORE_S, times_s, np.arange(len(times_s)), -np.inf, np.inf))
    inside = np.isfinite(starts)
    places = np.where(inside, starts, 0).astype(np.int64)[:, None] + np.arange(n)
    rows = np.where(inside[:, None] & (places < len(values)), values[np.minimum(places, len(values) - 1)], np.nan)
    return offsets, rows


def wheel_windows(times_s: Floats, positions: Floats, events_s: Floats) -> tuple[Floats, Floats]:
    """Return the position of the wheel relative to that half a second before each event, as `windows` does."""
    offsets = np.arange(round((BEFORE_S + AFTER_S) / BIN_S), dtype=np.float64) * BIN_S - BEFORE_S
    rows = np.interp(events_s[:, None] + offsets, times_s, positions, np.nan, np.nan)
    return offsets, rows - rows[:, :1]


def lick_counts(licks_s: Floats, events_s: Floats) -> tuple[Floats, Floats]:
    """Return the number of licks in each bin around each event: starts of the bins, s, and counts. (event, bin)"""
    n_bins = round((BEFORE_S + AFTER_S) / BIN_S)
    edges = np.arange(n_bins + 1, dtype=np.float64) * BIN_S - BEFORE_S
    ordered = np.sort(licks_s)
    counts = np.diff(np.searchsorted(ordered, events_s[:, None] + edges), axis=1)
    return edges[:-1], counts.astype(np.float64)


def mean_and_error(rows: Floats) -> tuple[Floats, Floats]:
    """Return the mean of the rows and its standard error, leaving out NaN. (n,) each"""
    n = np.maximum(1, np.count_nonzero(~np.isnan(rows), axis=0))
    return known_mean(rows).astype(np.float64), np.asarray(known_std(rows) / np.sqrt(n), np.float64)


def z_scores(values: Floats) -> Floats:
    """Return values as distances from their mean in standard deviations along the last axis; NaN stays.

    Values without any variation are 0.
    """
    mean, spread = (compute(values, axis=-1, keepdims=True) for compute in (known_mean, known_std))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray((values - mean) / np.where(spread > 0, spread, 1.0))
