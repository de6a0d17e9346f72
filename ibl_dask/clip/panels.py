"""Panels of a clip: the picture of a camera under a caption with its name, frame number and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.clip.schedule import shown_frames
from ibl_dask.video.painting import BLACK, FONT, RED, WHITE, draw_points, hues
from ibl_dask.video.pixels import BLACK as BLACK_LUMA
from ibl_dask.video.pixels import WHITE as WHITE_LUMA
from ibl_dask.video.pixels import levels, luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ibl_dask.clip.view import CameraView
    from ibl_dask.video.painting import Colour, Picture

CAPTION_PX = 40
"""Height of the caption above a picture, px."""
_LINES_PX = (16, 33)
"""Base lines of the two lines of a caption, px from the top."""
_GAIN = 255 / (WHITE_LUMA - BLACK_LUMA)


def picture_size(width: int, height: int, shown_height: int) -> tuple[int, int]:
    """Return width and height of a picture in the clip, px: even, as chroma of half the size needs them.

    >>> picture_size(1280, 1024, 512), picture_size(401, 257, 257)
    ((640, 512), (400, 256))
    """
    even = max(2, shown_height // 2 * 2)
    return max(2, round(width * even / height / 2) * 2), even


class Panels:
    """Panels of one camera, one for each moment of the clip, in order.

    Parameters
    ----------
    view : CameraView
        The camera.
    moments_s : (clip frame,) float
        Moments of the clip on the main clock, s.
    event_s : float
        Time of the event, s.
    shown_height : int
        Height of the picture, px.
    """

    def __init__(self, view: CameraView, moments_s: NDArray[np.float64], event_s: float, shown_height: int) -> None:
        self.view = view
        self.shown = shown_frames(view.times_s, moments_s)
        self.n_lost = 0
        """Frames of the clip so far that do not decode."""
        self._event_s = event_s
        self._picture_size = picture_size(view.index.width, view.index.height, shown_height)
        self._colours = hues(0 if view.keypoints is None else len(view.keypoints.names))
        # The last frame stands for as long as those before it; after that it is marked.
        intervals_s = np.diff(view.times_s)
        last_s = view.times_s[-1] + (float(np.median(intervals_s)) if intervals_s.size else 0.0)
        self._is_over = moments_s > last_s

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of a panel, px."""
        width, height = self._picture_size
        return width, height + CAPTION_PX

    def __iter__(self) -> Iterator[Picture]:
        """Yield the panels, each decoded and painted once however often it is shown. (y, x, 3) blue, green, red"""
        panel, painted = self._empty(), (-1, False)
        frames: Iterator[tuple[int, Picture | None]] = iter(())
        seen = self.shown[self.shown >= 0]
        picture: Picture | None = None
        with FrameReader(self.view.video, self.view.index) as reader:
            if seen.size:
                frames = self._pictures(reader, int(seen[0]), int(seen[-1]) + 1)
            decoded = -1
            for number, is_over in zip(self.shown.tolist(), self._is_over.tolist(), strict=True):
                while decoded < number:
                    decoded, picture = next(frames)
                if (number, is_over) != painted:
                    self.n_lost += picture is None and number != painted[0]
                    panel, painted = self._paint(number, picture, is_over), (number, is_over)
                yield panel

    def _pictures(self, reader: FrameReader, start: int, stop: int) -> Iterator[tuple[int, Picture | None]]:
        """Yield frames as they are shown, those between two moments unconverted; None for one that does not decode."""
        wanted = set(self.shown.tolist())
        for number, frame in reader.frames(start, stop):
            if frame is None or number not in wanted:
                yield number, None
                continue
            # Brightness of 16 to 235 becomes 0 to 255: the encoder of the clip takes it back, so luma stays as it was.
            grey = (levels(frame).picture(luma(frame)).astype(np.float32) - BLACK_LUMA) * _GAIN
            whole = np.rint(grey.clip(0, 255)).astype(np.uint8)
            is_enlarged = self._picture_size[1] > whole.shape[0]
            how = cv2.INTER_LINEAR if is_enlarged else cv2.INTER_AREA
            resized = cv2.resize(whole, self._picture_size, interpolation=how)
            yield number, np.asarray(cv2.cvtColor(resized, cv2.COLOR_GRAY2BGR), np.uint8)

    def _empty(self) -> Picture:
        width, height = self.size
        panel = np.zeros((height, width, 3), np.uint8)
        self._caption(panel, self.view.label, "no frame yet")
        return panel

    def _paint(self, number: int, picture: Picture | None, is_over: bool) -> Picture:
        width, height = self.size
        panel = np.zeros((height, width, 3), np.uint8)
        time_s = float(self.view.times_s[number])
        first = f"{self.view.label}  frame {number}{'  (the last)' if is_over else ''}"
        self._caption(panel, first, f"{time_s:.4f} s  event {time_s - self._event_s:+.4f} s")
        if picture is None:
            _write_fitting(panel, "does not decode", CAPTION_PX + (height - CAPTION_PX) // 2, RED)
            return panel
        panel[CAPTION_PX:] = picture
        if self.view.keypoints is not None:
            keypoints, (shown_width, shown_height) = self.view.keypoints, self._picture_size
            scale = shown_width / self.view.index.width, shown_height / self.view.index.height
            # A view of the panel below the caption, which points cannot leave.
            draw_points(panel[CAPTION_PX:], keypoints.names, keypoints.values[number, :, :2], scale, self._colours)
        return panel

    @staticmethod
    def _caption(panel: Picture, *lines: str) -> None:
        panel[:CAPTION_PX] = BLACK
        for text, base in zip(lines, _LINES_PX, strict=True):
            _write_fitting(panel, text, base, WHITE)


def _write_fitting(panel: Picture, text: str, base_px: int, colour: Colour) -> None:
    """Write a line at the left, smaller where it would not fit."""
    (width, _), _ = cv2.getTextSize(text, FONT, 0.5, 1)
    size = 0.5 * min(1.0, (panel.shape[1] - 8) / max(1, width))
    cv2.putText(panel, text, (4, base_px), FONT, size, colour, 1, cv2.LINE_AA)
