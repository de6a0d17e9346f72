"""Videos of rigs that compress them go from AVI to MP4; nothing gets a name before it is proven, nothing is lost."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from program import WITHOUT_POWERS, environment, on_disk, says
from program import run as run_program
from video_tasks import of_videos

from ibl_dask.errors import CorruptOutput, UsageError
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.synth import write_widefield_session
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.synth.clocks import DAQ_RATE_HZ
from ibl_dask.tasks.video_mp4.convert_task import VideoConvert
from ibl_dask.video.container.index import index_video
from ibl_dask.video.encoding import remux
from ibl_dask.video.reader import FrameReader

PLACE = "lab/Subjects/WF_001/2022-08-04/001"
FOLDER = "raw_video_data"
CONVERT = {"tasks": ["VideoConvert"]}


@pytest.fixture(scope="module")
def _recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / PLACE
    return folder, write_widefield_session(folder, duration_s=3, scale=0.15, as_recorded=True, gop=24)


@pytest.fixture
def recorded(_recorded, tmp_path):
    """Return a session of two cameras as labcams left it, and the truth about it."""
    folder = tmp_path / PLACE
    shutil.copytree(_recorded[0], folder)
    return folder, _recorded[1]


@pytest.fixture
def session(recorded):
    """Return the same session alone."""
    return recorded[0]


def avi(session, label="left"):
    return session / FOLDER / f"{label}_cam_20220804_00000000.avi"


def log(session, label="left"):
    return avi(session, label).with_suffix(".camlog")


def mp4(session, label="left"):
    return session / FOLDER / f"_iblrig_{label}Camera.raw.mp4"


def named_log(session, label="left"):
    return mp4(session, label).with_suffix(".camlog")


def names(session):
    return sorted(path.name for path in (session / FOLDER).iterdir())


def record(session, label="left"):
    return json.loads((session / "ibl_dask" / f"{label}Camera-compression.json").read_text())


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def message_of(result):
    return "\n".join(failure.message for failure in result.sessions[0].failures)


def shown_numbers(path):
    with FrameReader(path) as reader:
        return [read_frame_number(image) for image in reader.read(0, len(reader.index))]


def is_converted(session, label):
    return mp4(session, label).exists() and named_log(session, label).exists() and not log(session, label).exists()


# -- what a run does ---------------------------------------------------------------------------------------


def test_a_session_is_converted_timed_and_checked_in_one_run(recorded, client):
    session, truth = recorded
    before = {label: (digest(avi(session, label)), digest(log(session, label))) for label in truth.cameras}
    result = run([session], client=client)
    assert result.exit_code == 0, message_of(result)
    expected = ("VideoConvert", "VideoRegisterRaw", "VideoSyncQC_nidq")
    assert of_videos(result.sessions[0].tasks) == dict.fromkeys(expected, "Complete")
    for label, camera in truth.cameras.items():
        assert is_converted(session, label)
        assert shown_numbers(mp4(session, label)) == list(range(camera.n_frames))
        assert (digest(avi(session, label)), digest(named_log(session, label))) == before[label]
        times = np.load(session / "alf" / f"_ibl_{label}Camera.times.npy")
        np.testing.assert_allclose(times, camera.frame_times_s, atol=1 / DAQ_RATE_HZ)
        found = record(session, label)
        assert found["profile"] == {"name": "stream copy"}
        assert found["notes"] == []
        assert found["result"]["sha256"] == digest(mp4(session, label))
        assert found["result"]["frames"] == found["source"]["frames"] == camera.n_frames
    listed = json.loads((session / "ibl_dask" / "registration.json").read_text())["files"]
    assert sorted(entry["path"] for entry in listed) == [f"{FOLDER}/{name}" for name in names(session)]


def test_timing_waits_for_the_conversion_and_registering_for_the_names(session):
    pipeline = make_pipeline(session)
    parents = {spec.name: (spec.parents, spec.level) for spec in pipeline.specs}
    assert parents["VideoConvert"] == ((), 0)
    assert parents["VideoSyncQC_nidq"] == (("VideoConvert", "SyncPulses_nidq"), 2)
    assert parents["VideoRegisterRaw"] == (("VideoConvert",), 1)
    assert pipeline.tasks["VideoConvert"].priority == 90


def test_running_again_converts_nothing_and_changes_nothing(session):
    assert run([session], **CONVERT).exit_code == 0
    before = on_disk(session / FOLDER)
    again = run([session], **CONVERT)
    assert again.exit_code == 0
    assert again.sessions[0].count("convert", "kept") == 2
    assert on_disk(session / FOLDER) == before


def test_overwriting_converts_anew_to_the_same_bytes(session):
    assert run([session], **CONVERT).exit_code == 0
    before = {name: digest(session / FOLDER / name) for name in names(session)}
    again = run([session], overwrite=True, **CONVERT)
    assert again.exit_code == 0
    assert again.sessions[0].count("convert", "done") == 2
    assert {name: digest(session / FOLDER / name) for name in names(session)} == before


def test_the_task_is_called_as_in_the_field_s_scripts(session):
    task = VideoConvert(session, cameras=["left"], device_collection=FOLDER)
    assert not task.is_finished()
    assert task.run() == 0
    assert task.is_finished()
    assert task.outputs[:2] == [mp4(session), session / "ibl_dask" / "leftCamera-compression.json"]
    assert {mp4(session), named_log(session)} <= set(task.outputs)
    assert task.assert_expected_outputs()[0]
    assert avi(session, "right").exists()
    assert not mp4(session, "right").exists()


def test_delayed_tasks_of_a_session_are_converted_first(session):
    import dask

    pipeline = make_pipeline(session)
    graph = pipeline.delayed()
    assert list(graph) == ["VideoConvert"]
    with dask.config.set(scheduler="synchronous"):
        (records,) = dask.compute(graph["VideoConvert"])
    assert all(one.is_ok for one in records)
    assert "VideoSyncQC_nidq" in pipeline.delayed()


def test_a_log_is_renamed_where_the_video_was_converted_before(session):
    assert run([session], **CONVERT).exit_code == 0
    named_log(session).rename(log(session))
    assert run([session], **CONVERT).exit_code == 0
    assert is_converted(session, "left")


def test_names_may_carry_a_dataset_uuid(session):
    for path in (avi(session), log(session)):
        path.rename(path.with_name(f"{path.stem}.0123abcd-0000-1111-2222-333344445555{path.suffix}"))
    assert run([session], **CONVERT).exit_code == 0
    assert mp4(session).exists()
    assert named_log(session).exists()


def test_an_avi_under_the_usual_name_is_converted_as_well(session):
    usual = session / FOLDER / "_iblrig_leftCamera.raw.avi"
    avi(session).rename(usual)
    assert run([session], **CONVERT).exit_code == 0
    assert usual.exists()
    assert is_converted(session, "left")


@pytest.mark.parametrize("name", ["with space", 'o\'brien "x"', "ménage à 三", "semi;colon && $HOME", "50%d"])
def test_any_path_will_do(session, tmp_path, name):
    moved = tmp_path / name / PLACE
    moved.parent.mkdir(parents=True)
    session.rename(moved)
    assert run([moved], **CONVERT).exit_code == 0
    assert is_converted(moved, "left")


def test_a_video_without_a_log_is_converted_and_the_record_says_so(session):
    log(session).unlink()
    result = run([session])
    assert result.sessions[0].tasks["VideoConvert"] == "Complete"
    assert "left no file" in record(session)["notes"][0]
    assert result.sessions[0].tasks["VideoRegisterRaw"] == "Errored"
    assert "_iblrig_leftCamera.raw.camlog" in message_of(result)


# -- where results go elsewhere ----------------------------------------------------------------------------


@pytest.fixture
def read_only(session):
    """Return a session in whose folders nothing may be written until the test ends."""
    folders = [session, *(path for path in session.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield session
    for folder in folders:
        folder.chmod(0o755)


def test_a_read_only_session_is_converted_elsewhere_and_not_touched(read_only, tmp_path):
    session = read_only
    before = on_disk(tmp_path / "lab")
    out = tmp_path / "out"
    places = ("--output-root", out, "--work-dir", tmp_path / "work")
    code, text = run_program(session, *places, "--tasks", "VideoConvert", prefix=WITHOUT_POWERS)
    assert code == 0, text
    assert on_disk(tmp_path / "lab") == before
    made = out / PLACE
    assert names(made) == sorted(
        f"_iblrig_{label}Camera.raw.{part}" for label in ("left", "right") for part in ("camlog", "mp4")
    )
    assert digest(named_log(made)) == digest(log(session))
    assert shown_numbers(mp4(made)) == list(range(len(index_video(avi(session)))))


def test_a_read_only_folder_without_another_place_is_refused(read_only):
    session = read_only
    session.chmod(0o755)
    (session / "alf").chmod(0o755)
    before = on_disk(session / FOLDER)
    code, text = run_program(session, "--tasks", "VideoConvert", prefix=WITHOUT_POWERS)
    assert code == 1
    says(text, "cannot be written", "--output-root", "leftCamera")
    assert on_disk(session / FOLDER) == before


# -- links -------------------------------------------------------------------------------------------------


def test_videos_behind_links_are_read_and_nothing_is_written_through_them(session, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    for path in (avi(session), log(session)):
        path.rename(store / path.name)
        path.symlink_to(os.path.relpath(store / path.name, path.parent))
    before = on_disk(store)
    assert run([session], **CONVERT).exit_code == 0
    assert on_disk(store) == before
    assert not mp4(session).is_symlink()
    assert named_log(session).read_bytes() == (store / log(session).name).read_bytes()


def test_a_folder_behind_a_link_is_not_written_to(session, tmp_path):
    (session / FOLDER).rename(tmp_path / "store")
    (session / FOLDER).symlink_to(tmp_path / "store")
    before = on_disk(tmp_path / "store")
    result = run([session], **CONVERT)
    assert result.exit_code == 1
    assert "through a link" in message_of(result)
    assert on_disk(tmp_path / "store") == before
    assert run([session], output_root=tmp_path / "out", **CONVERT).exit_code == 0
    assert on_disk(tmp_path / "store") == before
    assert is_converted(tmp_path / "out" / PLACE, "left")


# -- what becomes of the AVI -------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["keep", "trash", "delete"])
def test_the_avi_goes_only_as_asked_and_after_the_record(session, policy):
    before = digest(avi(session))
    assert run([session], raw_video=policy, **CONVERT).exit_code == 0
    trash = session / f"{FOLDER}.trash" / avi(session).name
    assert avi(session).exists() == (policy == "keep")
    assert trash.exists() == (policy == "trash")
    assert digest(trash if policy == "trash" else avi(session)) == before if policy != "delete" else True
    assert is_converted(session, "left")
    assert run([session], raw_video=policy, **CONVERT).exit_code == 0
    assert is_converted(session, "left")


def test_an_avi_that_holds_more_than_its_copy_stays(session):
    from zoo import ffmpeg

    other = session / "sound.avi"
    ffmpeg("-i", avi(session), "-f", "lavfi", "-i", "sine=duration=1", "-c:v", "copy", "-c:a", "pcm_s16le", other)
    other.replace(avi(session))
    result = run([session], raw_video="delete", **CONVERT)
    assert "audio" in message_of(result)
    assert avi(session).exists()
    assert mp4(session).exists()
    assert not avi(session, "right").exists()


def test_an_unknown_way_with_raw_videos_is_refused(session):
    with pytest.raises(UsageError, match=r"raw_video.*shred"):
        VideoConvert(session, raw_video="shred")


# -- what stands against it --------------------------------------------------------------------------------


def test_an_mp4_of_somebody_else_is_not_overwritten_unless_asked(session):
    shutil.copy(avi(session, "right"), mp4(session))
    before = digest(mp4(session))
    result = run([session], **CONVERT)
    assert result.exit_code == 1
    for text in ("not made from the raw one beside it", str(mp4(session)), "--overwrite", "frames"):
        assert text in message_of(result)
    assert digest(mp4(session)) == before
    assert log(session).exists()
    assert is_converted(session, "right")
    assert run([session], overwrite=True, **CONVERT).exit_code == 0
    assert shown_numbers(mp4(session)) == list(range(len(index_video(avi(session)))))


def test_an_avi_that_changed_since_makes_the_mp4_somebody_else_s(session):
    assert run([session], **CONVERT).exit_code == 0
    os.utime(avi(session))
    assert run([session], **CONVERT).exit_code == 0, "to be touched is not to change"
    stat, content = avi(session).stat(), bytearray(avi(session).read_bytes())
    content[len(content) // 2] ^= 1
    avi(session).write_bytes(content)
    os.utime(avi(session), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    result = run([session], **CONVERT)
    assert "not made from the raw one beside it" in message_of(result)
    assert mp4(session).exists()


def test_an_mp4_whose_avi_is_gone_stays(session):
    assert run([session], **CONVERT).exit_code == 0
    for label in ("left", "right"):
        avi(session, label).unlink()
    (session / "ibl_dask" / "leftCamera-compression.json").unlink()
    before = on_disk(session / FOLDER)
    for overwrite in (False, True):
        result = run([session], overwrite=overwrite, **CONVERT)
        assert result.sessions[0].tasks == {"VideoConvert": "Complete"}
        assert on_disk(session / FOLDER) == before


def test_no_video_at_all_is_an_error_of_its_camera_alone(session):
    avi(session).unlink()
    result = run([session], **CONVERT)
    assert result.exit_code == 1
    assert "left_cam*.avi" in message_of(result)
    assert log(session).exists()
    assert is_converted(session, "right")


@pytest.mark.parametrize("suffix", [".avi", ".camlog"])
def test_several_videos_or_logs_of_a_camera_are_named(session, suffix):
    path = avi(session).with_suffix(suffix)
    other = path.with_name(path.name.replace("00000000", "00000001"))
    shutil.copy(path, other)
    before = on_disk(avi(session).parent)
    result = run([session], tasks=["VideoConvert"], raw_video="delete")
    assert result.exit_code == 1
    for text in ("more than one", path.name, other.name, "What to do"):
        assert text in message_of(result)
    after = on_disk(avi(session).parent)
    assert {name: value for name, value in before.items() if "left_cam" in name}.items() <= after.items()
    assert not mp4(session).exists()
    assert is_converted(session, "right")


def test_two_logs_that_differ_are_left_alone(session):
    named_log(session).write_text(log(session).read_text() + "# another\n")
    before = digest(named_log(session))
    for overwrite in (False, True):
        result = run([session], overwrite=overwrite, **CONVERT)
        assert "two logs that differ" in message_of(result)
        assert digest(named_log(session)) == before
        assert log(session).exists()
    assert mp4(session).exists()
    shutil.copy(log(session), named_log(session))
    assert run([session], **CONVERT).exit_code == 0


def test_a_video_that_was_cut_is_not_converted(session):
    content = avi(session).read_bytes()
    avi(session).write_bytes(content[: len(content) // 2])
    before = on_disk(session / FOLDER)
    result = run([session], **CONVERT)
    assert result.exit_code == 1
    assert "cut short" in message_of(result)
    left = {name: value for name, value in before.items() if "left" in name}
    assert left.items() <= on_disk(session / FOLDER).items()
    assert not mp4(session).exists()
    assert is_converted(session, "right")


def test_a_damaged_video_is_not_converted_and_timed_all_the_same(recorded):
    session, truth = recorded
    content = bytearray(avi(session).read_bytes())
    place = int(index_video(avi(session)).places[100])
    content[place - 8 : place] = b"\xff" * 8
    avi(session).write_bytes(content)
    result = run([session])
    assert result.exit_code == 1
    assert "other packets than its index lists" in message_of(result)
    assert not mp4(session).exists()
    assert log(session).exists()
    times = np.load(session / "alf" / "_ibl_leftCamera.times.npy")
    np.testing.assert_allclose(times, truth.cameras["left"].frame_times_s, atol=1 / DAQ_RATE_HZ)


@pytest.mark.parametrize("n_lines", [90, 3])
def test_a_log_of_fewer_frames_stops_the_camera_or_keeps_the_avi(session, n_lines):
    lines = log(session).read_text().splitlines(keepends=True)
    frames = [number for number, line in enumerate(lines) if not line.startswith("#")]
    gone = set(frames[-n_lines:])
    log(session).write_text("".join(line for number, line in enumerate(lines) if number not in gone))
    result = run([session], raw_video="delete", **CONVERT)
    assert result.exit_code == 1
    assert avi(session).exists()
    assert mp4(session).exists() == (n_lines == 3)
    assert ("is kept, though it should go" if n_lines == 3 else "not of one recording") in message_of(result)


# -- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.001, 0.5, 0.999])
def test_a_byte_that_changes_before_the_mp4_has_its_name_costs_the_mp4_alone(session, monkeypatch, part):
    """A fake of a failing disk: what was written is not what is read back."""
    write = remux.copy_to_mp4

    def write_badly(source, index, target):
        made = write(source, index, target)
        if source == avi(session):
            content = bytearray(target.read_bytes())
            start = content.index(b"mdat") + 4
            content[start + int(part * (len(content) - start))] ^= 1
            target.write_bytes(content)
        return made

    monkeypatch.setattr(remux, "copy_to_mp4", write_badly)
    monkeypatch.setattr("ibl_dask.pipeline.attempts.PAUSES_S", (0.01,))
    result = run([session], raw_video="delete", **CONVERT)
    assert result.exit_code == 1
    (failure,) = result.sessions[0].failures
    assert failure.kind == CorruptOutput.__name__
    assert "the MP4 differs from the AVI" in failure.message
    assert [name for name in names(session) if "left" in name] == [avi(session).name, log(session).name]
    assert not (session / "ibl_dask" / "leftCamera-compression.json").exists()
    assert is_converted(session, "right")


def test_a_video_that_is_still_being_copied_gets_no_mp4(session, monkeypatch):
    check = remux.check_copy

    def check_while_it_grows(source, index, target):
        found = check(source, index, target)
        with source.open("ab") as file:
            file.write(b"more")
        return found

    monkeypatch.setattr(remux, "check_copy", check_while_it_grows)
    result = run([session], **CONVERT)
    assert "changed since it was indexed" in message_of(result)
    assert names(session) == sorted(path(session, label).name for label in ("left", "right") for path in (avi, log))


KILLED = """
import os, sys
from ibl_dask.pipeline.run import run
from ibl_dask.tasks.video_mp4 import convert_steps as convert
from ibl_dask.video.encoding import remux

place, name = sys.argv[2].split(".")
place = {"remux": remux, "convert": convert}[place]
before = getattr(place, name)

def deadly(*arguments):
    if sys.argv[3] == "after":
        before(*arguments)
    os._exit(9)

setattr(place, name, deadly)
run([sys.argv[1]], tasks=["VideoConvert"], raw_video="trash")
"""


@pytest.mark.parametrize(
    ("function", "when"),
    [
        ("remux.check_copy", "after"),
        ("convert.record_video", "after"),
        ("convert._name_camlog", "before"),
        ("convert._name_camlog", "after"),
    ],
)
def test_a_killed_run_leaves_nothing_half_done_and_the_next_one_ends_it(session, function, when):
    before = digest(avi(session))
    command = [sys.executable, "-c", KILLED, str(session), function, when]
    assert subprocess.run(command, env=environment(), check=False, timeout=60).returncode == 9
    assert digest(avi(session)) == before
    assert mp4(session).exists() == (function == "convert._name_camlog")
    if mp4(session).exists():
        assert record(session)["result"]["sha256"] == digest(mp4(session))
    assert named_log(session).exists() == (when == "after" and function == "convert._name_camlog")
    assert named_log(session).exists() != log(session).exists()
    assert run([session], **CONVERT).exit_code == 0
    for label in ("left", "right"):
        assert is_converted(session, label)
        assert avi(session, label).exists()
    assert [name for name in names(session) if name.startswith(".")] == []
