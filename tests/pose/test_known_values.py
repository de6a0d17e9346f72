"""Statistics of known values are those of NumPy, without its warnings."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ibl_dask.pose.known_values import known_mean, known_median, known_std, known_variance

VALUES = arrays(
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.integers(1, 7), st.integers(0, 5)),
    elements=st.floats(-1000, 1000, width=32) | st.just(float("nan")),
)


@given(VALUES)
def test_values_are_those_of_numpy(values: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [function(values, axis=0) for function in (np.nanmedian, np.nanmean, np.nanvar, np.nanstd)]
    found = [function(values) for function in (known_median, known_mean, known_variance, known_std)]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == values.dtype


@given(st.lists(st.sampled_from([1.0, np.inf, -np.inf, 1e308, -1e308, np.nan]), max_size=6))
def test_infinite_huge_and_no_values_raise_nothing(values: list[float]) -> None:
    column = np.array(values)[:, None] if values else np.empty((1, 0))
    for function in (known_median, known_mean, known_variance, known_std):
        assert function(column).shape == column.shape[1:]
