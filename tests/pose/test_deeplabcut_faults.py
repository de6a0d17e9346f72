"""Environments and networks that the engine of DeepLabCut refuses, each by name, without a row."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from ibl_dask.errors import GpuFailed, IblDaskError, MissingEnvironment, UsageError, WrongKeypoints
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.warm_engines import WarmEngines
from ibl_dask.pose.weights_digest import weights_digest

KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")


@pytest.fixture
def engines(tmp_path):
    (tmp_path / "node").mkdir()
    made = WarmEngines(folders=[tmp_path / "node"], weights_folder=tmp_path / "node" / "weights")
    yield made
    made.release()


def failure(engines, settings, device="cpu") -> IblDaskError:
    """Return the error of an engine that cannot be opened, which has all its parts."""
    with pytest.raises(IblDaskError) as caught, engines.open(settings, device):
        pass
    error = caught.value
    assert error.where
    assert error.expected
    assert error.got
    assert error.do
    return error


# Environments


@pytest.fixture
def some_folder(tmp_path) -> Path:
    """Return a folder that looks like that of a network."""
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "pytorch_config.yaml").write_text("method: bu\n")
    (folder / "snapshot-001.pt").write_bytes(b"parameters")
    return folder


def environment(folder: Path, **packages: str) -> str:
    """Return a Python that has some packages, each of one module."""
    site = folder / "site"
    site.mkdir()
    for name, content in packages.items():
        (site / f"{name}.py").write_text(content)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def of(folder: Path, python: str = "", keypoints=KEYPOINTS, **options) -> EngineSettings:
    return EngineSettings("openfield", "deeplabcut", python, folder, weights_digest(folder), tuple(keypoints), options)


def test_an_environment_without_the_package_is_named(engines, some_folder):
    """The environment of the tests has numpy, and no DeepLabCut."""
    error = failure(engines, of(some_folder))
    assert isinstance(error, MissingEnvironment)
    assert "lacks deeplabcut" in error.what


def test_a_package_that_is_too_old_is_named(engines, some_folder, tmp_path):
    error = failure(engines, of(some_folder, environment(tmp_path, deeplabcut='__version__ = "2.3.11"')))
    assert isinstance(error, MissingEnvironment)
    assert (error.got, error.expected[:11]) == ("2.3.11", "version 3.0")


def test_a_package_that_cannot_be_imported_is_named(engines, some_folder, tmp_path):
    """Two builds of torch and torchvision raise so."""
    clash = 'raise RuntimeError("operator torchvision::nms does not exist")'
    error = failure(engines, of(some_folder, environment(tmp_path, deeplabcut=clash)))
    assert isinstance(error, MissingEnvironment)
    assert "nms does not exist" in error.got
    assert "torchvision of one build" in error.do


def test_a_gpu_is_used_or_refused_and_never_replaced_by_the_cpu(engines, some_folder, tmp_path):
    torch = "class cuda:\n    is_available = staticmethod(lambda: False)\n__version__ = '2.13.0+cpu'"
    python = environment(tmp_path, deeplabcut='__version__ = "3.0.2"', torch=torch)
    error = failure(engines, of(some_folder, python), "cuda")
    assert isinstance(error, GpuFailed)
    assert "2.13.0+cpu" in error.got


def test_an_option_that_does_not_exist_is_named(engines, some_folder):
    error = failure(engines, of(some_folder, batches=3))
    assert isinstance(error, UsageError)
    assert error.got == "batches"


# Networks, of one process of the library


@pytest.fixture(scope="module")
def library(deeplabcut_python, tmp_path_factory):
    """Return engines that share the process of the library."""
    folder = tmp_path_factory.mktemp("node")
    made = WarmEngines(folders=[folder], weights_folder=folder / "weights")
    yield made
    made.release()


@pytest.fixture
def train(deeplabcut_project, tmp_path) -> Path:
    """Return a copy of the folder of the network that a test may do anything with."""
    (folder,) = (deeplabcut_project / "dlc-models-pytorch").glob("*/*/train")
    return Path(shutil.copytree(folder, tmp_path / "train"))


def edited(folder: Path, old: str, new: str) -> Path:
    path = folder / "pytorch_config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return folder


def test_other_keypoints_are_refused(library, deeplabcut_python, train):
    error = failure(library, of(train, deeplabcut_python, ("leftear", "snout", "rightear", "tailbase")))
    assert isinstance(error, WrongKeypoints)
    assert error.got == ", ".join(KEYPOINTS)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("model_name: test_resnet", "model_name: resnet10t", "of another network than its configuration"),
        ("        - 4\n", "        - 5\n", "of another network than its configuration"),
        ("type: ResNet", "type: NetOfTheFuture", "cannot build the network"),
        ("method: bu", "method: transformer", "not one of a single animal"),
        ("method: bu", "method: td", "not one of a single animal"),
        ("  - individual_1\n", "  - individual_1\n  - individual_2\n", "not one of a single animal"),
        ("  unique_bodyparts: []", "  unique_bodyparts: [corner]", "not one of a single animal"),
        ("metadata:", "described:", "no configuration of a network"),
        ("method: bu", "method: [bu", "no network of DeepLabCut 3"),
    ],
)
def test_a_configuration_of_another_network_is_refused(library, deeplabcut_python, train, old, new, named):
    error = failure(library, of(edited(train, old, new), deeplabcut_python))
    assert isinstance(error, MissingEnvironment)
    assert named in error.what


def test_snapshots_that_are_none_are_refused(library, deeplabcut_python, train):
    snapshot = train / "snapshot-001.pt"
    content = snapshot.read_bytes()
    snapshot.write_bytes(content[: len(content) // 2])
    assert "cannot be read" in failure(library, of(train, deeplabcut_python)).what
    snapshot.write_bytes(b"")
    assert "cannot be read" in failure(library, of(train, deeplabcut_python)).what
    snapshot.unlink()
    assert "has no snapshot" in failure(library, of(train, deeplabcut_python)).what
    for end in ("index", "meta", "data-00000-of-00001"):
        (train / f"snapshot-1030000.{end}").touch()
    error = failure(library, of(train, deeplabcut_python))
    assert "network of DeepLabCut 2" in error.what
    assert "TensorFlow" in error.got


class _Runs:
    """Object whose reading runs a command."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self):
        return os.system, (f"touch {self._path}",)


def test_code_in_a_snapshot_does_not_run(library, deeplabcut_python, train, tmp_path):
    (train / "snapshot-001.pt").write_bytes(pickle.dumps({"model": _Runs(tmp_path / "ran")}, protocol=2))
    error = failure(library, of(train, deeplabcut_python))
    assert "cannot be read" in error.what
    assert not (tmp_path / "ran").exists()


def test_of_several_snapshots_one_has_to_be_named(library, deeplabcut_python, train):
    shutil.copy(train / "snapshot-001.pt", train / "snapshot-best-002.pt")
    error = failure(library, of(train, deeplabcut_python))
    assert "several snapshots" in error.what
    assert error.got == "snapshot-001.pt, snapshot-best-002.pt"
    assert "no snapshot other.pt" in failure(library, of(train, deeplabcut_python, snapshot="other.pt")).what
    with library.open(of(train, deeplabcut_python, snapshot="snapshot-001.pt")) as engine:
        assert engine.info.keypoints == KEYPOINTS


def test_a_snapshot_without_its_configuration_is_refused(library, deeplabcut_python, train):
    error = failure(library, of(train / "snapshot-001.pt", deeplabcut_python))
    assert "without its configuration" in error.got
    (train / "pytorch_config.yaml").unlink()
    assert "pytorch_config.yaml" in failure(library, of(train, deeplabcut_python)).expected


def test_the_file_of_export_model_is_the_same_network(library, deeplabcut_python, deeplabcut_project, train):
    (exported,) = (deeplabcut_project / "exported-models-pytorch").glob("*/*.pt")
    frames = np.random.default_rng(1).integers(0, 255, (3, 96, 128, 3), np.uint8)
    with library.open(of(train, deeplabcut_python)) as engine, library.open(of(exported, deeplabcut_python)) as other:
        np.testing.assert_array_equal(engine.predict(frames), other.predict(frames))


def test_mixed_precision_stays_off_whatever_the_configuration_asks_for(library, deeplabcut_python, train, tmp_path):
    frames = np.random.default_rng(1).integers(0, 255, (3, 96, 128, 3), np.uint8)
    with library.open(of(train, deeplabcut_python)) as engine:
        plain = engine.predict(frames)
    asking = edited(train, "autocast:\n    enabled: false", "autocast:\n    enabled: true")
    with library.open(of(asking, deeplabcut_python)) as engine:
        np.testing.assert_array_equal(engine.predict(frames), plain)
