"""Frames of a video as small JPEG pictures, exactly by number."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.video.pixels import BLACK, WHITE, levels, luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import av

    from ibl_dask.video.container.index import FrameIndex

WIDTH_PX = 480
"""Width of pictures; smaller videos are not enlarged."""
QUALITY = 70
"""Quality of JPEG, 1 to 100."""
_FULL_RANGE = np.clip(np.rint((np.arange(256.0) - BLACK) * 255 / (WHITE - BLACK)), 0, 255).astype(np.uint8)
"""Brightness, 16 to 235, as JPEG has it, 0 to 255."""
_KEPT_BYTES = 48_000_000
"""Pictures of one camera that are kept in memory."""


def picture_size(width: int, height: int, width_px: int) -> tuple[int, int]:
    """Return width and height of the pictures of a video; small videos are not enlarged.

    >>> picture_size(1280, 1024, 480)
    (480, 384)
    """
    shown = min(width_px, width)
    return shown, max(1, round(height * shown / width))


class Pictures:
    """Pictures of one video.

    Requests that follow each other go on with the same decoder: a player asks for the next second again and again, and
    decoding anew from the last keyframe would cost several times as much.

    Parameters
    ----------
    video : Path
        The video.
    index : FrameIndex
        Its index.
    width_px : int
        Largest width of the pictures.
    """

    def __init__(self, video: Path, index: FrameIndex, width_px: int = WIDTH_PX) -> None:
        self.index = index
        self._video = video
        self.size_px = picture_size(index.width, index.height, width_px)
        self._keyframes = index.keyframes
        self._reader: FrameReader | None = None
        self._run: Generator[tuple[int, av.VideoFrame | None]] | None = None
        self._next = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def jpegs(self, first: int, last: int) -> Generator[bytes]:
        """Yield a picture of each frame from `first` to `last`, both included; empty where a frame does not decode.

        Raises
        ------
        UsageError
            If the range does not lie within the video.
        MissingFile, UnreadableVideo
            If the file is not the one that was indexed.
        """
        if not 0 <= first <= last < len(self.index):
            raise UsageError(
                "there are no such frames",
                where=str(self._video),
                expected=f"first and last from 0 to {len(self.index) - 1:,}, in this order",
                got=f"{first:,} to {last:,}",
            )
        try:
            with self._lock:
                self._require_unchanged()
                for number in range(first, last + 1):
                    yield self._picture(number)
                self._require_unchanged()
        finally:
            if self._is_closed:
                self.close()

    def close(self) -> None:
        """Close the video; where its pictures are being read, at the end of that, which may wait for a slow reader."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._stop()
            finally:
                self._lock.release()

    def _require_unchanged(self) -> None:
        try:
            self.index.require_unchanged(self._video)
        except BaseException:
            self._stop()
            raise

    def _picture(self, number: int) -> bytes:
        kept = self._kept.get(number)
        if kept is not None:
            self._kept.move_to_end(number)
            return kept
        try:
            frame = self._decoded(number)
        except BaseException:
            self._stop()
            raise
        picture = b"" if frame is None else self._encoded(frame)
        self._kept[number] = picture
        self._kept_bytes += len(picture)
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return picture

    def _decoded(self, number: int) -> av.VideoFrame | None:
        place = int(np.searchsorted(self._keyframes, number, side="right")) - 1
        from_key = int(self._keyframes[place]) if place >= 0 else 0
        if self._run is None or not from_key <= self._next <= number:
            self._stop()
            self._reader = FrameReader(self._video, self.index)
            self._run, self._next = self._frames(self._reader, number), number
        for found, frame in self._run:
            self._next = found + 1
            if found == number:
                return frame
        raise AssertionError("frames ended before the end of the video")

    def _frames(self, reader: FrameReader, start: int) -> Generator[tuple[int, av.VideoFrame | None]]:
        yield from reader.frames(start, len(self.index))

    def _stop(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _encoded(self, frame: av.VideoFrame) -> bytes:
        grey = levels(frame).picture(luma(frame))
        is_small = grey.shape[::-1] == self.size_px
        small = np.ascontiguousarray(grey) if is_small else cv2.resize(grey, self.size_px, interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", cv2.LUT(small, _FULL_RANGE), (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        return coded.tobytes()
