"""What a session recorded is listed: every form of video, camera files, snapshots with their notes, links named."""

import json
import os
import shutil

import pytest

import ibl_dask as ibd
from ibl_dask.pipeline.run import run
from ibl_dask.synth import write_widefield_session
from ibl_dask.tasks.video_register.task import VideoRegisterRaw

FOLDER = "raw_video_data"
REGISTER = {"tasks": ["VideoRegisterRaw"]}


def registered(session):
    return json.loads((session / "ibl_dask" / "registration.json").read_text())


def paths(session):
    return [entry["path"] for entry in registered(session)["files"]]


def texts(session):
    return {entry["path"]: entry["text"] for entry in registered(session)["snapshots"]}


@pytest.fixture
def snapshots(session_folder):
    """Return the folder of snapshots of a session."""
    folder = session_folder / FOLDER / "snapshots"
    folder.mkdir()
    return folder


# -- files -------------------------------------------------------------------------------------------------


def test_all_raw_files_of_all_cameras_are_listed_with_size_and_time(session_folder):
    task = VideoRegisterRaw(session_folder)
    assert task.run() == 0
    content = registered(session_folder)
    assert content["version"] == 1
    assert content["session"] == "SW_001/2023-05-01/001"
    assert content["notes"] == []
    on_disk = sorted(path for path in (session_folder / FOLDER).iterdir())
    assert paths(session_folder) == [f"{FOLDER}/{path.name}" for path in on_disk]
    for entry, path in zip(content["files"], on_disk, strict=True):
        assert (entry["size"], entry["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
        assert f"_{entry['camera']}Camera." in path.name
    assert session_folder / "ibl_dask" / "registration.json" in task.outputs
    assert set(on_disk) <= set(task.outputs)


@pytest.mark.parametrize(
    "name",
    [
        "_iblrig_leftCamera.raw.avi",
        "_iblrig_leftCamera.raw.mkv",
        "_iblrig_leftCamera.raw.0123abcd-0000-1111-2222-333344445555.mp4",
        "_iblrig_leftCamera.timestamps.ssv",
        "_iblrig_leftCamera.GPIO.bin",
        "left_cam_20230501_00000000.avi",
        "left_cam_20230501_00000000.mp4",
        "left_cam_20230501_00000000.camlog",
        "_iblrig_videoCodeFiles.raw.zip",
    ],
)
def test_files_of_every_form_and_name_are_listed(session_folder, name):
    (session_folder / FOLDER / name).write_bytes(b"anything")
    assert VideoRegisterRaw(session_folder).run() == 0
    assert f"{FOLDER}/{name}" in paths(session_folder)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden.mp4", "_iblrig_earCamera.raw.mp4", "leftovers.avi"])
def test_other_files_are_not_listed(session_folder, name):
    (session_folder / FOLDER / name).write_bytes(b"anything")
    assert VideoRegisterRaw(session_folder).run() == 0
    assert f"{FOLDER}/{name}" not in paths(session_folder)


def test_a_video_made_here_is_listed_with_its_sum_and_where_results_are(tmp_path):
    session = tmp_path / "lab" / "Subjects" / "WF_001" / "2022-08-04" / "001"
    write_widefield_session(session, duration_s=2, cameras=("left",), scale=0.15, as_recorded=True)
    out = tmp_path / "out"
    assert run([session], tasks=["VideoConvert", "VideoRegisterRaw"], output_root=out).exit_code == 0
    made = out / session.relative_to(tmp_path)
    assert not (session / "ibl_dask").exists()
    assert paths(made) == [
        f"{FOLDER}/_iblrig_leftCamera.raw.camlog",
        f"{FOLDER}/_iblrig_leftCamera.raw.mp4",
        f"{FOLDER}/left_cam_20220804_00000000.avi",
        f"{FOLDER}/left_cam_20220804_00000000.camlog",
    ]
    record = json.loads((made / "ibl_dask" / "leftCamera-compression.json").read_text())
    sums = [entry.get("sha256") for entry in registered(made)["files"]]
    assert sums == [None, record["result"]["sha256"], None, None]


def test_an_unchanged_session_keeps_its_list(session_folder):
    assert run([session_folder], **REGISTER).exit_code == 0
    before = (session_folder / "ibl_dask" / "registration.json").stat().st_mtime_ns
    again = run([session_folder], **REGISTER)
    assert again.sessions[0].count("registration", "kept") == 1
    assert (session_folder / "ibl_dask" / "registration.json").stat().st_mtime_ns == before
    (session_folder / FOLDER / "_iblrig_leftCamera.raw.mkv").write_bytes(b"new")
    assert run([session_folder], **REGISTER).sessions[0].count("registration", "done") == 1
    assert f"{FOLDER}/_iblrig_leftCamera.raw.mkv" in paths(session_folder)


@pytest.mark.parametrize("clock", ["frameData.bin", "timestamps.ssv"])
def test_one_clock_of_a_camera_is_enough(session_folder, clock):
    folder = session_folder / FOLDER
    for path in folder.glob("_iblrig_leftCamera.*"):
        if path.suffix != ".mp4":
            path.unlink()
    assert VideoRegisterRaw(session_folder, cameras="left").run() == -1
    (folder / f"_iblrig_leftCamera.{clock}").write_bytes(b"anything")
    assert VideoRegisterRaw(session_folder, cameras="left").run() == 0


def test_a_camera_without_a_clock_is_an_error_and_the_list_says_so(session_folder):
    (session_folder / FOLDER / "_iblrig_rightCamera.frameData.bin").unlink()
    task = VideoRegisterRaw(session_folder)
    assert task.run() == -1
    assert "rightCamera.frameData.bin" in task.log
    (note,) = registered(session_folder)["notes"]
    assert "rightCamera.frameData.bin" in note
    assert f"{FOLDER}/_iblrig_leftCamera.raw.mp4" in paths(session_folder)
    assert f"{FOLDER}/_iblrig_rightCamera.raw.mp4" in paths(session_folder)


def test_a_camera_without_video_is_noted(session_folder):
    (session_folder / FOLDER / "_iblrig_rightCamera.raw.mp4").unlink()
    assert VideoRegisterRaw(session_folder).run() == 0
    assert registered(session_folder)["notes"] == ["camera right has no video"]


# -- links -------------------------------------------------------------------------------------------------


def test_files_behind_links_are_read_and_their_aim_is_named(session_folder, tmp_path):
    video = session_folder / FOLDER / "_iblrig_leftCamera.raw.mp4"
    size = video.stat().st_size
    video.rename(tmp_path / "left.mp4")
    video.symlink_to(os.path.relpath(tmp_path / "left.mp4", video.parent))
    assert VideoRegisterRaw(session_folder).run() == 0
    (entry,) = [one for one in registered(session_folder)["files"] if one["path"].endswith("leftCamera.raw.mp4")]
    assert entry["size"] == size
    assert entry["link"] == str(video.readlink())


@pytest.mark.parametrize("aim", ["../not_mounted/x", "SELF"])
def test_links_that_lead_nowhere_are_noted_and_no_error(session_folder, snapshots, aim):
    links = [session_folder / FOLDER / "_iblrig_leftCamera.GPIO.bin", snapshots / "rig.png", snapshots / "rig.txt"]
    for link in links:
        link.symlink_to(link.name if aim == "SELF" else aim)
    (snapshots / "other.png").write_bytes(b"image")
    assert VideoRegisterRaw(session_folder).run() == 0
    notes = registered(session_folder)["notes"]
    assert len(notes) == len(links)
    for link in links:
        assert any(str(link.relative_to(session_folder)) in note and "leads nowhere" in note for note in notes)
    assert list(texts(session_folder)) == [f"{FOLDER}/snapshots/other.png"]


def test_a_folder_of_snapshots_that_is_a_link_is_read_or_noted(session_folder, tmp_path):
    folder = session_folder / FOLDER / "snapshots"
    folder.symlink_to(tmp_path / "phone")
    assert VideoRegisterRaw(session_folder).run() == 0
    assert "snapshots is a link that leads nowhere" in registered(session_folder)["notes"][0]
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "rig.jpg").write_bytes(b"image")
    assert VideoRegisterRaw(session_folder).run() == 0
    assert registered(session_folder)["notes"] == []
    assert list(texts(session_folder)) == [f"{FOLDER}/snapshots/rig.jpg"]


# -- snapshots ---------------------------------------------------------------------------------------------


def test_snapshots_of_every_kind_are_listed_with_their_notes(session_folder, snapshots):
    kinds = ("a.jpg", "b.JPG", "c.jpeg", "d.png", "e.tif", "f.TIFF", "g.gif")
    for name in kinds:
        (snapshots / name).write_bytes(b"image of " + name.encode())
    (snapshots / "a.txt").write_text("the rig, from above\n")
    (snapshots / "b.TXT").write_text("the mouse")
    for name in ("h.bmp", "i.pdf", "lonely.txt", ".hidden.png~"):
        (snapshots / name).write_bytes(b"no snapshot")
    (snapshots / "folder.png").mkdir()
    assert VideoRegisterRaw(session_folder).run() == 0
    expected = dict.fromkeys((f"{FOLDER}/snapshots/{name}" for name in kinds), "")
    expected[f"{FOLDER}/snapshots/a.jpg"] = "the rig, from above"
    expected[f"{FOLDER}/snapshots/b.JPG"] = "the mouse"
    assert texts(session_folder) == expected
    entry = registered(session_folder)["snapshots"][0]
    assert entry["size"] == len(b"image of a.jpg")
    assert not [path for path in paths(session_folder) if "snapshots" in path]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"], ids=["plain", "with a mark", "16 bits", "of old Windows"]
)
def test_notes_are_read_however_they_were_typed(session_folder, snapshots, encoding):
    (snapshots / "naïve mouse.png").write_bytes(b"image")
    (snapshots / "naïve mouse.txt").write_bytes("Ménage à trois, 50 µm\r\nsecond line".encode(encoding))
    assert VideoRegisterRaw(session_folder).run() == 0
    (text,) = texts(session_folder).values()
    assert text.replace("\r\n", "\n") == "Ménage à trois, 50 µm\nsecond line"


def test_a_note_of_any_bytes_is_no_error(session_folder, snapshots):
    (snapshots / "x.png").write_bytes(b"image")
    (snapshots / "x.txt").write_bytes(bytes(range(256)))
    os.link(snapshots / "x.png", os.fsencode(snapshots) + b"/\xff\xfe.png")
    assert VideoRegisterRaw(session_folder).run() == 0
    assert len(texts(session_folder)) == 2


def test_snapshots_are_sought_beside_each_camera_s_files(session_folder, tmp_path):
    import yaml

    path = session_folder / "_ibl_experiment.description.yaml"
    content = yaml.safe_load(path.read_text())
    content["devices"]["cameras"]["left"]["collection"] = "other_data"
    path.write_text(yaml.safe_dump(content))
    for folder in (FOLDER, "other_data", "elsewhere"):
        (session_folder / folder / "snapshots").mkdir(parents=True)
        (session_folder / folder / "snapshots" / "x.png").write_bytes(b"image")
    for file in (session_folder / FOLDER).glob("*leftCamera*"):
        shutil.move(file, session_folder / "other_data")
    assert VideoRegisterRaw(session_folder).run() == 0
    assert list(texts(session_folder)) == ["other_data/snapshots/x.png", f"{FOLDER}/snapshots/x.png"]
    assert "other_data/_iblrig_leftCamera.raw.mp4" in paths(session_folder)


def test_results_elsewhere_leave_the_snapshots_alone(session_folder, snapshots, tmp_path):
    (snapshots / "x.png").write_bytes(b"image")
    out = tmp_path / "out"
    assert run([session_folder], output_root=out, **REGISTER).exit_code == 0
    assert not (session_folder / "ibl_dask").exists()
    assert list(texts(out / session_folder.relative_to(tmp_path))) == [f"{FOLDER}/snapshots/x.png"]
    assert [path.name for path in snapshots.iterdir()] == ["x.png"]


def test_the_task_is_where_scripts_expect_it():
    assert ibd.VideoRegisterRaw is VideoRegisterRaw
    assert VideoRegisterRaw.priority == 100
