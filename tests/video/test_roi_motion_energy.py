"""Motion energy after pose estimation: values of iblvideo's formula, the same bits for every plan of chunks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import assert_same_bits, values_of

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.synth.movie import write_video
from ibl_dask.video.container.index import index_video
from ibl_dask.video.framepass import join_passes
from ibl_dask.video.reducers.roi_motion_energy import RoiMotionEnergy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

REGION = Region(40, 120, 60, 190)
KEY = "roi_motion_energy/roi_motion_energy"


def formula(path: Path, region: Region, frames: int | None = None) -> NDArray[np.float64]:
    """Return the values by the formula of iblvideo, from OpenCV's frames, all at once or so many at a time."""
    capture, pictures = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        pictures.append(cv2.cvtColor(np.ascontiguousarray(region.of(read[1])), cv2.COLOR_BGR2GRAY))
    capture.release()
    grey = np.array(pictures).astype(np.float32)
    out = np.zeros(len(grey))
    step = frames or len(grey)
    for start in range(0, len(grey) - 1, step - 1 if frames else step):
        part = grey[start : start + step]
        out[start : start + len(part) - 1] = np.mean(np.abs(np.diff(part, axis=0)), axis=(1, 2))
    out[-1] = out[-2]
    return out


def test_values_are_those_of_the_formula_for_every_kind_of_video(video: Path) -> None:
    index = index_video(video)
    found = values_of(video, index, [Chunk(0, len(index))], [RoiMotionEnergy(REGION)])[KEY]
    expected = formula(video, REGION)
    assert found.dtype == np.float64
    assert found.shape == (len(index),)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(expected, formula(video, REGION, frames=10))
    assert found.min() > 0


@pytest.fixture(scope="module")
def passed(videos: dict[str, Path]):
    path = videos["h264_every_frame_a_key"]
    index = index_video(path)
    return path, index, values_of(path, index, [Chunk(0, len(index))], [RoiMotionEnergy(REGION)])


@given(st.data())
@settings(max_examples=4)
def test_any_plan_of_chunks_gives_the_same_bits(passed, data: st.DataObject) -> None:
    path, index, whole = passed
    cuts = data.draw(st.lists(st.integers(1, len(index) - 1), unique=True, max_size=12).map(sorted))
    chunks = [Chunk(*ends) for ends in pairwise([0, *cuts, len(index)])]
    assert_same_bits(values_of(path, index, chunks, [RoiMotionEnergy(REGION)]), whole, chunks)


def accumulate(levels: list[int | None], chunks: list[Chunk]) -> NDArray[np.float64]:
    """Return the values of frames of one grey level each; None for a frame that does not decode."""
    reducer, parts = RoiMotionEnergy(Region(1, 5, 1, 5)), []
    for chunk in chunks:
        part = reducer.start(chunk)
        for number in range(chunk.start, chunk.stop):
            level = levels[number]
            if level is not None:
                frame = av.VideoFrame.from_ndarray(np.full((8, 8), level, np.uint8), "gray")
                part.add(number, frame.to_ndarray(), frame)
        parts.append((chunk, {f"{reducer.name}/{k}": v for k, v in part.arrays().items()}))
    return join_passes([reducer], parts)[KEY]


@given(
    st.lists(st.none() | st.integers(0, 255), min_size=1, max_size=15),
    st.lists(st.integers(1, 14), unique=True, max_size=6).map(sorted),
)
def test_frames_that_do_not_decode_are_nan_on_both_sides_and_shift_nothing(
    levels: list[int | None], cuts: list[int]
) -> None:
    n = len(levels)
    cuts = [cut for cut in cuts if cut < n]
    found = accumulate(levels, [Chunk(*ends) for ends in pairwise([0, *cuts, n])])
    expected = [abs(b - a) if a is not None and b is not None else np.nan for a, b in pairwise(levels)]
    np.testing.assert_array_equal(found, [*expected, expected[-1] if expected else np.nan])


def test_7_21_every_difference_of_grey_levels_counts_in_full() -> None:
    levels = [value for level in range(256) for value in (0, level)]
    np.testing.assert_array_equal(accumulate(levels, [Chunk(0, 512)])[:-1:2], np.arange(256))


@pytest.mark.parametrize("region", [Region(100, 400, 250, 900), Region(500, 600, 10, 20)])
def test_pixels_beyond_the_frame_do_not_count(videos: dict[str, Path], region: Region) -> None:
    path = videos["h264"]
    index = index_video(path)
    chunks = [Chunk(0, 48), Chunk(48, len(index))]
    found = values_of(path, index, chunks, [RoiMotionEnergy(region)])[KEY]
    if region.top >= 256:
        assert np.isnan(found).all()
    else:
        np.testing.assert_array_equal(found, formula(path, region))


def test_a_still_video_has_no_motion_energy(tmp_path: Path) -> None:
    path = tmp_path / "still.mp4"
    picture = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    write_video(path, [picture] * 30, 64, 64, 60, gop=10, options={"crf": "0"})
    index = index_video(path)
    assert (values_of(path, index, [Chunk(0, 30)], [RoiMotionEnergy(Region(0, 64, 0, 64))])[KEY] == 0).all()


def test_another_region_is_another_measurement() -> None:
    one, other = RoiMotionEnergy(REGION), RoiMotionEnergy(Region(40, 120, 60, 191))
    assert one.fingerprint() == RoiMotionEnergy(REGION).fingerprint() != other.fingerprint()
