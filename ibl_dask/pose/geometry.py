"""Geometry between the frames of a camera and the pictures that a network gets: crop, flip, resize, and back.

Coordinates are those of pixel centres: the centre of the top left pixel of a frame or picture is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.model.region import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PictureMap:
    """Map from frames to the pictures of a network: crop, then flip, then resize, then brighten.

    >>> PictureMap(Region(0, 512, 0, 640), flip=True).to_frame(np.array([[0.0, 3.0]])).tolist()
    [[639.0, 3.0]]
    """

    region: Region
    """Part of the frame, px of the frame as stored."""
    flip: bool = False
    """Mirror the part left to right."""
    size: tuple[int, int] | None = None
    """Height and width that the part is resized to, px; None for its own."""
    gain: float = 1.0
    """Factor of the brightness; values are cut off at 255."""
    factor: float | None = None
    """Length of a pixel of the picture in pixels of the part, by which points are multiplied, corner on corner; None
    for the map that inverts the resizing exactly, centre on centre."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return height and width of the pictures, px."""
        region = self.region
        return self.size or (region.bottom - region.top, region.right - region.left)

    @property
    def n_bytes(self) -> int:
        """Return the size of a picture, bytes."""
        return 3 * self.shape[0] * self.shape[1]

    def picture(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture of a frame, a copy.

        Parameters
        ----------
        frame : (y, x, 3) or (y, x) uint8
            Frame, RGB; one plane of a frame whose pixels are all grey.

        Returns
        -------
        (y, x, 3) uint8
            RGB.
        """
        import cv2  # plans import this module, and do without OpenCV

        part = self.region.of(frame)
        if self.flip:
            part = part[:, ::-1]
        part = np.ascontiguousarray(part)
        if self.shape != part.shape[:2]:
            is_smaller = self.shape[0] * self.shape[1] < part.shape[0] * part.shape[1]
            method = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
            part = np.asarray(cv2.resize(part, self.shape[::-1], interpolation=method), np.uint8)
        if self.gain != 1.0:
            part = np.asarray(cv2.convertScaleAbs(part, alpha=self.gain), np.uint8)
        if part.ndim == 2:
            return np.asarray(cv2.cvtColor(part, cv2.COLOR_GRAY2RGB), np.uint8)
        return part.copy() if part.base is not None or part is frame else part

    def to_picture(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return points of the frame as points of the picture: the inverse of `to_frame`.

        Parameters
        ----------
        points : (..., 2) ndarray
            x and y, px of the frame.
        """
        x, y = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        x, y = x - self.region.left, y - self.region.top
        if self.flip:
            x = self._part_width - 1 - x
        if self.factor is not None:
            return np.stack([x / self.factor, y / self.factor], axis=-1)
        x_scale, y_scale = self._scales
        return np.stack([(x + 0.5) / x_scale - 0.5, (y + 0.5) / y_scale - 0.5], axis=-1)

    def to_frame(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return points of the picture as points of the frame.

        Parameters
        ----------
        points : (..., 2) ndarray
            x and y, px of the picture.
        """
        x, y = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        if self.factor is not None:
            x, y = x * self.factor, y * self.factor
        elif self.size is not None:
            x_scale, y_scale = self._scales
            x, y = (x + 0.5) * x_scale - 0.5, (y + 0.5) * y_scale - 0.5
        if self.flip:
            x = self._part_width - 1 - x
        return np.stack([x + self.region.left, y + self.region.top], axis=-1)

    @property
    def _part_width(self) -> int:
        return self.region.right - self.region.left

    @property
    def _scales(self) -> tuple[float, float]:
        """Return the pixels of the part per pixel of the picture, along x and y."""
        height, width = self.shape
        return self._part_width / width, (self.region.bottom - self.region.top) / height


def clamped(left: int, top: int, width: int, height: int, frame_width: int, frame_height: int) -> Region:
    """Return a window moved into the frame, and cut only where it is larger than the frame.

    Parameters
    ----------
    left, top, width, height : int
        The window, px.
    frame_width, frame_height : int
        Size of the frame, px.

    >>> clamped(-20, 1000, 100, 100, 1280, 1024)
    Region(top=924, bottom=1024, left=0, right=100)

    Raises
    ------
    UsageError
        If the window has no pixel.
    """
    if width < 1 or height < 1:
        raise UsageError("a window needs at least one pixel", expected="width and height >= 1", got=f"{width}x{height}")
    width, height = min(width, frame_width), min(height, frame_height)
    left = min(max(left, 0), frame_width - width)
    top = min(max(top, 0), frame_height - height)
    return Region(top, top + height, left, left + width)


def mirrored(region: Region, frame_width: int) -> Region:
    """Return a region as it stands in the frame mirrored left to right."""
    return Region(region.top, region.bottom, frame_width - region.right, frame_width - region.left)
