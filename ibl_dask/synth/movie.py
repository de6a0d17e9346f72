"""Grey frames to video files like those a rig or a compression step leaves."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from ibl_dask.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_FORMATS = {".mp4": "mp4", ".avi": "avi", ".mov": "mov", ".mkv": "matroska"}
_DEFAULT_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "superfast", "crf": "23"},
    "mpeg4": {"flags": "+qscale", "global_quality": str(6 * 118)},
    "mjpeg": {"flags": "+qscale", "global_quality": str(3 * 118), "strict": "unofficial"},
}


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    width: int,
    height: int,
    fps: Fraction | float,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    gop: int = 250,
    b_frames: int = 0,
    threads: int = 1,
) -> int:
    """Encode grey frames and return how many there were; the file appears once it is complete.

    Frames become the luma plane unchanged; chroma is 128 everywhere. MPEG-4 part 2 in AVI gets the FourCC `FMP4`, as
    rigs write it.

    Parameters
    ----------
    path
        Target; the suffix (.mp4, .avi, .mov, .mkv) chooses the container.
    frames
        Grey frames `(y, x)`, all of the given size.
    width, height
        Size of a frame, pixels; even where chroma is subsampled.
    fps
        Frame rate, Hz.
    codec
        libx264, mpeg4, mjpeg, or another encoder of FFmpeg.
    pix_fmt
        Pixel format whose first plane is 8-bit luma.
    options
        Options of the encoder, on top of the defaults for the codec.
    container_options
        Options of the muxer, for instance `{"movflags": "faststart"}`.
    gop
        Greatest distance of keyframes, frames.
    b_frames
        Greatest number of consecutive B-frames.
    threads
        Encoder threads.

    Raises
    ------
    UsageError
        If the container is unknown or a frame has another size.
    """
    if path.suffix not in _FORMATS:
        raise UsageError("unknown kind of container", str(path), expected=", ".join(_FORMATS), got=path.suffix)
    rate = fps if isinstance(fps, Fraction) else Fraction(fps).limit_denominator(1_000_000)
    encoder_options = {**_DEFAULT_OPTIONS.get(codec, {}), "bf": str(b_frames), **(options or {})}
    if codec == "libx264":
        encoder_options.setdefault("threads", str(threads))
    with (
        _replacing(path) as unfinished,
        av.open(
            str(unfinished), "w", format=_FORMATS[path.suffix], container_options=dict(container_options or {})
        ) as container,
    ):
        stream = container.add_stream(codec, rate=rate, options=encoder_options)
        if not isinstance(stream, VideoStream):
            raise UsageError("this is not a video encoder", got=codec)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = threads
        if codec == "mpeg4" and path.suffix == ".avi":
            stream.codec_context.codec_tag = "FMP4"
        count = 0
        for picture in _pictures(frames, stream, width, height, pix_fmt):
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode(None))
    return count


def loop_clip(
    source_frames: Iterable[NDArray[np.uint8]], n_frames: int, width: int, height: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield a number of frames from a clip that runs forth and back, resized; the clip is kept in memory.

    Parameters
    ----------
    source_frames : iterable of ndarray
        Grey frames `(y, x)` of the clip.
    n_frames : int
        Number of frames.
    width, height : int
        Size of the frames, pixels.

    Raises
    ------
    UsageError
        If the clip has no frame.
    """
    clip = [_resized(frame, width, height) for frame in islice(source_frames, n_frames)]
    if not clip and n_frames:
        raise UsageError("a clip without frames cannot be looped")
    there_and_back = clip + clip[-2:0:-1]
    for number in range(n_frames):
        yield there_and_back[number % len(there_and_back)].copy()


def _resized(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if frame.shape == (height, width):
        return frame.copy()
    smaller = width * height < frame.size
    resized = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _pictures(
    frames: Iterable[NDArray[np.uint8]], stream: VideoStream, width: int, height: int, pix_fmt: str
) -> Iterator[av.VideoFrame]:
    """Wrap luma planes as frames with neutral chroma and a presentation time."""
    time_base = 1 / Fraction(stream.codec_context.framerate or 1)
    for number, frame in enumerate(frames):
        if frame.shape != (height, width) or frame.dtype != np.uint8:
            raise UsageError(
                f"frame {number} does not fit the video",
                expected=f"uint8, (y, x) = {(height, width)}",
                got=f"{frame.dtype}, {frame.shape}",
            )
        picture = av.VideoFrame(width, height, pix_fmt)
        for index, plane in enumerate(picture.planes):
            lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            if index == 0:
                lines[:, :width] = frame
            else:
                lines[:] = 128
        picture.pts, picture.time_base = number, time_base
        yield picture


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a name beside the target that replaces it at the end, or vanishes if something goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield unfinished
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
