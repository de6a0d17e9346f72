"""Videos of every kind the index and the reader must take, frame numbers burnt in."""

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import zoo as animals

from ibl_dask.synth.burn import burn_frame_number
from ibl_dask.synth.movie import write_video

WIDTH, HEIGHT, N_FRAMES = 320, 256, 97


def moving_frames(n=N_FRAMES, width=WIDTH, height=HEIGHT, seed=0):
    """Yield noisy frames with a moving bar, each with its number burnt in."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(60, 140, (height, width), np.uint8)
    for number in range(n):
        frame = np.roll(noise, 3 * number, axis=1)
        frame[:, (5 * number) % width : (5 * number) % width + 8] = 220
        burn_frame_number(frame, number)
        yield frame


KINDS = {
    "h264": {"gop": 24},
    "h264_b_frames": {"gop": 24, "b_frames": 3},
    "h264_one_gop": {"gop": 10_000, "b_frames": 2},
    "h264_every_frame_a_key": {"gop": 1},
    "h264_444": {"gop": 24, "pix_fmt": "yuv444p", "b_frames": 2},
    "mpeg4_avi": {"gop": 12, "codec": "mpeg4", "suffix": ".avi"},
    "mjpeg_avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "suffix": ".avi"},
}


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> dict[str, Path]:
    """Return one video of each kind."""
    folder = tmp_path_factory.mktemp("videos")
    out = {}
    for kind, options in KINDS.items():
        options = dict(options)
        path = folder / f"{kind}{options.pop('suffix', '.mp4')}"
        assert write_video(path, moving_frames(), WIDTH, HEIGHT, Fraction(60), **options) == N_FRAMES
        out[kind] = path
    return out


@pytest.fixture(params=list(KINDS))
def video(request, videos) -> Path:
    """Return each of the videos in turn."""
    return videos[request.param]


@pytest.fixture(scope="session")
def footage():
    """Return the generator of the frames of these videos."""
    return moving_frames


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """Return a function from the name of an animal to a video of it, made once."""
    folder = tmp_path_factory.mktemp("zoo")

    @cache
    def get(name):
        animal = {**animals.ZOO, **animals.REFUSED}[name]
        return animals.make(folder / f"{name}{animal.suffix}", animal, animals.drawn_frames())

    return get


@pytest.fixture(scope="session")
def real_zoo(tmp_path_factory, data_folder):
    """Return the same for a real clip."""
    folder = tmp_path_factory.mktemp("real")
    frames = animals.clip_frames(data_folder / "video" / "openfield_mouse.mp4")

    @cache
    def get(name):
        return animals.make(folder / f"{name}{animals.ZOO[name].suffix}", animals.ZOO[name], frames)

    return get
