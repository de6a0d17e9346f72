"""Colour frames of a video, exactly by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.video.container.tracks import NoGpuDecoder
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

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the picture of a frame. (y, x, 3)"""
        # One converter for all frames, without threads of its own: their set-up costs more than the conversion.
        picture = self._converter.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1)
        return np.asarray(picture.to_ndarray(), np.uint8)


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
    convert = RgbPictures()
    with FrameReader(path, index, on_gpu=on_gpu) as reader:
        for number, frame in reader.frames(start, stop):
            if frame is None and on_gpu:
                raise NoGpuDecoder(f"NVDEC gives no frame {number:,}")
            yield number, None if frame is None else convert(frame)


def rgb_frames_at(path: Path, index: FrameIndex, numbers: Iterable[int]) -> Generator[Numbered, None, None]:
    """Yield `(number, frame)` for single frames, each decoded from the keyframe before it; see `rgb_frames`."""
    convert = RgbPictures()
    with FrameReader(path, index) as reader:
        for number in numbers:
            for _, frame in reader.frames(number, number + 1):
                yield number, None if frame is None else convert(frame)
