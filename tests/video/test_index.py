from fractions import Fraction

import av
import numpy as np
import pytest
from zoo import N_FRAMES, ffmpeg, read_in_chunks, same

from ibl_dask.errors import MissingFile, UnreadableVideo
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.synth.movie import write_video
from ibl_dask.video.chunking import cut_evenly
from ibl_dask.video.container import packet_table as module
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.pixels import luma


def demuxed(path):
    """Return presentation times and keyframes by reading every packet with FFmpeg."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.size and not p.is_discard]
    pts = np.array([p.dts if p.pts is None else p.pts for p in packets])
    order = np.sort(pts)
    return order, np.searchsorted(order, np.sort(pts[[p.is_keyframe for p in packets]]))


def test_index_equals_what_reading_every_packet_gives(video):
    index = index_video(video)
    pts, keyframes = demuxed(video)
    assert len(index) == 97
    np.testing.assert_array_equal(index.pts, pts)
    np.testing.assert_array_equal(index.keyframes, keyframes)


def test_index_of_real_clips_is_exact(data_folder):
    for name, n_frames, fps in (("mirror_mouse.mp4", 994, 250.0), ("openfield_mouse.mp4", 2330, 1e6 / 33333)):
        index = index_video(data_folder / "video" / name)
        pts, keyframes = demuxed(data_folder / "video" / name)
        assert len(index) == n_frames
        assert index.fps == pytest.approx(fps)
        np.testing.assert_array_equal(index.pts, pts)
        np.testing.assert_array_equal(index.keyframes, keyframes)


def test_mp4_is_indexed_without_reading_its_packets(videos, monkeypatch):
    def refuse(*args):
        raise AssertionError("packets were read")

    monkeypatch.setattr(module, "_from_packets", refuse)
    for kind in ("h264", "h264_b_frames", "mpeg4_avi"):
        assert len(index_video(videos[kind])) == 97


def test_frames_hidden_by_an_edit_list_are_not_frames(videos, tmp_path):
    """Cut the first second by stream copy: the packets stay, an edit list hides the frames before the cut."""
    import subprocess

    import imageio_ffmpeg

    path = tmp_path / "cut.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-ss", "0.6", "-i", str(videos["h264_one_gop"])]
    subprocess.run([*command, "-c", "copy", str(path)], check=True)
    index = index_video(path)
    pts, _ = demuxed(path)
    with av.open(str(path)) as container:
        shown = sum(1 for _ in container.decode(video=0))
    assert index.n_hidden > 0
    assert len(index) == shown
    np.testing.assert_array_equal(index.pts, pts)


def test_a_trimmed_file_lacks_nothing(videos, tmp_path):
    """Both ends cut by stream copy: what an edit list leaves out was not lost."""
    import subprocess

    import imageio_ffmpeg

    path = tmp_path / "trimmed.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-ss", "0.6", "-i", str(videos["h264_one_gop"])]
    subprocess.run([*command, "-t", "0.5", "-c", "copy", str(path)], check=True)
    index = index_video(path)
    with av.open(str(path)) as container:
        shown = [luma(frame).copy() for frame in container.decode(video=0)]
    assert index.n_absent == 0
    assert index.n_hidden > 0
    for chunks in (cut_evenly(len(index), 5), cut_evenly(len(index), 1000)):
        assert same(read_in_chunks(path, index, chunks), shown)
    first = read_frame_number(shown[0])
    assert [read_frame_number(image) for image in shown] == list(range(first, first + len(index)))


def test_fragmented_mp4_is_indexed_whole(footage, tmp_path):
    path = tmp_path / "fragmented.mp4"
    write_video(path, footage(50), 320, 256, 60, gop=10, container_options={"movflags": "frag_keyframe"})
    assert len(index_video(path)) == 50


def test_variable_frame_rate_keeps_every_presentation_time(tmp_path):
    path = tmp_path / "variable.mkv"
    ticks = np.cumsum([0, 16, 17, 40, 16, 90, 3, 16, 16])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=60)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for tick in ticks:
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts, frame.time_base = int(tick), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    index = index_video(path)
    np.testing.assert_allclose(index.times_s, (ticks - ticks[0]) / 1000, atol=1e-3)


def test_index_survives_being_stored(video):
    index = index_video(video)
    again = FrameIndex.from_arrays(*index.to_arrays())
    assert again.identity() == index.identity()
    assert again.rate == index.rate
    np.testing.assert_array_equal(again.pts, index.pts)


def test_identity_tells_one_video_from_another(videos):
    identities = {str(index_video(path).identity()) for path in videos.values()}
    assert len(identities) == len(videos)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "0 bytes"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(4000), "bytes that FFmpeg refuses"),
        (b"no video", "FFmpeg"),
    ],
)
def test_a_file_that_is_no_video_is_refused_with_its_size(tmp_path, content, got):
    path = tmp_path / "_iblrig_leftCamera.raw.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableVideo) as caught:
        index_video(path)
    assert got in str(caught.value)
    assert str(path) in str(caught.value)
    assert "What to do" in str(caught.value)


def test_mp4_without_moov_is_refused_and_says_so(videos, tmp_path):
    path = tmp_path / "cut.mp4"
    content = videos["h264"].read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    with pytest.raises(UnreadableVideo, match="moov"):
        index_video(path)


def test_a_missing_video_is_a_missing_file(tmp_path):
    with pytest.raises(MissingFile, match="does not exist"):
        index_video(tmp_path / "nothing.mp4")


def test_an_avi_whose_codec_nobody_knows_is_named(zoo, tmp_path):
    path = tmp_path / "unknown.avi"
    path.write_bytes(zoo("mpeg4_avi").read_bytes().replace(b"FMP4", b"ZZZZ"))
    with pytest.raises(UnreadableVideo, match="codec is not known"):
        index_video(path)


def test_titles_in_another_encoding_are_no_obstacle(zoo, tmp_path):
    path = tmp_path / "title.avi"
    ffmpeg("-i", zoo("mpeg4_avi"), "-c", "copy", "-metadata", "title=abcdefgh", path)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", "Mäuschen".encode("latin-1")))
    assert len(index_video(path)) == N_FRAMES
