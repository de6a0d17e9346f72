"""Pixel formats: luma of a frame, brightness on one scale for all formats, and the format for compression.

A stored luma of 16 is black and 235 white in most videos, including those of the field; others, and all that store grey
or red, green and blue, use 0 to 255. All measurements of brightness are on the first scale (`Levels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import av
    from numpy.typing import NDArray

_Element = TypeVar("_Element", bound=np.generic)

BLACK, WHITE = 16, 235
"""Luma of black and of white on the scale of all measurements of brightness."""
_FULL = 2
"""FFmpeg's number of the range 0 to 255."""
_MATRIX_RGB, _MATRIX_601 = 0, 6
"""FFmpeg's numbers of untransformed red, green and blue, and of the usual matrix from these to luma."""
_TAGS = ("color_range", "colorspace", "color_primaries", "color_trc")
_SUBSAMPLED = ("yuv420p", "yuvj420p")
_NO_COLOUR = 128
"""Value of both planes of colour where a pixel is grey."""
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
    """Return the luma of a frame, 8 bits, as stored; see `levels` for its scale. (y, x)

    A view of the frame's memory for most formats, without a copy.
    """
    if frame.format.name not in _LUMA_FIRST:
        frame = frame.reformat(format="gray")
    return _first_plane(frame, np.uint8)


def stored_luma(frame: av.VideoFrame) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the luma of a frame with all its bits, for formats of the encoder. (y, x)"""
    return luma(frame) if _bits(frame) <= 8 else _first_plane(frame, np.uint16)


def planar(frame: av.VideoFrame, name: str) -> av.VideoFrame:
    """Return a frame whose colours alternate in one plane (nv12), as GPUs give it, with a plane for each.

    Parameters
    ----------
    frame : av.VideoFrame
        The frame.
    name : str
        Format that the CPU decodes the video to: yuv420p or yuvj420p.
    """
    import av

    made = av.VideoFrame(frame.width, frame.height, name)
    both = _samples(frame.planes[1], (frame.height + 1) // 2, 2 * ((frame.width + 1) // 2))
    _plane(made, 0)[:] = _first_plane(frame, np.uint8)
    for plane, first in ((1, 0), (2, 1)):
        _plane(made, plane)[:] = both[:, first::2]
    made.pts = frame.pts
    return made


def is_without_colour(frame: av.VideoFrame) -> bool:
    """Return whether all pixels of a frame are grey: of frames in 4:2:0 with 8 bits, others count as coloured."""
    if frame.format.name not in _SUBSAMPLED:
        return False
    return all(bool((_plane(frame, number) == _NO_COLOUR).all()) for number in (1, 2))


def make_frame(
    width: int, height: int, name: str, values: NDArray[np.uint8], colorspace: int, color_range: int
) -> av.VideoFrame:
    """Return a frame without colour.

    Parameters
    ----------
    width, height : int
        Its size, px.
    name : str
        Its format, one in 4:2:0.
    values : (y, x) uint8
        Its luma.
    colorspace, color_range : int
        FFmpeg's numbers of its tags.
    """
    import av

    frame = av.VideoFrame(width, height, name)
    _plane(frame, 0)[:] = values
    for number in (1, 2):
        _plane(frame, number)[:] = _NO_COLOUR
    frame.colorspace, frame.color_range = colorspace, color_range
    return frame


def peak_of(frame: av.VideoFrame) -> int:
    """Return the largest value of luma in a frame's format."""
    return (1 << _bits(frame)) - 1


def _bits(frame: av.VideoFrame) -> int:
    return int(frame.format.components[0].bits)


def _plane(frame: av.VideoFrame, number: int) -> NDArray[np.uint8]:
    """Return a view of a plane of 8 bits. (y, x)"""
    plane = frame.planes[number]
    return _samples(plane, plane.height, plane.width)


def _samples(plane: av.video.plane.VideoPlane, n_rows: int, n_columns: int) -> NDArray[np.uint8]:
    buffer = cast("memoryview[int]", plane)
    return np.ndarray((n_rows, n_columns), np.uint8, buffer, strides=(plane.line_size, 1))


def _first_plane(frame: av.VideoFrame, kind: type[_Element]) -> NDArray[_Element]:
    plane = frame.planes[0]
    buffer = cast("memoryview[int]", plane)  # the stubs of PyAV lack its buffer protocol
    return np.ndarray((frame.height, frame.width), kind, buffer, strides=(plane.line_size, np.dtype(kind).itemsize))


@dataclass(frozen=True, slots=True)
class Levels:
    """Conversion of stored luma to the common scale of brightness."""

    black: float
    """Brightness of a luma of 0."""
    gain: float
    """Brightness per level of luma."""

    def brightness(self, value: float) -> float:
        """Convert a mean of stored luma."""
        return self.black + self.gain * value

    def difference(self, value: float) -> float:
        """Convert a difference of stored luma."""
        return self.gain * value

    def variance(self, value: float) -> float:
        """Convert a variance of stored luma."""
        return self.gain**2 * value

    def picture(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert a plane of stored luma. (y, x)"""
        return plane if self is VIDEO else np.rint(self.black + self.gain * plane).astype(np.uint8)


class OpenCvPictures:
    """Converter of frames to the pictures that `cv2.VideoCapture` reads: blue, green and red."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter  # plans import this module, and do not load FFmpeg

        self._converter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the picture of a frame. (y, x, 3)"""
        # One converter for all frames, without threads of its own: their set-up costs more than the conversion.
        picture = self._converter.reformat(frame, format="bgr24", interpolation="BICUBIC", threads=1)
        return np.asarray(picture.to_ndarray(), np.uint8)


VIDEO = Levels(0, 1)
"""16 is black, 235 white: values are unchanged."""
FULL = Levels(BLACK, (WHITE - BLACK) / 255)
"""0 is black, 255 white."""


def levels(frame: av.VideoFrame) -> Levels:
    """Return the scale of the luma that `luma` returns of a frame.

    FFmpeg's conversion to grey, for formats without a luma plane, yields 0 to 255.
    """
    name = frame.format.name
    is_video = name in _LUMA_FIRST and name != "gray" and "j" not in name and int(frame.color_range) != _FULL
    return VIDEO if is_video else FULL


@dataclass(frozen=True, slots=True)
class EncoderFormat:
    """Pixel format in which frames of one format are encoded."""

    format: str
    """FFmpeg's name of the format."""
    is_made: bool
    """True if luma of 0 to 255 is computed here, from grey or from red, green and blue."""

    @classmethod
    def of(cls, frame: av.VideoFrame, offered: Sequence[str]) -> EncoderFormat:
        """Choose the format for frames like this one: their own if the encoder supports it, else the least lossy.

        Grey gets empty colour planes: many players do not support grey, and x264 does not report its loss. For pictures
        with an odd number of rows or columns x264 supports only formats without chroma subsampling.

        Parameters
        ----------
        frame : av.VideoFrame
            The first frame.
        offered : sequence of str
            Formats that the encoder supports.
        """
        own = frame.format
        is_grey = not own.is_rgb and not own.has_palette and len(own.components) < 3
        is_odd = frame.width % 2 == 1 or frame.height % 2 == 1
        if is_grey:
            return cls(("yuv444p" if is_odd else "yuv420p") + ("10le" if _bits(frame) > 8 else ""), is_made=True)
        offered = [name for name in offered if not is_odd or "444" in name]
        if own.name in offered:
            return cls(own.name, is_made=False)
        from av.codec.codec import find_best_pix_fmt_of_list  # plans import this module, and do not load FFmpeg

        best, _ = find_best_pix_fmt_of_list(offered, own.name)
        return cls(offered[0] if best is None else best.name, is_made=own.is_rgb or own.has_palette)

    def convert(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a frame in this format."""
        if self.is_made:
            return frame.reformat(
                format=self.format, dst_colorspace="itu601", src_color_range="JPEG", dst_color_range="JPEG"
            )
        return frame if frame.format.name == self.format else frame.reformat(format=self.format)

    def colours(self, frame: av.VideoFrame) -> dict[str, int]:
        """Return the colour properties of the encoded video for players, as FFmpeg's numbers."""
        tags = {name: int(getattr(frame, name)) for name in _TAGS}
        if self.is_made or frame.format.name.startswith("yuvj"):
            tags["color_range"] = _FULL
        if self.is_made and tags["colorspace"] == _MATRIX_RGB:
            tags["colorspace"] = _MATRIX_601
        return tags
