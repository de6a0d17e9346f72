"""Preview of keypoints: frames by their numbers, points where they are, and a clip that players show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest

from ibl_dask.errors import UnequalLengths, UsageError
from ibl_dask.synth.burn import burn_frame_number, read_frame_number
from ibl_dask.synth.movie import write_video
from ibl_dask.video.container.index import index_video
from ibl_dask.video.preview import preview_range, write_preview

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("nose_tip", "paw_l")


def clip_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_each_frame_of_the_clip_is_the_one_of_its_number(video: Path, tmp_path: Path) -> None:
    index = index_video(video)
    points = np.full((len(index), 2, 2), np.nan)
    assert write_preview(video, index, tmp_path / "clip.tmp", NAMES, points, (30, 50)) == 0
    clip = clip_of(tmp_path / "clip.tmp")
    assert [read_frame_number(frame[:, :, 1]) for frame in clip] == list(range(30, 50))
    with av.open(str(tmp_path / "clip.tmp")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == index.rate


@pytest.mark.parametrize("width_px", [640, 200])
def test_points_are_drawn_where_they_are_and_not_where_they_are_unlikely(tmp_path: Path, width_px: int) -> None:
    path = tmp_path / "black.mp4"
    write_video(path, [np.full((257, 401), 16, np.uint8)] * 12, 401, 257, 30, pix_fmt="yuv444p")
    index = index_video(path)
    points = np.full((12, 2, 2), np.nan)
    points[:, 0] = np.column_stack([50 + 20 * np.arange(12), np.full(12, 100)])
    points[5, 0] = np.nan
    points[:, 1] = (390, 240)
    points[6:, 1] = (9e9, -9e9)
    write_preview(path, index, tmp_path / "clip.mp4", NAMES, points, (2, 12), width_px)
    clip = clip_of(tmp_path / "clip.mp4")
    scale = min(width_px, 401) / 401
    assert clip[0].shape[1] == min(width_px, 400)
    for number, frame in enumerate(clip, 2):
        for place in points[number]:
            if not np.isnan(place).any() and (np.abs(place) < 1e4).all():
                x, y = np.round((place + 0.5) * scale - 0.5).astype(int)
                assert frame[y, x].max() > 120, (number, place)
        band = frame[int(90 * scale) : int(112 * scale), : int(300 * scale)]
        assert (band.max() > 120) == (number != 5), number


def test_a_frame_that_does_not_decode_is_named_and_shifts_none(tmp_path: Path) -> None:
    path = tmp_path / "damaged.avi"

    def frames():
        for number in range(40):
            frame = np.random.default_rng(number).integers(60, 140, (128, 320), np.uint8)
            burn_frame_number(frame, number)
            yield frame

    write_video(path, frames(), 320, 128, 30, codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content[packets[20].pos + 8 : packets[20].pos + packets[20].size] = bytes(packets[20].size)[8:]
    path.write_bytes(content)
    index = index_video(path)
    assert write_preview(path, index, tmp_path / "clip.mp4", (), np.empty((40, 0, 2)), (15, 25)) == 1
    clip = clip_of(tmp_path / "clip.mp4")
    assert len(clip) == 10
    numbers = [read_frame_number(frame[:, :, 1]) for i, frame in enumerate(clip) if i != 5]
    assert numbers == [15, 16, 17, 18, 19, 21, 22, 23, 24]
    assert cv2.cvtColor(clip[5], cv2.COLOR_BGR2GRAY).mean() < 30


def test_rows_of_another_video_and_frames_beyond_it_are_refused(videos: dict[str, Path], tmp_path: Path) -> None:
    index = index_video(videos["h264"])
    for points in (np.zeros((len(index) + 1, 2, 2)), np.zeros((len(index), 1, 2)), np.zeros(5)):
        with pytest.raises(UnequalLengths, match="97"):
            write_preview(videos["h264"], index, tmp_path / "clip.mp4", NAMES, points, (0, 5))
    for frames in ((0, 98), (5, 5), (-1, 4)):
        with pytest.raises(UsageError, match="within"):
            write_preview(videos["h264"], index, tmp_path / "clip.mp4", NAMES, np.zeros((97, 2, 2)), frames)
    assert not (tmp_path / "clip.mp4").exists()


def test_the_range_of_a_short_video_is_all_of_it() -> None:
    assert preview_range(30, 60) == (0, 30)
    assert preview_range(1000, 60, 2) == (440, 560)
