"""Nothing outside a session is read as its data, written, renamed or removed, whatever the files say that name it."""

import contextlib
import json
import os
import shutil
import socket

import pytest
import yaml
from program import on_disk

import ibl_dask as ibd
from ibl_dask.errors import OutsideSession
from ibl_dask.model.session import Session
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.store.alf import publish_npy
from ibl_dask.store.pipeline_tasks_yaml import read_specs
from ibl_dask.store.workspace import Workspace

DEAD = f"{socket.gethostname()}-{2**22 + 1}-01234567"
"""How a temporary file of a process that is gone ends: no process has such a number."""


@pytest.fixture
def neighbour(session):
    """Return another session of that day, with raw videos and what a killed writer left there."""
    other = session.parent / "002"
    shutil.copytree(session, other)
    (other / "raw_video_data" / f".x.mp4.{DEAD}.tmp").touch()
    return other


def describe(session, change):
    path = session / "_ibl_experiment.description.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def failures(result):
    return [failure.message for failure in result.sessions[0].failures]


def times(folder):
    return sorted(path.name for path in (folder / "alf").glob("_ibl_*Camera.times.npy"))


def test_raw_videos_of_another_session_stay_whatever_a_description_says(raw_session):
    other = raw_session.parent / "002"
    shutil.copytree(raw_session, other)
    place = "../002/raw_video_data"
    describe(raw_session, lambda c: [camera.update(collection=place) for camera in c["devices"]["cameras"].values()])
    before = on_disk(other)
    result = run([raw_session], raw_video="delete")
    assert on_disk(other) == before
    assert result.exit_code == 1
    for label in ("left", "right", "body"):
        assert any(f"cameras.{label}.collection" in text and place in text for text in failures(result))


@pytest.mark.parametrize("collection", ["../002/raw_video_data", "absolute", "raw\\video", "raw_video_data/../../002"])
def test_a_camera_of_another_session_is_named_and_the_others_are_registered(session, neighbour, collection):
    place = str(neighbour / "raw_video_data") if collection == "absolute" else collection
    describe(session, lambda content: content["devices"]["cameras"]["left"].update(collection=place))
    before = on_disk(neighbour)
    result = run([session], tasks=["VideoRegisterRaw"])
    assert on_disk(neighbour) == before
    assert result.exit_code == 1
    assert [text.split(":")[0] for text in failures(result)] == ["cameras.left.collection"]
    listed = json.loads((session / "ibl_dask" / "registration.json").read_text())
    assert {entry["camera"] for entry in listed["files"]} == {"right", "body"}
    assert any("cameras.left.collection" in note for note in make_pipeline(session).notes)


def test_with_an_output_root_nothing_is_written_beside_it(session, tmp_path):
    describe(session, lambda content: content["devices"]["cameras"]["left"].update(collection="../../x"))
    out = tmp_path / "out"
    before = on_disk(session)
    run([session], output_root=out, tasks=["VideoRegisterRaw"])
    assert on_disk(session) == before
    assert {path.name for path in tmp_path.iterdir()} == {"lab", "out"}
    assert [path.name for path in (out / "lab" / "Subjects" / "SW_001").iterdir()] == ["2023-05-01"]


def test_a_clock_of_another_session_times_no_camera(session, neighbour):
    describe(session, lambda content: content["sync"]["nidq"].update(collection="../002/raw_ephys_data"))
    result = run([session], tasks=["VideoRegisterRaw"])
    assert any("sync.nidq.collection" in text for text in failures(result))
    assert times(session) == []


@pytest.mark.parametrize("linked", ["raw_video_data", "videos/raw"])
def test_a_folder_behind_a_link_is_not_swept(session, neighbour, linked):
    """What lies there may be the temporary file of somebody who is at it."""
    folder = session / "raw_video_data"
    if linked == "raw_video_data":
        shutil.rmtree(folder)
        folder.symlink_to(neighbour / "raw_video_data")
    else:
        describe(session, lambda c: [camera.update(collection=linked) for camera in c["devices"]["cameras"].values()])
        (neighbour / "raw").symlink_to("raw_video_data")
        (session / "videos").symlink_to(neighbour)
    before = on_disk(neighbour)
    run([session], tasks=["VideoRegisterRaw"])
    assert on_disk(neighbour) == before


@pytest.mark.parametrize("folder", ["alf/#2023-01-01#", "ibl_dask/logs", "ibl_dask/done"])
def test_no_result_is_written_through_a_folder_that_is_a_link(session, tmp_path, folder):
    store = tmp_path / "store"
    store.mkdir()
    (session / folder).parent.mkdir(exist_ok=True)
    (session / folder).symlink_to(store)
    if folder.startswith("alf"):
        (store / "x.times.npy").write_bytes(b"0")
        with pytest.raises(OSError, match="through a link"):
            publish_npy(session / "alf" / "x.times.npy", [1.0], overwrite=True)
        assert (store / "x.times.npy").read_bytes() == b"0"
    else:
        assert "through a link" in failures(run([session], tasks=["VideoRegisterRaw"]))[0]
        assert list(store.iterdir()) == []


def test_a_link_on_the_way_to_a_folder_is_found_too(session, tmp_path):
    workspace = Workspace(Session(session), tmp_path / "work")
    (session / "a").symlink_to(tmp_path)
    with pytest.raises(OSError, match="through a link"):
        workspace.require_own(session / "a" / "b" / "c")
    workspace.require_own(session / "raw_video_data" / "new")


# -- files of tasks, calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {"cameras": ["left"], "device_collection": "../002/raw_video_data"}},
        {"arguments": {"cameras": ["left"], "sync_collection": "/data"}},
        {"arguments": {"cameras": ["../left"]}},
        {"name": "../../VideoSyncQC"},
    ],
    ids=str,
)
def test_a_task_of_a_file_that_leads_out_fails_alone(session, change):
    row = {"name": "VideoSyncQC_nidq", "executable": "ibllib.pipes.video_tasks.VideoSyncQcNidq", **change}
    good = {"name": "VideoRegisterRaw", "executable": "ibllib.pipes.video_tasks.VideoRegisterRaw"}
    (session / "pipeline_tasks.yaml").write_text(yaml.safe_dump([row, good]))
    before = on_disk(session.parent)
    pipeline = make_pipeline(session, specs=read_specs(session))
    bad, fine = pipeline.tasks[row["name"]], pipeline.tasks["VideoRegisterRaw"]
    assert "inside its session" in bad.review().detail
    with pytest.raises(OutsideSession):
        bad.first_steps()
    assert on_disk(session.parent) == before
    assert fine.run() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"device_collection": "../002/raw_video_data"},
        {"sync_collection": "../002/raw_ephys_data"},
        {"sync_namespace": "../spikeglx"},
        {"recording": "../g0"},
    ],
    ids=str,
)
def test_a_call_that_leads_out_is_refused(session, arguments):
    with pytest.raises(OutsideSession) as caught:
        ibd.VideoSyncQcNidq(session, cameras="left", **arguments)
    assert str(next(iter(arguments.values()))) in caught.value.got


def test_the_trials_of_another_session_are_refused(session):
    with pytest.raises(OutsideSession):
        ibd.VideoSyncQcBpod(session, cameras="left", collection="../002/raw_task_data_00")
    with pytest.raises(OutsideSession):
        ibd.BehaviourTask(session, collection="/raw_task_data_00", protocol="x")


# -- tasks of labs -----------------------------------------------------------------------------------------


class Elsewhere(ibd.DynamicTask):
    """Says that it made what it is told."""

    def _run(self, made):
        return made


@pytest.mark.parametrize("made", ["../002/alf/x.npy", "/etc/passwd", "alf/../../x.npy"])
def test_a_task_that_says_it_made_files_elsewhere_fails(session, made):
    task = Elsewhere(session)
    assert task.run(made=["alf/a.npy", made]) == -1
    assert "outside its session" in task.failures[0].message
    assert task.outputs == []


def test_a_path_that_a_task_returns_is_taken_from_its_session(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = Elsewhere(session)
    assert task.run(made="alf/x.npy") == 0
    assert task.outputs == [session / "alf" / "x.npy"]


class Renames(ibd.RegisterRawDataTask):
    """Renames to where its signature says."""

    @property
    def signature(self):
        return {"input_files": [("a.txt", "raw", True)], "output_files": [("b.txt", self.kwargs["place"], True)]}


@pytest.mark.parametrize("place", ["../002/raw", "/tmp", "linked"])
def test_a_signature_of_a_lab_renames_nothing_out_of_the_session(session, tmp_path, place):
    (session / "raw").mkdir()
    (session / "raw" / "a.txt").write_text("a")
    (session / "linked").symlink_to(tmp_path)
    task = Renames(session, place=place)
    before = on_disk(session.parent)
    with contextlib.suppress(OutsideSession):
        assert task.run() == -1
    after = {path: state for path, state in on_disk(session.parent).items() if "/ibl_dask" not in path}
    assert after.keys() == before.keys()
    assert not (tmp_path / "b.txt").exists()
    assert (session / "raw" / "a.txt").read_text() == "a"


def test_a_file_behind_a_link_is_not_renamed_away_from_where_it_lies(session, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (store / "a.txt").write_text("a")
    (session / "raw").symlink_to(store)
    task = Renames(session, place="alf")
    assert task.run() == -1
    assert "through a link" in task.failures[0].message
    assert (store / "a.txt").read_text() == "a"


# -- hidden files ------------------------------------------------------------------------------------------


def test_files_that_begin_with_a_dot_are_never_data(session):
    """A Mac leaves `._name` beside every file that it copies to a disk of another kind."""
    for path in [path for path in session.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"Mac OS X        " + os.urandom(64))
    (session / "raw_video_data" / "snapshots").mkdir()
    (session / "raw_video_data" / "snapshots" / "._a.png").write_bytes(b"x")
    (session / "raw_ephys_data" / "._x_g0_t0.nidq.cbin").write_bytes(b"x")
    (session / "raw_ephys_data" / "._x.wiring.json").write_bytes(b"x")
    result = run([session], tasks=["VideoRegisterRaw"])
    assert result.exit_code == 0, failures(result)
    assert len(ibd.VideoSyncQcNidq(session).extract_camera()[0]) == 3
    listed = json.loads((session / "ibl_dask" / "registration.json").read_text())
    assert not [entry for entry in (*listed["files"], *listed["snapshots"]) if "/." in entry["path"]]
