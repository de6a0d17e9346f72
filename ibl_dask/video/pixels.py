"""What pixels stand for: brightness on one scale, whatever format a video has, and the format it is compressed in.

A stored luma of 16 is black and 235 white in most videos, the field's among them; others, and all that store grey or
red, green and blue, use 0 to 255. Numbers of brightness are on the first scale everywhere (`Levels`): those of most
videos as they are stored, those of others as if they had been stored so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import av
    from numpy.typing import NDArray

BLACK, WHITE = 16, 235
"""Luma of black and of white on the scale of all numbers of brightness."""
_FULL = 2
"""FFmpeg's number of the range 0 to 255."""
_MATRIX_RGB, _MATRIX_601 = 0, 6
"""FFmpeg's numbers of red, green and blue as such, and of the usual way to make luma of them."""
_TAGS = ("color_range", "colorspace", "color_primaries", "color_trc")
_LUMA_FIRST = (
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuvj422p",
    "yuv444p",
    "yuvj444p",
    "nv12",
    "nv21",
    "gray",
    "yuv440p",
)
"""Pixel formats whose first plane is 8-bit luma."""


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the luma of a frame, 8 bits, as stored and without a copy where the format allows; see `levels`. (y, x)"""
    if frame.format.name not in _LUMA_FIRST:
        frame = frame.reformat(format="gray")
    return _first_plane(frame, np.uint8)


def stored_luma(frame: av.VideoFrame) -> NDArray[Any]:
    """Return the luma of a frame with all its bits, for formats that are compressed. (y, x)"""
    return luma(frame) if _bits(frame) <= 8 else _first_plane(frame, np.uint16)


def peak_of(frame: av.VideoFrame) -> int:
    """Return the largest value that luma can have."""
    return (1 << _bits(frame)) - 1


def _bits(frame: av.VideoFrame) -> int:
    return int(frame.format.components[0].bits)


def _first_plane(frame: av.VideoFrame, kind: type[np.generic]) -> NDArray[Any]:
    plane: Any = frame.planes[0]  # PyAV planes have a buffer, their stubs do not say so
    return np.ndarray((frame.height, frame.width), kind, plane, strides=(plane.line_size, np.dtype(kind).itemsize))


@dataclass(frozen=True, slots=True)
class Levels:
    """How numbers that are made of stored luma become those of the one scale."""

    black: float
    """What a luma of 0 stands for."""
    gain: float
    """What a difference of 1 stands for."""

    def brightness(self, value: float) -> float:
        """Return the brightness that a mean of stored luma stands for."""
        return self.black + self.gain * value

    def difference(self, value: float) -> float:
        """Return what a difference of stored luma stands for."""
        return self.gain * value

    def variance(self, value: float) -> float:
        """Return what a variance of stored luma stands for."""
        return self.gain**2 * value

    def picture(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture on the one scale. (y, x)"""
        return plane if self is VIDEO else np.rint(self.black + self.gain * plane).astype(np.uint8)


VIDEO = Levels(0, 1)
"""16 is black, 235 white: numbers stay as they are."""
FULL = Levels(BLACK, (WHITE - BLACK) / 255)
"""0 is black, 255 white."""


def levels(frame: av.VideoFrame) -> Levels:
    """Return the scale of what `luma` gives of a frame.

    Where pixels are converted for that, FFmpeg makes 0 to 255 of them.
    """
    name = frame.format.name
    is_video = name in _LUMA_FIRST and name != "gray" and "j" not in name and int(frame.color_range) != _FULL
    return VIDEO if is_video else FULL


@dataclass(frozen=True, slots=True)
class Pixels:
    """How frames of one format are given to an encoder."""

    format: str
    """The format that they are compressed in."""
    is_made: bool
    """Whether its luma is made here, 0 to 255, of grey or of red, green and blue."""

    @classmethod
    def of(cls, frame: av.VideoFrame, offered: Sequence[str]) -> Pixels:
        """Choose a format for frames like this one: their own where the encoder takes it, else what loses least.

        Grey gets empty colours: players that know no grey are many, and x264 does not tell what it lost of grey. Of
        pictures with an odd number of rows or columns x264 takes colours of every pixel alone.

        Parameters
        ----------
        frame
            The first frame.
        offered
            Formats that the encoder takes.
        """
        found = frame.format
        is_grey = not found.is_rgb and not found.has_palette and len(found.components) < 3
        is_odd = frame.width % 2 == 1 or frame.height % 2 == 1
        if is_grey:
            return cls(("yuv444p" if is_odd else "yuv420p") + ("10le" if _bits(frame) > 8 else ""), is_made=True)
        offered = [name for name in offered if not is_odd or "444" in name]
        if found.name in offered:
            return cls(found.name, is_made=False)
        from av.codec.codec import find_best_pix_fmt_of_list  # what plans imports this module, and no FFmpeg

        best, _ = find_best_pix_fmt_of_list(offered, found.name)
        return cls(offered[0] if best is None else best.name, is_made=found.is_rgb or found.has_palette)

    def take(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a frame in the format that it is compressed in."""
        if self.is_made:
            return frame.reformat(
                format=self.format, dst_colorspace="itu601", src_color_range="JPEG", dst_color_range="JPEG"
            )
        return frame if frame.format.name == self.format else frame.reformat(format=self.format)

    def colours(self, frame: av.VideoFrame) -> dict[str, int]:
        """Return how pixels stand for colours once compressed, as FFmpeg numbers it: what players are told."""
        told = {name: int(getattr(frame, name)) for name in _TAGS}
        if self.is_made or frame.format.name.startswith("yuvj"):
            told["color_range"] = _FULL
        if self.is_made and told["colorspace"] == _MATRIX_RGB:
            told["colorspace"] = _MATRIX_601
        return told
