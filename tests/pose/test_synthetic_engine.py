"""The engine of centroids: exact positions, with and without a halo, in this process and behind a host."""

from __future__ import annotations

import numpy as np
import pytest
from engine_tests import EngineTests, in_chunks

from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.in_process import InProcessEngine
from ibl_dask.pose.host.warm_engines import WarmEngines

NAMES = ("nose", "paw")


def discs(centres, size=(60, 80), radius=4.0):
    """Return frames with antialiased discs. (frame, y, x, 3) uint8; `centres` is (frame, disc, 2), x and y."""
    y, x = np.mgrid[: size[0], : size[1]]
    frames = np.full((len(centres), *size), 20.0)
    for frame, points in zip(frames, centres, strict=True):
        for point in points:
            distance = np.hypot(x - point[0], y - point[1])
            frame[:] = np.maximum(frame, 20 + 230 * np.clip(radius + 0.5 - distance, 0, 1))
    return np.repeat(np.round(frames)[..., None], 3, axis=3).astype(np.uint8)


def walk(n_frames, n_discs=2):
    """Return centres in whole pixels that jump from frame to frame."""
    generator = np.random.default_rng(5)
    centres = np.empty((n_frames, n_discs, 2))
    for number in range(n_discs):
        centres[:, number, 0] = generator.integers(10, 25, n_frames) + 35 * number
        centres[:, number, 1] = generator.integers(10, 50, n_frames)
    return centres


def settings_with(**options):
    return EngineSettings("discs", "synthetic", keypoints=NAMES, options=options)


class TestWithoutHalo(EngineTests):
    @pytest.fixture
    def engine(self):
        return InProcessEngine(settings_with())

    @pytest.fixture
    def frames(self):
        return discs(walk(14))


class TestWithHalo(EngineTests):
    @pytest.fixture
    def engine(self):
        return InProcessEngine(settings_with(halo=3))

    @pytest.fixture
    def frames(self):
        return discs(walk(14))


class TestBehindItsHost(EngineTests):
    n_examples = 5

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory):
        engines = WarmEngines(folders=[tmp_path_factory.mktemp("frames")])
        with engines.open(settings_with(halo=2, batch=3)) as engine:
            yield engine
        engines.release()

    @pytest.fixture
    def frames(self):
        return discs(walk(14))


def test_it_finds_the_centres_of_discs():
    centres = walk(10)
    rows = InProcessEngine(settings_with()).predict(discs(centres))
    np.testing.assert_allclose(rows[..., :2], centres, atol=1e-5)
    assert np.all(rows[..., 2] == 1)


def test_it_takes_the_mean_over_its_halo():
    centres = walk(12)
    rows = InProcessEngine(settings_with(halo=2)).predict(discs(centres))
    for number in range(12):
        np.testing.assert_allclose(
            rows[number, :, :2], centres[max(0, number - 2) : number + 3].mean(axis=0), atol=1e-5
        )


def test_a_seam_without_its_halo_shows():
    """Else an engine with a halo would test nothing."""
    engine, frames = InProcessEngine(settings_with(halo=2)), discs(walk(12))
    cut = np.concatenate([engine.predict(frames[:6]), engine.predict(frames[6:])])
    differs = np.any(cut != engine.predict(frames), axis=(1, 2))
    assert np.flatnonzero(differs).tolist() == [4, 5, 6, 7]
    np.testing.assert_array_equal(in_chunks(engine, frames, [6]), engine.predict(frames))


def test_a_disc_that_is_not_there_has_no_place_and_likelihood_0():
    rows = InProcessEngine(settings_with()).predict(discs(walk(3, n_discs=1)))
    assert np.all(rows[:, 0, 2] == 1)
    assert np.all(np.isnan(rows[:, 1, :2]))
    assert np.all(rows[:, 1, 2] == 0)


def test_a_host_gives_what_the_adapter_gives_in_this_process(tmp_path):
    frames, engines = discs(walk(20)), WarmEngines(folders=[tmp_path])
    with engines.open(settings_with(halo=1, batch=4)) as engine:
        np.testing.assert_array_equal(engine.predict(frames), InProcessEngine(settings_with(halo=1)).predict(frames))
        assert list(tmp_path.iterdir()) == [], "the memory of frames has no name that could stay"
    engines.release()
