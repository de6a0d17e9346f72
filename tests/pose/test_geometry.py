"""Pictures that networks get: points of them lead back to the frame exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import UsageError
from ibl_dask.model.region import Region
from ibl_dask.pose.geometry import PictureMap, clamped, mirrored

WIDTH, HEIGHT = 64, 48


@st.composite
def maps(draw):
    left, top = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
    right, bottom = draw(st.integers(left + 1, WIDTH)), draw(st.integers(top + 1, HEIGHT))
    size = draw(st.none() | st.tuples(st.integers(1, 200), st.integers(1, 200)))
    factor = draw(st.none() | st.floats(0.1, 20))
    return PictureMap(Region(top, bottom, left, right), draw(st.booleans()), size, 1.0, factor)


@given(maps(), st.lists(st.tuples(st.floats(-10, 300), st.floats(-10, 300)), min_size=1, max_size=5))
def test_points_go_to_the_frame_and_back(pictures, points):
    points = np.array(points)
    np.testing.assert_allclose(pictures.to_picture(pictures.to_frame(points)), points, atol=1e-9)


@given(st.data())
def test_a_pixel_of_a_crop_is_the_pixel_of_the_frame_that_its_point_leads_to(data):
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    pictures = data.draw(maps().filter(lambda each: each.size is None and each.factor is None))
    picture = pictures.picture(frame)
    y = data.draw(st.integers(0, picture.shape[0] - 1))
    x = data.draw(st.integers(0, picture.shape[1] - 1))
    at_x, at_y = pictures.to_frame(np.array([x, y])).astype(int)
    assert picture[y, x].tolist() == frame[at_y, at_x].tolist()


@given(st.sampled_from((2, 4, 5)), st.booleans(), st.integers(4, WIDTH - 5), st.integers(4, HEIGHT - 5))
def test_the_centroid_of_a_spot_is_where_it_was_however_the_picture_is_resized(times, flip, x, y):
    """A resized picture has the same centre of gravity, corner pixels included: half a pixel would show."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[y - 2 : y + 3, x - 2 : x + 3] = 200
    larger = PictureMap(Region(0, HEIGHT, 0, WIDTH), flip, (HEIGHT * times, WIDTH * times))
    grey = larger.picture(frame)[..., 0].astype(float)
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    found = larger.to_frame(np.array([(columns * grey).sum(), (rows * grey).sum()]) / grey.sum())
    np.testing.assert_allclose(found, (x, y), atol=0.02)


@given(maps(), st.sampled_from((1.0, 0.3, 4.0)), st.integers(0, 1 << 16))
def test_the_picture_of_a_grey_plane_is_that_of_the_frame_in_three_colours(pictures, gain, seed):
    plane = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    brightened = replace(pictures, gain=gain)
    found = brightened.picture(plane)
    assert np.array_equal(found, brightened.picture(np.stack([plane] * 3, axis=2)))


def test_brightness_is_cut_off_at_white():
    frame = np.array([[[0, 10, 63], [64, 100, 255]]], np.uint8)
    got = PictureMap(Region(0, 1, 0, 2), gain=4).picture(frame)
    assert got.tolist() == [[[0, 40, 252], [255, 255, 255]]]


def test_a_picture_outlives_changes_of_its_frame():
    frame = np.zeros((8, 8, 3), np.uint8)
    for region in (Region(0, 8, 0, 8), Region(2, 4, 0, 8), Region(2, 4, 3, 5)):
        picture = PictureMap(region).picture(frame)
        frame[:] = 9
        assert not picture.any()
        frame[:] = 0


@given(*[st.integers(-2000, 2000)] * 2, *[st.integers(1, 300)] * 2)
def test_a_window_is_moved_into_the_frame_and_keeps_its_size(left, top, width, height):
    found = clamped(left, top, width, height, 200, 100)
    assert (found.right - found.left, found.bottom - found.top) == (min(width, 200), min(height, 100))
    assert found.right <= 200
    assert found.bottom <= 100
    if left >= 0 and top >= 0 and left + width <= 200 and top + height <= 100:
        assert (found.left, found.top) == (left, top)
    assert mirrored(mirrored(found, 200), 200) == found


def test_a_window_without_pixels_is_refused():
    with pytest.raises(UsageError):
        clamped(0, 0, 0, 5, 10, 10)
