"""Behaviour of a real training session through the field's own task, beside the video tasks of ours."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from peer.conftest import reference  # noqa: F401  # a fixture

import ibl_dask as ibd
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.run import run
from ibl_dask.synth.movie import loop_clip, write_video
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from peer.reference import Reference

pytestmark = pytest.mark.peer

NAME = "training_ge5"
N_FRAMES = 3166
"""Exposures from the first pulse in the trials to the last."""
SIZE = (320, 256)
TRIALS = "ibllib.pipes.behavior_tasks.ChoiceWorldTrialsBpod"
ARGUMENTS = {"collection": "raw_behavior_data", "sync": "bpod", "sync_collection": "raw_behavior_data"}


def make(folder: Path, data_folder: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.copytree(data_folder / "bpod" / f"session_{NAME}" / "raw_behavior_data", folder / "raw_behavior_data")
    camera = {"collection": "raw_video_data", "sync_label": "audio", "width": SIZE[0], "height": SIZE[1]}
    description = {
        "version": "1.0.0",
        "sync": {"bpod": {"collection": "raw_behavior_data"}},
        "devices": {"cameras": {"left": camera}},
        "tasks": [{f"_iblrig_tasks_{NAME}": {"collection": "raw_behavior_data", "sync_label": "bpod"}}],
    }
    (folder / "_ibl_experiment.description.yaml").write_text(yaml.safe_dump(description))
    return folder


def film(folder: Path, data_folder: Path) -> None:
    with FrameReader(data_folder / "video" / "mirror_mouse.mp4") as reader:
        clip = reader.read(0, 100)
    video = folder / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    write_video(video, loop_clip(clip, N_FRAMES, *SIZE), *SIZE, 30, options={"preset": "ultrafast"})


def test_trials_are_those_of_the_field_s_task_called_by_hand_and_video_does_not_wait_for_them(
    reference: Reference,  # noqa: F811
    data_folder: Path,
    tmp_path: Path,
) -> None:
    by_hand = make(tmp_path / "by_hand" / "Subjects" / "SW_REAL" / "2019-07-01" / "001", data_folder)
    through = make(tmp_path / "through" / "Subjects" / "SW_REAL" / "2019-07-01" / "001", data_folder)
    film(through, data_folder)
    told = reference.ask("run_task", executable=TRIALS, session=str(by_hand), arguments=ARGUMENTS)
    assert told["status"] == 0, told["log"]
    expected = {Path(path).relative_to(by_hand).as_posix(): Path(path).read_bytes() for path in told["outputs"]}
    assert {"alf/_ibl_trials.table.pqt", "alf/_ibl_wheel.position.npy"} <= expected.keys()

    specs = [*ibd.make_pipeline(through).specs, TaskSpec("Trials_00", TRIALS, ARGUMENTS)]
    environments = ibd.Environments({"ibllib": os.environ["IBL_DASK_PEER_PYTHON"]})
    from ibl_dask.deploy.local import connect
    from ibl_dask.deploy.profile import Profile

    with connect(Profile(workers=2, dashboard_port=0)) as client:
        result = run([through], specs=specs, environments=environments, client=client)
    (outcome,) = result.sessions
    assert result.exit_code == 0, [failure.message for failure in outcome.failures]
    assert set(map(str, outcome.tasks.values())) == {"Complete"}
    assert {name: (through / name).read_bytes() for name in expected} == expected
    made = {path.relative_to(through).as_posix() for path in (through / "alf").rglob("*") if path.is_file()}
    assert made == expected.keys() | {"alf/_ibl_leftCamera.times.npy"}
    assert len(np.load(through / "alf" / "_ibl_leftCamera.times.npy")) == N_FRAMES
    (trials,) = (record for key, record in outcome.records.items() if key[0] == "Trials_00")
    others = [r for key, r in outcome.records.items() if key[0].split("-")[0] in ("times", "framepass", "index")]
    beside = [r for r in others if trials.started_s < r.started_s < trials.started_s + trials.seconds]
    assert beside, "the video's steps ran while the trials were extracted"
    assert "Bpod trials extractor" in (through / "ibl_dask" / "logs" / "Trials_00.log").read_text()

    again = run([through], specs=specs, environments=environments)
    assert again.exit_code == 0
    assert [r.status for key, r in again.sessions[0].records.items() if key[0] == "Trials_00"] == ["kept"]
