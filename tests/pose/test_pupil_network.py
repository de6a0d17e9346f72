"""A trained network on real frames, in its own environment: the mechanics on real pixels.

It says nothing about the accuracy on videos of the IBL, for which it was not trained.
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from engine_tests import EngineTests, in_chunks

from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.warm_engines import WarmEngines

pytestmark = [pytest.mark.pose, pytest.mark.recordings]


@pytest.fixture(scope="module")
def engine(pose_python, pupil_weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    digest = hashlib.sha256(pupil_weights.read_bytes()).hexdigest()
    options = {"output": "segmentation", "activation": "sigmoid", "batch": 8}
    settings = EngineSettings("pupil", "onnx", pose_python, pupil_weights, digest, options=options)
    engines = WarmEngines(folders=[folder], weights_folder=folder / "weights")
    with engines.open(settings) as engine:
        yield engine
    engines.release()


@pytest.fixture(scope="module")
def all_frames(data_folder):
    """Return 31 consecutive frames of an eye at 97 Hz."""
    paths = sorted((data_folder / "pupil" / "frames").glob("*.png"))
    assert len(paths) == 31
    return np.stack([cv2.imread(str(path))[..., ::-1] for path in paths])


@pytest.fixture(scope="module")
def whole(engine, all_frames):
    """Return the rows of all frames in one call."""
    return engine.predict(all_frames)


class TestConformance(EngineTests):
    n_examples = 2

    @pytest.fixture
    def frames(self, all_frames):
        return all_frames[:6]


def test_it_is_the_network_that_was_trained(engine):
    assert engine.info.keypoints == ("pupil_top_r", "pupil_right_r", "pupil_bottom_r", "pupil_left_r")
    assert (engine.info.input_size, engine.info.colour, engine.info.halo) == ((148, 148), "gray", 0)
    assert engine.info.build.startswith("onnxruntime ")


def test_chunks_of_real_frames_equal_the_whole(engine, all_frames, whole):
    for cuts in ([7], [1, 2, 30]):
        found = in_chunks(engine, all_frames, cuts)
        assert np.abs(found - whole).max() <= 1e-4


def test_the_diameter_of_a_real_pupil_is_steady(whole):
    """Neighbouring frames are 10 ms apart, in which a pupil changes little."""
    rows = whole
    top, right, bottom, left = (rows[:, number, :2] for number in range(4))
    diameter = (np.linalg.norm(bottom - top, axis=1) + np.linalg.norm(right - left, axis=1)) / 2
    assert 15 < diameter.min() < diameter.max() < 28
    assert np.abs(np.diff(diameter)).max() < 3
    assert rows[..., 2].min() > 0.9


def test_points_enclose_the_pupils_that_people_drew(engine, data_folder):
    """The ellipse through the four points covers the mask that was drawn by hand: of other rigs and sizes as well."""
    overlaps = []
    for path in sorted((data_folder / "pupil" / "crops").glob("*.png")):
        frame = cv2.imread(str(path))[None, ..., ::-1]
        mask = cv2.imread(str(path.parents[1] / "masks" / path.name), cv2.IMREAD_GRAYSCALE) > 0
        top, right, bottom, left = engine.predict(frame)[0, :, :2]
        rows, columns = np.indices(mask.shape)
        centre, radii = (left[0] + right[0]) / 2, ((right[0] - left[0]) / 2, (bottom[1] - top[1]) / 2)
        middle = (top[1] + bottom[1]) / 2
        ellipse = ((columns - centre) / radii[0]) ** 2 + ((rows - middle) / radii[1]) ** 2 <= 1
        overlaps.append((mask & ellipse).sum() / (mask | ellipse).sum())
    assert len(overlaps) == 12
    assert np.mean(overlaps) > 0.85
    assert min(overlaps) > 0.6
