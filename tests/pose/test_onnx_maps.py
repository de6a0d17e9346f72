"""Peaks of heatmaps and points of a mask: pure functions of the ONNX adapter, which need no runtime."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ibl_dask.pose.engines.onnx_adapter import activated, largest_part, parabola, peaks, pupil_points, resized


@given(x=st.floats(2, 17), y=st.floats(2, 12), width=st.floats(0.8, 3))
def test_the_peak_of_a_gaussian_is_exact(x, y, width):
    rows, columns = np.mgrid[:15, :20]
    gaussian = 0.9 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
    found_x, found_y, value = peaks(gaussian[None, None], gaussian[None, None])
    assert found_x[0, 0] == pytest.approx(x, abs=1e-6)
    assert found_y[0, 0] == pytest.approx(y, abs=1e-6)
    assert 0.6 < value[0, 0] <= 0.9
    whole_x, whole_y, _ = peaks(gaussian[None, None], gaussian[None, None], is_refined=False)
    assert (whole_x[0, 0], whole_y[0, 0]) == (np.round(whole_x[0, 0]), np.round(whole_y[0, 0]))
    assert abs(whole_x[0, 0] - x) <= 0.5 + 1e-6


def test_a_peak_at_the_edge_stays_there():
    maps = np.zeros((1, 2, 4, 5), np.float32)
    maps[0, 0, 0, 4] = maps[0, 1, 3, 0] = 1.0
    maps[0, 0, 0, 3] = 0.9
    x, y, value = peaks(maps, maps)
    assert (x[0].tolist(), y[0].tolist(), value[0].tolist()) == ([4, 0], [0, 3], [1, 1])


@given(arrays(np.float32, 3, elements=st.floats(-10, 10, width=32)))
def test_a_peak_moves_by_half_a_cell_at_most(values):
    left, centre, right = (np.asarray([value]) for value in values)
    assert -0.5 <= parabola(left, centre, right)[0] <= 0.5


def test_the_peak_of_a_network_that_is_sure_is_found_where_its_likelihoods_are_equal():
    rows, columns = np.mgrid[:15, :20]
    maps = (60 - (columns - 11) ** 2 - (rows - 6) ** 2).astype(np.float32)[None, None]
    likely = activated(maps, "sigmoid")
    assert np.count_nonzero(likely == likely.max()) > 1
    x, y, likelihood = peaks(maps, likely)
    assert (x[0, 0], y[0, 0], likelihood[0, 0]) == (11, 6, 1)


def test_a_flat_map_has_its_peak_in_a_cell():
    flat = np.full((1, 1, 3, 3), 0.25, np.float32)
    x, y, _ = peaks(flat, flat)
    assert np.isfinite([x, y]).all()


@given(size=st.tuples(st.integers(1, 30), st.integers(1, 30)), to=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_pictures_are_resized_as_bilinear_interpolation_does(size, to):
    picture = np.random.default_rng(size[0]).integers(0, 255, (*size, 3)).astype(np.float32)
    expected = cv2.resize(picture, to[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resized(picture[None], *to)[0], expected.reshape(*to, 3), atol=0.02)


def test_likelihoods_are_made_of_any_numbers():
    maps = np.array([[[[-1e4, 0.0], [3.0, 1e4]]]], np.float32)
    assert activated(maps, "sigmoid").ravel().tolist() == pytest.approx([0, 0.5, 0.952574, 1], abs=1e-5)
    assert activated(maps, "softmax").ravel().tolist() == pytest.approx([0, 0, 0, 1])
    assert activated(maps, "clip").ravel().tolist() == np.clip(maps, 0, 1).ravel().tolist()
    assert activated(maps, "none") is maps


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_the_largest_part_is_that_of_scipy(mask):
    labels, n_parts = ndimage.label(mask)
    found = largest_part(mask)
    if not n_parts:
        assert found is None
        return
    sizes = ndimage.sum_labels(mask, labels, range(1, n_parts + 1))
    assert found.sum() == sizes.max()
    assert len(np.unique(labels[found])) == 1
    assert not np.any(mask & ~found & (labels == labels[found][0])), "the whole of it"


@given(x=st.floats(20, 30), y=st.floats(15, 25), radius=st.floats(4, 12))
def test_points_of_a_disc_lie_on_its_edge(x, y, radius):
    rows, columns = np.mgrid[:40, :50]
    disc = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)
    points = pupil_points(disc, 0.5)
    expected = [[x, y - radius], [x + radius, y], [x, y + radius], [x - radius, y]]
    np.testing.assert_allclose(points[:, :2], expected, atol=0.3)
    assert np.all((points[:, 2] > 0.5) & (points[:, 2] <= 1))


def test_a_reflection_in_the_pupil_and_specks_beside_it_move_no_point():
    rows, columns = np.mgrid[:40, :50]
    disc = np.where(np.hypot(columns - 25, rows - 20) <= 10, 0.9, 0.1)
    spoilt = disc.copy()
    spoilt[18:23, 22:26] = 0.1
    spoilt[2:5, 2:5] = 1.0
    np.testing.assert_allclose(pupil_points(spoilt, 0.5)[:, :2], pupil_points(disc, 0.5)[:, :2], atol=0.5)


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 1, width=32)))
def test_points_of_any_map_lie_in_it_or_are_missing(map_):
    points = pupil_points(map_, 0.5)
    if not (map_ >= 0.5).any():
        assert np.isnan(points[:, :2]).all()
        assert np.all(points[:, 2] == 0)
        return
    assert np.all((points[:, 0] >= 0) & (points[:, 0] <= map_.shape[1] - 1))
    assert np.all((points[:, 1] >= 0) & (points[:, 1] <= map_.shape[0] - 1))
    top, right, bottom, left = points
    assert top[1] <= bottom[1]
    assert left[0] <= right[0]
