"""Words and points on pictures that people look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    """Blue, green and red. (y, x, 3)"""
    Colour = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (40, 40, 230)
_FARTHEST_PX = 2**14
"""Coordinates beyond are moved to it: OpenCV takes no larger ones."""


def write_words(picture: Picture, text: str, at: tuple[int, int], size: float) -> None:
    """Write white words on a dark rim, in place: the halved chroma of a clip would lose colours of small letters.

    Parameters
    ----------
    picture : (y, x, 3) uint8
        The picture.
    text : str
        Words in ASCII.
    at : (int, int)
        x and y of the lower left corner, pixels.
    size : float
        Size, as a factor of OpenCV's font.
    """
    for colour, thickness in ((BLACK, 3), (WHITE, 1)):
        cv2.putText(picture, text, at, FONT, size, colour, thickness, cv2.LINE_AA)


def hues(n: int) -> list[Colour]:
    """Return `n` bright hues, as blue, green and red."""
    return [_hue(i, n) for i in range(n)]


def _hue(i: int, n: int) -> Colour:
    hue = np.array([[[round(180 * i / max(1, n)) % 180, 200, 255]]], np.uint8)
    blue, green, red = np.asarray(cv2.cvtColor(hue, cv2.COLOR_HSV2BGR))[0, 0].tolist()
    return int(blue), int(green), int(red)


def draw_points(
    picture: Picture,
    names: Sequence[str],
    points: NDArray[np.floating],
    scale: tuple[float, float],
    colours: Sequence[Colour],
) -> None:
    """Draw named points, in place.

    Parameters
    ----------
    picture : (y, x, 3) uint8
        The picture.
    names : sequence of str
        Names of the points.
    points : (point, 2) float
        x and y in pixels of the video's frame; a point that holds NaN is left out.
    scale : (float, float)
        Pixels of the picture per pixel of the frame, along x and along y.
    colours : sequence of (int, int, int)
        Colours of the points; see `hues`.
    """
    for name, colour, place in zip(names, colours, points, strict=True):
        if np.isnan(place).any():
            continue
        # Pixel centres are whole numbers on both scales.
        x, y = ((place + 0.5) * scale - 0.5).clip(-_FARTHEST_PX, _FARTHEST_PX).tolist()
        at = (round(x), round(y))
        cv2.circle(picture, at, 3, colour, -1, cv2.LINE_AA)
        write_words(picture, name, (at[0] + 5, at[1] - 4), 0.33)
