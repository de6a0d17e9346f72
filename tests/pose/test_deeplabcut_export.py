"""A network of DeepLabCut in ONNX: its keypoints are those of the engine that it was made of, or there is no file."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ibl_dask.errors import AlreadyThere, EngineFailed, MissingEnvironment, MissingKeypoints, UsageError
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.exporting import export_onnx
from ibl_dask.pose.host.warm_engines import open_engine
from ibl_dask.pose.weights_digest import weights_digest
from ibl_dask.synth.discs import disc_frames, disc_places
from ibl_dask.synth.movie import write_video
from ibl_dask.tasks.pose import export
from ibl_dask.tasks.pose.export import export_network, measured, record_path

LIKELY = 0.1
"""Likelihood from which on points of the random network count."""


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Return a video whose sides are no multiples of the network's stride."""
    path = tmp_path_factory.mktemp("video") / "discs.mp4"
    write_video(path, disc_frames(disc_places(40, 3, 202, 150), 202, 150), 202, 150, 60, gop=20)
    return path


@pytest.fixture(scope="module")
def network(deeplabcut_project) -> Path:
    (folder,) = (deeplabcut_project / "dlc-models-pytorch").glob("*/*/train")
    return folder


def of(path: Path, python: str) -> EngineSettings:
    return EngineSettings("openfield", "deeplabcut", python, path, weights_digest(path))


def test_an_export_finds_the_keypoints_of_its_engine(deeplabcut_python, network, video, tmp_path):
    """By the command, and with the lines that it prints for a profile."""
    settings, out = of(network, deeplabcut_python), tmp_path / "openfield.onnx"
    profile = tmp_path / "site.yaml"
    engine = {
        "kind": "deeplabcut",
        "python": deeplabcut_python,
        "weights": str(network),
        "sha256": settings.sha256,
        "start_time_out": "00:20:00",
    }
    profile.write_text(yaml.safe_dump({"engines": {"openfield": engine}}))
    command = [str(Path(sys.executable).with_name("ibl-dask")), "pose", "export", "openfield", str(video), str(out)]
    options = ["--profile", str(profile), "--frames", "16", "--likely", str(LIKELY), "--most-px", "0.01"]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    declared = yaml.safe_load(run.stdout[run.stdout.index("engines:") :])["engines"]["openfield_onnx"]
    assert declared["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    record = json.loads(record_path(out).read_text())
    assert record["deviation"]["n_frames"] == 16
    assert record["deviation"]["n_likely"] > 0
    assert record["deviation"]["largest_px"] <= 0.01
    assert record["source_sha256"] == settings.sha256
    frames = np.stack(list(np.random.default_rng(2).integers(0, 255, (3, 100, 130, 3), np.uint8)))
    exported = EngineSettings("made", "onnx", declared["python"], Path(declared["weights"]), declared["sha256"])
    with open_engine(settings) as engine:
        expected, keypoints = engine.predict(frames), engine.info.keypoints
    with open_engine(exported) as engine:
        assert engine.info.keypoints == keypoints == tuple(record["keypoints"])
        np.testing.assert_allclose(engine.predict(frames), expected, atol=0.01)
    with pytest.raises(AlreadyThere):
        export_network(settings, video, out)


def test_nothing_is_written_where_the_points_lie_elsewhere(deeplabcut_python, network, video, tmp_path, monkeypatch):
    def half_a_pixel_off(settings):
        content = export_onnx(settings)
        assert content.count(b'"cell_offset_px": 8.0') == 1
        return content.replace(b'"cell_offset_px": 8.0', b'"cell_offset_px": 8.5')

    monkeypatch.setattr(export, "export_onnx", half_a_pixel_off)
    with pytest.raises(EngineFailed, match="finds its points elsewhere") as caught:
        export_network(of(network, deeplabcut_python), video, tmp_path / "net.onnx", n_frames=8, likely=LIKELY)
    assert caught.value.got.startswith("0.707 px")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_there_is_nothing_to_compare(deeplabcut_python, network, video, tmp_path):
    with pytest.raises(MissingKeypoints, match="finds no point"):
        export_network(of(network, deeplabcut_python), video, tmp_path / "net.onnx", n_frames=8, likely=1.0)
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_onnx_cannot_be_told_of_are_refused(deeplabcut_python, network, video, tmp_path):
    folder = Path(shutil.copytree(network, tmp_path / "train"))
    path = folder / "pytorch_config.yaml"
    config = yaml.safe_load(path.read_text())
    config["data"]["inference"]["resize"] = {"height": 64, "width": 64, "keep_ratio": True}
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(MissingEnvironment, match="resize"):
        export_network(of(folder, deeplabcut_python), video, tmp_path / "net.onnx", likely=0)


def test_an_engine_without_an_export_is_refused(video, tmp_path):
    with pytest.raises(UsageError, match="cannot be exported") as caught:
        export_network(EngineSettings("discs", "synthetic"), video, tmp_path / "net.onnx")
    assert caught.value.expected == "an engine of kind deeplabcut or lightning_pose"


def test_the_deviation_is_that_of_likely_points():
    expected = np.zeros((2, 2, 3), np.float32)
    expected[..., 2] = [[0.95, 0.2], [0.9, 0.1]]
    found = expected + np.float32([[[3, 4, 0.01], [30, 40, 0]], [[0, 0, 0], [0, 0, 0]]])
    deviation = measured(found, expected, 0.9, "v.mp4", ("a", "b"))
    assert (deviation.n_likely, deviation.largest_px, deviation.mean_px) == (2, 5.0, 2.5)
    assert deviation.largest_px_of_all == 50.0
    assert deviation.largest_likelihood == pytest.approx(0.01)
