"""Median filter over frames, as DeepLabCut filters its predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import medfilt

from ibl_dask.errors import UsageError
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.smoothing import median_filtered, require_distinct, smoothed


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=60), st.sampled_from((3, 5, 7)))
def test_the_median_filter_is_that_of_scipy(values, window):
    if window > len(values):
        return  # scipy warns there
    assert np.array_equal(median_filtered(np.array(values), window), medfilt(np.array(values), window))


def test_a_lost_frame_stays_lost_and_leaves_its_neighbours_alone():
    values = np.array([5.0, 6, 7, np.nan, 9, 10, 11])
    found = median_filtered(values, 3)
    assert np.isnan(found[3])
    assert found[[2, 4]].tolist() == [6.5, 9.5]


def test_likelihoods_are_not_filtered():
    values = np.zeros((5, 1, 3))
    values[2] = 90, 80, 0.5
    found = smoothed(Keypoints(("a",), values), 5).values
    assert found[2, 0].tolist() == [0, 0, 0.5]
    assert smoothed(Keypoints(("a",), values), 0).values is values


def test_a_filter_without_a_middle_is_refused():
    with pytest.raises(UsageError):
        median_filtered(np.zeros(4), 4)


def test_one_column_must_not_hide_another():
    require_distinct({"eye": ["a", "b"], "paws": ["c"]}, "left camera")
    with pytest.raises(UsageError, match=r"keypoint b.*eye.*paws"):
        require_distinct({"eye": ["a", "b"], "paws": ["b"]}, "left camera")
