"""Small pictures of frames: each is that of its number, in whatever order they are asked for."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import cv2
import numpy as np
import psutil
import pytest

from ibl_dask.errors import UnreadableVideo, UsageError
from ibl_dask.synth.burn import burn_frame_number, read_frame_number
from ibl_dask.synth.movie import write_video
from ibl_dask.video.container.index import index_video
from ibl_dask.video.pictures import Pictures

if TYPE_CHECKING:
    from pathlib import Path

N_FRAMES = 90


@pytest.fixture(params=["mp4", "b_frames", "avi"])
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = {"mp4": {"gop": 24}, "b_frames": {"gop": 24, "b_frames": 3}, "avi": {"codec": "mpeg4", "gop": 12}}
    path = tmp_path / ("video.avi" if request.param == "avi" else "video.mp4")
    frames = (burn_frame_number(np.full((256, 320), 90, np.uint8), number) for number in range(N_FRAMES))
    write_video(path, frames, 320, 256, 30, **kind[request.param])
    return path


def number_of(picture: bytes) -> int:
    return read_frame_number(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE))


def test_any_range_in_any_order_has_the_frames_of_its_numbers(video: Path) -> None:
    pictures, draw = Pictures(video, index_video(video)), random.Random(1)
    for _ in range(12):
        first = draw.randrange(N_FRAMES)
        last = min(N_FRAMES - 1, first + draw.randrange(12))
        got = [number_of(picture) for picture in pictures.jpegs(first, last)]
        assert got == list(range(first, last + 1))
    pictures.close()


def test_a_request_that_is_given_up_half_way_moves_no_later_one(video: Path) -> None:
    pictures = Pictures(video, index_video(video))
    given_up = pictures.jpegs(10, 60)
    assert [number_of(next(given_up)) for _ in range(3)] == [10, 11, 12]
    given_up.close()
    assert [number_of(picture) for picture in pictures.jpegs(12, 15)] == [12, 13, 14, 15]
    assert [number_of(picture) for picture in pictures.jpegs(2, 3)] == [2, 3]
    pictures.close()


def test_closing_does_not_wait_for_somebody_who_reads_slowly_and_the_file_is_closed_after_them(video: Path) -> None:
    pictures = Pictures(video, index_video(video))
    slow = pictures.jpegs(10, 13)
    assert number_of(next(slow)) == 10
    pictures.close()
    assert [number_of(picture) for picture in slow] == [11, 12, 13]
    assert str(video) not in [file.path for file in psutil.Process().open_files()]


def test_a_frame_that_does_not_decode_is_empty_and_the_next_keyframe_is_right(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    frames = (burn_frame_number(np.full((256, 320), 90, np.uint8), number) for number in range(N_FRAMES))
    write_video(path, frames, 320, 256, 30, codec="mpeg4", gop=30)
    import av

    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    content[places[40] : places[40] + 40] = bytes(40)
    path.write_bytes(content)
    pictures = Pictures(path, index_video(path))
    got = list(pictures.jpegs(35, 62))
    assert [bool(picture) for picture in got[:5]] == [True] * 5
    assert not got[5]
    assert [number_of(picture) for picture in got[25:]] == [60, 61, 62]
    pictures.close()


def test_wide_videos_are_made_smaller_and_small_ones_stay(video: Path) -> None:
    index = index_video(video)
    assert Pictures(video, index, 160).size_px == (160, 128)
    assert Pictures(video, index, 900).size_px == (320, 256)


@pytest.mark.parametrize(("first", "last"), [(5, 4), (0, N_FRAMES), (-1, 3)])
def test_frames_that_do_not_exist_are_refused(video: Path, first: int, last: int) -> None:
    with pytest.raises(UsageError, match=r"no such frames.*0 to 89"):
        list(Pictures(video, index_video(video)).jpegs(first, last))


def test_a_video_that_changed_is_refused_and_never_mixed(video: Path) -> None:
    pictures = Pictures(video, index_video(video))
    with video.open("ab") as file:
        file.write(b"more")
    with pytest.raises(UnreadableVideo, match="changed"):
        list(pictures.jpegs(0, 3))
