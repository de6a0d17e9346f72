"""NVDEC decodes a chunk only where its pixels are those of the CPU. The GPU is a stand-in, see `nv12_decoder.py`."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import av
import numpy as np
import nv12_decoder
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo import N_FRAMES, ZOO, drawn_frames, make

from ibl_dask.errors import UnreadableVideo
from ibl_dask.model.chunk import Chunk
from ibl_dask.video import reader
from ibl_dask.video.colour import RgbPictures, rgb_frames
from ibl_dask.video.container.index import index_video
from ibl_dask.video.container.tracks import NoGpuDecoder, open_video
from ibl_dask.video.gpu_proof import COMPARED_FRAMES, refusal
from ibl_dask.video.pixels import planar
from ibl_dask.video.stream_decoder import StreamDecoder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Return a function that makes a video of the zoo once."""
    folder, made = tmp_path_factory.mktemp("zoo"), {}

    def clip(name) -> Path:
        if name not in made:
            made[name] = make(folder / f"{name}{ZOO[name].suffix}", ZOO[name], drawn_frames())
        return made[name]

    return clip


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(("yuv420p", "yuvj420p")),
    st.integers(0, 1 << 16),
)
def test_frames_with_alternating_colours_get_their_planes_back(width, height, name, seed):
    frame = av.VideoFrame(width, height, name)
    generator = np.random.default_rng(seed)
    for plane in frame.planes:
        view = nv12_decoder.samples(plane, plane.height, plane.width)
        view[:] = generator.integers(0, 256, view.shape)
    found = planar(nv12_decoder.interleaved(frame), name)
    assert found.format.name == name
    for plane, expected in zip(found.planes, frame.planes, strict=True):
        shape = (expected.height, expected.width)
        assert np.array_equal(nv12_decoder.samples(plane, *shape), nv12_decoder.samples(expected, *shape))
    assert np.array_equal(RgbPictures()(found), RgbPictures()(frame))


@pytest.mark.parametrize("name", ["b_frames", "open_gop_mkv", "intra_refresh", "one_gop", "full_range", "h264_avi"])
def test_a_decoder_with_the_pixels_of_the_cpu_is_taken_and_gives_its_frames(clips, name, monkeypatch):
    nv12_decoder.install(monkeypatch)
    path, index = clips(name), index_video(clips(name))
    assert refusal(path, index, Chunk(5, N_FRAMES)) == ""
    pairs = zip(rgb_frames(path, index, 3, 60), rgb_frames(path, index, 3, 60, on_gpu=True), strict=True)
    for (number, expected), (at, found) in pairs:
        assert at == number
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("plane", [0, 1])
def test_two_samples_that_differ_are_enough_to_leave_a_chunk_to_the_cpu(clips, plane, monkeypatch):
    def brighter(frames):
        for frame in frames:
            nv12_decoder.samples(frame.planes[plane], 1, 2)[:] ^= 16
        return frames

    nv12_decoder.install(monkeypatch, brighter)
    path = clips("b_frames")
    assert refusal(path, index_video(path), Chunk(24, N_FRAMES)) == "frame 24 differs from that of the CPU"


def test_frames_in_the_middle_of_a_chunk_are_compared_as_well(clips, monkeypatch):
    path = clips("short_gop")
    index = index_video(path)
    late = int(index.pts[36])

    def wrong_later(frames):
        for frame in frames:
            if frame.pts >= late:
                nv12_decoder.samples(frame.planes[0], 8, 8)[:] += 50
        return frames

    nv12_decoder.install(monkeypatch, wrong_later)
    assert refusal(path, index, Chunk(0, 36)) == ""
    assert refusal(path, index, Chunk(0, N_FRAMES)) == "frame 36 differs from that of the CPU"


def test_a_decoder_that_loses_frames_is_refused(clips, monkeypatch):
    nv12_decoder.install(monkeypatch, lambda frames: [])
    path = clips("b_frames")
    assert refusal(path, index_video(path), Chunk(0, COMPARED_FRAMES)) == "NVDEC gives no frame 0"


def test_a_decoder_ends_with_the_last_use_of_it(clips, monkeypatch):
    """Its memory is on the GPU, where no collector of garbage sees it."""
    decoders = []

    def noted(*args, **kwargs):
        made = StreamDecoder(*args, **kwargs)
        decoders.append(weakref.ref(made))
        return made

    nv12_decoder.install(monkeypatch)
    monkeypatch.setattr(reader, "StreamDecoder", noted)
    path = clips("b_frames")
    gc.disable()
    try:
        assert sum(1 for _ in rgb_frames(path, index_video(path), 0, 30, on_gpu=True)) == 30
        assert [decoder() for decoder in decoders] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["mpeg4_b_mp4", "mjpeg_avi", "422", "444"])
def test_codecs_and_formats_whose_pixels_no_standard_fixes_are_left_to_the_cpu(clips, name, monkeypatch):
    nv12_decoder.install(monkeypatch)
    path = clips(name)
    assert "is left to the CPU" in refusal(path, index_video(path), Chunk(0, N_FRAMES))


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_says_so(clips):
    """Without the stand-in: FFmpeg's own answer."""
    path = clips("b_frames")
    assert "Error" in refusal(path, index_video(path), Chunk(0, N_FRAMES))


@pytest.mark.parametrize("kind", [av.error.BugError, av.error.NotImplementedError])
def test_errors_of_ffmpeg_that_are_python_errors_too_are_those_of_a_file(clips, kind, monkeypatch):
    def refuse(*args, **kwargs):
        raise kind(0, "refused")

    path = clips("b_frames")
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(UnreadableVideo):
        open_video(path)
    with pytest.raises(NoGpuDecoder):
        open_video(path, on_gpu=True)
