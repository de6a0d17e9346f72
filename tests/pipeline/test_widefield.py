"""Sessions of a widefield rig, whose cameras labcams recorded: from the description to the report."""

import json
import shutil

import numpy as np
import pytest
import yaml
from program import run as run_program
from video_tasks import of_videos

import ibl_dask as ibd
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.synth import CamlogStyle, WidefieldFaults, write_widefield_session
from ibl_dask.synth.clocks import DAQ_RATE_HZ
from ibl_dask.synth.plan import CameraFaults
from ibl_dask.tasks.video_sync.pulse_times import load_timing

SAMPLE_S = 1 / DAQ_RATE_HZ
SESSION = "lab/Subjects/WF_001/2022-08-04/001"
FAULTS = WidefieldFaults(
    cameras={"left": CameraFaults(n_dropped=2, surplus_end_s=0.1), "right": CameraFaults(surplus_start_s=0.2)},
    logs={"left": CamlogStyle(slow_at=(100,)), "right": CamlogStyle(first_id=16_696_704, origin_s=582_606.55)},
)


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widefield") / SESSION
    return folder, write_widefield_session(folder, duration_s=5, scale=0.15, faults=FAULTS)


@pytest.fixture
def widefield(_made, tmp_path):
    """Return a copy of a small session that a test may do anything with, and the truth about it."""
    folder = tmp_path / SESSION
    shutil.copytree(_made[0], folder)
    return folder, _made[1]


def off_by(folder, truth, label):
    times = np.load(folder / "alf" / f"_ibl_{label}Camera.times.npy")
    assert times.shape == truth.cameras[label].frame_times_s.shape
    return np.abs(times - truth.cameras[label].frame_times_s).max()


def checks_of(folder, label):
    return json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"][label]["checks"]


def message_of(result):
    return "\n".join(failure.message for failure in result.sessions[0].failures)


def test_a_session_runs_to_complete_with_the_true_times(widefield, client):
    folder, truth = widefield
    result = run([folder], client=client)
    assert result.exit_code == 0, message_of(result)
    expected = ("VideoConvert", "VideoRegisterRaw", "VideoSyncQC_nidq")
    assert of_videos(result.sessions[0].tasks) == dict.fromkeys(expected, "Complete")
    for label, camera in truth.cameras.items():
        assert off_by(folder, truth, label) <= SAMPLE_S
        _, facts = load_timing(folder / "ibl_dask" / f"{label}Camera-timing.npz")
        assert facts["n_dropped"] == camera.n_dropped
        assert (facts["n_surplus_start"], facts["n_surplus_end"]) == (camera.n_surplus_start, camera.n_surplus_end)
        checks = checks_of(folder, label)
        for name in ("timestamps", "camera_times", "framerate", "decoding"):
            assert checks[name]["outcome"] == "PASS", checks[name]
        # There are no pins to judge, and the ids count what was dropped.
        assert "pin_state" not in checks
        assert checks["dropped_frames"]["numbers"][0] == camera.n_dropped
    assert "leftCamera.raw.camlog" in (folder / "ibl_dask" / "provenance.json").read_text()


def test_the_program_plans_and_runs_it(widefield):
    folder, truth = widefield
    assert type(make_pipeline(folder).tasks["VideoSyncQC_nidq"]) is ibd.VideoSyncQcCamlog
    code, text = run_program(folder, "--tasks", "VideoSyncQcCamlog")
    assert code == 0, text
    assert off_by(folder, truth, "left") <= SAMPLE_S


def test_the_task_is_called_as_in_the_field_s_scripts(widefield):
    folder, truth = widefield
    task = ibd.VideoSyncQcCamlog(
        folder,
        device_collection="raw_video_data",
        sync="nidq",
        sync_namespace="spikeglx",
        sync_collection="raw_sync_data",
        cameras=["left"],
    )
    times, files = task.extract_camera(save=True)
    assert [path.name for path in files] == ["_ibl_leftCamera.times.npy"]
    assert np.abs(times[0] - truth.cameras["left"].frame_times_s).max() <= SAMPLE_S
    assert "_iblrig_leftCamera.raw.camlog" in [leaf.name for each in task.signature.inputs for leaf in each.leaves]


def test_videos_and_logs_need_not_be_converted_first(tmp_path):
    folder = tmp_path / SESSION
    truth = write_widefield_session(folder, duration_s=4, cameras=("left",), scale=0.15, as_recorded=True)
    assert not list(folder.rglob("_iblrig_*"))
    before = sorted((path, path.stat().st_mtime_ns) for path in (folder / "raw_video_data").iterdir())
    assert run([folder], tasks=["VideoRegisterRaw", "VideoSyncQC_nidq"]).exit_code == 0
    assert off_by(folder, truth, "left") <= SAMPLE_S
    assert sorted((path, path.stat().st_mtime_ns) for path in (folder / "raw_video_data").iterdir()) == before


def test_file_names_may_carry_a_dataset_uuid(widefield):
    folder, truth = widefield
    log = folder / "raw_video_data" / "_iblrig_leftCamera.raw.camlog"
    log.rename(log.with_name("_iblrig_leftCamera.raw.0123abcd-0000-1111-2222-333344445555.camlog"))
    assert run([folder]).exit_code == 0
    assert off_by(folder, truth, "left") <= SAMPLE_S


def test_a_log_tells_labcams_even_where_the_description_does_not(widefield):
    folder, truth = widefield
    path = folder / "_ibl_experiment.description.yaml"
    content = yaml.safe_load(path.read_text())
    for camera in content["devices"]["cameras"].values():
        del camera["compressed"]
    path.write_text(yaml.safe_dump(content))
    assert type(make_pipeline(folder).tasks["VideoSyncQC_nidq"]) is ibd.VideoSyncQcNidq
    assert run([folder]).exit_code == 0
    assert off_by(folder, truth, "right") <= SAMPLE_S


def test_without_log_numbers_decide_and_registering_names_the_file(tmp_path):
    folder = tmp_path / SESSION
    truth = write_widefield_session(folder, duration_s=4, cameras=("left",), scale=0.15)
    (folder / "raw_video_data" / "_iblrig_leftCamera.raw.camlog").unlink()
    result = run([folder])
    assert result.exit_code == 1
    expected = {"VideoConvert": "Complete", "VideoRegisterRaw": "Errored", "VideoSyncQC_nidq": "Complete"}
    assert of_videos(result.sessions[0].tasks) == expected
    assert "_iblrig_leftCamera.raw.camlog" in message_of(result)
    assert off_by(folder, truth, "left") <= SAMPLE_S


def test_a_damaged_log_stops_its_camera_alone(widefield):
    folder, truth = widefield
    log = folder / "raw_video_data" / "_iblrig_leftCamera.raw.camlog"
    log.write_text(log.read_text().replace("\n50,", "\n5o,"))
    result = run([folder])
    assert result.exit_code == 1
    for text in ("of the log is damaged", "5o,", "Where: ", "Expected: ", "What to do: "):
        assert text in message_of(result)
    assert checks_of(folder, "left")["timestamps"]["outcome"] == "CRITICAL"
    assert checks_of(folder, "left")["brightness"]["outcome"] != "NOT_SET"
    assert off_by(folder, truth, "right") <= SAMPLE_S


def test_a_log_that_was_changed_gives_other_times_and_one_that_was_not_keeps_them(widefield):
    folder, _ = widefield
    run([folder])
    again = run([folder])
    assert {r.status for r in again.sessions[0].records.values() if r.key[0].startswith("times-")} == {"kept"}
    log = folder / "raw_video_data" / "_iblrig_leftCamera.raw.camlog"
    log.write_text(log.read_text() + "#\n")
    changed = run([folder])
    statuses = {r.key[0]: r.status for r in changed.sessions[0].records.values() if r.key[0].startswith("times-")}
    assert statuses == {"times-left": "done", "times-right": "kept"}
