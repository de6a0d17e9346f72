"""Any split of a video into chunks gives the bytes of one pass over the whole file."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import assert_same_bits, values_of

from ibl_dask.errors import UnreadableVideo, UsageError
from ibl_dask.model.chunk import Chunk
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.chunking import cut_evenly, plan_chunks
from ibl_dask.video.container.index import index_video
from ibl_dask.video.framepass import run_pass
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader
from ibl_dask.video.reducers.camera_set import camera_reducers


def decoded_in_one_go(path):
    """Return the luma of every frame, read from the start to the end by FFmpeg alone."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        return np.stack([luma(frame) for frame in container.decode(video=0)])


def splits(index, least=1):
    """Return chunk plans of all sizes: a few frames, odd sizes, one GOP, the whole file."""
    n = len(index)
    yield f"{least} frames", cut_evenly(n, least)
    yield "odd", cut_evenly(n, 7)
    yield "odd, large", cut_evenly(n, 41)
    yield "keyframes", plan_chunks(index.keyframes, n, 1)
    yield "about three groups", plan_chunks(index.keyframes, n, 70)
    yield "whole", (Chunk(0, n),)


def test_every_chunk_plan_decodes_the_same_bytes(video):
    index = index_video(video)
    expected = decoded_in_one_go(video)
    for name, chunks in splits(index):
        with FrameReader(video, index) as reader:
            for chunk in chunks:
                got = reader.read(chunk.start, chunk.stop)
                assert np.array_equal(got, expected[chunk.start : chunk.stop]), (name, chunk)


def test_a_reader_opened_anew_for_each_chunk_decodes_the_same_bytes(video):
    index = index_video(video)
    expected = decoded_in_one_go(video)
    for chunk in plan_chunks(index.keyframes, len(index), 30):
        with FrameReader(video, index) as reader:
            assert np.array_equal(reader.read(chunk.start, chunk.stop), expected[chunk.start : chunk.stop])


def test_real_clips_decode_the_same_bytes_from_any_keyframe(data_folder):
    """One of them is 4:4:4 of an old x264, which FFmpeg decodes otherwise unless it has seen the first packet."""
    for name in ("mirror_mouse.mp4", "openfield_mouse.mp4"):
        path = data_folder / "video" / name
        index = index_video(path)
        expected = decoded_in_one_go(path)
        for chunk in plan_chunks(index.keyframes, len(index), 300):
            with FrameReader(path, index) as reader:
                assert np.array_equal(reader.read(chunk.start, chunk.stop), expected[chunk.start : chunk.stop])


def test_frame_numbers_read_from_pixels_are_the_indices(video):
    index = index_video(video)
    with FrameReader(video, index) as reader:
        for number in (0, 1, 23, 24, 25, 60, 96):
            assert read_frame_number(reader.read(number, number + 1)[0]) == number


def test_every_reducer_gives_the_same_bits_for_every_chunk_plan(video):
    index = index_video(video)
    reducers = camera_reducers("left", len(index), index.width, index.height)
    whole = values_of(video, index, [Chunk(0, len(index))], reducers)
    for name, chunks in splits(index, least=5):  # `test_reducers` has one frame
        assert_same_bits(values_of(video, index, chunks, reducers), whole, name)


def test_every_reducer_gives_the_same_bits_on_real_clips(data_folder):
    path = data_folder / "video" / "openfield_mouse.mp4"
    index = index_video(path)
    reducers = camera_reducers("right", len(index), index.width, index.height)
    whole = values_of(path, index, [Chunk(0, len(index))], reducers)
    for chunks in (plan_chunks(index.keyframes, len(index), 1), cut_evenly(len(index), 333)):
        assert_same_bits(values_of(path, index, chunks, reducers), whole)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_run_of_frames_can_be_read_in_any_order(videos, data):
    video = videos["h264_b_frames"]
    index = index_video(video)
    start = data.draw(st.integers(0, len(index) - 1))
    stop = data.draw(st.integers(start + 1, len(index)))
    with FrameReader(video, index) as reader:
        assert [read_frame_number(image) for image in reader.read(start, stop)] == list(range(start, stop))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 3), (0, 98), (97, 98)])
def test_frames_outside_the_video_are_refused(videos, start, stop):
    with FrameReader(videos["h264"]) as reader, pytest.raises(UsageError, match="do not lie within"):
        reader.frames(start, stop)


def test_a_video_that_changed_since_it_was_indexed_is_refused(videos, tmp_path):
    path = tmp_path / "growing.mp4"
    path.write_bytes(videos["h264"].read_bytes())
    index = index_video(path)
    path.write_bytes(videos["h264"].read_bytes() + b"more")
    with pytest.raises(UnreadableVideo, match="changed since it was indexed"):
        FrameReader(path, index)


def test_frames_that_do_not_decode_are_reported_and_the_others_are_exact(videos, tmp_path):
    """Overwrite one packet: its frame and those that refer to it are None, up to the next keyframe."""
    expected = decoded_in_one_go(videos["mjpeg_avi"])
    with av.open(str(videos["mjpeg_avi"])) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        place, size = packets[40].pos, packets[40].size
    content = bytearray(videos["mjpeg_avi"].read_bytes())
    content[place + 8 : place + 8 + size // 2] = bytes(size // 2)
    path = tmp_path / "damaged.avi"
    path.write_bytes(content)
    index = index_video(path)
    reducers = camera_reducers("left", len(index), index.width, index.height)
    result = run_pass(path, index, Chunk(0, len(index)), reducers)
    assert np.flatnonzero(result.decode_error).tolist() == [40]
    assert np.isnan(result.arrays["brightness/brightness"][40])
    with FrameReader(path, index) as reader:
        for number, frame in reader.frames(0, len(index)):
            assert number == 40 or np.array_equal(luma(frame), expected[number])
