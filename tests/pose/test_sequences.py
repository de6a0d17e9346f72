"""Batches with their halo: each frame gets the values that the whole video gives it."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import RunError
from ibl_dask.model.chunk import Chunk
from ibl_dask.pose.engine import EngineInfo, EngineSettings
from ibl_dask.pose.host.in_process import InProcessEngine
from ibl_dask.pose.prefetch import Prefetched, PrefetchedParts
from ibl_dask.pose.sequences import PoseSequence


class SumOfHalo:
    """Engine whose value is the sum of a frame and those around it, so that any wrong neighbour shows."""

    def __init__(self, halo: int) -> None:
        self.info = EngineInfo(("a",), halo=halo)
        self.batches = []

    def predict(self, frames, before=0, after=0):
        self.batches.append(len(frames))
        level = frames[:, 0, 0, 0].astype(np.float64)
        rows = [
            level[max(0, at - self.info.halo) : at + self.info.halo + 1].sum()
            for at in range(before, len(frames) - after)
        ]
        return np.array([[[row, 2 * row, 1]] for row in rows], np.float32).reshape(-1, 1, 3)


def picture(number):
    return np.full((2, 2, 3), number % 251, np.uint8)


def values_of(engine, borders, n_frames, lost, batch):
    out = []
    for start, stop in pairwise(borders):
        sequence = PoseSequence(engine, Chunk(start, stop), n_frames, batch)
        for number in range(max(0, start - 5), min(n_frames, stop + 5)):
            if number not in lost:
                sequence.add(number, picture(number))
        out.append(sequence.result())
    return np.concatenate(out)


def sum_of_neighbours(frame, n_frames, lost, halo):
    """Return the value of a frame: neighbours count up to the first one that is lost, and within the video."""
    if frame in lost:
        return np.nan
    total = frame % 251
    for step in (-1, 1):
        for away in range(1, halo + 1):
            other = frame + step * away
            if other in lost or not 0 <= other < n_frames:
                break
            total += other % 251
    return total


@given(st.data())
def test_chunks_and_batches_do_not_matter(data):
    n_frames = data.draw(st.integers(1, 40), "frames")
    lost = data.draw(st.sets(st.integers(0, n_frames - 1), max_size=6), "lost")
    inner = data.draw(st.sets(st.integers(1, max(1, n_frames - 1)), max_size=8), "borders")
    engine = SumOfHalo(data.draw(st.integers(0, 3), "halo"))
    expected = [sum_of_neighbours(frame, n_frames, lost, engine.info.halo) for frame in range(n_frames)]
    borders = [0, *sorted(inner - {0, n_frames}), n_frames]
    batch = data.draw(st.integers(1, 10), "batch")
    found = values_of(engine, borders, n_frames, lost, batch)
    assert np.array_equal(found[:, 0, 0], np.array(expected, np.float32), equal_nan=True)
    assert max(engine.batches, default=0) <= batch + 2 * engine.info.halo
    is_lost = np.isin(np.arange(n_frames), sorted(lost))
    assert np.array_equal(np.isnan(found[:, 0, 0]), is_lost)
    assert np.array_equal(found[:, 0, 2], np.where(is_lost, 0, 1))


def test_an_engine_that_returns_too_few_rows_is_refused():
    engine = SumOfHalo(0)
    engine.predict = lambda frames, before=0, after=0: np.zeros((len(frames) - 1, 1, 3), np.float32)
    sequence = PoseSequence(engine, Chunk(0, 4), 4, 9)
    for number in range(4):
        sequence.add(number, picture(number))
    with pytest.raises(RunError, match="number of rows"):
        sequence.result()


def test_the_synthetic_engine_finds_discs_exactly():
    engine = InProcessEngine(EngineSettings("toy", "synthetic", keypoints=("a", "b"), options={"halo": 1}))
    from ibl_dask.synth.discs import disc_frames, disc_places

    places = disc_places(1, 2, 96, 64, seed=3).repeat(5, axis=0)
    sequence = PoseSequence(engine, Chunk(1, 4), 5, 2)
    for number, frame in enumerate(disc_frames(places, 96, 64)):
        sequence.add(number, np.stack([frame] * 3, axis=-1))
    assert np.array_equal(sequence.result()[..., :2], places[1:4])


def test_items_are_made_ahead_within_a_bound_and_in_order():
    prefetched = Prefetched(range(200), lambda item: 10, most_bytes=35)
    assert list(prefetched) == list(range(200))
    assert 10 <= prefetched.peak_bytes <= 35


def test_an_item_larger_than_the_bound_passes_alone():
    assert list(Prefetched([7, 8, 9], lambda item: 100, most_bytes=1)) == [7, 8, 9]


def test_an_error_of_the_source_reaches_the_user_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("disk gone")

    got = []
    with pytest.raises(OSError, match="disk gone"):
        got.extend(Prefetched(items(), lambda item: 1, 10))


def test_the_thread_ends_when_the_user_leaves_early():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    for _ in Prefetched(items(), lambda item: 1, 3):
        break
    assert closed.wait(5)
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_parts_that_are_made_at_once_come_in_their_order():
    parts = [range(10 * part, 10 * part + 10) for part in range(7)]
    for n_threads in (1, 3, 20):
        assert list(PrefetchedParts(parts, lambda item: 10, 35, n_threads)) == list(range(70))
    assert list(PrefetchedParts([], lambda item: 1, 1, 2)) == []


def test_an_error_of_one_part_reaches_the_user_in_its_turn_and_ends_all_threads():
    def failing():
        yield 3
        raise OSError("disk gone")

    got = []
    with pytest.raises(OSError, match="disk gone"):
        got.extend(PrefetchedParts([[1, 2], failing(), [4], [5]], lambda item: 1, 10, 4))
    assert got == [1, 2, 3]
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())
