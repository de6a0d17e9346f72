"""Clips: every picture is the frame of its moment, of each camera, and no half clip is left."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_disks import fill, mounted

from ibl_dask.clip.panels import CAPTION_PX
from ibl_dask.clip.schedule import Window, clip_rate, moments, shown_frames
from ibl_dask.clip.view import CameraView
from ibl_dask.clip.writing import write_clip
from ibl_dask.errors import (
    ClipFailed,
    DiskFull,
    MissingEnvironment,
    UnequalLengths,
    UnreadableVideo,
    UnusableFile,
    UsageError,
)
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.synth.burn import burn_frame_number, read_frame_number
from ibl_dask.synth.movie import write_video
from ibl_dask.video.container.index import index_video
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WIDTH, HEIGHT = 224, 128
RATES_HZ = {"body": 30.0, "left": 60.0, "right": 150.0}
STARTS_S = {"body": 100.0, "left": 100.4123, "right": 100.2}
SECONDS = 2.5


def frames_of(n: int, width: int, height: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield frames that differ from one to the next, each with its number burnt in."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8), (7, 7), 0)
    for number in range(n):
        frame = np.roll(noise, 9 * number, axis=1)
        burn_frame_number(frame, number)
        yield frame


def view_of(folder: Path, label: str, times_s: np.ndarray, width: int = WIDTH, height: int = HEIGHT) -> CameraView:
    path = folder / f"{label}.mp4"
    write_video(path, frames_of(times_s.size, width, height), width, height, 60, gop=20, options={"crf": "12"})
    return CameraView(label, path, index_video(path), times_s)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CameraView]:
    """Three cameras of different rates, that start at different times, with jitter; the right one has a gap."""
    folder, rng = tmp_path_factory.mktemp("cameras"), np.random.default_rng(3)
    made = {}
    for label, rate in RATES_HZ.items():
        n = round(SECONDS * rate)
        times_s = STARTS_S[label] + (np.arange(n) + rng.uniform(0, 0.3, n)) / rate
        if label == "right":
            times_s[n // 2 :] += 0.15
        made[label] = view_of(folder, label, times_s)
    return made


def read_clip(path: Path) -> tuple[np.ndarray, Fraction]:
    """Return the luma of a clip, by the exact reader, and its rate."""
    index = index_video(path)
    with FrameReader(path, index) as reader:
        return reader.read(0, len(index)), index.rate


def pictures_of(clip: np.ndarray, place: int, width: int = WIDTH) -> np.ndarray:
    """Return the pictures of the camera at a place from the left, without captions."""
    return clip[:, CAPTION_PX:, place * width : (place + 1) * width]


def expected_number(times_s: Sequence[float], moment_s: float) -> int | None:
    """Return the last frame at or before a moment, by looking at all of them; None before the first."""
    return max((number for number, time_s in enumerate(times_s) if time_s <= moment_s), default=None)


@pytest.mark.parametrize(("speed", "rate"), [(1.0, 60), (0.25, Fraction(75, 2)), (3.0, 60)])
def test_every_picture_is_the_last_frame_at_or_before_its_moment(
    views: dict[str, CameraView], tmp_path: Path, speed: float, rate: Fraction
) -> None:
    event_s = float(views["left"].times_s[40])
    cameras = list(views.values())
    made = write_clip(cameras, Window(event_s, 0.9, 0.6, speed), tmp_path / "clip.mp4", "here", 512)
    # The fastest camera has jitter, so its rate is near 150 Hz; the clip is made to half a frame per second.
    assert abs(made.rate - rate) <= Fraction(1, 2)
    clip, found_rate = read_clip(tmp_path / "clip.mp4")
    n_before = round(0.9 * float(made.rate) / speed)
    assert len(clip) == made.frames == n_before + 1 + round(0.6 * float(made.rate) / speed)
    assert found_rate == made.rate
    for place, view in enumerate(cameras):
        pictures = pictures_of(clip, place)
        with FrameReader(view.video, view.index) as reader:
            sources = reader.read(0, len(view.index))
        for k, picture in enumerate(pictures):
            moment_s = event_s + (k - n_before) * speed / float(made.rate)
            number = expected_number(view.times_s.tolist(), moment_s)
            if number is None:
                assert picture.max() < 24, (view.label, k)
            else:
                assert read_frame_number(picture) == number, (view.label, k)
                assert np.abs(picture.astype(int) - sources[number]).mean() < 3, (view.label, k)
    assert read_frame_number(pictures_of(clip, 1)[n_before]) == 40, "the event itself"


def test_pictures_are_black_before_the_first_frame_and_the_last_one_stays(
    views: dict[str, CameraView], tmp_path: Path
) -> None:
    left, body = views["left"], views["body"]
    write_clip([body, left], Window(float(body.times_s[0]), 0.5, 0.6, 1), tmp_path / "start.mp4", "here", 512)
    clip, rate = read_clip(tmp_path / "start.mp4")
    n_black = int(np.ceil(0.5 * rate))
    assert pictures_of(clip, 0)[: n_black - 1].max() < 24
    assert pictures_of(clip, 1)[:n_black].max() < 24
    assert read_frame_number(pictures_of(clip, 1)[-1]) > 0
    assert clip[:, :CAPTION_PX].reshape(len(clip), -1).max(axis=1).min() > 150, "captions are there all the time"
    end_s = float(left.times_s[-1])
    write_clip([left], Window(end_s, 0, 1, 1), tmp_path / "end.mp4", "here", 512)
    clip, _ = read_clip(tmp_path / "end.mp4")
    assert {read_frame_number(picture) for picture in pictures_of(clip, 0)} == {len(left.index) - 1}
    captions = clip[:, :CAPTION_PX].astype(int)
    assert np.abs(captions[0] - captions[-1]).max() > 100, "a frame that stands for longer is marked"


def test_larger_pictures_are_reduced_to_the_height_and_keep_their_frames(
    views: dict[str, CameraView], tmp_path: Path
) -> None:
    large = view_of(tmp_path, "left", 100 + np.arange(60) / 60, 640, 512)
    write_clip([large, views["body"]], Window(100.5, 0.2, 0.2, 1), tmp_path / "clip.mp4", "here", HEIGHT)
    clip, _ = read_clip(tmp_path / "clip.mp4")
    assert clip.shape[1:] == (HEIGHT + CAPTION_PX, 160 + WIDTH)
    with FrameReader(large.video, large.index) as reader:
        sources = [cv2.resize(each, (160, HEIGHT), interpolation=cv2.INTER_AREA) for each in reader.read(0, 60)]
    shown = [
        int(np.argmin([np.abs(picture.astype(int) - source).mean() for source in sources]))
        for picture in pictures_of(clip, 0, 160)
    ]
    assert shown == [expected_number(large.times_s.tolist(), 100.5 + k / 60) for k in range(-12, 13)]


def test_keypoints_are_drawn_on_the_frames_that_they_belong_to(views: dict[str, CameraView], tmp_path: Path) -> None:
    path, n = tmp_path / "grey.mp4", 30
    write_video(path, [np.full((256, 448), 60, np.uint8)] * n, 448, 256, 30)
    values = np.full((n, 2, 3), np.nan)
    values[:, 0] = np.column_stack([40 + 12 * np.arange(n), np.full(n, 180), np.ones(n)])
    values[10, 0, :2] = np.nan
    view = CameraView("body", path, index_video(path), np.arange(n) / 30, Keypoints(("paw_l", "tail"), values))
    made = write_clip([view, views["left"]], Window(0.41, 0.3, 0.3, 0.5), tmp_path / "clip.mp4", "here", HEIGHT)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        clip = [
            frame.to_ndarray(format="bgr24")[CAPTION_PX:, :WIDTH].astype(int) for frame in container.decode(video=0)
        ]
    assert len(clip) > 10
    for k, picture in enumerate(clip):
        n_before = round(0.3 * float(made.rate) / 0.5)
        number = expected_number((np.arange(n) / 30).tolist(), 0.41 + (k - n_before) * 0.5 / float(made.rate))
        spread = picture.max(axis=2) - picture.min(axis=2)
        coloured = np.argwhere(spread > 80)
        if number == 10:
            assert len(coloured) == 0
        else:
            y, x = coloured.mean(axis=0)
            assert abs(x - (40 + 12 * number) / 2) < 4, (k, number)
            assert abs(y - 90) < 4, (k, number)


def test_a_frame_that_does_not_decode_is_black_and_shifts_none(tmp_path: Path) -> None:
    path = tmp_path / "damaged.avi"
    write_video(path, frames_of(40, WIDTH, HEIGHT), WIDTH, HEIGHT, 30, codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content[packets[20].pos + 8 : packets[20].pos + packets[20].size] = bytes(packets[20].size)[8:]
    path.write_bytes(content)
    view = CameraView("left", path, index_video(path), np.arange(40) / 30)
    made = write_clip([view], Window(20.3 / 30, 0.1, 0.1, 1), tmp_path / "clip.mp4", "here", 512)
    assert made.lost == {"left": 1}
    pictures = pictures_of(read_clip(tmp_path / "clip.mp4")[0], 0)
    shown = [None if np.median(picture) < 24 else read_frame_number(picture) for picture in pictures]
    assert shown == [17, 18, 19, None, 21, 22, 23]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a program that stands in for FFmpeg's."""
    import imageio_ffmpeg

    path = tmp_path / "programs" / "ffmpeg"
    path.parent.mkdir()
    text = f"""#!{sys.executable}
import os, sys
if os.environ["SICKNESS"] == "refuses":
    sys.exit("cannot encode today")
short = ["-frames:v", "3"] if os.environ["SICKNESS"] == "stops early" else []
os.execv({imageio_ffmpeg.get_ffmpeg_exe()!r}, [*sys.argv[:-1], *short, sys.argv[-1]])
"""
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
    return path


@pytest.mark.parametrize(("sickness", "words"), [("refuses", "cannot encode today"), ("stops early", "3 frames")])
def test_ffmpeg_that_fails_leaves_the_clip_that_was_there(
    views: dict[str, CameraView],
    tmp_path: Path,
    program: Path,
    monkeypatch: pytest.MonkeyPatch,
    sickness: str,
    words: str,
) -> None:
    monkeypatch.setenv("SICKNESS", sickness)
    target = tmp_path / "clips" / "clip.mp4"
    target.parent.mkdir()
    target.write_bytes(b"the clip of yesterday")
    with pytest.raises(ClipFailed, match=words):
        write_clip(list(views.values()), Window(101.5, 0.5, 0.5, 1), target, "here", 512)
    assert [(path.name, path.read_bytes()) for path in target.parent.iterdir()] == [
        ("clip.mp4", b"the clip of yesterday")
    ]


def test_a_full_disk_is_named_and_nothing_is_left_on_it(views: dict[str, CameraView], tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        fill(disk, leaving=100_000)
        before = sorted(disk.iterdir())
        with pytest.raises(DiskFull, match="disk is full"):
            write_clip(list(views.values()), Window(101.5, 1.4, 1, 0.5), disk / "clip.mp4", "here", 512)
        assert sorted(disk.iterdir()) == before


def test_an_error_of_one_camera_ends_the_clip_and_is_the_one_that_is_raised(
    views: dict[str, CameraView], tmp_path: Path
) -> None:
    """The video is replaced after it was indexed."""
    copy = tmp_path / "left.mp4"
    copy.write_bytes(views["left"].video.read_bytes())
    view = replace(views["left"], video=copy, index=index_video(copy))
    copy.write_bytes(views["body"].video.read_bytes())
    with pytest.raises(UnreadableVideo, match="changed since"):
        write_clip([views["body"], view], Window(101.5, 0.5, 0.5, 1), tmp_path / "clip.mp4", "here", 512)
    assert [path.name for path in tmp_path.iterdir()] == ["left.mp4"]


def test_names_that_programs_take_for_something_else_are_names(views: dict[str, CameraView], tmp_path: Path) -> None:
    target = tmp_path / "-y é %d 'a:b,c" / "http:clip;%04d.mp4"
    made = write_clip([views["left"]], Window(101.5, 0.1, 0.1, 1), target, "here", 512)
    assert len(read_clip(target)[0]) == made.frames
    assert list(target.parent.iterdir()) == [target]


def test_without_the_extra_the_message_names_it(
    views: dict[str, CameraView], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ffmpeg", None)
    with pytest.raises(MissingEnvironment, match=r"ibl_dask\[clip\]"):
        write_clip([views["left"]], Window(101.5, 0.1, 0.1, 1), tmp_path / "clip.mp4", "here", 512)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("event_s", [99.9, 110.0, -1.0])
def test_an_event_outside_of_all_frame_times_is_refused(
    views: dict[str, CameraView], tmp_path: Path, event_s: float
) -> None:
    with pytest.raises(UsageError, match=r"between 100\.\d+ and 102\.\d+ s"):
        write_clip(list(views.values()), Window(event_s, 1, 20, 1), tmp_path / "clip.mp4", "here", 512)
    assert list(tmp_path.iterdir()) == []


def test_times_and_keypoints_of_another_video_are_refused(views: dict[str, CameraView]) -> None:
    left = views["left"]
    with pytest.raises(UnequalLengths, match="149 times"):
        replace(left, times_s=left.times_s[1:])
    with pytest.raises(UnequalLengths, match="149 rows"):
        replace(left, keypoints=Keypoints(("paw_l",), np.zeros((149, 1, 3))))
    with pytest.raises(UnusableFile, match="out of order"):
        replace(left, times_s=left.times_s[::-1].copy())
    with pytest.raises(UnusableFile, match="no numbers"):
        replace(left, times_s=np.where(np.arange(150) == 7, np.nan, left.times_s))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ((float("nan"), 1, 1, 1), "--at nan"),
        ((0, -1, 1, 1), "--before -1"),
        ((0, 1, float("inf"), 1), "--after inf"),
        ((0, 1, 1, 0), "--speed 0"),
    ],
)
def test_windows_that_make_no_sense_are_refused(given: tuple[float, float, float, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Window(*given)


def test_a_clip_of_many_hours_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        moments(Window(0, 1, 1, 1e-6), Fraction(60))


@given(
    event_s=st.floats(-1e5, 1e5),
    before_s=st.floats(0, 20),
    after_s=st.floats(0, 20),
    speed=st.floats(0.01, 50),
    rate=st.integers(2, 120).map(lambda n: Fraction(n, 2)),
)
def test_moments_include_the_event_and_advance_by_the_speed(
    event_s: float, before_s: float, after_s: float, speed: float, rate: Fraction
) -> None:
    found = moments(Window(event_s, before_s, after_s, speed), rate).times_s
    step_s = speed / float(rate)
    assert event_s in found
    assert np.allclose(np.diff(found), step_s, rtol=1e-6, atol=1e-9)
    assert abs(event_s - found[0] - before_s) <= step_s / 2 + 1e-6
    assert abs(found[-1] - event_s - after_s) <= step_s / 2 + 1e-6


@given(
    times_s=st.lists(st.floats(0, 100), min_size=1, max_size=40).map(sorted),
    moments_s=st.lists(st.floats(-10, 110), min_size=1, max_size=40).map(sorted),
)
def test_a_moment_shows_the_last_frame_at_or_before_it(times_s: list[float], moments_s: list[float]) -> None:
    found = shown_frames(np.array(times_s), np.array(moments_s)).tolist()
    wanted = [expected_number(times_s, moment_s) for moment_s in moments_s]
    assert found == [-1 if number is None else number for number in wanted]


@given(rate=st.floats(1, 400), speed=st.floats(0.01, 20))
def test_the_rate_is_that_of_the_fastest_camera_as_played_within_what_screens_show(rate: float, speed: float) -> None:
    found = clip_rate([np.arange(50) / (rate / 2), np.arange(100) / rate], speed)
    assert 1 <= found <= 60
    assert abs(float(found) - min(60, max(1, rate * speed))) <= 0.26
