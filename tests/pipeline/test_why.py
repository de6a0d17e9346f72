"""Makers of files, and whether these are stale: from a real run, and after each kind of change."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from described import described
from program import on_disk
from typer.testing import CliRunner

from ibl_dask.cli.app import app
from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.session import Session
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.why import explain
from ibl_dask.store.task_record import TaskRecord, identities, write_task_record
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.field_outputs import usual_makers

SESSION = Path("lab") / "Subjects" / "SW_001" / "2023-05-01" / "001"
TASK = "VideoSyncQC_nidq"
TIMES = "alf/_ibl_leftCamera.times.npy"
STORE = "ibl_dask/leftCamera-frames.zarr"
LAB = "lab_tasks.LickRate"


@pytest.fixture(scope="module")
def ran(tmp_path_factory, _template):
    """Return a session on which all tasks of this package, and one of a lab, have run."""
    folder = tmp_path_factory.mktemp("ran") / SESSION
    shutil.copytree(_template, folder)
    outcome = run([folder], chunk_pixels=4_000_000).sessions[0]
    assert outcome.is_success, outcome.failures
    outcome = run([folder], tasks=[LAB]).sessions[0]
    assert outcome.is_success, outcome.failures
    return folder


@pytest.fixture
def session(ran, tmp_path):
    """Return a copy of that session, for tests that change it."""
    folder = tmp_path / SESSION
    shutil.copytree(ran, folder)
    return folder


def why(path, *more):
    """Call the command in this process; return exit code and output."""
    found = CliRunner().invoke(app, ["why", str(path), *more], catch_exceptions=False)
    return found.exit_code, found.output


def change(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def provenance(folder, edit):
    path = folder / "ibl_dask" / "provenance.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


# -- the maker -------------------------------------------------------------------------------------------------------


def test_a_result_is_told_with_task_step_run_host_inputs_parameters_and_versions(ran):
    before = on_disk(ran)
    found = explain(ran / TIMES)
    maker = found.maker
    assert (maker.origin, maker.task, maker.step, maker.camera) == ("made", TASK, "wheel-left", "left")
    assert maker.executable == "ibllib.pipes.video_tasks.VideoSyncQcNidq"
    assert maker.parameters["chunk_pixels"] == 4_000_000
    assert maker.parameters["device_collection"] == "raw_video_data"
    assert {"ibl_dask", "av", "numpy", "decoder"} <= maker.versions.keys()
    assert "libavcodec" in maker.versions["decoder"]
    assert maker.ended_s == pytest.approx((ran / TIMES).stat().st_mtime, abs=5)
    inputs = {row["path"]: (row["size"], state) for row, state in found.inputs}
    frame_data = "raw_video_data/_iblrig_leftCamera.frameData.bin"
    assert inputs[frame_data] == ((ran / frame_data).stat().st_size, "same")
    assert not any("rightCamera" in name or "bodyCamera" in name for name in inputs)
    assert found.stale == ()
    assert found.versions_changed == {}
    assert on_disk(ran) == before


KINDS = {
    f"{STORE}/zarr.json": (TASK, "frames-left"),
    "ibl_dask/leftCamera-timing.npz": (TASK, "wheel-left"),
    "ibl_dask/qc.json": (TASK, "publish"),
    "ibl_dask/registration.json": ("VideoRegisterRaw", "registration"),
}


def test_files_of_every_kind_have_their_maker(ran):
    for name, expected in {**KINDS, "alf/lab.rate.npy": ("LickRate", "LickRate")}.items():
        found = explain(ran / name)
        assert (found.maker.origin, found.maker.task, found.maker.step) == ("made", *expected)
        assert found.maker.run
        assert found.stale == ()


def test_records_of_older_versions_tell_the_maker_as_well(session):
    provenance(session, lambda content: [content.pop(key) for key in ("files", "requests", "places")])
    for name, expected in KINDS.items():
        found = explain(session / name)
        assert (found.maker.origin, found.maker.task, found.maker.step) == ("made", *expected)
        assert found.maker.run
        assert found.stale == ()
    assert {state for _, state in explain(session / TIMES).inputs} == {"same"}


def test_without_any_provenance_the_markers_tell(session):
    (session / "ibl_dask" / "provenance.json").unlink()
    found = explain(session / TIMES)
    assert (found.maker.task, found.maker.step, found.maker.run) == (TASK, "wheel-left", "")
    change(session / TIMES)
    assert "content is not what was recorded" in explain(session / TIMES).stale[0]


def test_a_run_that_finds_results_made_leaves_their_maker(session):
    before = explain(session / TIMES).maker
    assert run([session]).sessions[0].is_success
    after = explain(session / TIMES).maker
    assert (after.run, after.ended_s, after.host) == (before.run, before.ended_s, before.host)


def test_a_compressed_video_is_told_from_its_record(raw_session):
    description = raw_session / "_ibl_experiment.description.yaml"
    content = yaml.safe_load(description.read_text())
    content["devices"]["cameras"] = {"left": content["devices"]["cameras"]["left"]}
    description.write_text(yaml.safe_dump(content))
    outcome = run([raw_session], tasks=["VideoCompress"], raw_video="trash").sessions[0]
    assert outcome.is_success, outcome.failures
    video = raw_session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    for _ in range(2):  # the second time a run has found it there
        found = explain(video)
        assert (found.maker.origin, found.maker.task) == ("made", "VideoCompress")
        assert found.maker.step == "compress-left"
        assert [(row["name"], state) for row, state in found.inputs] == [("_iblrig_leftCamera.raw.avi", "gone")]
        assert found.maker.parameters["raw_video"] == "trash"
        assert found.stale == ()
        run([raw_session], tasks=["VideoCompress"], raw_video="trash")
    change(video)
    code, text = why(video)
    assert code == 1
    assert "the file was changed since" in text
    assert found.maker.compression.sha256 in text


def test_a_chunk_in_the_scratch_has_session_task_and_step(session):
    space = Workspace(Session(session), default_work_dir(Session(session)))
    space.open_scratch()
    chunk = space.chunk_file("left", Chunk(0, 100))
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"x")
    found = explain(chunk)
    assert found.session == session
    assert (found.maker.origin, found.maker.task, found.maker.step) == ("scratch", TASK, "framepass-left")


def test_a_result_under_an_output_root_belongs_to_the_recorded_session(session, tmp_path):
    (session / "ibl_dask").rename(tmp_path / "aside")
    shutil.rmtree(session / "alf" / "old", ignore_errors=True)
    (session / TIMES).unlink()
    assert run([session], output_root=tmp_path / "out", tasks=["VideoSyncQcNidq"]).sessions[0].is_success
    outputs = Session(session, tmp_path / "out").outputs
    found = explain(outputs / TIMES)
    assert found.session == session
    assert found.stale == ()
    assert {state for _, state in found.inputs} == {"same"}


def test_a_task_of_another_package_is_told_from_its_completion_record(tmp_path):
    folder = described(tmp_path)
    space = Workspace(Session(folder), tmp_path / "work")
    read, made = folder / "raw_ephys_data" / "x.bin", folder / "alf" / "_ibl_trials.table.pqt"
    for path in (read, made):
        path.parent.mkdir()
        path.write_text("x")
    record = TaskRecord("f", identities([read]), identities([made]), {"outputs": [str(made)]}, ("x.bin",))
    write_task_record(space.task_file("Trials_00"), record, time.time_ns() + 10**9, record.inputs)
    found = explain(made)
    assert (found.maker.origin, found.maker.task) == ("made", "Trials_00")
    assert [(row["path"], state) for row, state in found.inputs] == [(str(read), "same")]
    assert found.stale == ()
    read.write_text("other")
    assert any("inputs changed since" in reason for reason in explain(made).stale)
    read.write_text("x")
    made.write_text("mine")
    assert any("the file was changed since" in reason for reason in explain(made).stale)


# -- files of others -------------------------------------------------------------------------------------------------


def test_a_file_that_nobody_here_made_is_said_so_with_the_task_that_usually_does(session):
    path = session / "alf" / "_ibl_leftCamera.dlc.pqt"
    path.write_text("x")
    code, text = why(path)
    assert code == 0
    assert "no task here" in text
    assert "DLC" in text
    found = explain(session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4")
    assert (found.maker.origin, found.maker.task) == ("found", "VideoCompress")
    assert "raw data" in why(session / "raw_video_data" / "_iblrig_leftCamera.frameData.bin")[1]


@pytest.mark.parametrize(
    ("name", "makers"),
    [
        ("alf/#2024-01-01#/_ibl_trials.table.0a1b2c3d-0000-4000-8000-0123456789ab.pqt", "ChoiceWorldTrialsNidq"),
        ("alf/task_00/_ibl_wheel.position.npy", "ChoiceWorldTrialsBpod"),
        ("alf/probe00/pykilosort/spikes.times.npy", "SpikeSorting"),
        ("alf/_ibl_bodyCamera.lightningPose.pqt", "LightningPose"),
        ("alf/FOV_00/mpciROIs.stackPos.npy", "MesoscopePreprocess"),
        ("raw_ephys_data/_spikeglx_sync.times.npy", "SyncPulses"),
        ("raw_ephys_data/probe00/_spikeglx_sync.times.probe00.npy", "EphysPulses"),
        ("raw_task_data_00/_iblrig_micData.raw.flac", "AudioCompress"),
        ("alf/widefield/widefieldSVT.uncorrected.npy", "WidefieldPreprocess"),
        ("raw_ephys_data/probe01/x_g0_t0.imec1.ap.cbin", "EphysCompressNP1"),
    ],
)
def test_names_of_the_field_have_their_tasks(name, makers):
    assert makers in usual_makers(name)


def test_unknown_names_have_no_task():
    assert usual_makers("alf/mine.npy") == usual_makers("notes.txt") == usual_makers("raw_video_data/x.bin") == ()


def test_logs_and_records_are_told_by_their_names(ran):
    log = next((ran / "ibl_dask" / "logs").glob("LickRate*"))
    assert (explain(log).maker.origin, explain(log).maker.task) == ("log", "LickRate")
    marker = explain(ran / "ibl_dask" / "done" / "wheel-left.json").maker
    assert (marker.origin, marker.task) == ("record", TASK)
    assert explain(ran / "ibl_dask" / "report.html").maker.origin == "record"


def test_what_is_no_file_of_a_session_is_refused(ran, tmp_path):
    with pytest.raises(UsageError, match="belongs to no session"):
        explain(tmp_path / "x.npy")
    with pytest.raises(MissingFile, match="no record of one"):
        explain(ran / "alf" / "nothing.npy")


# -- staleness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [TIMES, f"{STORE}/zarr.json", "ibl_dask/registration.json", "alf/lab.rate.npy"])
def test_a_result_that_another_program_changed_is_stale(session, name):
    change(session / name)
    code, text = why(session / name)
    assert code == 1
    assert "the file was changed since" in text


def test_a_changed_input_makes_stale_what_was_made_of_it_and_nothing_else(session):
    change(session / "raw_video_data" / "_iblrig_leftCamera.frameData.bin")
    found = explain(session / TIMES)
    assert any("inputs changed since" in reason and "frameData" in reason for reason in found.stale)
    assert any("changed input (left)" in reason for reason in found.stale)
    assert explain(session / "alf" / "_ibl_rightCamera.times.npy").stale == ()


def test_a_result_that_is_gone_is_told_with_the_cost_of_making_it(session):
    shutil.rmtree(session / STORE)
    code, text = why(session / STORE)
    assert code == 1
    assert "it is gone" in text
    assert "core-hours" in text
    found = explain(session / STORE)
    cost = next(task.core_s for task in found.anew if task.task == TASK)
    assert cost > 0


def test_other_versions_are_named(session):
    provenance(session, lambda content: [each["made"].update(numpy="1.0") for each in content["runs"]])
    assert explain(session / TIMES).versions_changed["numpy"][0] == "1.0"
    assert "was 1.0" in why(session / TIMES)[1]


def test_json_holds_everything(ran):
    found = json.loads(why(ran / TIMES, "--json")[1])
    assert (found["task"], found["is_stale"], found["exists"]) == (TASK, False, True)
    assert found["inputs"][0].keys() >= {"path", "size", "content", "state"}


def test_records_that_are_damaged_cost_no_answer(session):
    (session / "ibl_dask" / "provenance.json").write_text('{"version": 2, "ran"')
    (session / "ibl_dask" / "done" / "wheel-left.json").write_text("[")
    assert Path(explain(session / TIMES).path).exists()


# -- revisions -------------------------------------------------------------------------------------------------------


def test_an_old_revision_names_the_newer_one_and_each_has_its_own_run(session):
    first = explain(session / TIMES).maker.run
    sync = session / "raw_ephys_data" / "_spikeglx_sync.times.npy"
    np.save(sync, np.load(sync) + 10)
    outcome = run([session], tasks=[TASK], chunk_pixels=4_000_000).sessions[0]
    assert outcome.is_success, outcome.failures
    (revision,) = session.glob("alf/#*#/_ibl_leftCamera.times.npy")
    old, new = explain(session / TIMES), explain(revision)
    assert any(f"newer revision, which readers take instead: {revision}" in reason for reason in old.stale)
    assert old.maker.run == first
    assert new.stale == ()
    assert new.maker.run not in ("", first)
