"""Tasks called as the field's scripts call them."""

import inspect
import json

import dask
import numpy as np
import pytest

import ibl_dask as ibd
from ibl_dask.errors import DescriptionError, MissingFile, NotASession, TaskFailed, UsageError
from ibl_dask.model.outcome import Outcome
from ibl_dask.synth.truth import Truth
from ibl_dask.tasks.session_qc import CameraQc, SessionQc
from ibl_dask.tasks.video_task import VideoTask


def test_a_task_runs_by_itself_and_returns_its_status_code(session_folder):
    task = ibd.VideoSyncQcNidq(session_folder, cameras=("left",))
    assert task.run() == 0
    assert task.status == 0
    assert session_folder / "alf" / "_ibl_leftCamera.times.npy" in task.outputs
    assert not (session_folder / "alf" / "_ibl_rightCamera.times.npy").exists()
    assert "times-left" in task.log
    assert task.assert_expected_outputs() == (True, [session_folder / "alf" / "_ibl_leftCamera.times.npy"])


def test_a_task_that_fails_says_so_in_its_code_and_log(session_folder):
    (session_folder / "raw_video_data" / "_iblrig_leftCamera.raw.mp4").unlink()
    task = ibd.VideoSyncQcNidq(session_folder, cameras="left")
    assert task.run() == -1
    assert "_iblrig_leftCamera.raw.mp4" in task.log
    assert task.assert_expected_outputs(raise_error=False) == (False, [])
    with pytest.raises(MissingFile, match="did not leave its outputs"):
        task.assert_expected_outputs()


def test_extract_camera_gives_times_without_looking_at_a_pixel(session_folder):
    times, files = ibd.VideoSyncQcNidq(session_folder, cameras=("left", "body")).extract_camera(save=True)
    assert [path.name for path in files] == ["_ibl_leftCamera.times.npy", "_ibl_bodyCamera.times.npy"]
    np.testing.assert_allclose(times[0], Truth.read(session_folder).cameras["left"].frame_times_s, atol=1 / 30_000)
    assert not (session_folder / "ibl_dask" / "leftCamera-frames.zarr").exists()


def test_run_qc_gives_an_object_for_each_camera_with_outcomes_by_the_keys_of_the_field(session_folder):
    found = ibd.VideoSyncQcNidq(session_folder, cameras=("right",)).run_qc(update=False)
    assert list(found) == ["right"]
    right = found["right"]
    assert right.checks["framerate"].outcome == Outcome.PASS
    published = json.loads((session_folder / "ibl_dask" / "qc.json").read_text())
    known = {key: value for key, value in published["extended_qc"].items() if key.startswith("_")}
    told = {key: [m[0].name, *m[1:]] if isinstance(m, tuple) else m.name for key, m in right.metrics.items()}
    assert told == known
    assert right.outcome.name == published["cameras"]["right"]["outcome"] == found.outcome.name
    assert set(right.passed) == set(right.metrics)
    assert right.passed["_videoRight_framerate"] is True
    assert right.passed["_videoRight_position"] is None, "without reference frames it is not judged"
    # What is asked of the session is what the one camera says.
    assert (found.metrics, found.passed) == (right.metrics, right.passed)
    assert len(repr(found)) < 300
    html = found._repr_html_()
    assert "framerate" in html
    assert "right camera" in html
    assert html == right._repr_html_()


def test_run_qc_says_why_there_are_no_checks_instead_of_giving_those_of_another_run(session_folder):
    task = ibd.VideoSyncQcNidq(session_folder, cameras=("left",))
    assert task.run_qc()["left"].checks
    (session_folder / "ibl_dask" / "qc.json").unlink()
    (session_folder / "ibl_dask" / "qc.json").mkdir()
    with pytest.raises(TaskFailed, match=r"could not publish its checks.*qc.json"):
        task.run_qc()


def test_a_camera_that_could_not_be_checked_says_so_in_place_of_checks():
    lost = CameraQc("left", Outcome.CRITICAL, {}, "the scratch folder is gone")
    assert (lost.metrics, lost.passed) == ({}, {})
    assert "the scratch folder is gone" in repr(lost)
    assert "the scratch folder is gone" in lost._repr_html_()
    assert "no camera" in SessionQc({})._repr_html_()


NOWHERE = "./subject/2023-01-01/001"
BUILT = [
    ibd.VideoRegisterRaw,
    ibd.VideoCompress,
    ibd.VideoConvert,
    ibd.VideoSyncQcNidq,
    ibd.VideoSyncQcBpod,
    ibd.VideoSyncQcCamlog,
    ibd.BehaviourTask,
    ibd.RegisterRawDataTask,
    ibd.EphysTask,
]


@pytest.mark.parametrize("cls", BUILT)
def test_a_task_is_built_without_looking_at_the_disk_and_run_looks(cls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deck = {}
    ibd.assign_task(deck, NOWHERE, cls)
    if issubclass(cls, ibd.VideoTask):
        ibd.assign_task(deck, NOWHERE, cls, cameras=("left",))
        assert deck[cls.__name__].cameras == ("left",)
    with pytest.raises(NotASession, match="does not exist"):
        deck[cls.__name__].run()
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def test_a_task_that_was_built_before_its_session_was_copied_runs_on_it(session_folder):
    away = session_folder.rename(session_folder.with_name("002"))
    task = ibd.VideoRegisterRaw(session_folder)
    away.rename(session_folder)
    assert task.run() == 0
    assert task.cameras == ("body", "left", "right")
    assert (task.sync, task.sync_collection, task.sync_namespace) == ("nidq", "raw_ephys_data", "spikeglx")


def test_what_is_set_on_a_task_stands_instead_of_the_description(session_folder):
    task = ibd.VideoRegisterRaw(session_folder, sync="bpod")
    task.sync_collection = "raw_sync_data"
    assert (task.sync, task.sync_collection) == ("bpod", "raw_sync_data")
    assert task.get_sync() == "nidq"
    assert task.get_sync("tdms") == "tdms"
    assert task.get_device_collection("cameras") == "raw_video_data"
    assert task.session_params["sync"]["nidq"]["collection"] == "raw_ephys_data"


def test_registering_insists_on_a_clock_of_the_camera(session_folder):
    assert ibd.VideoRegisterRaw(session_folder).run() == 0
    (session_folder / "raw_video_data" / "_iblrig_rightCamera.frameData.bin").unlink()
    task = ibd.VideoRegisterRaw(session_folder)
    assert task.run() == -1
    assert "rightCamera.frameData.bin" in task.log


def test_cameras_that_cannot_be_timed_or_are_not_there_are_refused_by_name(session_folder):
    with pytest.raises(UsageError, match="ear"):
        ibd.VideoSyncQcNidq(session_folder, cameras=("ear",))
    with pytest.raises(DescriptionError, match="belly"):
        ibd.VideoSyncQcNidq(session_folder, cameras=("belly",)).run()


def test_a_lab_s_own_task_needs_nothing_but_its_steps(session_folder):
    class CountCameras(VideoTask):
        """Does nothing, which is legitimate."""

    task = CountCameras(session_folder)
    assert task.run() == 0
    assert task.state == ibd.Status.EMPTY


def test_delayed_gives_a_graph_per_task_that_computes_to_its_records(session_folder):
    graph = ibd.make_pipeline(session_folder).delayed()
    assert list(graph) == ["VideoRegisterRaw", "VideoCompress", "VideoSyncQC_nidq", "PostDLC"]
    with dask.config.set(scheduler="synchronous"):
        (records,) = dask.compute(graph["VideoSyncQC_nidq"])
    assert all(record.is_ok for record in records)
    assert (session_folder / "alf" / "_ibl_bodyCamera.times.npy").exists()


def test_keys_name_kind_and_camera_first(session_folder):
    graph = ibd.make_pipeline(session_folder).delayed()
    names = {key[0] for key in graph["VideoSyncQC_nidq"].dask if isinstance(key, tuple)}
    assert {"framepass-left", "times-right", "frames-body", "qc-left", "publish"} <= names


def test_a_session_offers_its_cameras_lazily(session_folder):
    session = ibd.Session(session_folder)
    assert list(session.cameras) == ["body", "left", "right"]
    left = session.cameras["left"]
    assert left.times_s is None
    with pytest.raises(MissingFile, match="not measured yet"):
        left.measurements()
    assert "time" not in left.frames().coords
    assert ibd.make_pipeline(session).tasks["VideoSyncQC_nidq"].run() == 0
    assert len(left.times_s) == left.frames().sizes["frame"] == left.measurements().sizes["frame"]
    assert "time" in left.frames().coords
    assert "SW_001" in session._repr_html_()
    table = left.measurements()
    assert table.time.attrs["units"] == "s"
    np.testing.assert_array_equal(table.time, left.times_s)
    codes = table.time_quality.attrs
    assert dict(zip(codes["flag_meanings"].split(), codes["flag_values"], strict=True)) == {
        "measured": 0,
        "interpolated": 1,
        "extrapolated": 2,
        "assumed": 3,
    }
    assert set(np.unique(table.decode_error)) <= set(table.decode_error.attrs["flag_values"])
    checks = session.qc()
    assert list(checks) == ["body", "left", "right"]
    assert checks.outcome.name == json.loads((session_folder / "ibl_dask" / "qc.json").read_text())["outcome"]


def test_a_camera_that_a_session_lacks_is_a_key_error_with_the_near_match(session_folder):
    cameras = ibd.Session(session_folder).cameras
    with pytest.raises(KeyError, match="write left, if that was meant"):
        cameras["lft"]
    assert cameras.get("lft") is None
    assert "lft" not in cameras


def test_checks_of_a_session_that_was_not_checked_are_a_missing_file(session_folder):
    with pytest.raises(MissingFile, match="ibl-dask run"):
        ibd.Session(session_folder).qc()
    with pytest.raises(MissingFile, match="ibl-dask run"):
        ibd.Session(session_folder).report()


def test_run_shows_all_its_options_where_a_notebook_asks_for_them():
    shown = inspect.signature(ibd.run).parameters
    assert {"tasks", "output_root", "overwrite", "limits", "pose", "raw_video", "encoding"} <= set(shown)
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in shown.values())


def test_a_run_of_the_package_writes_one_page_for_all_sessions(session_folder, tmp_path, client):
    run = ibd.run(session_folder, client=client)
    assert run.is_success
    shown = ibd.Session(session_folder).report()._repr_html_()
    assert "&lt;!doctype html&gt;" in shown
    assert (session_folder / "ibl_dask" / "report.html").as_uri() in shown
    page = run.report(tmp_path / "run.html")
    assert "SW_001/2023-05-01/001" in page.read_text()
    assert "SW_001" in run._repr_html_()


def test_a_client_brings_the_work_folder_and_the_environments_of_its_profile_unless_others_are_given(
    session_folder, tmp_path
):
    profile = tmp_path / "site.yaml"
    profile.write_text(f"scratch: {tmp_path}/work\ndashboard_port: 0\nenvironments:\n  ibllib: {tmp_path}/gone\n")
    options = {"tasks": ["VideoRegisterRaw", "SyncRegisterRaw"]}
    with ibd.connect(profile, 1) as client:
        theirs = ibd.run(session_folder, client=client, **options)
        mine = ibd.run(session_folder, client=client, work_dir=tmp_path / "mine", environments={}, **options)
    assert theirs.journal.is_relative_to(tmp_path / "work")
    assert f"{tmp_path}/gone" in theirs.sessions[0].reasons["SyncRegisterRaw"].message
    assert mine.journal.is_relative_to(tmp_path / "mine")
    assert f"{tmp_path}/gone" not in mine.sessions[0].reasons["SyncRegisterRaw"].message
