import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import UsageError
from ibl_dask.video.chunking import LARGEST_PIXELS, SMALLEST_PIXELS, cut_evenly, plan_chunks, split_video

videos = st.integers(1, 5000).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=60).map(lambda keys: sorted({0, *keys})))
)


@given(video=videos, target=st.integers(1, 6000))
def test_chunks_tile_the_video_and_start_on_keyframes(video, target):
    n_frames, keyframes = video
    chunks = plan_chunks(np.array(keyframes), n_frames, target)
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks[:-1])]
    assert chunks[-1].stop == n_frames
    assert all(chunk.start in keyframes for chunk in chunks)


@given(n_groups=st.integers(1, 400), gop=st.integers(1, 300), target=st.integers(1, 3000))
def test_chunks_are_about_as_long_as_asked_where_keyframes_allow(n_groups, gop, target):
    chunks = plan_chunks(np.arange(0, n_groups * gop, gop), n_groups * gop, target)
    for chunk in chunks[:-1]:
        assert abs(len(chunk) - target) <= max(gop, target // 2 + gop)


def test_a_video_of_one_group_of_pictures_is_one_chunk():
    assert len(plan_chunks(np.array([0]), 10_000, 100)) == 1


def test_the_plan_does_not_depend_on_anything_but_index_and_size():
    keys = np.arange(0, 100_000, 250)
    assert plan_chunks(keys, 100_000, 1907) == plan_chunks(keys.copy(), 100_000, 1907)


@given(
    n_groups=st.integers(1, 3000),
    gop=st.integers(1, 300),
    size=st.sampled_from([(1280, 1024), (640, 512), (160, 128)]),
)
def test_a_video_is_split_into_runs_that_become_shorter_within_the_limits_of_a_task(n_groups, gop, size):
    area = size[0] * size[1]
    chunks = split_video(np.arange(0, n_groups * gop, gop), n_groups * gop, *size)
    lengths = np.array([len(chunk) for chunk in chunks])
    assert (np.diff(lengths[:-1]) <= gop).all()
    assert lengths.max() * area <= LARGEST_PIXELS + gop * area
    if len(chunks) > 1:
        assert lengths[:-1].min() * area >= SMALLEST_PIXELS - gop * area
        assert lengths[-1] * area <= 2 * (SMALLEST_PIXELS + gop * area)


def test_cores_that_share_a_video_end_at_about_the_same_time():
    for n_frames, size, rate in ((21_600, (1280, 1024), 200), (54_000, (640, 512), 1600)):
        chunks = split_video(np.arange(0, n_frames, 250), n_frames, *size)
        busy = [0.0, 0.0]
        for chunk in chunks:
            busy[busy.index(min(busy))] += len(chunk) / rate
        assert max(busy) < 1.03 * sum(busy) / 2


@given(n_frames=st.integers(1, 1000), size=st.integers(1, 1200))
def test_even_cuts_tile_the_video(n_frames, size):
    numbers = [i for chunk in cut_evenly(n_frames, size) for i in range(chunk.start, chunk.stop)]
    assert numbers == list(range(n_frames))


def test_a_chunk_of_no_frames_is_refused():
    with pytest.raises(UsageError):
        plan_chunks(np.array([0]), 100, 0)
    with pytest.raises(UsageError):
        cut_evenly(100, 0)
