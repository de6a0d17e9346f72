"""Networks that TensorRT runs: one engine for all workers, and never another provider in its place.

No GPU is needed: `tensorrt_stand_in` goes by the name of onnxruntime, and says how it stands for TensorRT.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from engine_tests import EngineTests

from ibl_dask.errors import GpuFailed, UsageError
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.warm_engines import WarmEngines

pytestmark = pytest.mark.pose
STAND_IN = Path(__file__).parents[1] / "helpers" / "tensorrt_stand_in"


@pytest.fixture(scope="module")
def network(pose_python, tiny_networks):
    """Return a function that gives the settings of a network of two keypoints."""

    def settings(folder, name="colours", takes="all", **options):
        path = tiny_networks / f"{name}.onnx"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        python = f"env PYTHONPATH={STAND_IN} IBL_DASK_STAND_IN_TAKES={takes} {pose_python}"
        given = {"runtime": "tensorrt", "batch": 4, "engine_folder": str(folder), **options}
        return EngineSettings(name, "onnx", python, path, digest, ("red", "green"), given)

    return settings


@pytest.fixture
def engines(tmp_path):
    made = WarmEngines(folders=[tmp_path], weights_folder=tmp_path / "weights")
    yield made
    made.release()


class TestTensorRT(EngineTests):
    n_examples = 5

    @pytest.fixture
    def frames(self):
        return np.random.default_rng(5).integers(0, 255, (13, 24, 32, 3), dtype=np.uint8)

    @pytest.fixture
    def engine(self, engines, network, tmp_path):
        with engines.open(network(tmp_path / "engines"), "cuda") as engine:
            yield engine
        assert len(built_in(tmp_path / "engines")) == 1, "batches of one size, whatever the chunks"


def built_in(folder):
    return sorted(folder.rglob("*.engine"))


def open_elsewhere(folder, settings):
    """Return the build of an engine that another worker opens."""
    worker = WarmEngines(folders=[folder], weights_folder=folder / "weights")
    try:
        with worker.open(settings, "cuda") as engine:
            return engine.info.build
    finally:
        worker.release()


def test_workers_that_open_a_network_at_once_share_one_engine_and_its_digest_is_in_the_build(network, tmp_path):
    settings = network(tmp_path / "engines")
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(3) as threads:
        builds = list(threads.map(lambda folder: open_elsewhere(folder, settings), folders))
    (engine,) = built_in(tmp_path / "engines")
    digest = hashlib.sha256(engine.read_bytes()).hexdigest()
    assert len(set(builds)) == 1
    assert "TensorrtExecutionProvider fp32 engine " in builds[0]
    assert digest.startswith(builds[0].split()[-1])


def test_an_engine_that_was_built_anew_is_another_build(network, tmp_path):
    settings = network(tmp_path / "engines")
    before = open_elsewhere(tmp_path, settings)
    (engine,) = built_in(tmp_path / "engines")
    engine.unlink()
    assert open_elsewhere(tmp_path, settings) != before


def test_another_precision_or_batch_has_an_engine_of_its_own(network, tmp_path):
    builds = {
        open_elsewhere(tmp_path, network(tmp_path / "engines", **options))
        for options in ({}, {"precision": "fp16"}, {"batch": 8})
    }
    assert len(builds) == len(built_in(tmp_path / "engines")) == 3
    assert sum("fp16" in build for build in builds) == 1


@pytest.mark.parametrize(
    ("takes", "got"),
    [("nothing", "TensorRT took no part of the network"), ("refused", "onnxruntime would run it on CUDAExecution")],
)
def test_a_network_that_tensorrt_does_not_run_is_an_error_and_no_other_provider(network, engines, tmp_path, takes, got):
    with pytest.raises(GpuFailed) as caught, engines.open(network(tmp_path / "engines", takes=takes), "cuda"):
        pass
    assert caught.value.expected == "TensorrtExecutionProvider"
    assert got in caught.value.got
    assert "TensorRT" in caught.value.do


@pytest.mark.parametrize(
    ("device", "options", "expected"),
    [
        ("cpu", {}, "tensorrt on cpu"),
        ("cuda", {"engine_folder": ""}, "none, for `runtime: tensorrt`"),
        ("cuda", {"engine_folder": "/proc/engines"}, "/proc/engines"),
        ("cuda", {"runtime": "openvino"}, "openvino on cuda"),
        ("cuda", {"precision": "int8"}, "int8 of tensorrt"),
        ("cuda", {"runtime": "onnxruntime", "precision": "fp16"}, "fp16 of onnxruntime"),
        ("cuda", {"name": "points", "output": "points", "context": 2}, "tensorrt, for a network with context 2"),
    ],
)
def test_options_that_do_not_fit_are_named(network, engines, tmp_path, device, options, expected):
    with (
        pytest.raises(UsageError) as caught,
        engines.open(network(**{"folder": tmp_path / "engines", **options}), device),
    ):
        pass
    assert expected in caught.value.got
