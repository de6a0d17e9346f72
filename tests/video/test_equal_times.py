"""Frames with one presentation time are frames all the same: in the order of decoding, or the remedy works."""

import numpy as np
import pytest
from zoo import HEIGHT, N_FRAMES, WIDTH, ZOO, drawn_frames, ffmpeg, read_in_chunks, read_while_sound, same

from ibl_dask.errors import UnreadableVideo
from ibl_dask.model.chunk import Chunk
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.chunking import cut_evenly, plan_chunks
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.encoding.encode import encode_chunk
from ibl_dask.video.encoding.profiles import PROFILES

NO_B = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-x264-params", "keyint=24:bframes=0:scenecut=0")
WITH_B = ZOO["b_frames"].options


def write(path, options, rate=60, pix_fmt="yuv420p"):
    source = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", rate, "-i", "-")
    ffmpeg(*source, "-pix_fmt", pix_fmt, "-threads", "1", *options, path, data=drawn_frames().tobytes())
    return path


def without_duration(path, which):
    """Give some frames of an MP4 no duration: the next is shown at the same time."""
    content = bytearray(path.read_bytes())
    table = content.index(b"stts")
    n_runs = int.from_bytes(content[table + 8 : table + 12])
    assert n_runs == 1
    ticks = int.from_bytes(content[table + 16 : table + 20])
    runs = [(1, 0 if number in which else ticks) for number in range(N_FRAMES)]
    added = b"".join(n.to_bytes(4) + t.to_bytes(4) for n, t in runs)
    grown = len(added) - 8
    content[table + 8 : table + 20] = len(runs).to_bytes(4) + added
    content[table - 4 : table] = (int.from_bytes(content[table - 4 : table]) + grown).to_bytes(4)
    for kind in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = content.index(kind) - 4
        content[at : at + 4] = (int.from_bytes(content[at : at + 4]) + grown).to_bytes(4)
    path.write_bytes(content)
    return path


def quick_matroska(folder):
    """Times of a Matroska file are whole ms: of 1,500 frames/s every third shares its time with the one before."""
    return write(folder / "quick.mkv", NO_B, 1500)


def in_ms(folder):
    return write(folder / "three.mkv", ("-c:v", "mjpeg", "-q:v", "3"), 3500, "yuvj420p")


KINDS = {
    "Matroska in whole ms": (quick_matroska, 24),
    "three and four at one ms": (in_ms, 51),
    "MP4, two in the middle": (lambda folder: without_duration(write(folder / "two.mp4", NO_B), [30]), 1),
    "MP4, the first two": (lambda folder: without_duration(write(folder / "first.mp4", NO_B), [0]), 1),
    "MP4, across a keyframe": (lambda folder: without_duration(write(folder / "key.mp4", NO_B), [23, 47]), 2),
    "MP4, five of them": (lambda folder: without_duration(write(folder / "five.mp4", NO_B), range(30, 34)), 4),
    "MP4, every frame": (lambda folder: without_duration(write(folder / "all.mp4", NO_B), range(N_FRAMES)), 71),
}


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("tied"), {}

    def get(name):
        if name not in made:
            made[name] = KINDS[name][0](folder)
        return made[name]

    return get


@pytest.mark.parametrize("name", KINDS)
def test_frames_with_one_time_are_frames_in_the_order_of_decoding(tied, name):
    path = tied(name)
    index = index_video(path)
    assert len(index) == N_FRAMES
    assert (np.diff(index.pts) > 0).all()
    for chunks in (plan_chunks(index.keyframes, N_FRAMES, 20), cut_evenly(N_FRAMES, 7), [Chunk(0, N_FRAMES)]):
        images = read_in_chunks(path, index, chunks, reopen=True)
        assert [None if image is None else read_frame_number(image) for image in images] == list(range(N_FRAMES))
        assert same(read_while_sound(path, index, chunks), images)


@pytest.mark.parametrize("name", KINDS)
def test_how_many_they_are_is_said_and_their_times_stay(tied, name):
    index = index_video(tied(name))
    (note,) = index.notes
    assert note.startswith(f"{KINDS[name][1]:,} frames have the presentation time of the one before")
    again = FrameIndex.from_arrays(*index.to_arrays())
    assert again.identity() == index.identity()
    assert again.time_base == index.time_base


def test_times_of_frames_that_share_none_are_what_they_were(tied):
    """Those that do follow within a tick of the container."""
    number = np.arange(N_FRAMES)
    expected = (number - (number > 30)) / 60
    np.testing.assert_allclose(index_video(tied("MP4, two in the middle")).times_s, expected, atol=1 / 10_000)


def test_a_video_with_such_frames_is_compressed(tied):
    path = tied("Matroska in whole ms")
    encoded = encode_chunk(path, index_video(path), Chunk(0, N_FRAMES), PROFILES["ibl"])
    assert sorted(encoded.segment.frames.tolist()) == list(range(N_FRAMES))


def test_among_b_frames_they_are_refused_and_the_remedy_works(tmp_path):
    path, out = write(tmp_path / "quick.mkv", WITH_B, 1500), tmp_path / "out.mp4"
    with pytest.raises(UnreadableVideo, match="their order is not defined") as caught:
        index_video(path)
    words = caught.value.do.split("ffmpeg ")[1].split(", and")[0].split()
    ffmpeg(*[{"in": path, "out.mp4": out}.get(word, word) for word in words])
    index = index_video(out)
    images = read_in_chunks(out, index, [Chunk(0, len(index))])
    assert [read_frame_number(image) for image in images] == list(range(N_FRAMES))
