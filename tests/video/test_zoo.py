"""Whatever wrote the file: frame i shows number i, and any chunk plan decodes what FFmpeg's program does in one go."""

import subprocess

import numpy as np
import pytest
from passes import assert_same_bits, values_of
from zoo import N_FRAMES, REAL, REFUSED, ZOO, decoded_by_the_program, ffmpeg, read_in_chunks, read_while_sound, same

from ibl_dask.errors import UnreadableVideo
from ibl_dask.model.chunk import Chunk
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.chunking import cut_evenly, plan_chunks
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reducers.camera_set import camera_reducers


def plans(index):
    """Return chunk plans that split at keyframes and others that do not."""
    n = len(index)
    return (
        (Chunk(0, n),),
        plan_chunks(index.keyframes, n, 1),
        cut_evenly(n, 7),
    )


def check(path):
    index = index_video(path)
    expected = decoded_by_the_program(path)
    assert len(index) == len(expected) == N_FRAMES
    assert [read_frame_number(image) for image in expected] == list(range(N_FRAMES))
    for chunks in plans(index):
        got = read_in_chunks(path, index, chunks, reopen=chunks[0].stop in index.keyframes)
        wrong = [n for n, image in enumerate(got) if image is None or not np.array_equal(image, expected[n])]
        assert wrong == [], chunks
        assert same(read_while_sound(path, index, chunks), got), chunks
    return index


@pytest.mark.parametrize("name", ZOO)
def test_every_chunk_plan_decodes_what_the_program_decodes(zoo, name):
    check(zoo(name))


@pytest.mark.parametrize("name", REAL)
def test_every_chunk_plan_decodes_real_footage_the_same(real_zoo, name):
    check(real_zoo(name))


@pytest.mark.parametrize("name", ["open_gop_mkv", "intra_refresh", "mpeg4_b_avi", "h264_avi", "variable_rate"])
def test_every_reducer_gives_the_same_bits_for_every_chunk_plan(zoo, name):
    path = zoo(name)
    index = index_video(path)
    reducers = camera_reducers("left", len(index), index.width, index.height)
    whole = values_of(path, index, [Chunk(0, len(index))], reducers)
    assert not np.isnan(whole["brightness/brightness"]).any()
    for chunks in plans(index)[1:]:
        assert_same_bits(values_of(path, index, chunks, reducers), whole)


@pytest.mark.parametrize("name", ["open_gop", "open_gop_mkv", "open_gop_ts", "hevc_open_gop"])
def test_chunks_may_start_where_an_open_group_begins(zoo, name):
    """Its leading frames are decoded from one group earlier, which the tests above prove."""
    index = index_video(zoo(name))
    assert len(index.keyframes) > 3
    assert not index.key_is_closed[1:].any()
    assert index.key_is_closed[0]


@pytest.mark.parametrize("name", ["intra_refresh", "intra_refresh_b_mkv", "intra_refresh_avi"])
def test_no_chunk_starts_where_a_gradual_refresh_begins(zoo, name):
    assert index_video(zoo(name)).keyframes.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "keyframes"),
    [
        ("mp4_that_calls_every_packet_a_key", range(0, N_FRAMES, 24)),
        ("avi_that_calls_every_packet_a_key", range(0, N_FRAMES, 12)),
        ("avi_whose_recording_died", range(0, N_FRAMES, 12)),
    ],
)
def test_a_keyframe_flag_is_not_believed(zoo, name, keyframes):
    assert index_video(zoo(name)).keyframes.tolist() == list(keyframes)


@pytest.mark.parametrize("name", ["variable_rate", "variable_rate_mkv"])
def test_uneven_times_are_kept(zoo, name):
    number = np.arange(N_FRAMES)
    expected = (number + 5 * (number // 9) + 20 * (number >= 40)) / 60
    np.testing.assert_allclose(index_video(zoo(name)).times_s, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["late_start_with_a_pause", "late_start_ts", "late_start_mkv", "no_edit_list"])
def test_times_begin_at_the_first_frame_wherever_the_clock_stood(zoo, name):
    np.testing.assert_allclose(index_video(zoo(name)).times_s, np.arange(N_FRAMES) / 60, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in ZOO if name.startswith(("avi_", "mp4_"))])
def test_a_whole_file_lacks_nothing_whatever_its_header_says(zoo, name):
    assert index_video(zoo(name)).n_absent == 0


def remedy(message, path, out):
    """Run the command that a message tells people to run."""
    command = message.split("ffmpeg ")[1].split(", and check")[0].split(", check")[0].split()
    ffmpeg(*[str(path) if word in ("in", "in.avi") else str(out) if word == out.name else word for word in command])


@pytest.mark.parametrize("name", REFUSED)
def test_an_avi_that_does_not_say_its_order_is_refused_and_the_remedy_works(zoo, name, tmp_path):
    with pytest.raises(UnreadableVideo) as caught:
        index_video(zoo(name))
    assert "What to do" in str(caught.value)
    out = tmp_path / ("out.avi" if name == "packed_avi" else "out.mp4")
    try:
        remedy(caught.value.do, zoo(name), out)
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr.decode())
    index = index_video(out)
    got = read_in_chunks(out, index, plan_chunks(index.keyframes, len(index), 30))
    assert [read_frame_number(image) for image in got] == list(range(len(got)))
    # Xvid's encoder keeps the last frame to itself.
    assert len(got) == N_FRAMES - (name == "packed_avi")
