"""Sparse pass and windows."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.errors import UnusableFile
from ibl_dask.model.region import Region
from ibl_dask.pose.networks import IBL_NETWORKS, IBL_VIEWS, View, ibl_network
from ibl_dask.pose.windows import mean_places, picture_map, place_window, sparse_frames


@given(st.integers(1, 300_000), st.sampled_from((30.0, 60.0, 150.0, 0.0)), st.integers(1, 400))
def test_a_frame_per_second_is_looked_at_within_limits(n_frames, fps, gop):
    found = sparse_frames(n_frames, fps, np.arange(0, n_frames, gop))
    wanted = min(n_frames, int(np.clip(n_frames / fps if fps else 0, 20, 500)))
    assert len(found) == wanted
    assert (np.diff(found) > 0).all()
    assert 0 <= found[0] <= found[-1] < n_frames


def test_long_videos_are_looked_at_on_keyframes():
    keys = np.arange(0, 216_000, 250)
    assert np.isin(sparse_frames(216_000, 60.0, keys), keys).all()


def test_unlikely_points_and_lost_ones_do_not_move_a_window():
    points = np.array([[[10, 20, 0.95]], [[30, 40, 0.9]], [[500, 500, 0.89]], [[np.nan, np.nan, 0.0]]])
    assert mean_places(["nose_tip"], points) == {"nose_tip": (20.0, 30.0)}
    assert mean_places(["nose_tip"], points[2:]) == {}


LEFT = View()
RIGHT = IBL_VIEWS["dlc"]["right"]


@pytest.mark.parametrize(
    ("name", "places", "expected"),
    [
        ("nose_tip", {"nose_tip": (600.0, 500.0)}, Region(450, 550, 550, 650)),
        ("eye", {"pupil_top_r": (20.0, 10.0)}, Region(0, 100, 0, 100)),
        ("tongue", {"tube_top": (300.0, 400.0), "tube_bottom": (310.0, 460.0)}, Region(330, 490, 245, 405)),
        ("paws", {}, Region(0, 1024, 0, 1280)),
    ],
)
def test_windows_of_ibl_on_the_left_camera(name, places, expected):
    assert place_window(IBL_NETWORKS[name], places, LEFT, 1280, 1024, "left.mp4") == expected


@cache
def one_scene():
    rows, columns = np.mgrid[:1024, :1280]
    left = np.stack([columns * 0.19, rows * 0.24, columns * 0.1 + rows * 0.12], axis=-1).round().astype(np.uint8)
    halved = left[::2, ::2] // 2 + left[1::2, 1::2] // 2 + 1
    return left, np.ascontiguousarray(halved[:, ::-1])


@settings(max_examples=30)
@given(st.integers(50, 550), st.integers(50, 450))
def test_the_mirrored_right_camera_shows_a_network_what_the_left_one_does(x, y):
    """The same scene, half as large and mirrored: each network gets the same picture, and its points the same place."""
    left, right = one_scene()
    network = IBL_NETWORKS["nose_tip"]
    seen = picture_map(network, place_window(network, {"nose_tip": (2 * x, 2 * y)}, LEFT, 1280, 1024, ""), LEFT)
    mirrored = picture_map(network, place_window(network, {"nose_tip": (639 - x, y)}, RIGHT, 640, 512, ""), RIGHT)
    ours, theirs = mirrored.picture(right).astype(int), seen.picture(left).astype(int)
    assert ours.shape == theirs.shape == (100, 100, 3)
    assert np.abs(ours - theirs)[2:-2, 2:-2].max() <= 3
    on_left, on_right = seen.to_frame(np.array([40.0, 60.0])), mirrored.to_frame(np.array([40.0, 60.0]))
    np.testing.assert_allclose((on_left + 0.5) / 2 - 0.5, [639 - on_right[0], on_right[1]])


def test_an_anchor_that_is_never_seen_is_an_error_that_names_the_network():
    with pytest.raises(UnusableFile, match=r"eye.*pupil_top_r"):
        place_window(IBL_NETWORKS["eye"], {"nose_tip": (1.0, 1.0)}, LEFT, 1280, 1024, "left.mp4")


def test_lightning_pose_resizes_within_the_network():
    paws = ibl_network("paws", "lightning_pose", ("a",), "roi")
    assert (paws.size, paws.factor, paws.engines, paws.locate) == (None, None, ("a",), "roi")
    body = ibl_network("tail_start", "dlc", ("b",), "roi")
    assert body.locate == ""
    assert ibl_network("whiskers", "dlc", ("b",), "roi") is None


def test_points_of_downsampled_paws_are_multiplied_as_in_the_reference():
    region = Region(0, 512, 0, 640)
    pictures = picture_map(IBL_NETWORKS["paws"], region, RIGHT)
    assert pictures.shape == (102, 128)
    assert pictures.to_frame(np.array([10.0, 20.0])).tolist() == [639 - 50.0, 100.0]
