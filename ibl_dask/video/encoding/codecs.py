"""Whether the build of FFmpeg that is there can do what videos of the rigs need: tried, not looked up."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

from ibl_dask.video.encoding.encode import ENCODER

_N_FRAMES = 8
_WIDTH, _HEIGHT = 64, 48
_TOLERATED = 12.0
"""Mean difference of luma that lossy compression of these pictures may make, levels; the three make 0.4 to 1.1."""
_TRIED = {
    "libx264": (ENCODER, "h264", "yuv420p"),
    "MPEG-4": ("mpeg4", "mpeg4", "yuv420p"),
    "MJPEG": ("mjpeg", "mjpeg", "yuvj420p"),
}
"""What people call it -> encoder, decoder, pixels. Only H.264 is ever written; the others are how rigs record."""


def try_codecs() -> dict[str, str]:
    """Encode and decode a few frames of each kind of video.

    Returns
    -------
    dict
        Name of the codec -> what went wrong, empty where nothing did: `libx264` (and with it decoding of H.264),
        `MPEG-4` and `MJPEG`.
    """
    return {name: _try(*how) for name, how in _TRIED.items()}


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


def _picture(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a smooth picture that is another for each frame (y, x)."""
    ramp = np.add.outer(np.arange(_HEIGHT), np.arange(_WIDTH)) * 1.5 + number * 5
    return np.clip(ramp, 20, 230).astype(np.uint8)


def _encode(name: str, pixels: str, pictures: list[Any]) -> tuple[list[bytes], bytes | None]:
    context: Any = av.CodecContext.create(name, "w")  # the stubs do not tell its video attributes
    context.width, context.height, context.pix_fmt, context.time_base = _WIDTH, _HEIGHT, pixels, Fraction(1, 60)
    context.thread_count = 1
    packets: list[bytes] = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format=pixels)
        frame.pts = number
        packets += map(bytes, context.encode(frame))
    packets += map(bytes, context.encode(None))
    return packets, context.extradata


def _decode(name: str, packets: list[bytes], extradata: bytes | None) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    context: Any = av.CodecContext.create(name, "r")
    context.extradata = extradata
    context.thread_count = 1
    frames = [frame for packet in packets for frame in context.decode(av.Packet(packet))]
    frames += context.decode(None)
    return [frame.reformat(format="gray").to_ndarray() for frame in frames]
