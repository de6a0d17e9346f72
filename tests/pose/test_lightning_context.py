"""Which frames a network with temporal context is given, by the numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.pose.engines.lightning_pose_adapter import chosen_checkpoints, frames_in_context

HALO = 4


def windows(first: int, stop: int, n_frames: int) -> list[list[int]]:
    """Return the five frames of the video that each row of a chunk comes from."""
    before, after = min(HALO, first), min(HALO, n_frames - stop)
    given, at = frames_in_context(stop - first + before + after, before, stop - first)
    video = np.asarray(given) + first - before
    return [video[place : place + 5].tolist() for place in at]


def whole(n_frames: int) -> list[list[int]]:
    """Return the same for a video, by the rule of the library: the first and last two rows are copies."""
    if n_frames < 5:
        return [[min(max(row + step, 0), n_frames - 1) for step in range(-2, 3)] for row in range(n_frames)]
    middles = [2, 2, *range(2, n_frames - 2), n_frames - 3, n_frames - 3]
    return [list(range(middle - 2, middle + 3)) for middle in middles]


@given(st.integers(1, 40), st.data())
def test_a_row_comes_from_the_same_frames_in_any_chunk(n_frames, data):
    first = data.draw(st.integers(0, n_frames - 1))
    stop = data.draw(st.integers(first + 1, n_frames))
    assert windows(first, stop, n_frames) == whole(n_frames)[first:stop]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["tb_logs/a/version_0/checkpoints/epoch=9.ckpt"], ["tb_logs/a/version_0/checkpoints/epoch=9.ckpt"]),
        (["v/version_2/x-best.ckpt", "v/version_2/y.ckpt", "config.yaml"], ["v/version_2/x-best.ckpt"]),
        (["v/version_9/x.ckpt", "v/version_10/y.ckpt"], ["v/version_10/y.ckpt"]),
        (["net.ckpt"], ["net.ckpt"]),
        (["a.ckpt", "b.ckpt"], ["a.ckpt", "b.ckpt"]),
        (["config.yaml"], []),
    ],
)
def test_the_best_checkpoint_of_the_latest_version_stands_for_the_network(names, chosen):
    assert chosen_checkpoints(names) == chosen
