"""`ibl-dask clip`: a clip of a session, and what is refused before anything is written."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from forked_program import Forked
from program import call, environment, on_disk, says

from ibl_dask.clip.panels import CAPTION_PX
from ibl_dask.store.tables import write_table
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.synth.session import write_session
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.synth.truth import Truth

Recorded = tuple["Path", "Truth"]
CLIPS = "ibl_dask/clips"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("rig") / "Subjects" / "SW_001" / "2023-05-01" / "001"
    truth = write_session(folder, duration_s=2, scale=0.25, seed=5)
    (folder / "alf").mkdir(exist_ok=True)
    for label, camera in truth.cameras.items():
        np.save(folder / "alf" / f"_ibl_{label}Camera.times.npy", camera.frame_times_s)
    return folder, truth


@pytest.fixture
def session(recorded: Recorded, tmp_path: Path) -> Path:
    folder = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    shutil.copytree(recorded[0], folder)
    return folder


def numbers_of(clip: Path, place: int, width: int = 160, height: int = 128) -> list[int]:
    """Return the frame numbers that the camera at a place shows, from frames of the original size."""
    index = index_video(clip)
    with FrameReader(clip, index) as reader:
        found = reader.read(0, len(index))[:, CAPTION_PX:, place * width : (place + 1) * width]
    assert found.shape[1:] == (height, width)
    return [read_frame_number(picture) for picture in found]


def test_all_cameras_are_shown_around_an_event(session: Path, recorded: Recorded) -> None:
    truth = recorded[1].cameras
    at_s = float(truth["right"].frame_times_s[170])
    options = ("--at", repr(at_s), "--before", 0.2, "--after", 0.3, "--speed", 0.25, "--height", 128)
    code, text = call("clip", session, *options)
    clip = session / CLIPS / f"event_{at_s:.3f}s.mp4"
    assert (code, text.strip()) == (0, str(clip))
    index = index_video(clip)
    rate = float(index.rate)
    n_before = round(0.2 * rate / 0.25)
    assert (rate, len(index), index.width) == (37.5, n_before + 1 + round(0.3 * rate / 0.25), 3 * 160)
    for place, label in ((0, "body"), (2, "right")):
        times = truth[label].frame_times_s
        moments = [at_s + (k - n_before) * 0.25 / rate for k in range(len(index))]
        assert numbers_of(clip, place) == [int(np.flatnonzero(times <= moment)[-1]) for moment in moments]


def test_a_clip_that_exists_is_kept_unless_it_is_to_be_replaced(session: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.mp4"
    target.write_bytes(b"mine")
    options = ("clip", session, "--at", 2, "--before", 0.1, "--after", 0.1, "--camera", "right,body", "--out", target)
    code, text = call(*options)
    assert code == 2
    says(text, "this clip exists already", target, "--overwrite")
    assert target.read_bytes() == b"mine"
    assert call(*options, "--overwrite", "--height", 128)[0] == 0
    assert numbers_of(target, 0)[6] > numbers_of(target, 1)[6], "right comes first, and is the faster one"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--at", 900), ("no camera recorded at this time", "a time on the main clock between", "900.0000 s")),
        (("--at", "nan"), ("no piece of a session", "--at nan")),
        (("--at", 2, "--speed", 0), ("--speed 0",)),
        (("--at", 2, "--camera", "lefd"), ("no camera 'lefd'", "write left")),
        (("--at", 2, "--pose", "dcl"), ("--pose takes a tracker", "write dlc")),
        (("--at", 2, "--pose", "dlc"), ("no camera has keypoints of dlc", "Camera.dlc.pqt")),
        (("--at", 2, "--out", "clip.gif"), ("a clip is written as MP4",)),
        (("--at", 2, "--overwrite", "--out", "raw_video_data/_iblrig_leftCamera.raw.mp4"), ("among the data of its",)),
        (("--at", 2, "--out", "alf/clip.mp4"), ("among the data of its session", CLIPS)),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(
    session: Path, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    before = on_disk(session)
    code, text = call("clip", session, *options, cwd=session)
    assert code == 2
    says(text, *words)
    assert on_disk(session) == before


def test_a_camera_that_cannot_be_shown_is_named_and_the_others_are_shown(session: Path) -> None:
    (session / "alf" / "_ibl_leftCamera.times.npy").unlink()
    (session / "raw_video_data" / "_iblrig_bodyCamera.raw.mp4").unlink()
    options = ("clip", session, "--at", 2, "--before", 0.1, "--after", 0.1, "--height", 128)
    code, text = call(*options)
    assert code == 1
    says(text, "the left camera has no frame times yet", f"ibl-dask run {session}", "the body camera has no video")
    [clip] = (session / CLIPS).iterdir()
    assert index_video(clip).width == 160
    numbers = numbers_of(clip, 0)
    assert len(set(numbers)) == len(numbers)
    code, text = call(*options, "--overwrite", "--camera", "right,left")
    assert code == 2, "a camera that was asked for by name must be there"
    says(text, "the left camera has no frame times yet")


def test_before_any_times_the_message_names_the_command_that_makes_them(session: Path) -> None:
    for path in (session / "alf").iterdir():
        path.unlink()
    code, text = call("clip", session, "--at", 2)
    assert code == 2
    says(text, "no frame times yet", f"ibl-dask run {session}")
    assert not (session / "ibl_dask").exists()


def test_keypoints_are_drawn_where_there_are_tables(session: Path, recorded: Recorded) -> None:
    n = recorded[1].cameras["right"].n_frames
    columns = {"paw_l_x": np.full(n, 80.0), "paw_l_y": np.full(n, 100.0), "paw_l_likelihood": np.ones(n)}
    write_table(session / "alf" / "_ibl_rightCamera.lightningPose.pqt", columns)
    options = ("clip", session, "--at", 2, "--before", 0.1, "--after", 0.1, "--height", 128, "--camera", "body,right")
    assert call(*options)[0] == 0
    [plain] = (session / CLIPS).iterdir()
    with_points = plain.with_name("points.mp4")
    code, text = call(*options, "--pose", "lightningPose", "--out", with_points)
    assert code == 0
    says(text, "body: no keypoints of lightningPose")
    with FrameReader(plain) as bare, FrameReader(with_points) as drawn:
        differences = np.abs(drawn.read(3, 4)[0].astype(int) - bare.read(3, 4)[0])
    y, x = np.argwhere(differences > 40).mean(axis=0)
    assert 160 + 70 < x < 160 + 120
    assert CAPTION_PX + 85 < y < CAPTION_PX + 110


def test_keypoints_of_another_video_are_refused(session: Path, recorded: Recorded) -> None:
    n = recorded[1].cameras["right"].n_frames - 1
    columns = {f"paw_l_{part}": np.ones(n) for part in ("x", "y", "likelihood")}
    write_table(session / "alf" / "_ibl_rightCamera.dlc.pqt", columns)
    code, text = call("clip", session, "--at", 2, "--camera", "right", "--pose", "dlc")
    assert code == 2
    says(text, "keypoints of the right camera do not belong to its video", f"{n:,} rows")


def test_ctrl_c_leaves_no_file_and_no_program_behind(session: Path) -> None:
    command = ["clip", session, "--at", "2", "--speed", "0.0005", "--height", "512"]
    process = Forked(*command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list((session / CLIPS).glob(".*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
        assert psutil.wait_procs(children, timeout=10)[1] == []
        assert list((session / CLIPS).iterdir()) == []
    finally:
        process.kill()
        process.wait()
