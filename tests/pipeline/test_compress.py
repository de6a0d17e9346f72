"""Raw videos are compressed, proven and put in place; the raw ones stay until that is done."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from program import WITHOUT_POWERS, call, on_disk, says
from published import assert_same, passes, results

from ibl_dask.errors import UsageError
from ibl_dask.model.events import SessionPlanned
from ibl_dask.pipeline.run import run
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.synth.truth import Truth
from ibl_dask.tasks.video_sync.pulse_times import load_timing
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reader import FrameReader

SMALL = 60 * 320 * 256
OPTIONS = {"encode_pixels": SMALL}
FOLDER = "raw_video_data"


def mp4(session, label="left"):
    return session / FOLDER / f"_iblrig_{label}Camera.raw.mp4"


def avi(session, label="left"):
    return session / FOLDER / f"_iblrig_{label}Camera.raw.avi"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(session):
    return sorted(path.name for path in (session / FOLDER).iterdir())


def shown_numbers(path):
    with FrameReader(path) as reader:
        return [read_frame_number(image) for image in reader.read(0, len(reader.index))]


@pytest.fixture
def one_camera(raw_session):
    """Return the same with the left camera alone, which is enough for many a question."""
    description = raw_session / "_ibl_experiment.description.yaml"
    import yaml

    content = yaml.safe_load(description.read_text())
    content["devices"]["cameras"] = {"left": content["devices"]["cameras"]["left"]}
    description.write_text(yaml.safe_dump(content))
    for path in (raw_session / FOLDER).iterdir():
        if "leftCamera" not in path.name:
            path.unlink()
    return raw_session


def test_a_session_is_compressed_timed_and_checked_in_one_run(raw_session, client):
    before = {path: digest(path) for path in (raw_session / FOLDER).iterdir()}
    planned = []
    result = run([raw_session], client=client, listeners=[planned.append], **OPTIONS)
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    truth = Truth.read(raw_session)
    for label, camera in truth.cameras.items():
        assert shown_numbers(mp4(raw_session, label)) == list(range(camera.n_frames))
        times = np.load(raw_session / "alf" / f"_ibl_{label}Camera.times.npy")
        np.testing.assert_allclose(times, camera.frame_times_s, atol=1 / 30_000)
        record = json.loads((raw_session / "ibl_dask" / f"{label}Camera-compression.json").read_text())
        assert record["result"]["sha256"] == digest(mp4(raw_session, label))
        assert record["result"]["frames"] == record["source"]["frames"] == camera.n_frames
        assert record["psnr_db"]["lowest"] > 34
    page = (raw_session / "ibl_dask" / "report.html").read_text()
    assert page.count("PSNR to the raw video") == len(truth.cameras)
    assert "as recorded" in page
    assert {path: digest(path) for path in before} == before
    assert names(raw_session) == sorted([*(p.name for p in before), *(mp4(raw_session, n).name for n in truth.cameras)])
    # Every camera's chunks are there to be taken before the first one is done.
    plans = [event.steps for event in planned if isinstance(event, SessionPlanned)]
    encoding = next(steps for steps in plans if any(key.startswith("encode") for key in steps))
    assert {f"encode-{label}" for label in truth.cameras} <= encoding.keys()
    # The result was decoded to be compared with its source; that was the frame pass.
    assert passes(result.sessions[0], "done") == []
    assert len(passes(result.sessions[0], "kept")) == sum(n for k, n in encoding.items() if k.startswith("encode"))


def test_what_is_measured_on_the_way_is_what_the_result_shows(one_camera, tmp_path):
    assert run([one_camera], **OPTIONS).exit_code == 0
    again = tmp_path / "again" / one_camera.relative_to(tmp_path)
    shutil.copytree(one_camera, again, ignore=shutil.ignore_patterns("ibl_dask", "alf", "*.avi"))
    assert run([again]).exit_code == 0
    assert_same(one(results, one_camera), one(results, again))


def one(read, session):
    """Read what is published of a session that has the left camera alone."""
    import published

    before = published.CAMERAS
    published.CAMERAS = ("left",)
    try:
        return read(session)
    finally:
        published.CAMERAS = before


def test_running_again_compresses_nothing_and_changes_nothing(one_camera):
    run([one_camera], **OPTIONS)
    before = mp4(one_camera).stat()
    again = run([one_camera], **OPTIONS)
    assert again.exit_code == 0
    assert again.sessions[0].count("encode", "done") == 0
    assert (mp4(one_camera).stat().st_mtime_ns, mp4(one_camera).stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_join_whose_result_was_lost_after_its_segments_were_removed_is_found_done(one_camera, monkeypatch):
    """As where its worker is killed at that very moment: the next attempt has no segments, and the video."""
    lost = []
    remove = shutil.rmtree

    def lose(path, *arguments, **options):
        remove(path, *arguments, **options)
        if Path(path).name.endswith("-segments") and not lost:
            lost.append(path)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    monkeypatch.setattr("shutil.rmtree", lose)
    monkeypatch.setattr("ibl_dask.pipeline.attempts.PAUSES_S", (0.01,))
    monkeypatch.setattr("ibl_dask.store.disk.RETRY_PAUSES_S", ())
    result = run([one_camera], tasks=["VideoCompress"])
    assert result.exit_code == 0, result.sessions[0].failures
    assert len(lost) == 1
    (joined,) = (r for r in result.sessions[0].records.values() if r.key.name == "compress-left")
    assert joined.status == "kept"
    record = json.loads((one_camera / "ibl_dask" / "leftCamera-compression.json").read_text())
    assert digest(mp4(one_camera)) == record["result"]["sha256"]


def test_a_video_of_somebody_else_is_not_overwritten_unless_asked(one_camera):
    shutil.copy(avi(one_camera), mp4(one_camera))
    before = digest(mp4(one_camera))
    result = run([one_camera], tasks=["VideoCompress"], **OPTIONS)
    assert result.exit_code == 1
    (failure,) = result.sessions[0].failures
    assert "not made from the raw one beside it" in failure.message
    assert "--overwrite" in failure.message
    assert digest(mp4(one_camera)) == before
    assert run([one_camera], tasks=["VideoCompress"], overwrite=True, **OPTIONS).exit_code == 0
    assert shown_numbers(mp4(one_camera)) == list(range(len(index_video(avi(one_camera)))))


def test_a_part_of_a_video_that_a_killed_run_left_is_named_and_made_anew(one_camera):
    mp4(one_camera).write_bytes(b"\0\0\0\x20ftypisom" + bytes(5000))
    result = run([one_camera], tasks=["VideoCompress"], **OPTIONS)
    assert "cannot be opened" in result.sessions[0].failures[0].message
    assert run([one_camera], tasks=["VideoCompress"], overwrite=True, **OPTIONS).exit_code == 0


def test_a_compressed_video_whose_raw_one_is_gone_stays(one_camera):
    run([one_camera], **OPTIONS)
    avi(one_camera).unlink()
    before = digest(mp4(one_camera))
    for overwrite in (False, True):
        assert run([one_camera], overwrite=overwrite).exit_code == 0
        assert digest(mp4(one_camera)) == before


def test_neither_raw_nor_compressed_video_is_an_error(one_camera):
    avi(one_camera).unlink()
    result = run([one_camera], tasks=["VideoCompress"])
    assert result.exit_code == 1
    assert "_iblrig_leftCamera.raw.mp4" in result.sessions[0].failures[0].message


def test_another_profile_waits_for_overwrite(one_camera):
    run([one_camera], **OPTIONS)
    first = digest(mp4(one_camera))
    assert run([one_camera], encoding="short_gop", **OPTIONS).exit_code == 0
    assert digest(mp4(one_camera)) == first
    assert run([one_camera], encoding="short_gop", overwrite=True, **OPTIONS).exit_code == 0
    keyframes = index_video(mp4(one_camera)).keyframes
    assert np.diff(keyframes).max() <= 25


@pytest.mark.parametrize("policy", ["keep", "trash", "delete"])
def test_the_raw_video_goes_only_as_asked_and_after_the_record(one_camera, policy):
    before = digest(avi(one_camera))
    result = run([one_camera], raw_video=policy, **OPTIONS)
    assert result.exit_code == 0, [f.message for f in result.sessions[0].failures]
    assert mp4(one_camera).exists()
    trash = one_camera / f"{FOLDER}.trash" / avi(one_camera).name
    assert avi(one_camera).exists() == (policy == "keep")
    assert trash.exists() == (policy == "trash")
    if policy == "trash":
        assert digest(trash) == before
    assert run([one_camera], raw_video=policy, **OPTIONS).exit_code == 0


def test_a_raw_video_in_the_trash_is_not_overwritten(one_camera):
    trash = one_camera / f"{FOLDER}.trash" / avi(one_camera).name
    trash.parent.mkdir()
    trash.write_bytes(b"another recording")
    before = digest(avi(one_camera))
    result = run([one_camera], raw_video="trash", tasks=["VideoCompress"], **OPTIONS)
    assert "the trash holds a raw video of this name" in result.sessions[0].failures[0].message
    assert trash.read_bytes() == b"another recording"
    assert digest(avi(one_camera)) == before
    assert mp4(one_camera).exists()


def test_raw_videos_stay_where_results_go_elsewhere(one_camera, tmp_path):
    with pytest.raises(UsageError, match="untouched"):
        run([one_camera], output_root=tmp_path / "out", raw_video="delete")
    assert avi(one_camera).exists()
    before = {path: path.stat().st_mtime_ns for path in one_camera.rglob("*")}
    assert run([one_camera], output_root=tmp_path / "out", work_dir=tmp_path / "work", **OPTIONS).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in one_camera.rglob("*")} == before
    out = tmp_path / "out" / one_camera.relative_to(tmp_path)
    assert shown_numbers(mp4(out)) == list(range(len(index_video(avi(one_camera)))))


def test_plan_says_what_would_be_compressed(one_camera):
    code, text = call("plan", one_camera)
    assert code == 0, text
    says(text, "VideoCompress", "_iblrig_leftCamera.raw.avi", "to compress (ibl)")


def test_several_raw_videos_of_a_camera_are_named_and_none_is_compressed(one_camera):
    other = one_camera / FOLDER / "left_cam1_run000.avi"
    shutil.copy(avi(one_camera), other)
    result = run([one_camera], tasks=["VideoCompress"], **OPTIONS)
    assert result.exit_code == 1
    assert f"{avi(one_camera).name}, {other.name}" in result.sessions[0].failures[0].message
    assert not mp4(one_camera).exists()


def test_only_the_cameras_asked_for_are_compressed(raw_session):
    from ibl_dask.tasks.video_mp4.compress_task import VideoCompress

    assert VideoCompress(raw_session, cameras="body", encode_pixels=SMALL).run() == 0
    assert [path.name for path in (raw_session / FOLDER).glob("*.mp4")] == [mp4(raw_session, "body").name]


@pytest.mark.parametrize("kind", ["link", "read-only"])
def test_a_raw_folder_that_is_a_link_or_read_only_wants_an_output_root(one_camera, tmp_path, kind):
    folder = one_camera / FOLDER
    if kind == "link":
        folder.rename(tmp_path / "store")
        folder.symlink_to(tmp_path / "store")
    else:
        folder.chmod(0o555)
    before = on_disk(folder.resolve())
    code, text = call("run", one_camera, "--workers", "0", "--tasks", "VideoCompress", prefix=WITHOUT_POWERS)
    assert code == 1
    says(text, "--output-root", folder)
    assert on_disk(folder.resolve()) == before
    command = ("run", one_camera, "--workers", "0", "--tasks", "VideoCompress", "--output-root", tmp_path / "out")
    code, text = call(*command, prefix=WITHOUT_POWERS)
    folder.chmod(0o755)
    assert code == 0, text
    assert list((tmp_path / "out").rglob("*.raw.mp4"))


def rewrite_rows(session, change):
    path = session / FOLDER / "_iblrig_leftCamera.frameData.bin"
    table = np.fromfile(path).reshape(-1, 4)
    change(table).tofile(path)


@pytest.mark.parametrize("change", [lambda t: t[:-90], lambda t: np.concatenate([t, t[-90:]])], ids=["fewer", "more"])
def test_camera_records_of_another_recording_stop_that_camera_alone(raw_session, change):
    rewrite_rows(raw_session, change)
    result = run([raw_session], tasks=["VideoCompress"], **OPTIONS)
    assert result.exit_code == 1
    assert "not of one recording" in result.sessions[0].failures[0].message
    assert not mp4(raw_session).exists()
    assert avi(raw_session).exists()
    assert mp4(raw_session, "right").exists()
    assert mp4(raw_session, "body").exists()


def test_a_few_records_more_than_frames_are_noted_and_keep_the_raw_video(one_camera):
    rewrite_rows(one_camera, lambda table: table[:-3])
    result = run([one_camera], raw_video="delete", tasks=["VideoCompress"], **OPTIONS)
    assert "is kept, though it should go" in result.sessions[0].failures[0].message
    assert mp4(one_camera).exists()
    assert avi(one_camera).exists()


def leave_out(path, start, stop):
    """Write an AVI again as a recorder that had no picture for some frames; FFmpeg leaves their places empty."""
    other = path.with_name("again.avi")
    with av.open(str(path)) as container, av.open(str(other), "w") as result:
        stream = container.streams.video[0]
        copy = result.add_stream_from_template(stream, opaque=True)
        for packet in container.demux(stream):
            if packet.size and not start <= packet.dts < stop:
                packet.stream = copy
                result.mux(packet)
    other.replace(path)


def test_empty_places_of_a_raw_video_move_no_frame_after_them(one_camera):
    """It is timed as it is, and not compressed: 12 frames are missing, which an MP4 cannot say."""
    path, truth = avi(one_camera), Truth.read(one_camera).cameras["left"]
    leave_out(path, 120, 132)
    before = digest(path)
    result = run([one_camera], **OPTIONS)
    assert result.exit_code == 1
    assert any("frames 120 to 131 do not decode" in failure.message for failure in result.sessions[0].failures)
    assert digest(path) == before
    assert not mp4(one_camera).exists()
    times = np.load(one_camera / "alf" / "_ibl_leftCamera.times.npy")
    np.testing.assert_allclose(times, truth.frame_times_s, atol=1 / 30_000)
    notes = load_timing(one_camera / "ibl_dask" / "leftCamera-timing.npz")[1]["notes"]
    assert any("12 places of the video are empty" in note for note in notes)


def test_places_that_the_camera_noted_no_frame_for_are_not_guessed_at(one_camera):
    leave_out(avi(one_camera), 120, 132)
    rewrite_rows(one_camera, lambda table: np.delete(table, range(120, 132), axis=0))
    result = run([one_camera], **OPTIONS)
    assert any("not as it has places" in failure.message for failure in result.sessions[0].failures)
    assert not (one_camera / "alf" / "_ibl_leftCamera.times.npy").exists()


def test_a_corrupt_packet_leaves_the_raw_video_and_times_all_the_same(one_camera):
    path = avi(one_camera)
    places = index_video(path).places
    content = bytearray(path.read_bytes())
    content[int(places[100]) : int(places[100]) + 64] = bytes(64)
    path.write_bytes(content)
    before = digest(path)
    result = run([one_camera], **OPTIONS)
    assert result.exit_code == 1
    assert any("no faithful copy" in failure.message for failure in result.sessions[0].failures)
    assert digest(path) == before
    assert names(one_camera) == ["_iblrig_leftCamera.frameData.bin", path.name]
    assert (one_camera / "alf" / "_ibl_leftCamera.times.npy").exists()


def test_a_raw_video_that_was_cut_is_not_compressed(one_camera):
    path = avi(one_camera)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = run([one_camera], tasks=["VideoCompress"], **OPTIONS)
    assert result.exit_code == 1
    assert "cut short" in result.sessions[0].failures[0].message
    assert names(one_camera) == ["_iblrig_leftCamera.frameData.bin", path.name]


@pytest.mark.parametrize("name", ["with space", 'o\'brien "x"', "ménage à 三", "semi;colon && $HOME"])
def test_any_path_will_do(one_camera, tmp_path, name):
    moved = tmp_path / name / one_camera.relative_to(tmp_path)
    moved.parent.mkdir(parents=True)
    one_camera.rename(moved)
    assert run([moved], tasks=["VideoCompress"], **OPTIONS).exit_code == 0
    assert mp4(moved).exists()


def test_an_unknown_profile_or_policy_is_refused(one_camera):
    from ibl_dask.tasks.video_mp4.compress_task import VideoCompress

    with pytest.raises(UsageError, match=r"encoding.*best"):
        VideoCompress(one_camera, encoding="best")
    with pytest.raises(UsageError, match=r"raw_video.*shred"):
        VideoCompress(one_camera, raw_video="shred")


def test_the_task_runs_as_the_field_s_own_do(one_camera):
    from ibl_dask.tasks.video_mp4.compress_task import VideoCompress

    task = VideoCompress(one_camera, cameras=("left",), encode_pixels=SMALL)
    assert task.run() == 0
    assert task.outputs[0] == mp4(one_camera)
    assert task.assert_expected_outputs()[0]
