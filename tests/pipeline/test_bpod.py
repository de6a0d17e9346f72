"""Sessions of a training rig, from the description to the report."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import yaml
from video_tasks import of_videos

import ibl_dask as ibd
from ibl_dask.errors import DescriptionError, UsageError
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.synth import TrainingFaults, write_training_session
from ibl_dask.tasks.video_sync.pulse_times import load_timing

TICK_S = 1e-4
SESSION = "lab/Subjects/TR_001/2020-02-01/001"


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training") / SESSION
    return folder, write_training_session(folder, duration_s=25, scale=0.125, faults=TrainingFaults(mute_trials=1))


@pytest.fixture
def training(_made, tmp_path):
    """Return a copy of a small session that a test may do anything with, and the truth about it."""
    folder = tmp_path / SESSION
    shutil.copytree(_made[0], folder)
    return folder, _made[1]


def describe(folder, change):
    path = folder / "_ibl_experiment.description.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def times_of(folder, label="left"):
    return np.load(folder / "alf" / f"_ibl_{label}Camera.times.npy")


def trials_file(folder):
    return folder / "raw_behavior_data" / "_iblrig_taskData.raw.jsonable"


def message_of(result):
    return "\n".join(failure.message for failure in result.sessions[0].failures)


def test_a_session_runs_to_complete_with_times_checks_and_report(training, client):
    folder, truth = training
    result = run([folder], client=client)
    assert result.exit_code == 0, message_of(result)
    names = ("VideoRegisterRaw", "VideoCompress", "VideoSyncQC_bpod")
    assert of_videos(result.sessions[0].tasks) == dict.fromkeys(names, "Complete")
    assert result.sessions[0].report == folder / "ibl_dask" / "report.html"
    times = times_of(folder)
    seen = truth.is_noted
    assert len(times) == truth.camera.n_frames
    assert np.abs(times - truth.camera.frame_times_s)[seen].max() <= TICK_S
    arrays, facts = load_timing(folder / "ibl_dask" / "leftCamera-timing.npz")
    assert facts["method"] == "pins"
    np.testing.assert_array_equal(arrays["quality"] == 0, seen)
    with xr.open_zarr(folder / "ibl_dask" / "leftCamera-frames.zarr") as dataset:
        np.testing.assert_array_equal(dataset.time, times)
    checks = json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"]["left"]["checks"]
    outcomes = {name: content["outcome"] for name, content in checks.items()}
    for name in ("framerate", "resolution", "file_headers", "dropped_frames", "pin_state", "camera_times", "decoding"):
        assert outcomes[name] == "PASS", checks[name]
    # Between the trials and after them no pulse was seen.
    assert outcomes["timestamps"] == "WARNING"
    assert f"{np.count_nonzero(~seen):,} not measured" in checks["timestamps"]["measured"]


def test_without_width_and_rate_in_the_description_a_training_rig_is_expected(training):
    folder, _ = training

    def forget(content):
        content["devices"]["cameras"]["left"] = {"collection": "raw_video_data"}

    describe(folder, forget)
    assert run([folder]).exit_code == 0
    checks = json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"]["left"]["checks"]
    assert checks["framerate"]["outcome"] == "PASS"
    assert "1280 x 1024" in checks["resolution"]["threshold"]


def test_running_again_keeps_the_times_and_other_trials_make_new_ones(training):
    folder, _ = training
    run([folder])
    before = times_of(folder)
    again = run([folder])
    assert [r.status for r in again.sessions[0].records.values() if r.key[0] == "times-left"] == ["kept"]
    trials = [json.loads(line) for line in trials_file(folder).read_text().splitlines()]
    for trial in trials:
        trial["behavior_data"]["Bpod start timestamp"] -= 10
    trials_file(folder).write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    assert run([folder], overwrite=True).exit_code == 0
    np.testing.assert_allclose(times_of(folder), before + 10, atol=1e-6)


def test_the_task_is_called_as_in_the_field_s_scripts(training):
    folder, truth = training
    task = ibd.VideoSyncQcBpod(
        folder, cameras=["left"], sync="bpod", sync_collection="raw_behavior_data", collection="raw_behavior_data"
    )
    times, files = task.extract_camera(save=True)
    assert [path.name for path in files] == ["_ibl_leftCamera.times.npy"]
    assert len(times[0]) == truth.camera.n_frames
    assert task.run_qc(update=False)["left"].checks["pin_state"].outcome.name == "PASS"
    assert task.run() == 0
    names = [leaf.name for dataset in task.signature.inputs for leaf in dataset.leaves]
    assert "_iblrig_taskData.raw.jsonable" in names
    assert "_iblrig_leftCamera.raw.mp4" in names


@pytest.mark.parametrize("frame_data", [True, False])
def test_a_camera_of_another_name_is_timed_as_well(tmp_path, frame_data):
    folder = tmp_path / SESSION
    truth = write_training_session(folder, duration_s=20, label="right", scale=0.2, frame_data=frame_data)
    assert run([folder]).exit_code == 0
    off = np.abs(times_of(folder, "right") - truth.camera.frame_times_s)
    assert off[truth.is_noted].max() <= TICK_S


def test_unusable_pins_fail_and_the_report_names_the_assumption_first(tmp_path):
    folder = tmp_path / SESSION
    truth = write_training_session(folder, duration_s=20, scale=0.125, faults=TrainingFaults(pins="stuck", tail_s=12))
    assert run([folder]).exit_code == 0
    assert len(times_of(folder)) == truth.camera.n_frames
    check = json.loads((folder / "ibl_dask" / "qc.json").read_text())["cameras"]["left"]["checks"]["timestamps"]
    assert check["outcome"] == "FAIL"
    assert "the first is assumed to be that of frame 0" in check["message"]
    arrays, facts = load_timing(folder / "ibl_dask" / "leftCamera-timing.npz")
    assert (arrays["quality"] == 3).all()
    assert set(arrays["pulse_quality"]) == {0, 1, 2}
    assert facts["n_assumed"] == len(arrays["quality"])
    page = (folder / "ibl_dask" / "report.html").read_text()
    assumed = "times are assumed and may be off by whole frames: numbers of frames and pulses alone say"
    assert f"{facts['n_assumed']:,} {assumed}" in page
    assert "come after the last pulse; their times are extrapolated" in check["message"]


# -- which camera ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cameras", "chosen"),
    [
        ({"left": {}, "right": {}}, "left"),
        ({"left": {"sync_label": None}, "right": {}}, "right"),
        ({"left": {}, "right": {"sync_label": "bpod"}}, "right"),
        ({"left": {"sync_label": "bpod"}, "right": {"sync_label": "bpod"}}, "left"),
        ({"right": {}, "ear": {}}, "right"),
        ({"right": {}, "body": {}}, None),
    ],
)
def test_only_the_camera_that_is_wired_to_the_bpod_is_timed_and_the_others_are_named(training, cameras, chosen):
    folder, _ = training
    describe(folder, lambda content: content["devices"].update(cameras=cameras))
    pipeline = make_pipeline(folder)
    notes = " ".join(pipeline.notes)
    if chosen is None:
        assert list(of_videos(pipeline.tasks)) == ["VideoRegisterRaw", "VideoCompress"]
        assert "body, right the description does not say which" in notes
        with pytest.raises(DescriptionError, match="which camera is wired"):
            _ = ibd.VideoSyncQcBpod(folder).cameras
        assert ibd.VideoSyncQcBpod(folder, "body").cameras == ("body",)
        return
    assert pipeline.tasks["VideoSyncQC_bpod"].cameras == ibd.VideoSyncQcBpod(folder).cameras == (chosen,)
    for other in cameras.keys() - {chosen}:
        assert other in notes
        assert "registered only" in notes


def test_several_cameras_at_once_are_refused(training):
    with pytest.raises(UsageError, match=r"pulses of one camera.*left, right"):
        ibd.VideoSyncQcBpod(training[0], cameras=("left", "right"))


# -- which trials ------------------------------------------------------------------------------------------


def two_protocols(folder):
    (folder / "raw_behavior_data").rename(folder / "raw_task_data_00")
    shutil.copytree(folder / "raw_task_data_00", folder / "raw_task_data_01")

    def change(content):
        content["sync"] = {"bpod": {"collection": "raw_task_data_00"}}
        content["tasks"] = [{"one": {"collection": "raw_task_data_00"}}, {"two": {"collection": "raw_task_data_01"}}]

    describe(folder, change)


def test_with_several_protocols_the_clock_is_named_in_plan_and_result(training):
    folder, truth = training
    two_protocols(folder)
    assert any("2 protocols" in note and "raw_task_data_00" in note for note in make_pipeline(folder).notes)
    assert run([folder]).exit_code == 0
    assert len(times_of(folder)) == truth.camera.n_frames
    _, facts = load_timing(folder / "ibl_dask" / "leftCamera-timing.npz")
    assert any("times are on that of raw_task_data_00" in note for note in facts["notes"])


def test_another_protocol_s_clock_can_be_asked_for(training):
    folder, _ = training
    two_protocols(folder)
    path = folder / "raw_task_data_01" / "_iblrig_taskData.raw.jsonable"
    trials = [json.loads(line) for line in path.read_text().splitlines()]
    for trial in trials:
        trial["behavior_data"]["Bpod start timestamp"] -= 100
    path.write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    assert run([folder], collection="raw_task_data_01").exit_code == 0
    assert times_of(folder)[0] > 90


def test_a_sync_without_collection_finds_the_trials_of_its_protocol(training):
    folder, _ = training
    (folder / "raw_behavior_data").rename(folder / "raw_task_data_00")

    def change(content):
        content["sync"] = {"bpod": {}}
        content["tasks"][0]["_iblrig_tasks_trainingChoiceWorld"]["collection"] = "raw_task_data_00"

    describe(folder, change)
    assert run([folder]).exit_code == 0


def test_more_than_a_minute_after_the_last_trial_is_refused_unless_asked_for(tmp_path):
    folder = tmp_path / SESSION
    faults = TrainingFaults(head_s=-1, tail_s=70)
    truth = write_training_session(folder, duration_s=20, scale=0.1, faults=faults)
    refused = run([folder])
    assert refused.exit_code == 1
    for text in ("2,100 after the last", "at most 1,800 frames (60 s", "longest_extrapolation_s"):
        assert text in message_of(refused)
    assert not (folder / "alf" / "_ibl_leftCamera.times.npy").exists()
    assert run([folder], longest_extrapolation_s=90).exit_code == 0
    assert np.abs(times_of(folder) - truth.camera.frame_times_s).max() < 5e-3


# -- files that are not as they should be --------------------------------------------------------------------


def test_settings_are_not_needed(training):
    folder, _ = training
    (folder / "raw_behavior_data" / "_iblrig_taskSettings.raw.json").unlink()
    assert run([folder]).exit_code == 0


def test_a_torn_last_trial_costs_nothing_but_its_pulses(training):
    folder, truth = training
    trials_file(folder).write_text(trials_file(folder).read_text()[:-200])
    assert run([folder]).exit_code == 0
    assert len(times_of(folder)) == truth.camera.n_frames
    _, facts = load_timing(folder / "ibl_dask" / "leftCamera-timing.npz")
    assert any("cut off" in note for note in facts["notes"])


def no_pulses(path):
    trials = [json.loads(line) for line in path.read_text().splitlines()]
    for trial in trials:
        for name in ("Port1In", "Port1Out"):
            trial["behavior_data"]["Events timestamps"].pop(name, None)
    path.write_text("".join(json.dumps(trial) + "\n" for trial in trials))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(b""), "no whole trial"),
        (lambda path: path.unlink(), "_iblrig_taskData.raw.jsonable"),
        (lambda path: path.write_text("{}\n" + path.read_text()), "line 1 is not a trial"),
        (lambda path: path.write_text('{"behav\n' + path.read_text()), "line 1 of the trials is damaged"),
        (no_pulses, "noted no pulses of the camera"),
    ],
    ids=["empty", "missing", "no trial", "damaged", "no pulses"],
)
def test_trials_that_cannot_be_used_are_refused_and_the_video_is_measured_all_the_same(training, damage, told):
    folder, _ = training
    damage(trials_file(folder))
    result = run([folder])
    assert result.exit_code == 1
    message = message_of(result)
    for text in (told, "Where: ", "Expected: ", "Got: ", "What to do: "):
        assert text in message, message
    qc = json.loads((folder / "ibl_dask" / "qc.json").read_text())
    assert qc["extended_qc"]["_videoLeft_timestamps"] == "CRITICAL"
    assert qc["extended_qc"]["_videoLeft_brightness"] != "NOT_SET"
    assert not (folder / "alf" / "_ibl_leftCamera.times.npy").exists()


def test_a_session_without_description_is_described_by_its_protocol(training):
    folder, truth = training
    (folder / "_ibl_experiment.description.yaml").unlink()
    settings = folder / "raw_behavior_data" / "_iblrig_taskSettings.raw.json"
    settings.write_text('{"PYBPOD_PROTOCOL": "_iblrig_tasks_trainingChoiceWorld6.4.2"}')
    assert "inferred from the protocol" in make_pipeline(folder).notes[0]
    result = run([folder])
    assert result.exit_code == 0, message_of(result)
    assert len(times_of(folder)) == truth.camera.n_frames


def test_a_session_without_description_and_protocol_is_refused(training):
    folder, _ = training
    (folder / "_ibl_experiment.description.yaml").unlink()
    (folder / "raw_behavior_data" / "_iblrig_taskSettings.raw.json").unlink()
    result = run([folder])
    assert result.exit_code == 1
    assert "no experiment description" in message_of(result)
