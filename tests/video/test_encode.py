"""Chunks that are compressed by themselves and joined are what one encoder would have made, frame by frame."""

import dataclasses
import itertools

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import assert_same_bits, values_of
from zoo import N_FRAMES, ffmpeg

from ibl_dask.errors import CorruptOutput, DecodeFailed
from ibl_dask.model.chunk import Chunk
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.container.index import index_video
from ibl_dask.video.encoding.encode import encode_chunk
from ibl_dask.video.encoding.fidelity import Fidelity, error_energy, fits_neighbour, psnr_db, ssim
from ibl_dask.video.encoding.join import check_mp4, write_mp4
from ibl_dask.video.encoding.profiles import PROFILES, EncodingProfile
from ibl_dask.video.encoding.segment import Segment
from ibl_dask.video.framepass import join_passes
from ibl_dask.video.reader import FrameReader
from ibl_dask.video.reducers.camera_set import camera_reducers

RAW = ("mpeg4_avi", "mjpeg_avi", "mpeg4_b_avi", "h264_avi")
PROFILE = dataclasses.replace(PROFILES["ibl"], preset="veryfast")
BORDERS = st.sets(st.integers(1, N_FRAMES - 1), max_size=6).map(lambda inner: [0, *sorted(inner), N_FRAMES])


def compress(path, target, borders, profile=PROFILE, reducers=()):
    index = index_video(path)
    chunks = [Chunk(*pair) for pair in itertools.pairwise(borders)]
    encoded = [encode_chunk(path, index, chunk, profile, reducers) for chunk in chunks]
    segments = [(chunk, one.segment) for chunk, one in zip(chunks, encoded, strict=True)]
    written = write_mp4(target, segments, index, profile)
    return check_mp4(written, index), encoded, written


def shown_numbers(path, index):
    with FrameReader(path, index) as reader:
        return [read_frame_number(image) for image in reader.read(0, len(index))]


@settings(max_examples=20, deadline=None)
@given(BORDERS, st.sampled_from(RAW))
def test_any_chunking_gives_the_same_frames_in_the_same_order(zoo, tmp_path_factory, borders, name):
    target = tmp_path_factory.mktemp("joined") / "joined.mp4"
    index, encoded, _ = compress(zoo(name), target, borders)
    assert shown_numbers(target, index) == list(range(N_FRAMES))
    assert not any(one.fidelity.is_misplaced.any() for one in encoded)
    assert set(borders[:-1]) <= set(index.keyframes.tolist())


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "gray", "yuv422p10le"])
def test_pictures_of_an_odd_size_are_compressed(tmp_path, pix_fmt):
    raw = tmp_path / "odd.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=161x99:r=60:d=0.2", "-pix_fmt", pix_fmt, "-c:v", "ffv1", raw)
    index, (encoded,), _ = compress(raw, tmp_path / "joined.mp4", [0, 12])
    assert (index.width, index.height, len(index)) == (161, 99, 12)
    assert encoded.fidelity.complaint(0, PROFILE.psnr_floor_db) == ""


@pytest.mark.parametrize("name", RAW)
def test_the_pass_over_a_chunk_that_is_compressed_is_that_over_the_result(zoo, tmp_path, name):
    target = tmp_path / "joined.mp4"
    reducers = camera_reducers("left", N_FRAMES, 160, 128)
    borders = [0, 24, 40, N_FRAMES]
    index, encoded, _ = compress(zoo(name), target, borders, reducers=reducers)
    parts = [(one.result.chunk, one.result.arrays) for one in encoded]
    assert_same_bits(join_passes(reducers, parts), values_of(target, index, [Chunk(0, N_FRAMES)], reducers))
    assert not any(one.result.decode_error.any() for one in encoded)


def facts(path):
    """Return what players and readers see of a video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        packets = [p for p in container.demux(stream) if p.size]
        return {
            "time_base": stream.time_base,
            "rate": (stream.average_rate, stream.guessed_rate, stream.base_rate),
            "duration": stream.duration,
            "frames": stream.frames,
            "times": np.diff(sorted(p.pts for p in packets)).tolist(),
            "delays": np.sort([p.pts for p in packets])[0] - packets[0].dts,
            "decoded": np.diff([p.dts for p in packets]).tolist(),
            "durations": {p.duration for p in packets},
            "format": (context.name, context.pix_fmt, bytes(context.extradata[1:4]), context.width, context.height),
            "colours": (context.color_range, context.colorspace, context.color_primaries, context.color_trc),
            "aspect": stream.sample_aspect_ratio,
        }


@pytest.mark.parametrize("name", RAW)
def test_timing_and_flags_are_those_of_one_pass_of_ffmpeg(zoo, tmp_path, name):
    one_pass, joined = tmp_path / "one.mp4", tmp_path / "joined.mp4"
    ffmpeg("-i", zoo(name), "-c:v", "libx264", "-preset", "veryfast", "-crf", "17", "-movflags", "+faststart", one_pass)
    index, _, _ = compress(zoo(name), joined, [0, 12, 50, N_FRAMES])
    assert facts(joined) == facts(one_pass)
    # FFmpeg begins an AVI with B-frames when the first one is decoded.
    assert index.times_s.tolist() == pytest.approx(np.arange(N_FRAMES) / 60)
    assert index.pts[0] == 0


def test_the_same_chunk_gives_the_same_bytes(zoo):
    path = zoo("mpeg4_avi")
    index = index_video(path)
    one, other = (encode_chunk(path, index, Chunk(12, 60), PROFILE).segment for _ in range(2))
    assert one.digest == other.digest
    assert one.data.tobytes() == other.data.tobytes()


def test_a_segment_survives_being_kept(zoo):
    path = zoo("mpeg4_avi")
    segment = encode_chunk(path, index_video(path), Chunk(12, 60), PROFILE).segment
    again = Segment.from_arrays(*segment.to_arrays())
    for field in dataclasses.fields(Segment):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(segment, field.name))


def test_a_profile_of_short_groups_has_a_keyframe_every_25_frames(zoo, tmp_path):
    profile = dataclasses.replace(PROFILES["short_gop"], preset="veryfast")
    index, _, _ = compress(zoo("mpeg4_avi"), tmp_path / "joined.mp4", [0, N_FRAMES], profile)
    assert np.diff([*index.keyframes, N_FRAMES]).max() <= 25


# -- what is not faithful ----------------------------------------------------------------------------------


def test_a_source_that_does_not_decode_is_not_compressed(zoo, tmp_path):
    content = bytearray(zoo("mpeg4_avi").read_bytes())
    index = index_video(zoo("mpeg4_avi"))
    at = int(index.places[30])
    content[at : at + 64] = bytes(64)
    broken = tmp_path / "broken.avi"
    broken.write_bytes(content)
    with pytest.raises(DecodeFailed, match="no faithful copy") as caught:
        encode_chunk(broken, index_video(broken), Chunk(0, N_FRAMES), PROFILE)
    assert "frames 30 to 35" in str(caught.value)


def fidelity(psnr, misplaced=(), lost_share=0.9, unaccounted=()):
    flags = np.zeros((2, len(psnr)), bool)
    flags[0, list(misplaced)] = flags[1, list(unaccounted)] = True
    nothing, shares = np.full(len(psnr), np.nan, np.float32), np.full(len(psnr), lost_share, np.float32)
    return Fidelity(np.array(psnr, np.float32), nothing, flags[0], shares, flags[1])


def test_frames_that_lost_much_of_themselves_and_chunks_below_the_floor_are_complained_about():
    assert fidelity([42.0] * 9 + [30.1]).complaint(0, 36) == ""
    assert "frames 109 have a PSNR under 30.0 dB" in fidelity([42.0] * 9 + [29.9]).complaint(100, 36)
    assert fidelity([42.0] * 9 + [29.9], lost_share=0.1).complaint(100, 36) == ""
    assert "under 36.0 dB" in fidelity([35.9] * 10).complaint(0, 36)
    assert "frames 3 to 4 show the frame before or after" in fidelity([42.0] * 10, [3, 4]).complaint(0, 36)
    assert "frames 7 differ from the encoder" in fidelity([42.0] * 10, unaccounted=[7]).complaint(0, 36)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.floats(0, 8), st.integers(1, 6), st.sampled_from([-1, 1]))
def test_a_frame_in_the_place_of_its_neighbour_is_found_where_anything_moves(seed, error, step, side):
    rng = np.random.default_rng(seed)
    scene = np.kron(rng.integers(40, 216, (20, 30), np.uint8), np.ones((8, 8), np.uint8))
    source, neighbour = scene, np.roll(scene, side * step, axis=1)

    def compressed(frame):
        return np.clip(frame + rng.normal(0, error, frame.shape), 0, 255).astype(np.uint8)

    apart = error_energy(source, neighbour)
    right, wrong = compressed(source), compressed(neighbour)
    assert not fits_neighbour(right, error_energy(right, source), neighbour, apart)
    assert fits_neighbour(wrong, error_energy(wrong, source), neighbour, apart)


def test_frames_that_differ_by_noise_alone_are_in_their_place():
    rng = np.random.default_rng(3)
    source, neighbour = (np.clip(rng.normal(120, 6, (64, 64)), 0, 255).astype(np.uint8) for _ in range(2))
    smooth = np.full((64, 64), 120, np.uint8)
    assert not fits_neighbour(smooth, error_energy(smooth, source), neighbour, error_energy(source, neighbour))


def test_measures_of_likeness():
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (512, 640), np.uint8)
    assert psnr_db(0.0, 100) == 100
    assert psnr_db(16.0 * 100, 100, 1023) == pytest.approx(48.15, abs=0.01)
    assert psnr_db(error_energy(frame, frame ^ 1), frame.size) == pytest.approx(48.13, abs=0.01)
    assert ssim(frame, frame) == pytest.approx(1)
    assert ssim(frame, rng.integers(0, 256, (512, 640), np.uint8)) < 0.1
    assert ssim(frame, np.clip(frame + 5.0, 0, 255).astype(np.uint8)) > 0.97


# -- what was joined wrongly -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(zoo):
    path = zoo("mpeg4_avi")
    index = index_video(path)
    chunks = [Chunk(0, 24), Chunk(24, 48), Chunk(48, N_FRAMES)]
    return index, [(chunk, encode_chunk(path, index, chunk, PROFILE).segment) for chunk in chunks]


@pytest.mark.parametrize("order", [(0, 1), (1, 2), (0, 2), (1, 0, 2), (0, 1, 1, 2), ()])
def test_segments_that_do_not_tile_the_video_are_refused(parts, tmp_path, order):
    index, segments = parts
    with pytest.raises(CorruptOutput):
        write_mp4(tmp_path / "joined.mp4", [segments[i] for i in order], index, PROFILE)


def test_segments_of_other_settings_are_refused(parts, zoo, tmp_path):
    index, segments = parts
    other = encode_chunk(zoo("mpeg4_avi"), index, Chunk(24, 48), EncodingProfile("x", 17, 0, "ultrafast")).segment
    with pytest.raises(CorruptOutput, match="one encoder"):
        write_mp4(tmp_path / "joined.mp4", [segments[0], (Chunk(24, 48), other), segments[2]], index, PROFILE)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 255))
def test_a_byte_that_changed_in_the_file_is_found(parts, tmp_path_factory, place, change):
    """Wherever it is within the pictures, before the file gets its name."""
    index, segments = parts
    target = tmp_path_factory.mktemp("joined") / "joined.mp4"
    written = write_mp4(target, segments, index, PROFILE)
    content = bytearray(target.read_bytes())
    start = content.index(b"mdat") + 4
    content[start + place % (len(content) - start)] ^= change
    target.write_bytes(content)
    with pytest.raises(CorruptOutput):
        check_mp4(written, index)


@pytest.mark.parametrize("missing", [1, 100, 5000])
def test_a_file_that_was_cut_is_found(parts, tmp_path, missing):
    index, segments = parts
    target = tmp_path / "joined.mp4"
    written = write_mp4(target, segments, index, PROFILE)
    target.write_bytes(target.read_bytes()[:-missing])
    with pytest.raises(CorruptOutput):
        check_mp4(written, index)


@pytest.mark.parametrize("name", ["mpeg4_avi", "mjpeg_avi"])
def test_the_same_frames_become_the_same_bytes_every_time(zoo, name):
    index = index_video(zoo(name))
    one, *others = (
        encode_chunk(zoo(name), index, Chunk(0, len(index)), PROFILES["ibl"]).segment.data.tobytes() for _ in range(4)
    )
    assert all(other == one for other in others)
