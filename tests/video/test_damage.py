"""No frame is given that damage may have reached: it is reported instead, whatever the chunk plan."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from zoo import N_FRAMES, read_in_chunks, read_while_sound, same

from ibl_dask.errors import DecodeFailed, UnreadableVideo
from ibl_dask.model.chunk import Chunk
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.chunking import cut_evenly, plan_chunks
from ibl_dask.video.container.index import index_video
from ibl_dask.video.framepass import join_passes, run_pass
from ibl_dask.video.reader import FrameReader
from ibl_dask.video.reducers.camera_set import camera_reducers


@dataclass(frozen=True, slots=True)
class Whole:
    """An undamaged video."""

    path: Path
    frames: list
    places: list
    """(first byte, size, presentation time) of each packet, in decode order."""

    def packet_of(self, number):
        """Return the decode position of a frame."""
        return [pts for _, _, pts in self.places].index(index_video(self.path).pts[number])


@pytest.fixture
def whole(zoo, request):
    path = zoo(request.param)
    index = index_video(path)
    with FrameReader(path, index) as reader:
        # In an AVI, presentation times are those that the reader gives to packets.
        places = [(packet.pos, packet.size, packet.pts) for packet in reader._decoder._from_the_start(0)]
    return Whole(path, read_in_chunks(path, index, [Chunk(0, len(index))]), places)


def hole(content, first, size, rng):
    """64 bytes are zero, as where a block was never written."""
    at = first + int(rng.integers(max(1, size - 64)))
    return content[:at] + bytes(min(64, first + size - at)) + content[at + min(64, first + size - at) :]


def noise(content, first, size, rng):
    """512 bytes are random, or the packet from somewhere in it on."""
    at = first + int(rng.integers(max(1, size - 512)))
    return content[:at] + rng.bytes(min(512, first + size - at)) + content[at + min(512, first + size - at) :]


def cut(content, first, size, rng):
    """The packet lacks its end, at least a tenth of it."""
    at = first + int(rng.integers(1, max(2, size * 9 // 10)))
    return content[:at] + bytes(first + size - at) + content[first + size :]


def bit(content, first, size, rng):
    """One bit is wrong."""
    at = first + int(rng.integers(size))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def damaged(whole, tmp_path, change, position, rng):
    first, size, _ = whole.places[position]
    path = tmp_path / f"damaged{whole.path.suffix}"
    path.write_bytes(change(whole.path.read_bytes(), first, size, rng))
    return path


def reach(whole, position):
    """Return the frames that a damaged packet can reach: up to the keyframe after it and what leads up to that."""
    index = index_video(whole.path)
    pts = whole.places[position][2]
    start = np.searchsorted(index.pts, index.key_pts[index.key_pts <= pts][-1])
    following = index.key_pts[index.key_pts > pts]
    return range(int(start), int(np.searchsorted(index.pts, following[0])) if len(following) else N_FRAMES)


KINDS = [
    "b_frames",
    "open_gop",
    "intra_refresh",
    "gray",
    "fragmented",
    "h264_avi",
    "mpeg4_avi",
    "mpeg4_b_mp4",
    "mjpeg_avi",
]


@pytest.mark.parametrize("change", [hole, noise, cut])
@pytest.mark.parametrize("whole", KINDS, indirect=True)
def test_frames_that_damage_reached_are_reported_and_all_others_are_exact(whole, change, tmp_path):
    rng = np.random.default_rng(3)
    for position in rng.integers(0, len(whole.places), 3).tolist():
        path = damaged(whole, tmp_path, change, position, rng)
        index = index_video(path)
        assert len(index) == N_FRAMES
        got = read_in_chunks(path, index, [Chunk(0, N_FRAMES)])
        lost = [n for n, image in enumerate(got) if image is None]
        assert [n for n in range(N_FRAMES) if n not in lost and not np.array_equal(got[n], whole.frames[n])] == []
        assert lost or same(got, whole.frames), f"packet {position}"
        eagerly = read_while_sound(path, index, [Chunk(0, N_FRAMES)])  # None for all where there is any doubt
        assert same(eagerly, [None] * N_FRAMES if lost else got), f"packet {position}"
        # A frame or two that waited inside the decoder may be lost with those that came after.
        within = reach(whole, position)
        assert not lost or (lost[0] >= within.start - 6 and lost[-1] < within.stop)
        assert same(read_in_chunks(path, index, plan_chunks(index.keyframes, N_FRAMES, 1), reopen=True), got)
        assert same(read_in_chunks(path, index, cut_evenly(N_FRAMES, 17)), got)


@pytest.mark.parametrize("whole", ["b_frames", "open_gop", "mpeg4_avi", "mpeg4_b_mp4", "mjpeg_avi"], indirect=True)
def test_what_a_wrong_bit_leaves_does_not_depend_on_the_chunks(whole, tmp_path):
    """No codec here has a checksum: a wrong bit may read as other pixels. Most are noticed all the same."""
    rng = np.random.default_rng(4)
    noticed = unnoticed = 0
    for position in rng.integers(0, len(whole.places), 10).tolist():
        path = damaged(whole, tmp_path, bit, position, rng)
        index = index_video(path)
        got = read_in_chunks(path, index, [Chunk(0, N_FRAMES)])
        assert same(read_in_chunks(path, index, plan_chunks(index.keyframes, N_FRAMES, 1), reopen=True), got)
        for chunk in plan_chunks(index.keyframes, N_FRAMES, 1):
            careful, eager = got[chunk.start : chunk.stop], read_while_sound(path, index, [chunk])
            assert same(eager, careful) or eager == [None] * len(chunk)
        if any(image is None for image in got):
            noticed += 1
        elif not same(got, whole.frames):
            unnoticed += 1
    assert noticed + unnoticed > 5
    assert noticed > 0


@pytest.mark.parametrize("whole", ["mpeg4_avi"], indirect=True)
def test_damage_renumbers_no_later_frame(whole, tmp_path):
    """FFmpeg's own parser loses a packet of an AVI whose neighbour ends in zeros, and with it the count."""
    for position in range(30, 42):
        path = damaged(whole, tmp_path, cut, position, np.random.default_rng(position))
        with FrameReader(path) as reader:
            for number, image in enumerate(reader.read(48, N_FRAMES), start=48):
                assert read_frame_number(image) == number


@pytest.mark.parametrize("whole", ["mpeg4_avi", "h264_avi", "mjpeg_avi"], indirect=True)
@pytest.mark.parametrize("header", [b"\x00\x00\x00\x00", b"00dc\xff\xff\xff\x00"])
def test_an_avi_whose_chunk_header_is_damaged_loses_that_frame_and_what_builds_on_it(whole, header, tmp_path):
    first, _, _ = whole.places[30]
    content = bytearray(whole.path.read_bytes())
    content[first - 8 : first - 8 + len(header)] = header
    path = tmp_path / "damaged.avi"
    path.write_bytes(content)
    index = index_video(path)
    for chunks in (cut_evenly(N_FRAMES, N_FRAMES), plan_chunks(index.keyframes, N_FRAMES, 1), cut_evenly(N_FRAMES, 5)):
        got = read_in_chunks(path, index, chunks)
        lost = [n for n, image in enumerate(got) if image is None]
        assert lost == list(range(30, reach(whole, 30).stop))
        assert all(image is None or np.array_equal(image, whole.frames[n]) for n, image in enumerate(got))


@pytest.mark.parametrize("whole", ["b_frames"], indirect=True)
def test_the_first_packet_of_a_video_may_be_damaged(whole, tmp_path):
    path = damaged(whole, tmp_path, cut, 0, np.random.default_rng(0))
    index = index_video(path)
    got = read_in_chunks(path, index, [Chunk(0, N_FRAMES)])
    assert [n for n, image in enumerate(got) if image is None] == list(range(24))
    assert same(got[24:], whole.frames[24:])


@pytest.mark.parametrize("whole", ["b_frames"], indirect=True)
def test_a_damaged_frame_is_nan_in_every_reducer_and_an_error_for_those_who_want_pixels(whole, tmp_path):
    path = damaged(whole, tmp_path, hole, whole.packet_of(28), np.random.default_rng(0))
    index = index_video(path)
    reducers = camera_reducers("left", N_FRAMES, index.width, index.height)
    for chunks in ((Chunk(0, N_FRAMES),), plan_chunks(index.keyframes, N_FRAMES, 1)):
        parts = [run_pass(path, index, chunk, reducers) for chunk in chunks]
        errors = np.concatenate([part.decode_error for part in parts])
        assert errors[28]
        assert not errors[:25].any()
        assert not errors[48:].any()
        brightness = np.concatenate([part.arrays["brightness/brightness"] for part in parts])
        assert np.array_equal(np.isnan(brightness), errors)
        motion = join_passes(reducers, [(part.chunk, part.arrays) for part in parts])[
            "motion_energy_wheel/motion_energy_wheel"
        ]
        lost = errors | np.append(errors[2:], [True, True])
        assert np.array_equal(np.isnan(motion), lost)
    with FrameReader(path, index) as reader, pytest.raises(DecodeFailed, match="frame 28 does not decode"):
        reader.read(28, 29)


class TestCutShort:
    """A file that ends too early has no frames that it does not hold, and reports those that it should."""

    @pytest.mark.parametrize("whole", ["mpeg4_avi", "mjpeg_avi", "h264_avi"], indirect=True)
    @pytest.mark.parametrize("share", [0.31, 0.62, 0.9])
    def test_an_avi_has_the_frames_that_are_there(self, whole, share, tmp_path):
        content = whole.path.read_bytes()
        path = tmp_path / "cut.avi"
        path.write_bytes(content[: int(len(content) * share)])
        index = index_video(path)
        begun = [n for n, (first, _, _) in enumerate(whole.places) if first <= path.stat().st_size]
        complete = [n for n, (first, size, _) in enumerate(whole.places) if first + size <= path.stat().st_size]
        assert len(complete) <= len(index) <= len(begun)
        assert index.n_absent == N_FRAMES - len(index)
        for chunks in (cut_evenly(len(index), 1000), plan_chunks(index.keyframes, len(index), 1)):
            got = read_in_chunks(path, index, chunks)
            assert same(got[: len(complete)], whole.frames[: len(complete)])
            assert all(image is None for image in got[len(complete) :])

    @pytest.mark.parametrize("whole", ["faststart"], indirect=True)
    @pytest.mark.parametrize("share", [0.4, 0.62, 0.9, 0.999])
    def test_an_mp4_with_its_tables_in_front_keeps_every_frame_s_time(self, whole, share, tmp_path):
        content = whole.path.read_bytes()
        path = tmp_path / "cut.mp4"
        path.write_bytes(content[: int(len(content) * share)])
        index = index_video(path)
        absent = [pts for first, size, pts in whole.places if first + size > path.stat().st_size]
        assert len(index) == N_FRAMES
        np.testing.assert_array_equal(index.times_s, index_video(whole.path).times_s)
        assert index.n_absent == len(absent) > 0
        lost_at_least = np.searchsorted(index.pts, absent)
        for chunks in (cut_evenly(N_FRAMES, 1000), plan_chunks(index.keyframes, N_FRAMES, 1), cut_evenly(N_FRAMES, 7)):
            got = read_in_chunks(path, index, chunks)
            assert all(got[n] is None for n in lost_at_least)
            assert all(image is None or np.array_equal(image, whole.frames[n]) for n, image in enumerate(got))
            assert sum(image is None for image in got) <= len(absent) + 3

    @pytest.mark.parametrize("whole", ["fragmented"], indirect=True)
    @pytest.mark.parametrize("share", [0.5, 0.8, 0.96])
    def test_a_fragmented_mp4_has_the_frames_whose_number_is_certain(self, whole, share, tmp_path):
        content = whole.path.read_bytes()
        path = tmp_path / "cut.mp4"
        path.write_bytes(content[: int(len(content) * share)])
        index = index_video(path)
        got = read_in_chunks(path, index, [Chunk(0, len(index))])
        complete = sum(first + size <= path.stat().st_size for first, size, _ in whole.places)
        assert complete - 4 <= len(index) <= complete + 1
        assert index.n_absent > 0
        assert all(image is None or np.array_equal(image, whole.frames[n]) for n, image in enumerate(got))

    @pytest.mark.parametrize("whole", ["b_frames"], indirect=True)
    def test_an_mp4_without_its_tables_is_refused(self, whole, tmp_path):
        content = whole.path.read_bytes()
        path = tmp_path / "cut.mp4"
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(UnreadableVideo, match="moov"):
            index_video(path)


@pytest.mark.parametrize("whole", ["mpeg4_b_avi"], indirect=True)
def test_an_avi_with_b_frames_is_refused_where_damage_hides_their_order(whole, tmp_path):
    first, _, _ = whole.places[20]
    content = bytearray(whole.path.read_bytes())
    content[first : first + 8] = bytes(8)
    path = tmp_path / "damaged.avi"
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo, match=r"packet 20 is damaged"):
        index_video(path)


def test_whole_videos_raise_no_complaint_with_the_decoder_at_its_strictest(data_folder):
    """The reader takes any complaint for damage, so real files must cause none."""
    for name in ("mirror_mouse.mp4", "openfield_mouse.mp4"):
        path = data_folder / "video" / name
        index = index_video(path)
        with FrameReader(path, index) as reader:
            assert all(frame is not None for _, frame in reader.frames(0, len(index)))
            assert reader._decoder._is_sound


@pytest.mark.parametrize("fourcc", ["MJPG", "XVID", "FMP4", "mp4v"])
def test_videos_that_opencv_writes_raise_no_complaint(fourcc, tmp_path):
    import cv2
    from zoo import HEIGHT, WIDTH, drawn_frames

    path = tmp_path / ("video.mp4" if fourcc == "mp4v" else "video.avi")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 60, (WIDTH, HEIGHT))
    for image in drawn_frames():
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    writer.release()
    index = index_video(path)
    got = read_in_chunks(path, index, plan_chunks(index.keyframes, len(index), 20))
    assert [read_frame_number(image) for image in got] == list(range(N_FRAMES))
    with av.open(str(path)) as container:
        assert len(index) == sum(1 for _ in container.decode(video=0))
