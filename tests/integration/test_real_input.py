"""Sessions made of real recordings: two mouse clips, one camera's `frameData.bin`, one camera's `timestamps.ssv`.

The DAQ's pulses of these recordings are not public, so they are synthesised to match the real camera files.
"""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ibl_dask.synth.movie import loop_clip
from ibl_dask.synth.session import write_session
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reader import FrameReader

N_FRAME_DATA = 135
N_SSV = 6001
DAQ_SAMPLE_S = 1 / 30_000


def looped(path, n_frames, width, height):
    """Return a real clip played back and forth, resized, until it has the wanted length."""
    with FrameReader(path) as reader:
        frames = reader.read(0, 250)
    return loop_clip(frames, n_frames, width, height)


def run(folder):
    command = [sys.executable, "-c", "from ibl_dask.cli.app import main; main()", "run", str(folder), "--workers", "2"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"}, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def times(folder, label):
    return np.load(folder / "alf" / f"_ibl_{label}Camera.times.npy")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "Subjects" / "SW_REAL" / "2020-08-19" / "001"
    path.mkdir(parents=True)
    return path


def test_looped_clips_with_real_camera_files_get_one_right_time_per_frame(data_folder, folder):
    clips, files = data_folder / "video", data_folder / "camera"
    truth = write_session(
        folder,
        duration_s=4,
        scale=0.5,
        footage={
            "left": looped(clips / "openfield_mouse.mp4", N_FRAME_DATA, 640, 512),
            "body": looped(clips / "mirror_mouse.mp4", N_SSV, 320, 256),
        },
        camera_files={
            "left": {"frame_data": files / "session_frameData_left" / "_iblrig_leftCamera.frameData.bin"},
            "body": {"timestamps": files / "session_ephys_body" / "_iblrig_bodyCamera.timestamps.ssv"},
        },
    )
    code, text = run(folder)
    assert code == 0, text
    for label, n_frames in (("left", N_FRAME_DATA), ("right", 600), ("body", N_SSV)):
        got = times(folder, label)
        assert len(got) == n_frames
        assert (np.diff(got) > 0).all()
        np.testing.assert_allclose(got, truth.cameras[label].frame_times_s, atol=DAQ_SAMPLE_S)


def test_clips_as_they_are_get_one_time_per_frame(data_folder, folder):
    """B-frames, 4:4:4, 250 and 30.0003 frames/s in the header: nothing that a rig would write, and still exact."""
    clips = {"left": ("openfield_mouse.mp4", 2330, 60), "right": ("mirror_mouse.mp4", 994, 150)}
    truths = {}
    for label, (name, n_frames, fps) in clips.items():
        other = folder.parent / ("00" + str(len(truths) + 2))
        truths[label] = (other, n_frames, write_session(other, duration_s=n_frames / fps, scale=0.15, cameras=(label,)))
        video = other / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
        shutil.copy(data_folder / "video" / name, video)
        assert len(index_video(video)) == n_frames
    folder.rmdir()
    code, text = run(folder.parents[1])
    assert code == 0, text
    for label, (other, n_frames, truth) in truths.items():
        got = times(other, label)
        assert len(got) == n_frames
        np.testing.assert_allclose(got, truth.cameras[label].frame_times_s, atol=DAQ_SAMPLE_S)


def test_a_real_camera_s_files_of_unequal_length_are_refused_with_their_lengths(data_folder, folder):
    """The real body camera: 6001 entries in `timestamps.ssv`, 510 in `GPIO.bin` and `frame_counter.bin`."""
    files = data_folder / "camera" / "session_ephys_body"
    write_session(
        folder,
        duration_s=4,
        scale=0.25,
        cameras=("left", "body"),
        footage={"body": looped(data_folder / "video" / "mirror_mouse.mp4", N_SSV, 160, 128)},
        camera_files={"body": {"timestamps": files / "_iblrig_bodyCamera.timestamps.ssv"}},
    )
    for part in ("GPIO", "frame_counter"):
        shutil.copy(files / f"_iblrig_bodyCamera.{part}.bin", folder / "raw_video_data")
    code, text = run(folder)
    assert code != 0
    for part in ("6,001", "510", "body", "expected: ", "got: ", "what to do: "):
        assert part in text, text
    assert len(times(folder, "left")) == 240
    assert not (folder / "alf" / "_ibl_bodyCamera.times.npy").exists()
