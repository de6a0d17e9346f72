"""What a plan says of each task: whether it would run, why, and what it would cost."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from other_environment import make_environment

from ibl_dask.model.forecast import Rates, TaskForecast
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.rates import read_rates
from ibl_dask.pipeline.run import run
from ibl_dask.store.run_record import RunRecord
from ibl_dask.tasks.video_mp4.forecast import ENCODING
from ibl_dask.tasks.video_sync.forecast import DECODING
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reducers.camera_set import camera_reducers
from ibl_dask.video.reducers.sharpness import Sharpness


def planned(folder: Path, **options) -> dict[str, TaskForecast]:
    return {task.task: task for task in forecast(make_pipeline(folder, **options))}


def raw(folder: Path, camera: str, part: str) -> Path:
    return folder / "raw_video_data" / f"_iblrig_{camera}Camera.{part}"


@pytest.fixture
def done(session_folder: Path) -> Path:
    """Return a session that was run."""
    assert run([session_folder]).exit_code == 0
    return session_folder


def test_a_fresh_session_lacks_its_outputs(session_folder: Path) -> None:
    found = planned(session_folder)
    timing = found["VideoSyncQC_nidq"]
    assert timing.runs
    assert timing.why == "missing output"
    assert found["VideoCompress"].why == "nothing to do"
    left = next(camera for camera in timing.cameras if camera.label == "left")
    index = index_video(raw(session_folder, "left", "raw.mp4"))
    assert left.n_frames == len(index)
    assert left.n_chunks == left.n_chunks_left > 0
    assert left.read_bytes == raw(session_folder, "left", "raw.mp4").stat().st_size
    assert left.core_s == pytest.approx(len(index) * index.width * index.height * DECODING.core_s)


def test_tasks_of_other_packages_lack_their_environment(session_folder: Path, monkeypatch) -> None:
    monkeypatch.delenv("IBL_DASK_PYTHON_DLC", raising=False)
    found = planned(session_folder)
    assert found["DLC"].why == "environment missing"
    assert "dlc" in found["DLC"].detail
    assert not found["DLC"].runs


def test_tasks_that_need_the_database_are_told_from_those_that_lack_an_environment(session_folder, tmp_path) -> None:
    python = make_environment(tmp_path / "env", "ibllib")
    found = planned(session_folder, environments={"ibllib": str(python)})
    assert found["ExperimentDescriptionRegisterRaw"].why == "needs Alyx"
    assert found["SyncRegisterRaw"].why == "no record"
    assert found["SyncRegisterRaw"].runs
    assert found["DLC"].why == "environment missing"
    assert found["PostDLC"].why == "waits"


def test_tasks_that_write_in_place_cannot_have_results_elsewhere(session_folder, tmp_path) -> None:
    python = make_environment(tmp_path / "env", "ibllib")
    found = planned(session_folder, environments={"ibllib": str(python)}, output_root=tmp_path / "out")
    assert found["SyncRegisterRaw"].why == "results elsewhere"
    assert found["VideoSyncQC_nidq"].runs


def test_a_plan_of_tasks_of_one_step_follows_what_they_left(session_folder, tmp_path) -> None:
    (session_folder / "raw").mkdir()
    (session_folder / "raw" / "in.txt").write_text("hello")
    places = {"ibllib": str(make_environment(tmp_path / "env"))}
    first = TaskSpec("Copies", "elsewhere.Copies")
    second = TaskSpec("Later", "elsewhere.Copies", {"a": 1}, ("Copies",))
    specs = (first, replace(second, level=1))

    def why(**options) -> dict[str, tuple[str, str]]:
        found = planned(session_folder, specs=specs, environments=places, **options)
        return {name: (task.why, task.detail) for name, task in found.items()}

    assert {name: said for name, (said, _) in why().items()} == {"Copies": "no record", "Later": "no record"}
    assert run([session_folder], specs=specs, environments=places).exit_code == 0
    # Both write the same file, so what the first left is no longer what it left.
    assert why() == {
        "Copies": ("changed output", "another program changed what it made: out.txt"),
        "Later": ("nothing to do", "done already, unless Copies leaves something new"),
    }
    assert {said for said, _ in why(overwrite=True).values()} == {"forced"}


def test_a_task_that_cannot_be_loaded_is_unusable_and_says_why(session_folder) -> None:
    specs = [TaskSpec("Mine", "turn_tasks.Nowhere")]
    found = planned(session_folder, specs=specs)["Mine"]
    assert (found.why, found.runs) == ("unusable", False)
    assert "turn_tasks.Nowhere cannot be loaded" in found.detail


def test_a_lab_s_task_that_cannot_be_asked_is_unusable_and_the_plan_goes_on(session_folder) -> None:
    specs = [
        TaskSpec("Odd", "turn_tasks.Odd"),
        TaskSpec("VideoRegisterRaw", "ibllib.pipes.video_tasks.VideoRegisterRaw"),
    ]
    found = planned(session_folder, specs=specs)
    assert found["Odd"].why == "unusable"
    assert "what it promises is unknown" in found["Odd"].detail
    assert found["VideoRegisterRaw"].runs


def test_after_a_run_there_is_nothing_to_do(done: Path) -> None:
    found = planned(done)
    assert found["VideoSyncQC_nidq"].why == "nothing to do"
    assert found["VideoSyncQC_nidq"].core_s == 0
    assert found["VideoRegisterRaw"].why == "listed anew"


def test_a_video_that_changed_is_an_input_that_changed(done: Path) -> None:
    path = raw(done, "left", "raw.mp4")
    stat, content = path.stat(), path.read_bytes()
    os.utime(path)
    assert planned(done)["VideoSyncQC_nidq"].why == "nothing to do", "to be touched is not to change"
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    found = planned(done)["VideoSyncQC_nidq"]
    assert found.why == "changed input"
    assert {camera.label: camera.why for camera in found.cameras} == {
        "left": "changed input",
        "right": "nothing to do",
        "body": "nothing to do",
    }


def test_a_clock_that_changed_costs_no_decoding(done: Path) -> None:
    path = done / "raw_ephys_data" / "_spikeglx_sync.times.npy"
    np.save(path, np.load(path) + 1e-3)
    found = planned(done)["VideoSyncQC_nidq"]
    assert found.why == "changed input"
    assert found.core_s == 0


def test_other_reducers_are_parameters_that_changed(done: Path) -> None:
    def reducers(*video: object) -> tuple[object, ...]:
        usual = camera_reducers(*video)
        return tuple(replace(r, stride=10) if isinstance(r, Sharpness) else r for r in usual)

    found = planned(done, reducers=reducers)["VideoSyncQC_nidq"]
    assert found.why == "changed parameters"
    assert all(camera.detail.startswith("sharpness to compute") for camera in found.cameras)
    assert found.core_s


def test_times_that_are_gone_are_made_again(done: Path) -> None:
    (done / "alf" / "_ibl_leftCamera.times.npy").unlink()
    found = planned(done)["VideoSyncQC_nidq"]
    assert found.why == "missing output"
    assert found.core_s == 0


def test_a_camera_without_video_cannot_run(session_folder: Path) -> None:
    raw(session_folder, "right", "raw.mp4").unlink()
    found = planned(session_folder)["VideoSyncQC_nidq"]
    assert found.runs
    assert next(c for c in found.cameras if c.label == "right").why == "no input"


def test_raw_videos_are_compressed_and_measured_on_the_way(raw_session: Path) -> None:
    found = planned(raw_session)
    compression = found["VideoCompress"]
    assert compression.why == "missing output"
    assert all(camera.n_chunks_left == camera.n_chunks > 0 for camera in compression.cameras)
    assert all("measured while it is compressed" in camera.detail for camera in found["VideoSyncQC_nidq"].cameras)
    assert found["VideoSyncQC_nidq"].core_s == 0


def test_overwriting_forces_what_others_compressed(raw_session: Path) -> None:
    for label in ("left", "right", "body"):
        raw(raw_session, label, "raw.mp4").write_bytes(b"a video that another program compressed")
    assert planned(raw_session)["VideoCompress"].why == "nothing to do"
    assert planned(raw_session, overwrite=True)["VideoCompress"].why == "forced"


def test_rates_come_from_what_runs_took(tmp_path: Path) -> None:
    assert read_rates(tmp_path) == Rates()

    def step(kind: str, seconds: float, **value: object) -> dict[str, object]:
        record = {"key": [kind, "S/2023-05-01/001", "f", 0], "status": "done", "value": value, "seconds": seconds}
        return {"event": "StepFinished", "session": "/S/2023-05-01/001", "record": record}

    def decoded(frames: int) -> dict[str, object]:
        return {"kind": "decode", "frames": frames, "pixels": 1_000_000 * frames}

    for name, frames, seconds in (("one", 300, 3.0), ("two", 100, 1.0)):
        with RunRecord(tmp_path, name) as record:
            record.append(step("framepass-left", seconds, work=decoded(frames)))
            record.append(step("framepass-left", 0.1, work=decoded(frames), kept=True))
            record.append(step("DLC", 7200.0))
    (tmp_path / "events-older.jsonl").write_text("of an earlier version\n")
    found = read_rates(tmp_path)
    assert found.core_s(DECODING, 1) == pytest.approx(4.0 / 400e6)
    assert found.core_s(ENCODING, 1) == Rates().core_s(ENCODING, 1)
    assert found.tasks["DLC"] == 7200
    assert found.source == "2 runs"


def test_a_forecast_is_json(session_folder: Path) -> None:
    for task in planned(session_folder).values():
        assert json.loads(json.dumps(task.to_json()))["task"] == task.task
