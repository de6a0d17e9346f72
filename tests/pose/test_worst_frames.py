"""Frames worth labelling: the worst ones, spread over the video."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ibl_dask.errors import UsageError
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.worst_frames import worst_frames


def keypoints(likelihood, **further):
    likelihood = np.atleast_2d(np.asarray(likelihood, float).T).T
    values = np.zeros((*likelihood.shape, 3))
    values[:, :, 2] = likelihood
    return Keypoints(tuple("abcdefgh"[: likelihood.shape[1]]), values, further)


def numbers(found):
    return [frame.number for frame in found]


def test_frames_where_a_point_is_lost_come_first_and_in_order():
    likelihood = np.full((1000, 2), 0.99)
    likelihood[700, 1], likelihood[100, 0], likelihood[400, 0] = 0.1, 0.2, 0.5
    found = worst_frames(keypoints(likelihood), 2)
    assert numbers(found) == [100, 700]
    assert [frame.keypoint for frame in found] == ["a", "b"]
    assert found[1].score > found[0].score


def test_point_that_is_hidden_most_of_the_time_is_no_reason():
    tongue = np.full(1000, 0.01)
    tongue[::7] = 0.99
    nose = np.full(1000, 0.99)
    nose[500] = 0.3
    assert numbers(worst_frames(keypoints(np.column_stack([tongue, nose])), 5)) == [500]


def test_members_of_an_ensemble_that_disagree_are_a_reason_where_the_likelihood_is_none():
    variance = np.full(1000, 0.04)
    variance[250] = 400
    found = worst_frames(keypoints(np.full((1000, 1), 0.99), a_x_ens_var=variance, a_y_ens_var=variance), 3)
    assert numbers(found) == [250]
    assert found[0].score == pytest.approx((20 - 0.2) / (20 + 0.2))


def test_one_bad_stretch_does_not_take_all_places():
    likelihood = np.full((1000, 1), 0.99)
    likelihood[500:600] = 0.01
    likelihood[[50, 900]] = 0.5
    found = numbers(worst_frames(keypoints(likelihood), 10))
    assert {50, 900} <= set(found)
    assert min(np.diff(found)) >= 25


def test_frames_that_do_not_decode_are_not_chosen():
    table = keypoints(np.full((100, 2), 0.99))
    table.values[40] = (np.nan, np.nan, 0)
    table.values[60, 0, 2] = 0.5
    assert numbers(worst_frames(table, 5)) == [60]


@given(
    arrays(np.float32, st.tuples(st.integers(0, 80), st.integers(1, 3)), elements=st.floats(0, 1, width=32)),
    st.integers(1, 12),
)
def test_any_predictions_give_distinct_frames_of_the_video_far_enough_apart(likelihood, n):
    found = numbers(worst_frames(keypoints(likelihood), n))
    assert len(found) <= n
    assert found == sorted(set(found))
    assert all(0 <= number < len(likelihood) for number in found)
    assert all(b - a >= max(1, len(likelihood) // (4 * n)) for a, b in pairwise(found))


def test_no_frames_are_refused():
    with pytest.raises(UsageError):
        worst_frames(keypoints(np.ones((3, 1))), 0)
