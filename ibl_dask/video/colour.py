"""Colour frames of a video, exactly by number."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.video.container.tracks import NoGpuDecoder
from ibl_dask.video.pixels import is_without_colour, luma, make_frame
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    import av
    from numpy.typing import NDArray

    from ibl_dask.video.container.index import FrameIndex

    Numbered = tuple[int, NDArray[np.uint8] | None]


class RgbPictures:
    """Converter of frames to red, green and blue of 0 to 255, the values that `cv2.VideoCapture` reads."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._converter = VideoReformatter()

    def plain(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the picture of a frame: one plane where all its pixels are grey. (y, x) or (y, x, 3)"""
        if is_without_colour(frame):
            table = _grey_levels(
                frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range)
            )
            if table is not None:
                return np.asarray(cv2.LUT(luma(frame), table), np.uint8)
        return self(frame)

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the picture of a frame. (y, x, 3)"""
        # One converter for all frames, without threads of its own: their set-up costs more than the conversion.
        picture = self._converter.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1)
        return np.asarray(picture.to_ndarray(), np.uint8)


@lru_cache(maxsize=100)
def _grey_levels(width: int, height: int, name: str, colorspace: int, color_range: int) -> NDArray[np.uint8] | None:
    """Return the grey level of each level of luma in frames without colour; None where that depends on the pixel.

    FFmpeg converts some sizes by code that rounds otherwise, so it is asked for each size, with all levels everywhere.
    """
    ramp = (np.arange(width) + 37 * np.arange(height)[:, None]) % 256
    frame = make_frame(width, height, name, ramp.astype(np.uint8), colorspace, color_range)
    pictures = RgbPictures()(frame)
    table = np.zeros(256, np.uint8)
    table[ramp] = pictures[..., 0]
    has_all = len(np.unique(ramp)) == len(table)
    return table if has_all and np.array_equal(np.repeat(table[ramp][..., None], 3, axis=2), pictures) else None


def rgb_frames(
    path: Path, index: FrameIndex, start: int, stop: int, *, on_gpu: bool = False
) -> Generator[Numbered, None, None]:
    """Yield `(number, frame)` for every number in `[start, stop)`, decoded once and in order.

    Parameters
    ----------
    path : Path
        The video.
    index : FrameIndex
        Its index.
    start, stop : int
        Range of frames.
    on_gpu : bool
        Decode by NVDEC, see `gpu_proof`.

    Yields
    ------
    int, (y, x, 3) uint8 or None
        None where a frame does not decode.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the file is not the one that was indexed.
    NoGpuDecoder
        If NVDEC is asked for and does not take it, or does not give a frame.
    UsageError
        If the range does not lie within the video.
    """
    for number, picture in plain_frames(path, index, start, stop, on_gpu=on_gpu):
        if picture is not None and picture.ndim == 2:
            yield number, np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
        else:
            yield number, picture


def plain_frames(
    path: Path, index: FrameIndex, start: int, stop: int, *, on_gpu: bool = False
) -> Generator[Numbered, None, None]:
    """Yield `(number, frame)` as `rgb_frames` does, with one plane (y, x) for frames whose pixels are all grey.

    Videos of infrared cameras consist of these; one plane is resized in two thirds of the time of three.
    """
    convert = RgbPictures()
    with FrameReader(path, index, on_gpu=on_gpu) as reader:
        for number, frame in reader.frames(start, stop):
            if frame is None and on_gpu:
                raise NoGpuDecoder(f"NVDEC gives no frame {number:,}")
            yield number, None if frame is None else convert.plain(frame)


def rgb_frames_at(path: Path, index: FrameIndex, numbers: Iterable[int]) -> Generator[Numbered, None, None]:
    """Yield `(number, frame)` for single frames, each decoded from the keyframe before it; see `rgb_frames`."""
    convert = RgbPictures()
    with FrameReader(path, index) as reader:
        for number in numbers:
            for _, frame in reader.frames(number, number + 1):
                yield number, None if frame is None else convert(frame)
