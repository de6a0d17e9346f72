"""Trial of the codecs that videos of the rigs need, with the installed build of FFmpeg."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from ibl_dask.video.encoding.x264 import ENCODER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from av.video.codeccontext import VideoCodecContext
    from numpy.typing import NDArray

_N_FRAMES = 8
_WIDTH, _HEIGHT = 64, 48
_TOLERATED = 12.0
"""Tolerated mean difference of luma of these pictures after lossy compression, levels; the three codecs have 0.4 to
1.1."""
_TRIED = {
    "libx264": (ENCODER, "h264", "yuv420p"),
    "MPEG-4": ("mpeg4", "mpeg4", "yuv420p"),
    "MJPEG": ("mjpeg", "mjpeg", "yuvj420p"),
}
"""Common name -> encoder, decoder, pixel format. Only H.264 is ever written; rigs record the others."""


def try_codecs() -> dict[str, str]:
    """Encode and decode a few frames of each kind of video.

    Returns
    -------
    dict
        Name of the codec -> error as text, empty if none: `libx264` (including decoding of H.264), `MPEG-4`, `MJPEG`.
    """
    return {name: _try(*codec) for name, codec in _TRIED.items()}


def _try(encoder: str, decoder: str, pixels: str) -> str:
    pictures = [_picture(number) for number in range(_N_FRAMES)]
    try:
        packets, extradata = _encode(encoder, pixels, pictures)
    except (av.FFmpegError, ValueError) as error:
        return f"encoder {encoder}: {error}"
    try:
        back = _decode(decoder, packets, extradata)
    except (av.FFmpegError, ValueError) as error:
        return f"decoder {decoder}: {error}"
    if len(back) != _N_FRAMES:
        return f"{len(back)} of {_N_FRAMES} frames came back from {decoder}"
    worst = max(
        float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean()) for a, b in zip(pictures, back, strict=True)
    )
    return f"pictures come back from {decoder} changed by {worst:.1f} levels" if worst > _TOLERATED else ""


def _picture(number: int) -> NDArray[np.uint8]:
    """Return a smooth picture, different for each frame. (y, x)"""
    ramp = np.add.outer(np.arange(_HEIGHT), np.arange(_WIDTH)) * 1.5 + number * 5
    return np.clip(ramp, 20, 230).astype(np.uint8)


def _encode(name: str, pixels: str, pictures: Sequence[NDArray[np.uint8]]) -> tuple[list[bytes], bytes | None]:
    context = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt, context.time_base = _WIDTH, _HEIGHT, pixels, Fraction(1, 60)
    context.thread_count = 1
    packets: list[bytes] = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format=pixels)
        frame.pts = number
        packets += map(bytes, context.encode(frame))
    packets += map(bytes, context.encode(None))
    return packets, context.extradata


def _decode(name: str, packets: list[bytes], extradata: bytes | None) -> list[NDArray[np.uint8]]:
    context = cast("VideoCodecContext", av.CodecContext.create(name, "r"))
    context.extradata = extradata
    context.thread_count = 1
    frames = [frame for packet in packets for frame in context.decode(av.Packet(packet))]
    frames += context.decode(None)
    return [np.asarray(frame.reformat(format="gray").to_ndarray(), np.uint8) for frame in frames]
