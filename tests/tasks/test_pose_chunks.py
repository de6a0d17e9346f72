"""Keypoints of a chunk are those of the whole video, whatever the codec, the chunks, and the damage."""

import threading

import numpy as np
import nv12_decoder
import pytest
from disc_sessions import Levels, borders_to_chunks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zoo import N_FRAMES, ZOO, drawn_frames, make

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.tasks.pose.estimation import estimate, pieces_of
from ibl_dask.video import colour
from ibl_dask.video.container.index import index_video

KINDS = ("b_frames", "open_gop_mkv", "intra_refresh", "one_gop", "mpeg4_b_avi", "mjpeg_avi", "avi_header_says_5")
WHOLE, CROP = PictureMap(Region(0, 128, 0, 160)), PictureMap(Region(50, 114, 40, 140), flip=True, gain=1.25)


@pytest.fixture(scope="module", params=KINDS)
def video(request, tmp_path_factory):
    animal = ZOO[request.param]
    return make(tmp_path_factory.mktemp("zoo") / f"video{animal.suffix}", animal, drawn_frames())


def networks():
    return {"single": (Levels(0), CROP), "context": (Levels(2, 5), WHOLE), "wide": (Levels(5, 1), CROP)}


def joined(path, index, chunks, most_bytes=1 << 20, n_decoders=1):
    parts = [estimate(path, index, chunk, networks(), most_bytes, n_decoders) for chunk in chunks]
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in networks()}
    return values, np.concatenate([part.decode_error for part in parts])


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(1, N_FRAMES - 1), max_size=5), st.sampled_from((1, 100_000, 1 << 30)), st.integers(1, 5))
def test_any_chunks_and_decoders_give_the_values_of_the_whole_video(video, inner, most_bytes, n_decoders):
    index = index_video(video)
    assert len(index) == N_FRAMES
    whole, lost = joined(video, index, [Chunk(0, N_FRAMES)])
    found, _ = joined(video, index, borders_to_chunks([0, *sorted(inner), N_FRAMES]), most_bytes, n_decoders)
    assert not lost.any()
    for name, values in whole.items():
        assert values.shape == (N_FRAMES, 1, 3)
        assert found[name].tobytes() == values.tobytes(), name
        assert len(np.unique(values[:, 0, 0])) > N_FRAMES // 2


def test_frames_that_do_not_decode_shift_no_row(tmp_path):
    """Damage to one group of pictures leaves the rows of all others as they were, and its own without values."""
    path = make(tmp_path / "video.mp4", ZOO["b_frames"], drawn_frames())
    index = index_video(path)
    sound, _ = joined(path, index, [Chunk(0, N_FRAMES)])
    content = bytearray(path.read_bytes())
    middle = content.index(b"mdat") + len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    index = index_video(path)
    whole, lost = joined(path, index, [Chunk(0, N_FRAMES)])
    assert 0 < lost.sum() <= 24
    for borders in ([0, 7, 30, 31, 50, N_FRAMES], [0, 24, 48, N_FRAMES]):
        found, also_lost = joined(path, index, borders_to_chunks(borders), 1 << 30, n_decoders=3)
        assert np.array_equal(also_lost, lost)
        assert all(found[name].tobytes() == values.tobytes() for name, values in whole.items())
    found, also_lost = joined(path, index, [Chunk(0, N_FRAMES)], 1 << 30, n_decoders=3)
    assert np.array_equal(also_lost, lost)
    assert all(found[name].tobytes() == values.tobytes() for name, values in whole.items())
    single, far = whole["single"], ~lost
    assert np.array_equal(single[far], sound["single"][far])
    assert np.isnan(single[lost][:, 0, :2]).all()
    assert not single[lost][:, 0, 2].any()


@given(
    st.sets(st.integers(0, 2000)),
    st.integers(0, 1999),
    st.integers(1, 2000),
    st.integers(0, 400),
    st.integers(1, 6),
)
def test_pieces_for_decoders_begin_at_keyframes_and_hold_every_frame_once(
    keyframes, start, n_frames, most_frames, n_decoders
):
    frames = Chunk(start, start + n_frames)
    pieces = pieces_of(np.array(sorted(keyframes), np.int64), frames, most_frames, n_decoders)
    assert [frame for piece in pieces for frame in range(piece.start, piece.stop)] == list(range(start, frames.stop))
    assert {piece.start for piece in pieces[1:]} <= keyframes
    assert pieces == [frames] or max(map(len, pieces)) <= most_frames


def test_decoders_work_at_once_as_far_as_their_pictures_fit(tmp_path, monkeypatch):
    """Each waits for the other at its start; with one after the other that would not end."""
    path = make(tmp_path / "video.mp4", ZOO["b_frames"], drawn_frames())
    index = index_video(path)
    together, frames_of = threading.Barrier(2), colour.plain_frames

    def meeting(path, index, start, stop, **more):
        if start < 48:
            together.wait(20)
        yield from frames_of(path, index, start, stop, **more)

    monkeypatch.setattr(colour, "plain_frames", meeting)
    found, _ = joined(path, index, [Chunk(0, N_FRAMES)], 1 << 30, n_decoders=2)
    monkeypatch.setattr(colour, "plain_frames", frames_of)
    expected, _ = joined(path, index, [Chunk(0, N_FRAMES)], 1 << 30, n_decoders=1)
    assert all(found[name].tobytes() == values.tobytes() for name, values in expected.items())


@pytest.mark.parametrize("kept", [0, 30, 72])
def test_a_gpu_that_stops_decoding_within_a_chunk_costs_time_and_no_row(tmp_path, monkeypatch, kept):
    """With a stand-in for the GPU, see `nv12_decoder.py`; it decodes all frames, some of them, or none."""
    path = make(tmp_path / "video.mp4", ZOO["b_frames"], drawn_frames())
    index = index_video(path)
    left = iter(range(kept))
    nv12_decoder.install(monkeypatch, lambda frames: [frame for frame, _ in zip(frames, left, strict=False)])
    expected = estimate(path, index, Chunk(0, N_FRAMES), networks())
    found = estimate(path, index, Chunk(0, N_FRAMES), networks(), on_gpu=True)
    assert found.on_gpu is (kept == N_FRAMES)
    assert bool(found.gpu_problem) is not found.on_gpu
    assert not found.decode_error.any()
    assert all(found.values[name].tobytes() == values.tobytes() for name, values in expected.values.items())


@pytest.mark.parametrize("lost", [23, 60])
def test_a_frame_that_a_gpu_loses_beside_a_chunk_changes_no_row_in_it(tmp_path, monkeypatch, lost):
    """Rows at the edges of a chunk depend on frames of its neighbours."""
    path = make(tmp_path / "video.mp4", ZOO["b_frames"], drawn_frames())
    index, chunk = index_video(path), Chunk(24, 60)
    expected = estimate(path, index, chunk, networks())
    pts = int(index.pts[lost])
    nv12_decoder.install(monkeypatch, lambda frames: [frame for frame in frames if frame.pts != pts])
    found = estimate(path, index, chunk, networks(), on_gpu=True)
    assert not found.on_gpu
    assert all(found.values[name].tobytes() == values.tobytes() for name, values in expected.values.items())


def test_pictures_that_do_not_fit_are_made_by_one_decoder_which_is_what_the_result_states(tmp_path):
    path = make(tmp_path / "video.mp4", ZOO["b_frames"], drawn_frames())
    index = index_video(path)
    used = [
        estimate(path, index, Chunk(0, N_FRAMES), networks(), most_bytes, 2).n_decoders for most_bytes in (1, 1 << 30)
    ]
    assert used == [1, 2]
