"""From keypoints and times to features, licks, checks and figure: without pixels, networks or a GPU."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from disc_sessions import site, toy, write_discs
from pose_data import SIDE, side_camera

from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.pose.features import features
from ibl_dask.pose.licks import lick_times
from ibl_dask.pose.networks import Network
from ibl_dask.store.tables import read_table, write_table
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.pose.post_files import PoseFiles
from ibl_dask.video.reader import FrameReader

SESSION = Path("Subjects") / "SW_001" / "2023-05-01" / "001"
N_FRAMES = 120


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Write a session with videos, keypoints of both side cameras as another program leaves them, and frame times."""
    folder = tmp_path_factory.mktemp("posed") / SESSION
    write_discs(folder, ("left", "body"), n_discs=2)
    keypoints = side_camera(N_FRAMES, seed=1)
    write_table(folder / "alf" / "_ibl_leftCamera.dlc.pqt", keypoints.columns())
    np.save(folder / "alf" / "_ibl_leftCamera.times.npy", np.arange(N_FRAMES) / 60 + 5)
    return folder


@pytest.fixture
def session(template, tmp_path):
    folder = tmp_path / SESSION
    shutil.copytree(template, folder)
    return folder


def post(folder, **options):
    (outcome,) = run([folder], tasks=["PostDLC"], **options).sessions
    return outcome


def test_features_licks_checks_and_figure_of_any_table(session):
    outcome = post(session, pose=["dlc"])
    keypoints = side_camera(N_FRAMES, seed=1)
    made = read_table(session / "alf" / "_ibl_leftCamera.features.pqt")
    expected = features(keypoints, "left", "dlc").columns()
    assert all(np.array_equal(made[name], column, equal_nan=True) for name, column in expected.items())
    times = np.load(session / "alf" / "_ibl_leftCamera.times.npy")
    licks = np.load(session / "alf" / "licks.times.npy")
    assert np.array_equal(licks, np.sort(lick_times(keypoints.likely(), times)))
    record = json.loads((session / "ibl_dask" / "qc.json").read_text())
    assert record["extended_qc"]["_dlcLeft_time_trace_length_match"] == "PASS"
    assert "dlcLeft" in record["pose"]
    assert (session / "snapshot" / "dlc_qc_plot.png").read_bytes().startswith(b"\x89PNG")
    with FrameReader(session / "ibl_dask" / "leftCamera-dlc_preview.mp4") as clip:
        assert len(clip.index) == N_FRAMES
    assert not (session / "ibl_dask" / "bodyCamera-dlc_preview.mp4").exists()
    page = (session / "ibl_dask" / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 1
    # The body camera has no keypoints: it fails by itself.
    assert outcome.tasks["PostDLC"] is Status.ERRORED
    assert any("body" in failure.where for failure in outcome.failures)


def test_new_times_give_new_licks_and_the_same_features(session):
    post(session)
    before = {
        name: (session / "alf" / name).read_bytes() for name in ("licks.times.npy", "_ibl_leftCamera.features.pqt")
    }
    path = session / "alf" / "_ibl_leftCamera.times.npy"
    np.save(path, np.load(path) + 0.5)
    post(session, overwrite=True)
    assert (session / "alf" / "_ibl_leftCamera.features.pqt").read_bytes() == before["_ibl_leftCamera.features.pqt"]
    (session / "alf" / "before.npy").write_bytes(before["licks.times.npy"])
    shifted = np.load(session / "alf" / "licks.times.npy") - np.load(session / "alf" / "before.npy")
    np.testing.assert_allclose(shifted, 0.5)


def test_times_of_another_number_cost_the_licks_and_nothing_else(session):
    np.save(session / "alf" / "_ibl_leftCamera.times.npy", np.arange(N_FRAMES - 3) / 60)
    outcome = post(session)
    assert outcome.tasks["PostDLC"] is Status.ERRORED
    assert (session / "alf" / "_ibl_leftCamera.features.pqt").exists()
    assert not (session / "alf" / "licks.times.npy").exists()
    record = json.loads((session / "ibl_dask" / "qc.json").read_text())
    assert record["extended_qc"]["_dlcLeft_time_trace_length_match"] == "FAIL"


@pytest.mark.parametrize("held", ["table", "arrays", "both"])
def test_trials_are_found_in_the_table_and_in_arrays_of_older_sessions(session, held):
    trials = {
        "stimOn_times": np.array([5.1, 5.6, 6.2]),
        "feedback_times": np.array([5.4, 5.9, 6.5]),
        "choice": np.array([-1, 1, 1]),
        "feedbackType": np.array([1, 1, -1]),
    }
    folder = session / "alf" / "task_00"  # the tasks of the session are described
    folder.mkdir()
    in_table = [name for name in trials if held == "table" or (held == "both" and name != "stimOn_times")]
    if in_table:
        write_table(folder / "_ibl_trials.table.pqt", {name: trials[name] for name in in_table})
    for name in trials.keys() - set(in_table):
        np.save(folder / f"_ibl_trials.{name}.npy", trials[name])
    post(session, pose=["dlc"])
    record = json.loads((session / "ibl_dask" / "qc.json").read_text())
    assert "there are no trials" not in json.dumps(record)
    files = PoseFiles(Workspace(Session(session), session / "work"), "dlc", "alf/task_00")
    assert {name: values.tolist() for name, values in files.read_trials().items()} == {
        name: values.tolist() for name, values in trials.items()
    }


def test_pose_and_what_follows_it_run_one_after_the_other_and_are_found_done(tmp_path):
    folder = tmp_path / SESSION
    write_discs(folder, ("left", "body"), n_discs=9)
    # The body camera has no network, which costs nothing.
    names = [name for name in SIDE if "tube" not in name]
    options = site(Network("side", ("toy",), cameras=("left",)), engines=(toy(keypoints=tuple(names)),))
    tasks = ["DLC", "PostDLC", "VideoSyncQcNidq", "ChoiceWorldTrialsNidq"]
    (outcome,) = run([folder], tasks=tasks, **options).sessions
    # Trials wait for an environment, and are for the figure alone.
    assert outcome.tasks["Trials__iblrig_tasks_ephysChoiceWorld_00"] is Status.WAITING
    assert outcome.tasks["DLC"] is outcome.tasks["PostDLC"] is Status.COMPLETE, outcome.failures
    assert len(read_table(folder / "alf" / "_ibl_leftCamera.features.pqt")["pupilDiameter_raw"]) == N_FRAMES
    record = json.loads((folder / "ibl_dask" / "qc.json").read_text())
    assert {"cameras", "pose"} <= record.keys()
    # The keypoints were drawn to be found, and not to make sense.
    assert record["pose"]["dlcLeft"]["outcome"] == outcome.qc["left"] == "FAIL"
    planned = {task.task: task.why for task in forecast(make_pipeline(folder, tasks=tasks, **options))}
    assert (planned["DLC"], planned["PostDLC"]) == ("nothing to do", "nothing to do")
    (again,) = run([folder], tasks=tasks, **options).sessions
    done = {r.key.name.split("-")[0] for r in again.records.values() if r.status == "done"}
    assert not done & {"pose", "motion", "features", "licks", "figure"}
