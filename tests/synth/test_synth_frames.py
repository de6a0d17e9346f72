"""Frame numbers, drawn frames and the encoder."""

from fractions import Fraction

import av
import numpy as np
import pytest

from ibl_dask.errors import UsageError
from ibl_dask.synth import (
    FULL_SIZE,
    Scene,
    SceneState,
    burn_frame_number,
    loop_clip,
    read_frame_number,
    write_video,
)

SIZES = [(1280, 1024), (640, 512), (320, 256), (160, 128), (640, 480), (396, 406)]
ENCODINGS = [
    pytest.param("clip.mp4", "libx264", {"options": {"crf": "29"}, "b_frames": 3, "gop": 12}, id="x264-crf29"),
    pytest.param("clip.avi", "mpeg4", {}, id="fmp4-avi"),
    pytest.param("clip.avi", "mjpeg", {"pix_fmt": "yuvj420p"}, id="mjpeg-avi"),
]


def read_luma(path):
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            yield np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


@pytest.mark.parametrize("number", [0, 1, 2**24 - 1, 0b101010, 540_000])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_burnt_number_reads_back(number, width, height):
    luma = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    assert read_frame_number(burn_frame_number(luma, number)) == number


@pytest.mark.parametrize("fill", [0, 128, 255])
def test_a_frame_without_strip_is_refused(fill):
    with pytest.raises(ValueError, match="no frame number"):
        read_frame_number(np.full((512, 640), fill, np.uint8))


def test_a_drawn_frame_without_strip_is_refused():
    with pytest.raises(ValueError, match="no frame number"):
        read_frame_number(Scene("left", 320, 256).draw(0, SceneState()))


@pytest.mark.parametrize("number", [-1, 2**24])
def test_a_number_that_does_not_fit_is_refused(number):
    with pytest.raises(UsageError, match="cannot be burnt in"):
        burn_frame_number(np.zeros((512, 640), np.uint8), number)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(("name", "codec", "options"), ENCODINGS)
def test_frame_numbers_survive_encoding(tmp_path, width, height, name, codec, options):
    scene = Scene("right", width, height)
    numbers = [*range(14), 65_535, 2**23 + 5]
    frames = [burn_frame_number(scene.draw(n, SceneState(0.1 * n)), n) for n in numbers]
    assert write_video(tmp_path / name, frames, width, height, 150.0, codec, **options) == len(numbers)
    assert [read_frame_number(luma) for luma in read_luma(tmp_path / name)] == numbers


def test_videos_say_what_rigs_say(tmp_path):
    frames = [np.full((128, 160), 90, np.uint8) for _ in range(40)]
    write_video(tmp_path / "a.avi", frames, 160, 128, 60.0, "mpeg4")
    write_video(tmp_path / "a.mp4", frames, 160, 128, Fraction(30000, 1001), gop=10, b_frames=2)
    with av.open(str(tmp_path / "a.avi")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec_tag == "FMP4"
        assert stream.average_rate == 60
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        assert stream.average_rate == Fraction(30000, 1001)
        assert sum(p.is_keyframe for p in packets) == 4
        assert [p.pts for p in packets] != sorted(p.pts for p in packets)


def test_chroma_of_grey_frames_is_neutral(tmp_path):
    write_video(tmp_path / "a.mp4", [np.full((128, 160), 90, np.uint8)], 160, 128, 30.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert np.all(np.frombuffer(frame.planes[1], np.uint8).reshape(64, -1)[:, :80] == 128)


def test_a_video_that_fails_half_way_leaves_nothing(tmp_path):
    frames = [np.zeros((128, 160), np.uint8), np.zeros((64, 64), np.uint8)]
    with pytest.raises(UsageError, match="frame 1 does not fit"):
        write_video(tmp_path / "a.mp4", frames, 160, 128, 30.0)
    assert list(tmp_path.iterdir()) == []


def test_a_looped_clip_runs_forth_and_back():
    clip = [np.full((16, 16), value, np.uint8) for value in (10, 20, 30)]
    looped = list(loop_clip(iter(clip), 8, 32, 24))
    assert [int(frame[0, 0]) for frame in looped] == [10, 20, 30, 20, 10, 20, 30, 20]
    assert looped[0].shape == (24, 32)
    with pytest.raises(UsageError, match="without frames"):
        list(loop_clip([], 3, 32, 24))


@pytest.mark.parametrize("label", FULL_SIZE)
def test_equal_scenes_draw_equal_frames(label):
    state = SceneState(0.4, 1.0, 0.2, 0.6)
    frames = [Scene(label, 320, 256, seed=seed).draw(7, state) for seed in (1, 1, 2)]
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_an_unknown_camera_has_no_scene():
    with pytest.raises(UsageError, match="no scene is known"):
        Scene("belly")
