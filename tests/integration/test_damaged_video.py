"""A session one of whose videos is damaged: people learn which frames are lost, and everything else is done."""

import json

import av
import numpy as np
import pytest
from program import call

from ibl_dask.store.frames import read_frames
from ibl_dask.video.container.index import index_video

LABELS = ("left", "right", "body")


def video(folder):
    return folder / "raw_video_data" / "_iblrig_rightCamera.raw.mp4"


def tear(path, number):
    """Lose the second half of a frame's packet."""
    wanted = index_video(path).pts[number]
    with av.open(str(path)) as container:
        place, size = next((p.pos, p.size) for p in container.demux(video=0) if p.size and p.pts == wanted)
    content = bytearray(path.read_bytes())
    content[place + size // 2 : place + size] = bytes(size - size // 2)
    path.write_bytes(content)


def decode_errors(folder, label):
    store = read_frames(folder / "ibl_dask" / f"{label}Camera-frames.zarr")
    return np.flatnonzero(store.columns["decode_error"].values)


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_h264_costs_the_frames_it_reached_and_nothing_else(session_folder, workers):
    n_frames = {
        label: len(index_video(video(session_folder).with_name(f"_iblrig_{label}Camera.raw.mp4"))) for label in LABELS
    }
    tear(video(session_folder), 610)
    code, text = call("run", session_folder, "--workers", workers)
    assert code != 0
    assert "right FAIL" in text
    told = " ".join(text.split())
    assert "of 750 frames of the right camera do not decode" in told
    assert "to 624" in told
    again, text = call("run", session_folder, "--workers", 0)
    assert again == code
    assert "frames of the right camera do not decode" in " ".join(text.split())
    for label in LABELS:
        times = np.load(session_folder / "alf" / f"_ibl_{label}Camera.times.npy")
        assert len(times) == n_frames[label]
        assert (np.diff(times) > 0).all()
    lost = decode_errors(session_folder, "right")
    # Groups of pictures have 25 frames.
    assert 610 in lost
    assert lost.min() >= 600
    assert lost.max() == 624
    for label in ("left", "body"):
        assert len(decode_errors(session_folder, label)) == 0
    record = json.loads((session_folder / "ibl_dask" / "qc.json").read_text())
    decoding = {label: record["cameras"][label]["checks"]["decoding"] for label in LABELS}
    assert [decoding[label]["outcome"] for label in LABELS] == ["PASS", "FAIL", "PASS"]
    said = decoding["right"]
    assert f"{len(lost)} of 750 frames do not decode" in said["measured"]
    assert "to 624" in said["message"]
    code, text = call("qc", session_folder)
    assert f"{len(lost)} of 750" in " ".join(text.split())


def test_a_video_cut_short_keeps_a_time_for_every_frame_of_its_tables(session_folder):
    from zoo import ffmpeg

    path = video(session_folder)
    ffmpeg("-i", path, "-c", "copy", "-movflags", "+faststart", "-f", "mp4", path.with_suffix(".part"))
    content = path.with_suffix(".part").read_bytes()
    path.with_suffix(".part").unlink()
    path.write_bytes(content[: len(content) * 7 // 10])
    index = index_video(path)
    assert index.n_absent > 0
    code, text = call("run", session_folder, "--workers", 0)
    assert code != 0, text
    assert len(np.load(session_folder / "alf" / "_ibl_rightCamera.times.npy")) == len(index) == 750
    lost = decode_errors(session_folder, "right")
    assert index.n_absent <= len(lost) <= index.n_absent + 3
    assert lost[-1] == 749
    assert "the file was cut short" in (session_folder / "ibl_dask" / "report.html").read_text()
