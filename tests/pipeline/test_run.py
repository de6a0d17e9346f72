"""The main job, end to end on synthesised sessions."""

import json
import os
import shutil
import signal
import time
import uuid

import numpy as np
import pytest
import xarray as xr
import yaml
from handed_out import handed_out
from published import CAMERAS, SMALL_CHUNKS, assert_same, passes, results

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.model.events import StepFinished
from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import read_journal
from ibl_dask.synth.truth import Truth
from ibl_dask.video.reducers.camera_set import camera_reducers
from ibl_dask.video.reducers.sharpness import Sharpness


def softer(label, n_frames, width, height):
    """Return the usual reducers, but sharpness every 100 frames."""
    usual = camera_reducers(label, n_frames, width, height)
    return tuple(Sharpness(stride=100) if isinstance(r, Sharpness) else r for r in usual)


def test_every_frame_gets_the_time_it_was_exposed_at(session_folder):
    result = run([session_folder])
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    truth = Truth.read(session_folder)
    for label in CAMERAS:
        times = np.load(session_folder / "alf" / f"_ibl_{label}Camera.times.npy")
        expected = truth.cameras[label].frame_times_s
        assert len(times) == len(expected)
        np.testing.assert_allclose(times, expected, atol=1 / 30_000)


def test_dask_and_a_plain_loop_give_the_same_bytes(session_folder, tmp_path, client):
    by_hand, by_dask = tmp_path / "by_hand", tmp_path / "by_dask"
    assert run([session_folder], output_root=by_hand).exit_code == 0
    assert run([session_folder], output_root=by_dask, client=client, chunk_pixels=SMALL_CHUNKS).exit_code == 0
    relative = session_folder.relative_to(tmp_path)
    assert_same(results(by_dask / relative), results(by_hand / relative))


def test_chunks_are_taken_in_the_order_of_the_plan_and_all_cameras_go_on_together(session_folder, client, monkeypatch):
    keys = handed_out(monkeypatch)
    assert run([session_folder], client=client, chunk_pixels=SMALL_CHUNKS).is_success
    taken = [key for key in keys if key[0].startswith("framepass")]
    left = [key[3] for key in taken if key[0] == "framepass-left"]
    assert len(left) == 6
    assert left == sorted(left)
    places = {key[0]: [at for at, other in enumerate(taken) if other[0] == key[0]] for key in taken}
    assert len(places) == len(CAMERAS)
    assert max(at[0] for at in places.values()) < min(places[f"framepass-{c}"][-1] for c in ("left", "right"))


def test_with_an_output_root_the_session_is_not_touched(session_folder, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in session_folder.rglob("*")}
    assert run([session_folder], output_root=tmp_path / "out", work_dir=tmp_path / "work").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in session_folder.rglob("*")} == before


def test_running_again_decodes_nothing_and_changes_nothing(session_folder, client):
    run([session_folder], client=client, chunk_pixels=SMALL_CHUNKS)
    first = results(session_folder)
    again = run([session_folder], client=client, chunk_pixels=SMALL_CHUNKS)
    assert again.exit_code == 0
    assert not [r for r in again.sessions[0].records.values() if r.key[0].startswith("framepass")]
    assert_same(results(session_folder), first)


@pytest.mark.parametrize("cluster", ["the same live cluster", "a new cluster"])
def test_a_changed_parameter_recomputes_that_reducer_alone(session_folder, client, cluster):
    run([session_folder], client=client, chunk_pixels=SMALL_CHUNKS)
    before = results(session_folder)
    options = {"chunk_pixels": SMALL_CHUNKS, "reducers": softer}
    if cluster == "the same live cluster":
        changed = run([session_folder], client=client, **options)
    else:
        with connect(this_machine(1, dashboard_port=0)) as other:
            changed = run([session_folder], client=other, **options)
    assert changed.exit_code == 0
    done = passes(changed.sessions[0], "done")
    assert len(done) > 10
    assert {tuple(r.value["reducers"]) for r in done} == {("sharpness",)}
    after = results(session_folder)
    for name, value in before.items():
        if "sharpness" in name:
            assert np.array_equal(after[name], value[::2]), name
        else:
            assert after[name].tobytes() == value.tobytes(), name


def test_changed_sync_files_change_the_times_and_nothing_else(session_folder):
    run([session_folder])
    before = results(session_folder)
    path = session_folder / "raw_ephys_data" / "_spikeglx_sync.times.npy"
    np.save(path, np.load(path) + 10)
    again = run([session_folder])
    assert again.exit_code == 0
    assert not passes(again.sessions[0], "done")
    after = results(session_folder)
    for label in CAMERAS:
        (revision,) = (session_folder / "alf").glob(f"#*#/_ibl_{label}Camera.times.npy")
        after[f"{label}.times"] = np.load(revision)
    for name, value in before.items():
        if name.endswith((".times", ".time")):
            np.testing.assert_allclose(after[name], value + 10)
        elif name != "qc":
            assert after[name].tobytes() == value.tobytes(), name


def test_times_that_would_change_become_a_revision_and_the_old_ones_stay(session_folder):
    run([session_folder])
    path = session_folder / "alf" / "_ibl_leftCamera.times.npy"
    old = np.load(path)
    sync = session_folder / "raw_ephys_data" / "_spikeglx_sync.times.npy"
    np.save(sync, np.load(sync) + 10)
    assert run([session_folder]).exit_code == 0
    (revision,) = session_folder.glob("alf/#*#/_ibl_leftCamera.times.npy")
    np.testing.assert_array_equal(np.load(path), old)
    np.testing.assert_allclose(np.load(revision), old + 10)
    with xr.open_zarr(session_folder / "ibl_dask" / "leftCamera-frames.zarr") as dataset:
        np.testing.assert_allclose(dataset.time, old + 10)
    assert run([session_folder]).exit_code == 0
    assert len(list(session_folder.glob("alf/#*#/_ibl_leftCamera.times.npy"))) == 1


def test_times_of_another_program_are_not_overwritten(session_folder):
    path = session_folder / "alf" / "_ibl_leftCamera.times.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, np.arange(7.0))
    assert run([session_folder]).exit_code == 0
    np.testing.assert_array_equal(np.load(path), np.arange(7.0))
    assert len(list(session_folder.glob("alf/#*#/_ibl_leftCamera.times.npy"))) == 1


def test_files_with_a_dataset_uuid_are_found(session_folder):
    for path in [*(session_folder / "raw_video_data").iterdir(), *(session_folder / "raw_ephys_data").iterdir()]:
        path.rename(path.with_name(f"{path.stem}.{uuid.uuid4()}{path.suffix}"))
    assert run([session_folder]).exit_code == 0


def test_a_camera_may_name_its_own_collection(session_folder):
    description = session_folder / "_ibl_experiment.description.yaml"
    content = yaml.safe_load(description.read_text())
    content["devices"]["cameras"]["right"]["collection"] = "raw_video_data_two"
    description.write_text(yaml.safe_dump(content))
    (session_folder / "raw_video_data_two").mkdir()
    for path in (session_folder / "raw_video_data").glob("*rightCamera*"):
        path.rename(session_folder / "raw_video_data_two" / path.name)
    assert run([session_folder]).exit_code == 0


def test_a_lost_output_is_made_again(session_folder):
    run([session_folder])
    before = results(session_folder)
    (session_folder / "alf" / "_ibl_leftCamera.times.npy").unlink()
    assert run([session_folder]).exit_code == 0
    assert_same(results(session_folder), before)


@pytest.mark.chaos
def test_a_killed_worker_costs_nothing_but_its_chunk(session_folder, tmp_path):
    expected_at = tmp_path / "expected"
    run([session_folder], output_root=expected_at)
    killed = []

    def kill_one(event):
        if not killed and isinstance(event, StepFinished) and event.record.key[0].startswith("framepass"):
            killed.append(int(event.record.worker.rsplit(":", 1)[1]))
            os.kill(killed[0], signal.SIGKILL)

    with connect(this_machine(2, dashboard_port=0)) as client:
        result = run([session_folder], client=client, chunk_pixels=SMALL_CHUNKS, listeners=[kill_one])
    assert killed
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    workers = {r.worker for r in passes(result.sessions[0], "done")}
    assert len(workers) >= 2
    assert_same(results(session_folder), results(expected_at / session_folder.relative_to(tmp_path)))


def test_a_broken_session_does_not_stop_the_others(session_folder, tmp_path):
    broken = tmp_path / "lab" / "Subjects" / "SW_002" / "2023-05-01" / "001"
    broken.mkdir(parents=True)
    absent = tmp_path / "lab" / "Subjects" / "SW_003" / "2023-05-01" / "001"
    result = run([broken, absent, session_folder])
    assert result.exit_code == 1
    assert [outcome.is_success for outcome in result.sessions] == [False, False, True]
    assert "no experiment description" in result.sessions[0].failures[0].message
    assert "does not exist" in result.sessions[1].failures[0].message


def test_two_sessions_never_write_into_one_folder(session_folder, tmp_path):
    """Outside a folder `Subjects`, only subject, date and number name a session below the output root."""
    folders = [
        tmp_path / "disk1" / "SW_001" / "2023-05-01" / "001",
        tmp_path / "disk2" / "SW_001" / "2023-05-01" / "001",
    ]
    for folder in folders:
        shutil.copytree(session_folder, folder)
    result = run(folders, output_root=tmp_path / "out")
    assert [outcome.is_success for outcome in result.sessions] == [True, False]
    assert "one folder" in result.sessions[1].failures[0].message


def test_a_failed_camera_does_not_stop_the_others(session_folder):
    (session_folder / "raw_video_data" / "_iblrig_rightCamera.raw.mp4").write_bytes(b"")
    result = run([session_folder])
    assert result.exit_code == 1
    assert (session_folder / "alf" / "_ibl_leftCamera.times.npy").exists()
    assert not (session_folder / "alf" / "_ibl_rightCamera.times.npy").exists()
    assert result.sessions[0].qc["right"] == "CRITICAL"
    assert result.sessions[0].qc["left"] != "CRITICAL"
    assert result.sessions[0].report is not None


def test_a_camera_without_times_is_measured_all_the_same(session_folder):
    path = session_folder / "raw_video_data" / "_iblrig_leftCamera.frameData.bin"
    path.write_bytes(b"")
    result = run([session_folder])
    assert result.exit_code == 1
    with xr.open_zarr(session_folder / "ibl_dask" / "leftCamera-frames.zarr") as dataset:
        assert np.isfinite(dataset.brightness).all()
        assert "time" not in dataset.coords
    qc = json.loads((session_folder / "ibl_dask" / "qc.json").read_text())
    assert qc["extended_qc"]["_videoLeft_timestamps"] == "CRITICAL"
    assert qc["extended_qc"]["_videoLeft_brightness"] == "PASS"


def test_a_counter_that_goes_backwards_is_critical_and_the_camera_is_timed(session_folder):
    path = session_folder / "raw_video_data" / "_iblrig_leftCamera.frameData.bin"
    table = np.fromfile(path).reshape(-1, 4)
    table[len(table) // 2 :, 2] -= 5
    table.tofile(path)
    assert run([session_folder]).exit_code == 0
    camera = json.loads((session_folder / "ibl_dask" / "qc.json").read_text())["cameras"]["left"]
    checks = camera["checks"]
    assert (checks["dropped_frames"]["outcome"], checks["timestamps"]["outcome"]) == ("CRITICAL", "FAIL")
    assert camera["outcome"] == "CRITICAL"
    times = np.load(session_folder / "alf" / "_ibl_leftCamera.times.npy")
    assert np.abs(times - Truth.read(session_folder).cameras["left"].frame_times_s).max() < 0.5 / 60


def test_times_that_come_later_reach_the_per_frame_store(session_folder):
    path = session_folder / "raw_video_data" / "_iblrig_leftCamera.frameData.bin"
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert run([session_folder]).exit_code == 1
    path.write_bytes(whole)
    again = run([session_folder])
    assert again.exit_code == 0
    assert not passes(again.sessions[0], "done")
    with xr.open_zarr(session_folder / "ibl_dask" / "leftCamera-frames.zarr") as dataset:
        times = np.load(session_folder / "alf" / "_ibl_leftCamera.times.npy")
        np.testing.assert_array_equal(dataset.time, times)


def test_scratch_is_removed_after_success_and_the_journal_tells_the_run(session_folder, tmp_path):
    result = run([session_folder], work_dir=tmp_path / "work")
    assert not [path for path in (tmp_path / "work").rglob("*") if path.suffix == ".npz"]
    names = [event["event"] for event in read_journal(result.journal)]
    assert names[0] == "RunStarted"
    assert names[-1] == "RunFinished"
    assert names.count("TaskFinished") == len(result.sessions[0].tasks)
    assert names.count("SessionFinished") == 1


def test_a_session_that_another_run_holds_is_refused_and_its_owner_named(session_folder):
    lock = session_folder / "ibl_dask" / "lock.json"
    lock.parent.mkdir()
    lock.write_text(json.dumps({"host": "another-host", "pid": 4321, "job": "777", "since": time.time()}))
    result = run([session_folder])
    assert result.exit_code == 1
    message = result.sessions[0].failures[0].message
    assert "4321" in message
    assert "another-host" in message
    assert "777" in message
    assert lock.exists()
    lock.unlink()
    assert run([session_folder]).exit_code == 0
    assert not lock.exists()


def test_a_session_that_another_run_took_over_is_given_up_before_it_is_ended(session_folder):
    lock = session_folder / "ibl_dask" / "lock.json"
    taken = json.dumps({"host": "another-host", "pid": 4321, "since": time.time(), "token": "00"})

    def take_over(event):
        """Take the lock, as a run does that found this one suspended, when its last step has ended."""
        if isinstance(event, StepFinished) and event.record.key.name == "report":
            lock.unlink()
            lock.write_text(taken)

    result = run([session_folder], tasks=["VideoRegisterRaw"], listeners=[take_over])
    assert result.exit_code == 1
    assert "another-host" in result.sessions[0].failures[-1].message
    assert lock.read_text() == taken
    assert not (session_folder / "ibl_dask" / "last_run.json").exists()


def test_only_the_tasks_asked_for_run(session_folder):
    result = run([session_folder], tasks=["VideoRegisterRaw"])
    assert list(result.sessions[0].tasks) == ["VideoRegisterRaw"]
    assert not (session_folder / "alf" / "_ibl_leftCamera.times.npy").exists()


def test_outputs_are_read_by_the_field_s_own_library(session_folder):
    import one.alf.io as alfio

    run([session_folder])
    camera = alfio.load_object(session_folder / "alf", "leftCamera", namespace="ibl")
    assert len(camera["times"]) == len(Truth.read(session_folder).cameras["left"].frame_times_s)


def test_nothing_half_written_or_temporary_is_left(session_folder, client):
    run([session_folder], client=client, chunk_pixels=SMALL_CHUNKS)
    left = [path for path in session_folder.parents[3].rglob("*") if ".tmp" in path.name or ".previous" in path.name]
    assert left == []


def test_the_report_of_a_camera_whose_video_broke_does_not_show_older_numbers(session_folder):
    run([session_folder])
    report = session_folder / "ibl_dask" / "report.html"
    assert "750" in report.read_text()
    (session_folder / "raw_video_data" / "_iblrig_rightCamera.raw.mp4").write_bytes(b"")
    run([session_folder])
    assert "750" not in report.read_text()
    assert "is empty" in report.read_text()
