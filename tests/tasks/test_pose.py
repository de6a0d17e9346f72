"""Pose of cameras end to end: tables with the truth, kept, resumed, and made anew only where something changed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import nv12_decoder
import pytest
from disc_sessions import CHUNK_PIXELS, NAMES, site, toy, write_discs

from ibl_dask.model.status import Status
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.pose.networks import IBL_VIEWS, CropRule, Network
from ibl_dask.store.tables import read_table
from ibl_dask.video.container.index import index_video

SESSION = Path("Subjects") / "SW_001" / "2023-05-01" / "001"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discs") / SESSION
    return folder, write_discs(folder)


@pytest.fixture
def session(template, tmp_path):
    folder = tmp_path / SESSION
    shutil.copytree(template[0], folder)
    return folder


@pytest.fixture
def truth(template):
    return template[1]


def pose(folder, task="DLC", **options):
    options = {"chunk_pixels": CHUNK_PIXELS, **site(), **options}
    if task == "LightningPose":
        options.setdefault("pose", ["lightning_pose"])
    (outcome,) = run([folder], tasks=[task], **options).sessions
    return outcome


def table(folder, camera="left", attribute="dlc"):
    return read_table(folder / "alf" / f"_ibl_{camera}Camera.{attribute}.pqt")


def points(columns, names=NAMES):
    return np.stack([np.stack([columns[f"{name}_x"], columns[f"{name}_y"]], axis=-1) for name in names], axis=1)


def steps(outcome, kind, status="done"):
    return [r for r in outcome.records.values() if r.key.name.split("-")[0] == kind and r.status == status]


def test_centroids_equal_the_truth_and_all_expected_files_stand(session, truth):
    outcome = pose(session)
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    for camera, places in truth.items():
        columns = table(session, camera)
        assert list(columns) == [f"{name}_{part}" for name in NAMES for part in ("x", "y", "likelihood")]
        assert {column.dtype for column in columns.values()} == {np.dtype("float64")}
        assert np.array_equal(points(columns), places)
        assert all((columns[f"{name}_likelihood"] == 1).all() for name in NAMES)
    energy = np.load(session / "alf" / "leftCamera.ROIMotionEnergy.npy")
    assert energy.shape == (len(truth["left"]),)
    assert np.load(session / "alf" / "leftROIMotionEnergy.position.npy").shape == (4,)
    assert not list((session / "alf").glob("bodyCamera.ROI*")), "the network does not track the tail"
    assert not any((session.parents[2] / ".ibl_dask" / "scratch").glob("*/*-dlc*"))


def test_a_second_run_computes_nothing_as_a_plan_forecasts(session):
    pose(session)
    outcome = pose(session)
    assert not steps(outcome, "pose")
    assert not steps(outcome, "engines")
    assert not steps(outcome, "motion")
    pipeline = make_pipeline(session, tasks=["DLC"], chunk_pixels=CHUNK_PIXELS, **site())
    (planned,) = forecast(pipeline)
    assert planned.why == "nothing to do"
    (again,) = forecast(make_pipeline(session, tasks=["DLC"], overwrite=True, **site()))
    assert again.why == "forced"
    assert again.core_s > 0


def test_new_frame_times_recompute_no_pose(session):
    pose(session)
    path = session / "raw_ephys_data" / "_spikeglx_sync.times.npy"
    np.save(path, np.load(path) + 1.0)
    outcome = pose(session)
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    assert not steps(outcome, "pose")


def test_another_network_is_estimated_alone(session):
    """The columns of the other network are carried over bit for bit."""
    eye, nose = Network("eye", ("eye",), ("left",)), Network("nose", ("nose",), ("left",))
    engines = (toy("eye", ("paw_l",)), toy("nose", ("nose_tip",)))
    pose(session, **site(nose, eye, engines=engines))
    before = table(session)
    changed = (toy("eye", ("paw_l",), threshold=200), engines[1])
    outcome = pose(session, **site(nose, eye, engines=changed))
    assert {tuple(r.result.facts["networks"]) for r in steps(outcome, "pose")} == {("eye",)}
    record = json.loads((session / "ibl_dask" / "leftCamera-dlc.json").read_text())
    assert record["networks"]["eye"]["engines"][0]["options"] == {"threshold": 200}
    # What was published stays; a table that differs is a new revision, and this one does not.
    after = table(session)
    assert list(after) == list(before)
    assert after["nose_tip_x"].tobytes() == before["nose_tip_x"].tobytes()


def decoded_on(outcome):
    facts = [record.result.facts for record in steps(outcome, "pose")]
    return {(one["decoded_on"], one.get("not_on_gpu", "")) for one in facts}


def test_a_gpu_decodes_videos_that_a_cpu_has_decoded_without_an_error(session, truth, monkeypatch):
    """With a stand-in for the GPU, see `nv12_decoder.py`."""
    nv12_decoder.install(monkeypatch)
    options = site(decode="cuda")
    reason = "no CPU has decoded every frame of this video yet, as the QC of its camera does"
    assert decoded_on(pose(session, **options)) == {("CPU", reason)}
    (checked,) = run([session], tasks=["VideoSyncQcNidq"]).sessions
    assert list((session / "ibl_dask").rglob("*.zarr")), checked.tasks
    outcome = pose(session, overwrite=True, **options)
    assert decoded_on(outcome) == {("GPU", "")}
    assert np.array_equal(points(table(session)), truth["left"])
    assert decoded_on(pose(session, overwrite=True)) == {("CPU", "")}


def test_a_network_changed_before_the_end_is_estimated_alone_in_kept_chunks(session, monkeypatch):
    from ibl_dask.tasks.pose.join_steps import JoinPoses

    eye, nose = Network("eye", ("eye",), ("left",)), Network("nose", ("nose",), ("left",))
    engines = (toy("eye", ("paw_l",)), toy("nose", ("nose_tip",)))
    with monkeypatch.context() as patch:
        patch.setattr(JoinPoses, "run", lambda self, upstream: 1 / 0)
        assert pose(session, **site(nose, eye, engines=engines)).tasks["DLC"] is Status.ERRORED
    changed = (toy("eye", ("paw_l",), threshold=150), engines[1])
    outcome = pose(session, **site(nose, eye, engines=changed))
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    assert {tuple(r.result.facts["networks"]) for r in steps(outcome, "pose")} == {("eye",)}


def test_chunks_and_kills_do_not_show_in_the_table(session, template, tmp_path):
    """A run that is killed goes on where it was, and leaves the bytes of an undisturbed one with other chunks."""
    script = tmp_path / "run.py"
    script.write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from disc_sessions import site, toy\n"
        "from ibl_dask.pipeline.run import run\n"
        "from ibl_dask.tasks.pose import chunk_steps\n"
        "commit, kept = chunk_steps.commit_chunk, []\n"
        "def commit_three(*args, **options):\n"
        "    kept.append(commit(*args, **options))\n"
        "    if len(kept) == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return kept[-1]\n"
        "chunk_steps.commit_chunk = commit_three\n"
        "options = site(engines=(toy(halo=2),), median_frames=5)\n"
        "run([Path(sys.argv[1])], tasks=['DLC'], chunk_pixels=320 * 256 * 20, **options)\n"
    )
    scratch = session.parents[2] / ".ibl_dask" / "scratch"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "helpers")}
    child = subprocess.run([sys.executable, str(script), str(session)], env=environment)
    assert child.returncode == -signal.SIGKILL
    kept = sum(1 for camera in ("left", "body") for _ in scratch.glob(f"*/{camera}-dlc/*/*.npz"))
    assert kept == 3
    options = site(engines=(toy(halo=2),), median_frames=5)
    outcome = pose(session, chunk_pixels=320 * 256 * 20, **options)
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    assert len(steps(outcome, "pose", "kept")) == kept
    other = tmp_path / "other" / SESSION
    shutil.copytree(template[0], other)
    pose(other, chunk_pixels=None, **options)
    for camera in ("left", "body"):
        name = f"alf/_ibl_{camera}Camera.dlc.pqt"
        assert (session / name).read_bytes() == (other / name).read_bytes()
        energy = "alf/leftCamera.ROIMotionEnergy.npy"
        assert (session / energy).read_bytes() == (other / energy).read_bytes()


def test_lost_frames_are_named_and_shift_no_row(session, truth):
    video = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    content = bytearray(video.read_bytes())
    at = content.index(b"mdat") + len(content) // 2
    content[at : at + 300] = bytes(300)
    video.write_bytes(content)
    outcome = pose(session)
    assert outcome.tasks["DLC"] is Status.INCOMPLETE
    assert any("left" in failure.message and "keypoints" in failure.message for failure in outcome.failures)
    columns = table(session)
    lost = np.isnan(columns["nose_tip_x"])
    assert 0 < lost.sum() <= 20
    assert len(lost) == len(index_video(video)) == len(truth["left"])
    assert np.array_equal(points(columns)[~lost], truth["left"][~lost])
    assert (columns["nose_tip_likelihood"] == np.where(lost, 0, 1)).all()
    assert np.array_equal(points(table(session, "body")), truth["body"])


def test_one_camera_whose_engine_fails_leaves_the_others_complete(session, truth):
    networks = (Network("left", ("toy",), cameras=("left",)), Network("body", ("bad",), cameras=("body",)))
    bad = replace(toy("bad"), python=str(session / "no" / "python"))
    outcome = pose(session, **site(*networks, engines=(toy(), bad)))
    assert outcome.tasks["DLC"] is Status.ERRORED
    assert {failure.category for failure in outcome.failures} == {"environment"}
    assert np.array_equal(points(table(session)), truth["left"])


def test_a_video_that_cannot_be_read_costs_its_camera_alone(session, truth):
    (session / "raw_video_data" / "_iblrig_bodyCamera.raw.mp4").write_bytes(b"no video")
    outcome = pose(session)
    assert outcome.tasks["DLC"] is Status.ERRORED
    assert np.array_equal(points(table(session)), truth["left"])
    assert not (session / "alf" / "_ibl_bodyCamera.dlc.pqt").exists()


def test_ensembles_have_medians_and_variances(session, truth):
    members = Network("whole", ("first", "second", "third"), cameras=("left",))
    engines = (toy("first"), toy("second", threshold=100), toy("third", threshold=200))
    outcome = pose(session, "LightningPose", **site(members, engines=engines, estimator="lightning_pose"))
    assert outcome.tasks["LightningPose"] is Status.COMPLETE
    columns = table(session, "left", "lightningPose")
    assert np.array_equal(points(columns), truth["left"])
    assert np.array_equal(columns["nose_tip_x_ens_median"], columns["nose_tip_x"])
    assert not columns["nose_tip_x_ens_var"].any()


def test_windows_are_found_cropped_and_undone(tmp_path):
    """One locating network, one cropped one: a left camera, and a right one that is mirrored and half as large."""
    folder = tmp_path / SESSION
    truth = write_discs(folder, ("left", "right"), n_discs=1)
    crop = CropRule(("nose_tip",), 300, 240, -150, -120)
    network = Network("nose_tip", ("toy",), crop=crop, locate="roi")
    engines = (toy("roi", ("nose_tip",)), toy("toy", ("nose_tip",)))
    outcome = pose(folder, **site(network, engines=engines, views=dict(IBL_VIEWS["dlc"])))
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    for camera, places in truth.items():
        found = points(table(folder, camera), ("nose_tip",))
        seen = ~np.isnan(found[:, 0, 0])
        record = json.loads((folder / "ibl_dask" / f"{camera}Camera-dlc.json").read_text())["networks"]["nose_tip"]
        region = record["picture"]["region"]
        left, right, top, bottom = (region[side] for side in ("left", "right", "top", "bottom"))
        x, y = places[:, 0].T
        inside = (x - 6 >= left) & (x + 6 < right) & (y - 6 >= top) & (y + 6 < bottom)
        assert seen[inside].all()
        np.testing.assert_allclose(found[inside], places[inside], atol=1e-4 if camera == "left" else 0.1)
        assert inside.sum() > len(places) // 2
        assert record["picture"]["flip"] is (camera == "right")
    again = pose(folder, **site(replace(network, gain=2.0), engines=engines, views=dict(IBL_VIEWS["dlc"])))
    assert not steps(again, "places"), "the windows stay where they are"


def test_two_workers_share_one_video(session, client, truth):
    one = site(Network("whole", ("toy",), cameras=("left",)))
    (outcome,) = run([session], tasks=["DLC"], client=client, chunk_pixels=320 * 256 * 20, **one).sessions
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    workers = {r.worker for r in steps(outcome, "pose") if r.key.name == "pose-left"}
    assert len(workers) == 2
    assert np.array_equal(points(table(session)), truth["left"])


def test_without_networks_the_task_waits_for_its_environment(session):
    (outcome,) = run([session], tasks=["DLC"]).sessions
    assert outcome.tasks["DLC"] is Status.WAITING
