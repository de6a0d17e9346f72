"""Packets that go from AVI to MP4 are the same packets, each at its frame; whatever else is in the MP4 is noticed."""

import dataclasses
import io

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import _MPEG4, _RIG, _UNEVEN, N_FRAMES, Animal, decoded_by_the_program, drawn_frames, ffmpeg, make

from ibl_dask.errors import CorruptOutput, UnreadableVideo, UnusableFile
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.container.index import index_video
from ibl_dask.video.container.mp4 import _top_boxes, has_tables_in_front
from ibl_dask.video.container.tracks import open_video
from ibl_dask.video.encoding.remux import check_copy, copy_notes, copy_to_mp4
from ibl_dask.video.reader import FrameReader

PLAIN = ("mpeg4_avi", "xvid_avi", "mjpeg_avi", "h264_avi")
ODD = (
    "mpeg4_b_avi",
    "intra_refresh_avi",
    "avi_header_says_0",
    "avi_header_says_5",
    "avi_header_says_a_million",
    "avi_without_index",
    "avi_whose_recording_died",
    "avi_that_calls_every_packet_a_key",
)


def copy(source, target):
    index = index_video(source)
    digest = copy_to_mp4(source, index, target)
    copied, checked = check_copy(source, index, target)
    assert digest == checked
    return copied


def shown(path, index=None):
    with FrameReader(path, index) as reader:
        return reader.read(0, len(reader.index))


def is_regular(index):
    """Return whether frame i is shown at i / 60, exactly."""
    return [60 * index.time_base * int(pts) for pts in index.pts] == list(range(len(index)))


def facts(path):
    """Return what players and readers see of a video, its packets among it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        packets = [p for p in container.demux(stream) if p.size]
        return {
            "time_base": stream.time_base,
            "rate": (stream.average_rate, stream.guessed_rate, stream.base_rate),
            "start and duration": (stream.start_time, stream.duration, stream.frames),
            "times": [(p.pts, p.dts, p.duration) for p in packets],
            "keys": [entry.is_keyframe for entry in stream.index_entries],
            "format": (context.name, context.codec_tag, context.pix_fmt, context.width, context.height),
            "settings": context.extradata,
            "packets": [bytes(p) for p in packets],
        }


@pytest.mark.parametrize("name", PLAIN)
def test_packets_times_and_flags_are_those_of_ffmpeg_s_own_copy(zoo, tmp_path, name):
    theirs, ours = tmp_path / "theirs.mp4", tmp_path / "ours.mp4"
    ffmpeg("-i", zoo(name), "-c", "copy", theirs)
    copy(zoo(name), ours)
    assert facts(ours) == facts(theirs)
    assert has_tables_in_front(ours)


@pytest.mark.parametrize("name", PLAIN + ODD)
def test_every_frame_is_there_once_in_order_with_the_same_pixels(zoo, tmp_path, name):
    copied = copy(zoo(name), tmp_path / "copy.mp4")
    images = shown(tmp_path / "copy.mp4", copied)
    assert [read_frame_number(image) for image in images] == list(range(N_FRAMES))
    np.testing.assert_array_equal(images, shown(zoo(name)))
    np.testing.assert_array_equal(images, decoded_by_the_program(tmp_path / "copy.mp4"))
    assert is_regular(copied)
    np.testing.assert_array_equal(copied.keyframes, index_video(zoo(name)).keyframes)


@pytest.mark.parametrize("name", ["mpeg4_avi", "mpeg4_b_avi", "mjpeg_avi"])
def test_so_it_is_for_a_real_clip(real_zoo, tmp_path, name):
    copied = copy(real_zoo(name), tmp_path / "copy.mp4")
    np.testing.assert_array_equal(shown(tmp_path / "copy.mp4", copied), shown(real_zoo(name)))


def test_b_frames_are_shown_in_order_where_ffmpeg_s_copy_shows_them_as_decoded(zoo, tmp_path):
    theirs = tmp_path / "theirs.mp4"
    ffmpeg("-i", zoo("mpeg4_b_avi"), "-c", "copy", theirs)
    copy(zoo("mpeg4_b_avi"), tmp_path / "ours.mp4")
    assert facts(tmp_path / "ours.mp4")["packets"] == facts(theirs)["packets"]
    stamps = [pts for pts, _, _ in facts(theirs)["times"]]
    assert stamps == sorted(stamps)
    stamps = [pts for pts, _, _ in facts(tmp_path / "ours.mp4")["times"]]
    assert stamps != sorted(stamps)


@pytest.mark.parametrize("rate", ["30000/1001", "150", "31.878", "1000000/33333"])
def test_any_rate_is_kept(tmp_path, rate):
    source = tmp_path / "in.avi"
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "gray", "-s", "160x128", "-r", rate, "-i", "-", *_RIG, source),
        data=drawn_frames()[:20].tobytes(),
    )
    ffmpeg("-i", source, "-c", "copy", tmp_path / "theirs.mp4")
    copied = copy(source, tmp_path / "ours.mp4")
    assert facts(tmp_path / "ours.mp4") == facts(tmp_path / "theirs.mp4")
    np.testing.assert_allclose(copied.times_s, np.arange(20) * float(index_video(source).time_base), rtol=1e-12)


def test_the_same_video_gives_the_same_file(zoo, tmp_path):
    for name in ("one.mp4", "other.mp4"):
        copy(zoo("mpeg4_avi"), tmp_path / name)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "other.mp4").read_bytes()


# -- what is left behind is said ---------------------------------------------------------------------------


def test_sound_is_not_copied_and_said(zoo, tmp_path):
    source = tmp_path / "sound.avi"
    ffmpeg(
        "-i", zoo("mpeg4_avi"), "-f", "lavfi", "-i", "sine=duration=1.2", "-c:v", "copy", "-c:a", "pcm_s16le", source
    )
    copied = copy(source, tmp_path / "copy.mp4")
    assert len(copied) == N_FRAMES
    assert "audio" in copy_notes(source, index_video(source))[0]
    assert copy_notes(zoo("mpeg4_avi"), index_video(zoo("mpeg4_avi"))) == []


# -- what cannot be copied is left as it is ----------------------------------------------------------------


def refused(source, tmp_path):
    with pytest.raises(UnusableFile) as caught:
        copy(source, tmp_path / "copy.mp4")
    return str(caught.value)


@pytest.mark.parametrize("codec", ["ffv1", "rawvideo", "huffyuv"])
def test_a_codec_that_is_not_copied_is_named(tmp_path, codec):
    source = make(tmp_path / "in.avi", Animal(".avi", ("-c:v", codec)), drawn_frames())
    text = refused(source, tmp_path)
    assert f"codec {codec}" in text
    assert "`compressed: true`" in text


def test_frame_times_without_a_frame_are_no_reason_to_renumber(tmp_path):
    """An MP4 has no empty places: the frames of a copy would move by 75 in all."""
    source = make(tmp_path / "gaps.avi", Animal(".avi", (*_RIG, *_UNEVEN)), drawn_frames())
    text = refused(source, tmp_path)
    assert f"{len(index_video(source)) - N_FRAMES} places of the video are empty" in text
    assert not (tmp_path / "copy.mp4").exists()


def test_an_mp4_is_no_avi(zoo, tmp_path):
    assert "this is no AVI" in refused(zoo("b_frames"), tmp_path)


def test_a_stream_that_only_the_tag_of_its_avi_explains_is_refused(tmp_path):
    """Without its encoder's signature, FFmpeg takes another inverse transform for `XVID` than for an MP4."""
    unsigned = ("-fflags", "+bitexact", "-flags:v", "+bitexact")
    for tag, is_refused in (("XVID", True), ("FMP4", False)):
        options = (*_MPEG4, "-bf", "0", "-vtag", tag, *unsigned)
        source = make(tmp_path / f"{tag}.avi", Animal(".avi", options), drawn_frames())
        if is_refused:
            assert "the tag in the AVI is XVID" in refused(source, tmp_path)
        else:
            copy(source, tmp_path / "copy.mp4")


@pytest.mark.parametrize("name", ["mpeg4_avi", "mjpeg_avi", "h264_avi"])
@pytest.mark.parametrize(("n_left", "text"), [(1, "cut short"), (25, "cut short"), (71, "a part of that of frame 71")])
def test_a_video_that_was_cut_is_refused(zoo, tmp_path, name, n_left, text):
    source = tmp_path / "cut.avi"
    source.write_bytes(zoo(name).read_bytes()[: int(index_video(zoo(name)).places[n_left]) + 20])
    assert text in refused(source, tmp_path)


def test_a_video_that_lacks_its_table_alone_is_copied(zoo, tmp_path):
    source = tmp_path / "cut.avi"
    content = zoo("mpeg4_avi").read_bytes()
    source.write_bytes(content[: content.rindex(b"idx1") + 40])
    assert len(copy(source, tmp_path / "copy.mp4")) == N_FRAMES


@pytest.mark.parametrize("name", PLAIN)
def test_a_damaged_chunk_header_is_no_frame_less(zoo, tmp_path, name):
    content = bytearray(zoo(name).read_bytes())
    place = int(index_video(zoo(name)).places[30])
    content[place - 8 : place] = b"\xff" * 8
    source = tmp_path / "damaged.avi"
    source.write_bytes(content)
    assert len(index_video(source)) == N_FRAMES
    assert "other packets than its index lists" in refused(source, tmp_path)


@pytest.mark.parametrize("name", ["mpeg4_avi", "mjpeg_avi"])
def test_damage_within_a_packet_is_copied_as_it_is(zoo, tmp_path, name):
    content = bytearray(zoo(name).read_bytes())
    place = int(index_video(zoo(name)).places[30])
    content[place + 8 : place + 40] = bytes(32)
    source = tmp_path / "damaged.avi"
    source.write_bytes(content)
    copy(source, tmp_path / "copy.mp4")
    with av.open(str(source), options={"fflags": "+noparse+nofillin"}) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    assert facts(tmp_path / "copy.mp4")["packets"] == packets


def test_an_h264_packet_without_start_codes_is_named(zoo, tmp_path):
    content = bytearray(zoo("h264_avi").read_bytes())
    place = int(index_video(zoo("h264_avi")).places[30])
    content[place : place + 8] = b"\xff" * 8
    source = tmp_path / "damaged.avi"
    source.write_bytes(content)
    assert "packet of frame 30 is damaged" in refused(source, tmp_path)


@pytest.mark.parametrize("name", ["h264_b_avi", "mpeg2_b_avi", "packed_avi"])
def test_a_video_whose_order_nobody_knows_has_no_index_to_copy_by(zoo, tmp_path, name):
    with pytest.raises(UnreadableVideo):
        copy(zoo(name), tmp_path / "copy.mp4")


# -- an MP4 that is not the copy is noticed ----------------------------------------------------------------


@pytest.fixture(scope="module")
def copies(zoo, tmp_path_factory):
    """Return a function from the name of an AVI to its index, the bytes of its copy, and the copy's boxes."""
    made = {}

    def get(name):
        if name not in made:
            path = tmp_path_factory.mktemp("copies") / "copy.mp4"
            copy(zoo(name), path)
            content = path.read_bytes()
            boxes = {kind: (start, stop) for kind, start, stop in _top_boxes(io.BytesIO(content))}
            made[name] = index_video(zoo(name)), content, boxes
        return made[name]

    return get


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["mpeg4_avi", "mpeg4_b_avi", "h264_avi"]), st.floats(0, 1, exclude_max=True), st.integers(1, 255)
)
def test_any_byte_that_changed_among_the_packets_is_noticed(zoo, copies, tmp_path_factory, name, part, change):
    index, content, boxes = copies(name)
    start, stop = boxes[b"mdat"]
    changed = bytearray(content)
    changed[start + int(part * (stop - start))] ^= change
    path = tmp_path_factory.mktemp("changed") / "changed.mp4"
    path.write_bytes(changed)
    with pytest.raises(CorruptOutput):
        check_copy(zoo(name), index, path)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["mpeg4_avi", "h264_avi"]), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_any_byte_that_changed_in_the_tables_is_noticed_or_means_nothing(
    zoo, copies, tmp_path_factory, name, part, change
):
    index, content, boxes = copies(name)
    start, stop = boxes[b"moov"]
    changed = bytearray(content)
    changed[start + int(part * (stop - start))] ^= change
    path = tmp_path_factory.mktemp("changed") / "changed.mp4"
    path.write_bytes(changed)
    try:
        copied, _ = check_copy(zoo(name), index, path)
    except CorruptOutput:
        return
    assert is_regular(copied)
    np.testing.assert_array_equal(shown(path, copied), shown(zoo(name)))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_copy_that_ends_early_is_noticed(zoo, copies, tmp_path, part):
    index, content, _ = copies("mpeg4_avi")
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CorruptOutput):
        check_copy(zoo("mpeg4_avi"), index, path)


CHANGES = {
    "first frame dropped": lambda packets: packets[1:],
    "last frame dropped": lambda packets: packets[:-1],
    "frame dropped": lambda packets: packets[:30] + packets[31:],
    "frame doubled": lambda packets: [*packets[:31], *packets[30:]],
    "frame doubled for another": lambda packets: [*packets[:31], packets[30], *packets[32:]],
    "frames changed places": lambda packets: [*packets[:30], packets[31], packets[30], *packets[32:]],
    "every packet a key": lambda packets: [(content, at, True) for content, at, _ in packets],
    "no key but the first": lambda packets: [(content, at, at == 0) for content, at, _ in packets],
    "a pause": lambda packets: [(content, at + (at > 40), is_key) for content, at, is_key in packets],
    "late start": lambda packets: [(content, at + 2, is_key) for content, at, is_key in packets],
}


@pytest.mark.parametrize("kind", CHANGES)
def test_frames_dropped_doubled_or_moved_are_noticed(zoo, tmp_path, kind):
    source, target = zoo("mpeg4_avi"), tmp_path / "other.mp4"
    index = index_video(source)
    starts = set(index.keyframes.tolist())
    in_time = kind in ("a pause", "late start", "every packet a key", "no key but the first")
    front = {"movflags": "+faststart"}
    container, stream = open_video(source)
    with container, av.open(str(target), "w", format="mp4", options=front) as result:
        packets = [bytes(p) for p in container.demux(stream) if p.size]
        made = result.add_stream_from_template(stream, opaque=True)
        made.time_base = index.time_base
        changed = CHANGES[kind]([(content, at, at in starts) for at, content in enumerate(packets)])
        for at, (content, place, is_key) in enumerate(changed):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = made, index.time_base, is_key
            packet.pts = packet.dts = place if in_time else at
            packet.duration = 1
            result.mux(packet)
    with pytest.raises(CorruptOutput):
        check_copy(source, index, target)


def test_another_video_is_noticed_and_tables_behind_the_pictures(zoo, tmp_path):
    source = zoo("mpeg4_avi")
    ffmpeg("-i", source, "-c", "copy", tmp_path / "behind.mp4")
    with pytest.raises(CorruptOutput, match="behind them"):
        check_copy(source, index_video(source), tmp_path / "behind.mp4")
    copy(zoo("xvid_avi"), tmp_path / "other.mp4")
    with pytest.raises(CorruptOutput):
        check_copy(source, index_video(source), tmp_path / "other.mp4")
    with pytest.raises(CorruptOutput, match="width"):
        check_copy(source, dataclasses.replace(index_video(source), width=158), tmp_path / "other.mp4")
