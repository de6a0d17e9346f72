import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import UsageError
from ibl_dask.video.plan import cut_evenly, plan_chunks

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


@given(n_frames=st.integers(1, 1000), size=st.integers(1, 1200))
def test_even_cuts_tile_the_video(n_frames, size):
    numbers = [i for chunk in cut_evenly(n_frames, size) for i in range(chunk.start, chunk.stop)]
    assert numbers == list(range(n_frames))


def test_a_chunk_of_no_frames_is_refused():
    with pytest.raises(UsageError):
        plan_chunks(np.array([0]), 100, 0)
    with pytest.raises(UsageError):
        cut_evenly(100, 0)
