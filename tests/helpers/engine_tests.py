"""Conformance of a pose engine: a test class gives `engine` and `frames`, and inherits the rest from `EngineTests`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ibl_dask.errors import UsageError
from ibl_dask.pose.engine import Engine


def in_chunks(engine: Engine, frames: NDArray[np.uint8], cuts: list[int]) -> NDArray[np.float32]:
    """Return the rows of all frames, predicted in chunks that each get as much halo as there is."""
    halo, n_frames = engine.info.halo, len(frames)
    parts = []
    for start, stop in pairwise([0, *cuts, n_frames]):
        before, after = min(halo, start), min(halo, n_frames - stop)
        parts.append(engine.predict(frames[start - before : stop + after], before, after))
    return np.concatenate(parts)


def assert_same_rows(found: NDArray[np.float32], expected: NDArray[np.float32], tolerance_px: float) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[..., :2], expected[..., :2], rtol=0, atol=tolerance_px)
    np.testing.assert_allclose(found[..., 2], expected[..., 2], rtol=0, atol=1e-4 if tolerance_px else 0)


class EngineTests:
    """Behaviour on which chunks, crops and stitching rely.

    A subclass has the fixtures `engine` (an open engine) and `frames` (a dozen frames or more, in which it finds
    something).
    """

    n_examples = 10
    """Chunkings that are tried."""

    def test_its_declaration_is_usable(self, engine: Engine) -> None:
        info = engine.info
        assert info.keypoints
        assert len(set(info.keypoints)) == len(info.keypoints)
        assert info.halo >= 0
        assert info.batch_hint >= 1
        assert 0 <= info.tolerance_px < 1
        assert info.build

    def test_every_frame_gets_a_row(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        for n_frames in (0, 1, 2, len(frames)):
            rows = engine.predict(frames[:n_frames])
            assert rows.shape == (n_frames, len(engine.info.keypoints), 3)
            assert rows.dtype == np.float32
            assert np.all((rows[..., 2] >= 0) & (rows[..., 2] <= 1))

    def test_it_finds_something_in_these_frames(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        rows = engine.predict(frames)
        assert np.isfinite(rows[..., :2]).any()
        is_seen = rows[..., 2] > 0
        assert np.all(rows[is_seen][:, 0] <= frames.shape[2])
        assert np.all(rows[is_seen][:, 1] <= frames.shape[1])

    def test_chunks_of_any_size_equal_the_whole(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        whole = engine.predict(frames)
        places = st.lists(st.integers(1, len(frames) - 1), unique=True, max_size=8).map(sorted)

        @settings(max_examples=self.n_examples, suppress_health_check=list(HealthCheck), deadline=None)
        @given(cuts=places)
        def check(cuts: list[int]) -> None:
            assert_same_rows(in_chunks(engine, frames, cuts), whole, engine.info.tolerance_px)

        check()

    def test_rows_on_both_sides_of_a_seam_equal_the_whole(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        whole, middle = engine.predict(frames), len(frames) // 2
        for cuts in ([middle], [middle, middle + 1], [1], [len(frames) - 1]):
            assert_same_rows(in_chunks(engine, frames, cuts), whole, engine.info.tolerance_px)

    def test_first_and_last_frames_follow_one_rule(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        halo = engine.info.halo
        whole, n_frames = engine.predict(frames), len(frames)
        first = engine.predict(frames[: 1 + halo], 0, halo)
        last = engine.predict(frames[n_frames - 1 - halo :], halo, 0)
        assert_same_rows(first, whole[:1], engine.info.tolerance_px)
        assert_same_rows(last, whole[-1:], engine.info.tolerance_px)

    def test_halo_frames_get_no_rows(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        halo = engine.info.halo
        assert engine.predict(frames[: 2 * halo], halo, halo).shape == (0, len(engine.info.keypoints), 3)

    def test_the_same_frames_give_the_same_rows(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        once = engine.predict(frames)
        np.testing.assert_array_equal(engine.predict(frames), once)

    def test_crops_that_lie_anywhere_in_memory_are_taken(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        """A crop is a view into larger frames, with gaps between its rows."""
        n_frames, height, width, _ = frames.shape
        larger = np.full((n_frames, height + 20, width + 30, 3), 17, np.uint8)
        larger[:, 5 : 5 + height, 7 : 7 + width] = frames
        view = larger[:, 5 : 5 + height, 7 : 7 + width]
        assert not view.flags.c_contiguous
        np.testing.assert_array_equal(engine.predict(view), engine.predict(frames))

    def test_frames_are_left_as_they_are(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        before = frames.copy()
        engine.predict(frames)
        np.testing.assert_array_equal(frames, before)

    def test_what_is_no_frames_is_refused(self, engine: Engine, frames: NDArray[np.uint8]) -> None:
        with pytest.raises(UsageError, match="these are no frames"):
            engine.predict(frames[..., 0])
        with pytest.raises(UsageError, match="these are no frames"):
            engine.predict(frames.astype(np.float32))
        with pytest.raises(UsageError, match="do not match their halo"):
            engine.predict(frames, before=engine.info.halo + 1)
        with pytest.raises(UsageError, match="do not match their halo"):
            engine.predict(frames[:1], before=0, after=2)
