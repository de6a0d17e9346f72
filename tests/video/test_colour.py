"""Pictures of frames: red, green and blue as FFmpeg converts them, in one plane where all pixels are grey."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nv12_decoder import samples

from ibl_dask.video.colour import RgbPictures, plain_frames, rgb_frames
from ibl_dask.video.container.index import index_video
from ibl_dask.video.pixels import make_frame

SIZES = st.integers(1, 70)


@given(
    st.one_of(st.tuples(SIZES, SIZES), st.sampled_from([(1280, 1024), (640, 512), (396, 406), (1279, 5)])),
    st.sampled_from(("yuv420p", "yuvj420p")),
    st.sampled_from((0, 1, 2, 5, 6)),
    st.sampled_from((0, 1, 2)),
    st.integers(0, 1 << 16),
    st.booleans(),
)
def test_grey_pictures_have_the_levels_of_coloured_ones(size, name, colorspace, color_range, seed, is_coloured):
    width, height = size
    values = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    frame = make_frame(width, height, name, values, colorspace, color_range)
    if is_coloured:
        samples(frame.planes[2], 1, 1)[:] = 129 + seed % 100
    convert = RgbPictures()
    found, expected = convert.plain(frame), convert(frame)
    assert found.ndim == 3 or not is_coloured
    assert np.array_equal(found if found.ndim == 3 else np.stack([found] * 3, axis=2), expected)


@pytest.mark.parametrize("size", [(1280, 1024), (640, 512)])
def test_frames_of_the_field_s_cameras_have_one_plane(size):
    """Otherwise resizing would take longer, and nothing else would show it."""
    frame = make_frame(*size, "yuv420p", np.zeros(size[::-1], np.uint8), 2, 0)
    assert RgbPictures().plain(frame).shape == size[::-1]


@pytest.mark.recordings
def test_a_recording_has_one_plane_and_the_pictures_that_opencv_reads(data_folder):
    path = data_folder / "video" / "mirror_mouse.mp4"
    index = index_video(path)
    capture = cv2.VideoCapture(str(path))
    for (number, plain), (_, rgb) in zip(plain_frames(path, index, 0, 60), rgb_frames(path, index, 0, 60), strict=True):
        _, expected = capture.read()
        assert plain.shape == (index.height, index.width), number
        assert np.array_equal(rgb[..., ::-1], expected)
        assert np.array_equal(np.stack([plain] * 3, axis=2), rgb)
