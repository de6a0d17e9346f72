"""Reading of videos: what the reference lets pass for frames, and what ours gives instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from ibl_dask.errors import UsageError
from ibl_dask.synth.burn import burn_frame_number, read_frame_number
from ibl_dask.synth.movie import write_video
from ibl_dask.video.container.index import index_video
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from pathlib import Path

    from reference import Reference

pytestmark = pytest.mark.peer

N_FRAMES = 60
WIDTH, HEIGHT = 224, 128


def film(path: Path, codec: str, **options: object) -> Path:
    """Write noise that moves, with the number of each frame in its pixels."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 180, (HEIGHT, WIDTH)).astype(np.uint8)
    frames = (burn_frame_number(np.roll(ground, number, axis=1), number) for number in range(N_FRAMES))
    write_video(path, frames, WIDTH, HEIGHT, options.pop("fps", 30), codec, gop=20, **options)
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def ours(path: Path) -> list[np.ndarray | None]:
    with FrameReader(path) as reader:
        found = reader.frames(0, len(index_video(path)))
        return [None if frame is None else luma(frame).copy() for _, frame in found]


def test_a_video_cut_short_has_the_frames_that_its_header_promised_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    path = film(tmp_path / "cut.avi", "mjpeg")
    place, size = packets(path)[35]
    path.write_bytes(path.read_bytes()[: place + size // 2])
    assert reference.ask("video_meta", video=path)["length"] == N_FRAMES
    theirs = reference.ask("video_frames", video=path, first=0, stop=N_FRAMES)["frames"]
    black = np.flatnonzero((theirs == 0).all(axis=(1, 2)))
    assert black.size >= N_FRAMES - 36  # zeros that look like frames
    index = index_video(path)
    assert len(index) in (35, 36)
    assert len(index) + index.n_absent == N_FRAMES
    assert [read_frame_number(frame) for frame in ours(path)[:35]] == list(range(35))


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "mp4"), ("mpeg4", "avi")])
def test_damaged_pixels_pass_for_frames_in_the_reference(
    reference: Reference, tmp_path: Path, codec: str, suffix: str
) -> None:
    path = film(tmp_path / f"whole.{suffix}", codec)
    whole = reference.ask("video_frames", video=path, first=0, stop=N_FRAMES)["frames"]
    place, size = packets(path)[25]
    content = path.read_bytes()
    path.write_bytes(content[: place + size // 3] + bytes(size - size // 3) + content[place + size :])
    theirs = reference.ask("video_frames", video=path, first=0, stop=N_FRAMES)
    assert theirs.log == ()
    wrong = np.flatnonzero((theirs["frames"].astype(int) != whole).any(axis=(1, 2)))
    assert wrong.size > 1
    lost = [number for number, frame in enumerate(ours(path)) if frame is None]
    assert set(wrong.tolist()) <= set(lost)
    assert lost[-1] < 40  # the next keyframe


def test_a_rate_is_cut_to_whole_hertz_in_the_reference(reference: Reference, tmp_path: Path) -> None:
    path = film(tmp_path / "rate.mp4", "libx264", fps=59.94)
    assert reference.ask("video_meta", video=path)["fps"] == 59
    assert index_video(path).fps == pytest.approx(59.94)


def test_a_frame_past_the_end_is_nothing_in_the_reference(reference: Reference, tmp_path: Path) -> None:
    path = film(tmp_path / "short.mp4", "libx264")
    answer = reference.ask("video_frame", video=path, number=N_FRAMES + 5)
    assert (answer.error, answer["frame"]) == (None, None)
    with FrameReader(path) as reader, pytest.raises(UsageError, match="do not lie within"):
        reader.frames(N_FRAMES + 5, N_FRAMES + 6)
