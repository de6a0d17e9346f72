"""A file that holds more than the camera's video: the largest is taken, by every reader alike, or none is."""

import itertools

import av
import numpy as np
import pytest
from zoo import HEIGHT, N_FRAMES, WIDTH, drawn_frames, ffmpeg, read_in_chunks

from ibl_dask.errors import UnreadableVideo
from ibl_dask.model.chunk import Chunk
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.video.chunking import plan_chunks
from ibl_dask.video.container.index import index_video
from ibl_dask.video.container.summary import read_container_summary
from ibl_dask.video.encoding.encode import encode_chunk
from ibl_dask.video.encoding.join import check_mp4, write_mp4
from ibl_dask.video.encoding.profiles import PROFILES
from ibl_dask.video.encoding.remux import check_copy, copy_notes, copy_to_mp4

H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-x264-params", "keyint=24:bframes=2:scenecut=0")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "5", "-g", "12", "-bf", "0", "-vtag", "FMP4")
SOURCE = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", "60", "-i", "-")


def write(path, sizes, options, *more):
    """Write a file with a video of each size, the same frames in each."""
    labels = "".join(f"[in{i}]" for i in range(len(sizes)))
    scaled = ";".join(f"[in{i}]scale={w}:{h}:flags=area[out{i}]" for i, (w, h) in enumerate(sizes))
    graph = f"[0:v]split={len(sizes)}{labels};{scaled}"
    maps = itertools.chain.from_iterable(("-map", f"[out{i}]") for i in range(len(sizes)))
    ffmpeg(
        *SOURCE,
        "-filter_complex",
        graph,
        *maps,
        "-pix_fmt",
        "yuv420p",
        *options,
        *more,
        path,
        data=drawn_frames().tobytes(),
    )
    return path


FILES = {
    "preview first, MP4": (".mp4", [(80, 64), (WIDTH, HEIGHT)], H264, ()),
    "preview first and called the default, MP4": (
        ".mp4",
        [(80, 64), (WIDTH, HEIGHT)],
        H264,
        ("-disposition:v:0", "default", "-disposition:v:1", "0"),
    ),
    "preview last, MP4": (".mp4", [(WIDTH, HEIGHT), (80, 64)], H264, ()),
    "two previews, MP4": (".mp4", [(80, 64), (WIDTH, HEIGHT), (40, 32)], H264, ()),
    "fragmented": (".mp4", [(80, 64), (WIDTH, HEIGHT)], H264, ("-movflags", "+frag_keyframe+empty_moov")),
    "Matroska": (".mkv", [(80, 64), (WIDTH, HEIGHT)], H264, ()),
    "preview first, AVI": (".avi", [(80, 64), (WIDTH, HEIGHT)], MPEG4, ()),
    "preview last, AVI": (".avi", [(WIDTH, HEIGHT), (80, 64)], MPEG4, ()),
}


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("several"), {}

    def get(name):
        if name not in made:
            suffix, sizes, options, more = FILES[name]
            made[name] = write(folder / f"{name}{suffix}", sizes, options, *more)
        return made[name]

    return get


@pytest.mark.parametrize("name", FILES)
def test_the_largest_video_is_the_camera_s_wherever_it_stands(several, name):
    path = several(name)
    index = index_video(path)
    assert (index.width, index.height, len(index)) == (WIDTH, HEIGHT, N_FRAMES)
    chunks = plan_chunks(index.keyframes, N_FRAMES, 20)
    assert len(chunks) > 2
    assert [read_frame_number(image) for image in read_in_chunks(path, index, chunks)] == list(range(N_FRAMES))
    (note,) = index.notes
    assert f"the largest, stream {FILES[name][1].index((WIDTH, HEIGHT))} of {WIDTH} x {HEIGHT}, is the camera's" in note
    assert "of 80 x 64" in note


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("fragmented", "Matroska")])
def test_a_plan_sees_the_video_that_a_run_reads(several, name):
    summary, index = read_container_summary(several(name)), index_video(several(name))
    assert (summary.width, summary.height, summary.n_frames) == (WIDTH, HEIGHT, N_FRAMES)
    np.testing.assert_array_equal(summary.keyframes, index.keyframes)


@pytest.mark.parametrize("name", ["preview first, AVI", "preview first, MP4"])
def test_the_camera_s_video_is_what_is_compressed(several, tmp_path, name):
    path, target = several(name), tmp_path / "compressed.mp4"
    index = index_video(path)
    segment = encode_chunk(path, index, Chunk(0, N_FRAMES), PROFILES["ibl"]).segment
    made = check_mp4(write_mp4(target, [(Chunk(0, N_FRAMES), segment)], index, PROFILES["ibl"]), index)
    shown = read_in_chunks(target, made, [Chunk(0, N_FRAMES)])
    assert [read_frame_number(image) for image in shown] == list(range(N_FRAMES))


@pytest.mark.parametrize("name", ["preview first, AVI", "preview last, AVI"])
def test_the_camera_s_video_is_what_is_copied_and_that_is_said(several, tmp_path, name):
    path, target = several(name), tmp_path / "copy.mp4"
    index = index_video(path)
    written = copy_to_mp4(path, index, target)
    copied, found = check_copy(path, index, target)
    assert written == found
    shown = read_in_chunks(target, copied, [Chunk(0, N_FRAMES)])
    assert [read_frame_number(image) for image in shown] == list(range(N_FRAMES))
    assert "more than the camera's video, which is not copied: video" in copy_notes(path, index)[0]


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_several_videos_of_one_size_are_refused_and_the_remedy_works(tmp_path, suffix):
    path = write(
        tmp_path / f"two{suffix}", [(WIDTH, HEIGHT), (80, 64), (WIDTH, HEIGHT)], MPEG4 if suffix == ".avi" else H264
    )
    with pytest.raises(UnreadableVideo, match="several videos of one size") as caught:
        index_video(path)
    assert "stream 0 of 160 x 128; stream 1 of 80 x 64; stream 2" in caught.value.got
    assert read_container_summary(path) is None
    out = tmp_path / f"out{suffix}"
    words = caught.value.do.split("ffmpeg ")[1].split(", and")[0].split()
    ffmpeg(*[{"in": path, "out": out}.get(word, word) for word in words])
    assert len(index_video(out)) == N_FRAMES


def test_a_cover_picture_is_no_video_of_the_camera(zoo, tmp_path):
    """However large it is: players show it beside the video."""
    cover, path = tmp_path / "cover.png", tmp_path / "covered.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=white:s=640x512:d=0.1", "-frames:v", "1", cover)
    ffmpeg(
        "-i",
        cover,
        "-i",
        zoo("b_frames"),
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        path,
    )
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    index = index_video(path)
    assert (index.width, len(index)) == (WIDTH, N_FRAMES)
