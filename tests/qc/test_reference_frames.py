"""Reference frames from the option to the record: who gives none is told how to get some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from ibl_dask.cli.app import app
from ibl_dask.errors import UsageError
from ibl_dask.synth.session import write_session
from ibl_dask.tasks.video_sync.clocks import VideoSyncQcNidq
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reader import FrameReader

LABELS = ("left", "right")


def first_pictures(folder: Path, label: str) -> np.ndarray:
    path = folder / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
    index = index_video(path)
    with FrameReader(path, index) as reader:
        return np.asarray(reader.read(0, 1))


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("short") / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(folder, duration_s=1.5, scale=0.25)
    return folder


@pytest.fixture
def session_folder(_template: Path, tmp_path: Path) -> Path:
    """Return a short session of three cameras."""
    folder = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    shutil.copytree(_template, folder)
    return folder


@pytest.fixture
def references(session_folder: Path, tmp_path: Path) -> Path:
    """Return a folder of reference frames that the cameras of the small session are placed like."""
    folder = tmp_path / "references"
    folder.mkdir()
    for label in LABELS:
        np.save(folder / f"frames_{label}.npy", first_pictures(session_folder, label))
    return folder


def record(folder: Path) -> dict:
    return dict(json.loads((folder / "ibl_dask" / "qc.json").read_text()))


def test_position_is_judged_where_reference_frames_are_given(session_folder: Path, references: Path) -> None:
    task = VideoSyncQcNidq(session_folder, ["left", "right", "body"], reference_frames=references)
    assert task.run() == 0
    content = record(session_folder)
    for label in LABELS:
        position = content["cameras"][label]["checks"]["position"]
        assert position["outcome"] == content["extended_qc"][f"_video{label.title()}_position"] == "PASS"
        assert abs(position["values"]["shift_x_px"]) <= 2
        assert position["values"]["median_score"] > 0.8
        assert "of the face" in content["cameras"][label]["checks"]["focus"]["measured"]
    body = content["cameras"]["body"]["checks"]
    assert body["position"]["outcome"] == content["extended_qc"]["_videoBody_position"] == "NOT_SET"
    assert "frames_body.npy is not there" in body["position"]["message"]
    assert "fixed regions" in body["focus"]["measured"]

    # Another reference frame: the face alone is looked for again, and is not where that one shows it, nor as bright.
    pictures = np.load(references / "frames_left.npy")
    np.save(references / "frames_left.npy", np.roll(pictures, -pictures.shape[2] // 5, 2) // 2)
    again = VideoSyncQcNidq(session_folder, ["left"], reference_frames=references)
    assert again.run() == 0
    passes = [r for r in again.records.values() if r.key[0] == "framepass-left"]
    assert passes
    assert all(r.value["reducers"] == ["face_match"] for r in passes)
    position = record(session_folder)["cameras"]["left"]["checks"]["position"]
    assert position["outcome"] == "FAIL"
    assert position["values"]["shift_x_percent"] == pytest.approx(20, abs=1)


def test_without_reference_frames_the_record_says_how_to_get_some(session_folder: Path) -> None:
    assert VideoSyncQcNidq(session_folder, ["body"]).run() == 0
    position = record(session_folder)["cameras"]["body"]["checks"]["position"]
    assert position["outcome"] == "NOT_SET"
    assert "--reference-frames" in position["message"]


def test_folder_without_reference_frames_is_refused_before_anything_runs(session_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reference frames"):
        VideoSyncQcNidq(session_folder, ["body"], reference_frames=tmp_path / "nowhere")


def test_command_line_takes_reference_frames(session_folder: Path, references: Path, tmp_path: Path) -> None:
    def run(folder: Path) -> Result:
        arguments = ["run", session_folder, "--workers", 0, "--reference-frames", folder]
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    assert run(references).exit_code == 0
    assert record(session_folder)["extended_qc"]["_videoRight_position"] == "PASS"
    refused = run(tmp_path)
    assert refused.exit_code != 0
    assert "holds no reference frames" in str(refused.exception)
