"""Behaviour of a real training session through the field's own task, beside the video tasks of ours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from needs import PEER
from real_trials import camera_file, exposures_of, make, noted

import ibl_dask as ibd
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.pipeline.run import run
from ibl_dask.synth.camera_files import write_separate_files

if TYPE_CHECKING:
    from reference import Reference

pytestmark = pytest.mark.peer

NAME = "training_ge5"
TRIALS = "ibllib.pipes.behavior_tasks.ChoiceWorldTrialsBpod"


def test_trials_are_those_of_the_field_s_task_called_by_hand_and_video_does_not_wait_for_them(
    reference: Reference,
    data_folder: Path,
    tmp_path: Path,
) -> None:
    through, by_hand = (
        tmp_path / way / "Subjects" / "SW_REAL" / "2019-07-01" / "001" for way in ("through", "by_hand")
    )
    through.mkdir(parents=True)
    rises, edges = noted(data_folder, NAME)
    _, exposures = exposures_of(rises, 0)
    make(through, data_folder, NAME, exposures.size)
    camera_file(through, exposures, edges[:0], write_separate_files, camera_first=True)
    shutil.copytree(through, by_hand)
    (spec,) = (spec for spec in ibd.make_pipeline(through).specs if spec.name.startswith("Trials"))
    assert spec.executable == TRIALS
    told = reference.ask("run_task", executable=TRIALS, session=str(by_hand), arguments=dict(spec.arguments))
    assert told["status"] == 0, told["log"]
    expected = {Path(path).relative_to(by_hand).as_posix(): Path(path).read_bytes() for path in told["outputs"]}
    assert {"alf/_ibl_trials.table.pqt", "alf/_ibl_wheel.position.npy"} <= expected.keys()

    environments = ibd.Environments({"ibllib": PEER})
    with connect(this_machine(2, dashboard_port=0)) as client:
        result = run([through], environments=environments, client=client)
    (outcome,) = result.sessions
    assert result.exit_code == 0, [failure.message for failure in outcome.failures]
    # What writes to the database waits for it; everything else is done.
    assert {str(status) for name, status in outcome.tasks.items() if name not in outcome.not_required} == {"Complete"}
    assert {name.partition("_")[0] for name in outcome.not_required} == {
        "ExperimentDescriptionRegisterRaw",
        "TrainingStatus",
    }
    assert {name: (through / name).read_bytes() for name in expected} == expected
    made = {path.relative_to(through).as_posix() for path in (through / "alf").rglob("*") if path.is_file()}
    assert made == expected.keys() | {"alf/_ibl_leftCamera.times.npy"}
    assert len(np.load(through / "alf" / "_ibl_leftCamera.times.npy")) == exposures.size
    behaviour = [r for key, r in outcome.records.items() if key[0].startswith(("RegisterRaw", "Trials"))]
    assert len(behaviour) == 2
    video = [r for key, r in outcome.records.items() if key[0].split("-")[0] in ("times", "framepass", "index")]
    beside = [v for v in video for b in behaviour if b.started_s < v.started_s < b.started_s + b.seconds]
    assert beside, "the video's steps ran while another process worked on the trials"
    (log,) = (through / "ibl_dask" / "logs" / spec.name).iterdir()
    assert "Bpod trials extractor" in log.read_text()

    again = run([through], environments=environments)
    assert again.exit_code == 0
    assert [r.status for key, r in again.sessions[0].records.items() if key[0] == spec.name] == ["kept"]
