"""The toy network finds the keypoints of the synthetic mouse, whose places are known."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from engine_tests import EngineTests

from ibl_dask.errors import WrongWeights
from ibl_dask.pose.host.warm_engines import WarmEngines
from ibl_dask.pose.toy import KEYPOINTS, SHA256, WEIGHTS, toy_engine
from ibl_dask.synth.scene import Scene
from ibl_dask.synth.scene_motion import SceneState, side_keypoints

STATES = [SceneState(0.37 * number, tongue=number % 3 / 2, whisk=0.2, pupil=number % 5 / 4) for number in range(12)]


def test_its_weights_are_the_pinned_ones_and_small():
    content = WEIGHTS.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert len(content) < 500_000


def test_its_keypoints_are_those_of_the_scene():
    assert tuple(side_keypoints(SceneState())) == KEYPOINTS


@pytest.fixture(scope="module")
def scene_frames():
    scene = Scene("left", 640, 512, seed=777)  # another mouse than those of its training
    return np.stack([np.repeat(scene.draw(n, state)[..., None], 3, axis=2) for n, state in enumerate(STATES)])


@pytest.mark.pose
class TestConformance(EngineTests):
    n_examples = 2

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, pose_python, tmp_path_factory):
        folder = tmp_path_factory.mktemp("node")
        engines = WarmEngines(folders=[folder], weights_folder=folder / "weights")
        with engines.open(toy_engine(pose_python)) as engine:
            yield engine
        engines.release()

    @pytest.fixture
    def frames(self, scene_frames):
        return scene_frames[:6]

    def test_it_finds_the_keypoints(self, engine, scene_frames):
        rows = engine.predict(scene_frames)
        truth = [list(side_keypoints(state).values()) for state in STATES]
        for number, name in enumerate(KEYPOINTS):
            seen = [row for row, points in enumerate(truth) if points[number] is not None]
            at = np.array([truth[row][number] for row in seen]) / 2  # the frames are half the scene
            error = np.linalg.norm(rows[seen, number, :2] - at, axis=1)
            assert np.median(error) < (9 if name.startswith("tongue") else 6), name
            unseen = sorted(set(range(len(STATES))) - set(seen))
            if unseen:
                assert rows[unseen, number, 2].mean() < rows[seen, number, 2].mean() - 0.2, name


@pytest.mark.pose
def test_other_weights_under_its_name_are_refused(pose_python, tmp_path):
    other = tmp_path / "toy_mouse.onnx"
    other.write_bytes(WEIGHTS.read_bytes()[:-1])
    engines = WarmEngines(folders=[tmp_path], weights_folder=tmp_path / "weights")
    with pytest.raises(WrongWeights), engines.open(replace(toy_engine(pose_python), weights=other)):
        pass
    engines.release()
