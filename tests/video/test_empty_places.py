"""What a container counts is a frame: where nothing was recorded it keeps its number, and those after it theirs."""

import struct

import av
import numpy as np
import pytest
from zoo import HEIGHT, N_FRAMES, WIDTH, ZOO, drawn_frames, ffmpeg, read_in_chunks

from ibl_dask.errors import DecodeFailed, UnreadableVideo, UnusableFile
from ibl_dask.model.chunk import Chunk
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.chunking import cut_evenly, plan_chunks
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.container.summary import read_container_summary
from ibl_dask.video.encoding.encode import encode_chunk
from ibl_dask.video.encoding.profiles import PROFILES
from ibl_dask.video.encoding.remux import copy_to_mp4
from ibl_dask.video.framepass import run_pass
from ibl_dask.video.reducers.camera_set import camera_reducers

SOURCE = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", "60", "-i", "-")
EMPTY = {
    "one": [30],
    "several": [20, 21, 22, 23, 40],
    "at a keyframe": [24, 25],
    "the last": [70, 71],
    "every other": list(range(1, 72, 2)),
}
KINDS = ("mpeg4_avi", "mjpeg_avi", "h264_avi")


def without(path, empty, animal, *, drops=False):
    """Write an AVI whose recorder had no picture for some frames; FFmpeg leaves their places empty."""
    kept = [number for number in range(N_FRAMES) if number not in empty]
    chosen = "+".join(f"eq(n\\,{number})" for number in kept)
    options = ("-vf", f"select='{chosen}'", "-fps_mode", "passthrough", "-pix_fmt", animal.pix_fmt)
    ffmpeg(*SOURCE, *options, "-threads", "1", *animal.options, path, data=drawn_frames().tobytes())
    behind = N_FRAMES - 1 - kept[-1]
    return with_empty_chunks(path, behind) if behind else path


def with_empty_chunks(path, n_behind=0, n_before=0):
    """Write empty places before the first and behind the last picture of an AVI, as a recorder that goes on does."""
    content = path.read_bytes()
    movi = content.index(b"movi")
    table = content.rindex(b"idx1")
    index = content[table + 8 : table + 8 + int.from_bytes(content[table + 4 : table + 8], "little")]
    empty, entry = b"00dc" + bytes(4), struct.Struct("<4sIII")
    before = n_before * empty
    entries = [entry.pack(b"00dc", 0, 4 + 8 * i, 0) for i in range(n_before)]
    for kind, flags, place, size in entry.iter_unpack(index):
        entries.append(entry.pack(kind, flags, place + len(before), size))
    behind = table - movi + len(before)
    entries += [entry.pack(b"00dc", 0, behind + 8 * i, 0) for i in range(n_behind)]
    body = content[movi : movi + 4] + before + content[movi + 4 : table] + n_behind * empty
    head = bytearray(content[:movi])
    head[-4:] = len(body).to_bytes(4, "little")
    whole = bytes(head) + body + b"idx1" + (len(entries) * 16).to_bytes(4, "little") + b"".join(entries)
    path.write_bytes(whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:])
    return path


def shown(path, index, chunks):
    return [None if image is None else read_frame_number(image) for image in read_in_chunks(path, index, chunks)]


@pytest.fixture(scope="module")
def gapped(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("empty"), {}

    def get(kind, where):
        if (kind, where) not in made:
            path = folder / f"{kind} {where}.avi"
            made[kind, where] = without(path, EMPTY[where], ZOO[kind])
        return made[kind, where]

    return get


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", EMPTY)
def test_frames_after_an_empty_place_of_an_avi_keep_their_numbers(gapped, kind, where):
    path = gapped(kind, where)
    index = index_video(path)
    expected = [None if n in EMPTY[where] else n for n in range(N_FRAMES)]
    for chunks in (plan_chunks(index.keyframes, N_FRAMES, 20), cut_evenly(N_FRAMES, 7), [Chunk(0, N_FRAMES)]):
        assert shown(path, index, chunks) == expected
    assert index.n_empty == len(EMPTY[where])
    assert any("empty" in note and "keep their numbers" in note for note in index.notes)


@pytest.mark.parametrize("n_before", [1, 3])
def test_empty_places_before_the_first_picture_count_as_well(zoo, tmp_path, n_before):
    path = tmp_path / "late.avi"
    path.write_bytes(zoo("mpeg4_avi").read_bytes())
    index = index_video(with_empty_chunks(path, 0, n_before))
    expected = [None] * n_before + list(range(N_FRAMES))
    for chunks in (plan_chunks(index.keyframes, len(index), 20), cut_evenly(len(index), 2)):
        assert shown(path, index, chunks) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_avi_without_its_index_keeps_the_numbers_too(gapped, tmp_path, kind):
    """As a recording that died leaves it."""
    content = gapped(kind, "several").read_bytes()
    path = tmp_path / "died.avi"
    path.write_bytes(content[: content.rindex(b"idx1")])
    index = index_video(path)
    numbers = shown(path, index, [Chunk(0, len(index))])
    assert numbers == [None if n in EMPTY["several"] else n for n in range(N_FRAMES)]


@pytest.mark.parametrize("where", EMPTY)
def test_a_plan_counts_them_as_a_run_does(gapped, where):
    summary, index = read_container_summary(gapped("mpeg4_avi", where)), index_video(gapped("mpeg4_avi", where))
    assert summary.n_frames == len(index) == N_FRAMES
    assert summary.keyframes.tolist() == index.keyframes.tolist()


def test_an_empty_frame_of_an_mp4_keeps_its_number_as_well(zoo, tmp_path):
    """Its size in the table of sizes is 0."""
    path = tmp_path / "empty.mp4"
    ffmpeg("-i", zoo("mjpeg_avi"), "-c", "copy", path)
    with av.open(str(path)) as container:
        entry = container.streams.video[0].index_entries[30]
        start, size = entry.pos, entry.size
    content = bytearray(path.read_bytes())
    del content[start : start + size]
    table, pictures = content.index(b"stsz") + 16 + 4 * 30, content.index(b"mdat") - 4
    content[table : table + 4] = bytes(4)
    content[pictures : pictures + 4] = (int.from_bytes(content[pictures : pictures + 4]) - size).to_bytes(4)
    path.write_bytes(content)
    index = index_video(path)
    assert index.n_empty == 1
    assert shown(path, index, [Chunk(0, 40), Chunk(40, N_FRAMES)]) == [n if n != 30 else None for n in range(N_FRAMES)]


def test_a_frame_pass_says_which_frames_are_missing_and_no_others(gapped):
    path = gapped("mpeg4_avi", "several")
    index = index_video(path)
    found = run_pass(path, index, Chunk(0, N_FRAMES), camera_reducers("left", N_FRAMES, WIDTH, HEIGHT))
    assert np.flatnonzero(found.decode_error).tolist() == EMPTY["several"]
    assert np.flatnonzero(np.isnan(found.arrays["brightness/brightness"])).tolist() == EMPTY["several"]


def test_such_a_video_is_neither_compressed_nor_copied(gapped, tmp_path):
    """Whichever number frames of the copy had, it would be wrong for somebody; the AVI says it all."""
    path = gapped("mpeg4_avi", "several")
    index = index_video(path)
    with pytest.raises(DecodeFailed, match="20 to 23, 40"):
        encode_chunk(path, index, Chunk(0, N_FRAMES), PROFILES["ibl"])
    with pytest.raises(UnusableFile, match="empty places") as caught:
        copy_to_mp4(path, index, tmp_path / "copy.mp4")
    assert "stays as it is" in caught.value.do


def test_what_closes_the_gaps_works_as_told(gapped, tmp_path):
    path, out = gapped("mpeg4_avi", "several"), tmp_path / "out.avi"
    with pytest.raises(UnusableFile) as caught:
        copy_to_mp4(path, index_video(path), tmp_path / "copy.mp4")
    words = caught.value.do.split("ffmpeg ")[1].split(", check")[0].split()
    ffmpeg(*[{"in.avi": path, "out.avi": out}.get(word, word) for word in words])
    index = index_video(out)
    kept = [n for n in range(N_FRAMES) if n not in EMPTY["several"]]
    assert shown(out, index, [Chunk(0, len(index))]) == kept
    assert index.notes == ()


def test_empty_places_among_b_frames_are_refused_and_the_remedy_works(tmp_path):
    path = without(tmp_path / "b.avi", EMPTY["several"], ZOO["mpeg4_b_avi"])
    with pytest.raises(UnreadableVideo, match="not certain which frames are missing") as caught:
        index_video(path)
    out = tmp_path / "out.mp4"
    words = caught.value.do.split("ffmpeg ")[1].split(", check")[0].split()
    ffmpeg(*[{"in.avi": path, "out.mp4": out}.get(word, word) for word in words])
    index = index_video(out)
    kept = [n for n in range(N_FRAMES) if n not in EMPTY["several"]]
    assert shown(out, index, [Chunk(0, len(index))]) == kept


def test_an_index_with_empty_places_survives_being_stored(gapped):
    index = index_video(gapped("mpeg4_avi", "one"))
    again = FrameIndex.from_arrays(*index.to_arrays())
    assert (again.n_empty, again.notes, again.identity()) == (index.n_empty, index.notes, index.identity())
