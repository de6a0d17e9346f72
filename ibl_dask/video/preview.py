"""Preview of keypoints: a short clip of a video with its keypoints drawn on each frame."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from ibl_dask.errors import UnequalLengths, UsageError
from ibl_dask.video.encoding.x264 import ENCODER, instructions
from ibl_dask.video.painting import FONT, RED, draw_points, hues, write_words
from ibl_dask.video.pixels import levels, luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.video.container.index import FrameIndex
    from ibl_dask.video.painting import Picture

WIDTH_PX = 640
"""Width of a clip; smaller videos are not enlarged."""
_OPTIONS = {"preset": "veryfast", "crf": "23", "g": "60"}


def preview_range(n_frames: int, rate_hz: float, duration_s: float = 10.0) -> tuple[int, int]:
    """Return first and one past last frame of a clip from the middle of a video.

    >>> preview_range(216_000, 60)
    (107700, 108300)
    """
    n = min(n_frames, max(1, round(duration_s * rate_hz)))
    start = (n_frames - n) // 2
    return start, start + n


def write_preview(
    video: Path,
    index: FrameIndex,
    target: Path,
    names: Sequence[str],
    points: NDArray[np.floating],
    frames: tuple[int, int],
    width_px: int = WIDTH_PX,
) -> int:
    """Write frames of a video with keypoints drawn on them, as H.264 in MP4 that players and browsers show.

    Each frame bears its number. Points are drawn with their names where they are known; a frame that does not decode is
    black, and named. The clip has the rate of the video.

    Parameters
    ----------
    video : Path
        The video.
    index : FrameIndex
        Its index.
    target : Path
        The clip; give a temporary name, as of `ibl_dask.store.atomic.writing_path`.
    names : sequence of str
        Names of the keypoints.
    points : (frame, keypoint, 2) float
        x and y in pixels of the video's frames, one row for each frame of the whole video; NaN where a point is not
        likely.
    frames : (int, int)
        First frame, and one past the last; see `preview_range`.
    width_px : int
        Largest width of the clip.

    Returns
    -------
    int
        Number of frames that do not decode.

    Raises
    ------
    UnequalLengths
        If there is not one row per frame, or not one column per name.
    UsageError
        If the range is empty or not within the video.
    """
    if points.shape != (len(index), len(names), 2):
        raise UnequalLengths(
            "keypoints do not belong to this video",
            where=video.name,
            expected=f"one row for each of {len(index):,} frames, and {len(names)} points",
            got=f"{points.shape[0]:,} rows of {points.shape[1] if points.ndim > 1 else 0} points",
            do="predict the keypoints of this video anew",
        )
    start, stop = frames
    if not 0 <= start < stop <= len(index):
        raise UsageError("no such frames", video.name, f"a range within 0 to {len(index):,}", f"{start:,} to {stop:,}")
    painter = _Painter(names, index, min(width_px, index.width))
    n_lost = 0
    with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(ENCODER, rate=index.rate or Fraction(60), options=_OPTIONS | instructions())
        stream.width, stream.height, stream.pix_fmt = *painter.size, "yuv420p"
        stream.codec_context.thread_count = 1
        with FrameReader(video, index) as reader:
            for place, (number, frame) in enumerate(reader.frames(start, stop)):
                n_lost += frame is None
                picture = painter.paint(number, frame, points[number])
                shown = av.VideoFrame.from_ndarray(picture, "bgr24")
                shown.pts, shown.time_base = place, 1 / (index.rate or Fraction(60))
                container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return n_lost


class _Painter:
    """Painter of frames of one size with named points."""

    def __init__(self, names: Sequence[str], index: FrameIndex, width: int) -> None:
        self._names = names
        self._scale = width / index.width
        # x264 takes even sizes only.
        self.size = (max(2, width // 2 * 2), max(2, round(index.height * self._scale) // 2 * 2))
        self._colours = hues(len(names))

    def paint(self, number: int, frame: av.VideoFrame | None, points: NDArray[np.floating]) -> Picture:
        """Return a frame with its points. (y, x, 3) blue, green, red"""
        width, height = self.size
        if frame is None:
            picture = np.zeros((height, width, 3), np.uint8)
            cv2.putText(picture, f"frame {number} does not decode", (8, height // 2), FONT, 0.5, RED, 1, cv2.LINE_AA)
            return picture
        grey = cv2.resize(levels(frame).picture(luma(frame)), self.size, interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
        write_words(picture, str(number), (6, height - 8), 0.45)
        draw_points(picture, self._names, points, (self._scale, self._scale), self._colours)
        return picture
