"""The ONNX engine in its own environment, with networks whose output is known."""

from __future__ import annotations

import hashlib
import subprocess

import numpy as np
import pytest
from engine_tests import EngineTests, in_chunks

from ibl_dask.errors import EngineFailed, GpuFailed, MissingEnvironment, UsageError, WrongKeypoints, WrongWeights
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.warm_engines import WarmEngines

pytestmark = pytest.mark.pose
NAMES = ("red", "green")


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Return the warm engines of these tests: all networks share a process."""
    folder = tmp_path_factory.mktemp("node")
    made = WarmEngines(folders=[folder], weights_folder=folder / "weights")
    yield made
    made.release()


@pytest.fixture(scope="module")
def network(pose_python, tiny_networks):
    """Return a function that gives the settings of a network."""

    def settings(name, keypoints=NAMES, python=pose_python, **options):
        path = tiny_networks / f"{name}.onnx"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return EngineSettings(name, "onnx", python, path, digest, tuple(keypoints), options)

    return settings


def spots(places, size=(24, 32), width=1.5):
    """Return frames with a red and a green spot, each a Gaussian. `places` is (frame, 2, 2): x and y of both."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    frames = np.zeros((len(places), *size, 3))
    for frame, points in zip(frames, places, strict=True):
        for colour, (x, y) in enumerate(points):
            frame[..., colour] = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
    return np.round(frames).astype(np.uint8)


def places(n_frames, size=(24, 32)):
    generator = np.random.default_rng(3)
    shape = (n_frames, 2)
    return np.stack([generator.uniform(4, size[1] - 5, shape), generator.uniform(4, size[0] - 5, shape)], axis=2)


class _Known(EngineTests):
    """Conformance of an engine that finds both spots, or with context their mean over frames."""

    n_examples = 5

    @pytest.fixture
    def frames(self):
        return spots(places(13))


class _Exact(_Known):
    """The same of an engine whose frames are independent."""

    def test_it_finds_the_spots(self, engine):
        at = places(9)
        np.testing.assert_allclose(engine.predict(spots(at))[..., :2], at, atol=0.1)


class TestChannelsFirst(_Exact):
    @pytest.fixture
    def engine(self, engines, network):
        with engines.open(network("colours", batch=4)) as engine:
            yield engine


class TestChannelsLast(_Exact):
    @pytest.fixture
    def engine(self, engines, network):
        with engines.open(network("last", output_layout="nhwc")) as engine:
            yield engine


class TestBatchesOfOneSize(_Exact):
    @pytest.fixture
    def engine(self, engines, network):
        with engines.open(network("fixed_batch")) as engine:
            yield engine


class TestFramesInContext(_Known):
    @pytest.fixture
    def engine(self, engines, network):
        with engines.open(network("context", batch=3)) as engine:
            assert engine.info.halo == 2
            yield engine


class TestPoints(EngineTests):
    n_examples = 5

    @pytest.fixture
    def frames(self):
        return spots(places(13))

    @pytest.fixture(params=["points", "sequence"])
    def engine(self, engines, network, request):
        with engines.open(network(request.param, output="points", batch=4)) as engine:
            assert engine.info.halo == (2 if request.param == "sequence" else 0)
            yield engine


def test_points_of_a_network_are_moved_to_the_frame_by_the_factor_of_sizes(engines, network):
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    frames[0, ..., 0], frames[1, ..., 1] = 51, 102
    with engines.open(network("points", output="points")) as engine:
        found = engine.predict(frames)
    level = np.float32([[0.2, 0], [0, 0.4]])
    np.testing.assert_allclose(found, np.stack([2 * level, 2 * level, level], axis=2), atol=1e-6)


def test_a_network_that_takes_a_sequence_sees_a_frame_on_each_side(engines, network):
    """The first and the last row of a video are those of the frames beside them, however it is cut."""
    frames = np.zeros((6, 24, 32, 3), np.uint8)
    frames[..., 0] = np.array([0, 30, 90, 180, 60, 15])[:, None, None]
    expected = np.array([40, 40, 100, 110, 85, 85]) / 255
    with engines.open(network("sequence")) as engine:
        np.testing.assert_allclose(engine.predict(frames)[:, 0, 0], expected, atol=1e-6)
        for border in range(1, 6):
            np.testing.assert_allclose(in_chunks(engine, frames, [border])[:, 0, 0], expected, atol=1e-6)


def test_points_of_another_number_than_keypoints_are_refused(engines, network):
    with (
        pytest.raises(MissingEnvironment, match="other points than it has keypoints"),
        engines.open(network("points", keypoints=("nose",), output="points")),
    ):
        pass


def test_a_network_that_gives_each_frame_a_row_has_no_context(engines, network):
    with (
        pytest.raises(MissingEnvironment, match="gives rows to other frames"),
        engines.open(network("points", output="points", context=1)),
    ):
        pass


def test_a_context_does_not_fit_a_network_that_takes_batches_of_one_size(engines, network):
    with pytest.raises(UsageError, match="context"), engines.open(network("fixed_batch", context=1)):
        pass


def test_a_network_in_context_sees_two_frames_on_each_side(engines, network):
    frames = spots(places(1)).repeat(9, axis=0)
    frames[4] = spots(np.array([[[25, 5], [5, 18]]]))
    with engines.open(network("context", activation="sigmoid")) as engine:
        likelihood = engine.predict(frames)[:, 0, 2]
    assert np.ptp(likelihood[[0, 1, 7, 8]]) == 0
    assert np.all(likelihood[2:7] < likelihood[0])


def test_frames_of_another_size_are_resized_and_points_put_back(engines, network):
    at = places(6, size=(24, 32)) * 2 + 0.5  # the centre of a pixel of the small picture
    with engines.open(network("fixed_batch")) as engine:
        assert engine.info.input_size == (24, 32)
        found = engine.predict(spots(at, size=(48, 64), width=3))
    np.testing.assert_allclose(found[..., :2], at, atol=0.2)


def test_cells_of_a_coarse_map_stand_for_their_middle(engines, network):
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    for number, (row, column) in enumerate([(2, 3), (5, 9), (0, 15)]):
        frames[number, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 200
    expected = [[13.5, 9.5], [37.5, 21.5], [61.5, 1.5]]
    with engines.open(network("strided", keypoints=["spot"])) as engine:
        assert engine.info.colour == "gray"
        np.testing.assert_allclose(engine.predict(frames)[:, 0, :2], expected, atol=1e-4)
        assert engine.predict(frames)[:, 0, 2] == pytest.approx(200 / 255)
    with engines.open(network("strided", keypoints=["spot"], stride=4, cell_offset_px=2, refine="none")) as engine:
        np.testing.assert_allclose(engine.predict(frames)[:, 0, :2], np.array(expected) + 0.5, atol=1e-4)


def test_offsets_of_the_network_replace_the_refinement(engines, network):
    at = np.array([[[10, 8], [20, 15]]], float)
    frames = spots(at)
    with engines.open(network("offsets", output_name="maps", offsets_name="moves", offsets_px=2.0)) as engine:
        found = engine.predict(frames)[0]
    # Outputs 0 and 1 move the first keypoint by its red and green at its peak.
    assert found[0, 0] == pytest.approx(10 + 2 * int(frames[0, 8, 10, 0]) / 255, abs=1e-3)
    assert found[0, 1] == pytest.approx(8 + 2 * int(frames[0, 8, 10, 1]) / 255, abs=1e-3)


def test_colours_are_put_into_the_order_of_the_network(engines, network):
    at = places(4)
    with engines.open(network("colours", colour="bgr")) as engine:
        frames = spots(at)
        np.testing.assert_allclose(engine.predict(frames[..., ::-1])[..., :2], at, atol=0.1)


def test_pixels_are_scaled_as_the_options_state(engines, network):
    frames = spots(places(1))
    peak = frames[0, ..., 0].max()
    with engines.open(network("colours", scale=0.001, mean=[0.1, 0, 0], std=[2, 1, 1], refine="none")) as engine:
        assert engine.predict(frames)[0, 0, 2] == pytest.approx((peak * 0.001 - 0.1) / 2, abs=1e-5)


def test_pixels_have_the_type_that_the_network_takes(engines, network):
    at = places(3)
    frames = spots(at)
    with engines.open(network("half")) as engine:
        np.testing.assert_allclose(engine.predict(frames)[..., :2], at, atol=0.1)
    with engines.open(network("whole_numbers", activation="sigmoid", refine="none")) as engine:
        np.testing.assert_allclose(engine.predict(frames)[..., :2], at, atol=0.51)
        peak = float(frames[0, ..., 0].max())
        assert engine.predict(frames)[0, 0, 2] == pytest.approx(1 / (1 + np.exp(-peak)))


def test_a_network_describes_itself(engines, network):
    with engines.open(network("described", keypoints=[])) as engine:
        assert engine.info.keypoints == ("nose", "tail")
        rows = engine.predict(spots(places(3)))
        assert np.all(rows[..., :2] == np.round(rows[..., :2])), "refine: none"
    with engines.open(network("described", keypoints=[], refine="parabola")) as engine:
        rows = engine.predict(spots(places(3)))
        assert not np.all(rows[..., :2] == np.round(rows[..., :2])), "options of the profile come first"
    with pytest.raises(WrongKeypoints), engines.open(network("described", keypoints=["tail", "nose"])):
        pass


@pytest.mark.parametrize(
    ("name", "options", "kind", "expected"),
    [
        ("colours", {"outputs": "heatmap"}, UsageError, "no option outputs"),
        ("colours", {"output_name": "heat"}, UsageError, "heat, of maps"),
        ("colours", {"mean": [1, 2]}, UsageError, "2 numbers for 3 colours"),
        ("fixed_batch", {"input_size": [30, 30]}, UsageError, r"for a network of \[24, 32\]"),
        ("strided", {"colour": "rgb"}, UsageError, "rgb for 1 channels"),
        ("two_inputs", {}, MissingEnvironment, "takes no frames"),
        ("long", {}, MissingEnvironment, "takes no pixels"),
        ("colours", {"keypoints": ["one"]}, MissingEnvironment, "1 maps"),
        ("colours", {"keypoints": []}, UsageError, "have no names"),
    ],
)
def test_options_that_do_not_fit_are_named_when_the_engine_is_opened(engines, network, name, options, kind, expected):
    with pytest.raises(kind, match=expected), engines.open(network(name, **options)):
        pass


def test_maps_that_are_no_likelihoods_are_refused(engines, network):
    with engines.open(network("colours", scale=1.0)) as engine, pytest.raises(EngineFailed, match="activation"):
        engine.predict(spots(places(2)))


def test_a_file_that_is_no_network_is_refused(engines, pose_python, tmp_path):
    path = tmp_path / "eye.onnx"
    path.write_bytes(b"no network")
    settings = EngineSettings("eye", "onnx", pose_python, path, hashlib.sha256(b"no network").hexdigest(), NAMES)
    with pytest.raises(EngineFailed, match="eye"), engines.open(settings):
        pass


def test_weights_that_changed_are_refused(engines, network, tmp_path):
    settings = network("colours")
    moved = tmp_path / "colours.onnx"
    moved.write_bytes(settings.weights.read_bytes() + b" ")
    with (
        pytest.raises(WrongWeights),
        engines.open(
            EngineSettings("colours", "onnx", settings.python, moved, hashlib.sha256(b"another").hexdigest(), NAMES)
        ),
    ):
        pass


def test_a_gpu_is_used_or_refused_and_never_replaced_by_the_cpu(engines, network, pose_python):
    """Where onnxruntime has no working GPU, it would take the CPU and print a warning."""
    program = "import onnxruntime; print(onnxruntime.get_available_providers())"
    has_cuda = "CUDA" in subprocess.run([pose_python, "-c", program], capture_output=True, text=True, check=True).stdout
    if not has_cuda:
        with pytest.raises(GpuFailed) as caught, engines.open(network("colours"), "cuda"):
            pass
        assert caught.value.expected == "CUDAExecutionProvider"
        assert "onnxruntime-gpu" in caught.value.do
        return
    with engines.open(network("colours"), "cuda") as engine:
        assert "CUDAExecutionProvider" in engine.info.build


def test_an_environment_without_the_runtime_is_named(engines, network):
    """The environment of the tests has numpy, and no onnxruntime."""
    with pytest.raises(MissingEnvironment, match="lacks onnxruntime"), engines.open(network("colours", python="")):
        pass
