"""Static parts of the picture: the mouse's body, the rig and the light on them.

Coordinates are those of the left camera at 1280 x 1024 pixels, or of the body camera at 640 x 512; `View` maps them to
any size. The right camera sees the left camera's scene in a mirror.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Grey = NDArray[np.float32]
    Points = Sequence[tuple[float, float]]

SHIFT = 4
"""Fractional bits of the coordinates given to OpenCV."""

_BODY_SIDE: Points = (
    (162, 196), (200, 148), (262, 78), (330, 32), (430, 5), (600, -40), (1030, -40), (1024, 150), (1018, 330),
    (990, 480), (915, 575), (790, 628), (660, 630), (570, 570), (505, 520), (445, 420), (400, 345), (330, 328),
    (250, 302), (192, 262),
)  # fmt: skip
_EAR: Points = ((655, 205), (690, 165), (740, 140), (790, 130), (850, 132), (858, 190), (820, 180), (790, 215), (730, 238), (690, 235))  # fmt: skip  # noqa: E501


@dataclass(frozen=True, slots=True)
class View:
    """Mapping of scene coordinates to pixels."""

    width: int
    """Width of the frame, pixels."""
    height: int
    """Height of the frame, pixels."""
    scene_width: float
    """Width of the scene, scene units."""
    scene_height: float
    """Height of the scene, scene units."""
    mirrored: bool = False
    """True if left and right are swapped."""

    @property
    def scale(self) -> float:
        """Return pixels per scene unit."""
        return self.height / self.scene_height

    def px(self, points: NDArray[np.float64] | Points) -> NDArray[np.float64]:
        """Return points `(..., 2)` of the scene as (x, y) in pixels."""
        scene = np.asarray(points, dtype=np.float64)
        x = self.scene_width - scene[..., 0] if self.mirrored else scene[..., 0]
        return np.stack([x * self.width / self.scene_width, scene[..., 1] * self.scale], axis=-1)

    def fixed(self, points: NDArray[np.float64] | Points) -> NDArray[np.int32]:
        """Return points as fixed-point pixels for OpenCV."""
        return np.rint(self.px(points) * (1 << SHIFT)).astype(np.int32)

    def spot(self, point: tuple[float, float]) -> tuple[int, int]:
        """Return one point as fixed-point pixels."""
        x = self.scene_width - point[0] if self.mirrored else point[0]
        one = 1 << SHIFT
        return round(x * self.width / self.scene_width * one), round(point[1] * self.scale * one)

    def length(self, units: float) -> int:
        """Return a length in pixels, at least 1."""
        return max(1, round(units * self.scale))


def draw_side(view: View, rng: np.random.Generator, ambient: float) -> NDArray[np.uint8]:
    """Draw mouse and rig from the side, without wheel, limbs, pupil and whiskers: `(y, x)`.

    Parameters
    ----------
    view
        Mapping of the scene to the frame.
    rng
        Source of fur and grain.
    ambient
        Grey level of the background in front of the mouse.
    """
    image = _gradient(view, ambient, 20, ambient - 10)
    _streak(view, image, 60, 26, 34)
    _panel(view, image, ((960, 250), (1140, 250), (1140, 1024), (960, 1024)), 40)
    _panel(view, image, ((1140, 262), (1280, 240), (1280, 1024), (1140, 1024)), 68)
    _panel(view, image, ((1132, 262), (1150, 262), (1150, 1024), (1132, 1024)), 112)
    _panel(view, image, ((1010, 90), (1280, 90), (1280, 225), (1050, 255)), 205)
    body = _mask(view, _BODY_SIDE, 14)
    _blend(image, body, _light_on_body(view, body) + _fur(view, rng, 15.0))
    ear = _mask(view, _EAR, 5)
    _blend(image, ear, 150 + _fur(view, rng, 6.0))
    _blend(image, _mask(view, [(700, 205), (745, 165), (830, 150), (790, 195), (730, 222)], 8) * 0.7, 92)
    _blend(image, _mask(view, [(585, 40), (1280, 20), (1280, 78), (690, 112), (600, 104)], 2), 176)
    _panel(view, image, ((585, -5), (1280, -5), (1280, 32), (585, 42)), 120)
    _panel(view, image, ((690, 108), (1280, 74), (1280, 84), (690, 116)), 214)
    _blend(image, _disc(view, (968, 112), 22), 70)
    for axes, level in (((43, 33), 46), ((35, 28), 78)):
        _blend(image, _disc(view, (445, 117), axes[0], axes[1]), level)
    _spout(view, image)
    return _developed(image, view, rng)


def draw_above(view: View, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw mouse in its tube and rig from above, without wheel, paw and tail: `(y, x)`."""
    image = _gradient(view, 30, 84, 30)
    _panel(view, image, ((250, 430), (470, 420), (478, 512), (250, 512)), 150)
    _panel(view, image, ((270, 40), (285, 28), (450, 18), (452, 122), (252, 122), (268, 100)), 96)
    _panel(view, image, ((255, 300), (450, 290), (452, 422), (258, 428)), 74)
    for centre in ((365, 62), (352, 366)):
        _blend(image, _disc(view, centre, 32), 150)
        _blend(image, _disc(view, centre, 28), 26)
    mouse = _mask(view, ((-5, 168), (40, 160), (120, 146), (300, 140), (430, 160), (452, 205), (430, 252), (300, 270),
                         (120, 262), (40, 252), (-5, 240)), 10)  # fmt: skip
    _blend(image, mouse, 92 + 26 * cv2.GaussianBlur(mouse, (0, 0), 18 * view.scale) + _fur(view, rng, 13.0, -2.0))
    _blend(image, _mask(view, ((-5, 190), (16, 186), (28, 204), (16, 224), (-5, 222)), 4), 205)
    for x in (74, 168, 258, 352, 446):
        lean = (-8 if x < 100 else 0) + (6 if x > 400 else 0)
        _panel(view, image, ((x - 12, 140), (x + 13, 136), (x + 13 + lean, 206), (x + 16, 274), (x - 10, 274),
                             (x - 14 + lean, 206)), 226, blur=3)  # fmt: skip
    _panel(view, image, ((96, 132), (460, 116), (462, 138), (110, 152)), 190, blur=3)
    _panel(view, image, ((70, 268), (462, 258), (468, 296), (140, 304)), 232, blur=4)
    _bolted_bar(view, image, (-20, 170), (165, 50))
    _bolted_bar(view, image, (-20, 245), (138, 350))
    _panel(view, image, ((112, 392), (158, 385), (262, 512), (176, 512)), 118, blur=4)
    _panel(view, image, ((126, 392), (138, 389), (216, 512), (196, 512)), 190, blur=5)
    return _developed(image, view, rng)


def noise_tile(view: View, rng: np.random.Generator, margin_px: int) -> NDArray[np.uint8]:
    """Draw sensor noise, 0 to 14 grey levels about 6, larger than the frame by a margin: `(y, x)`.

    Parameters
    ----------
    view : View
        Size of the frame.
    rng : numpy.random.Generator
        Source of the noise.
    margin_px : int
        Margin, pixels.
    """
    noise = rng.normal(6.0, 2.0, (view.height + margin_px, view.width + margin_px))
    return np.clip(np.rint(noise), 0, 14).astype(np.uint8)


def _gradient(view: View, left: float, right: float, bottom: float) -> Grey:
    across = np.linspace(left, right, view.width, dtype=np.float32)
    across = across[::-1] if view.mirrored else across
    down = np.linspace(0, bottom - left, view.height, dtype=np.float32)[:, None]
    return np.maximum(across + 0.5 * down, 8).astype(np.float32)


def _streak(view: View, image: Grey, x: float, sigma: float, level: float) -> None:
    columns = np.arange(view.width) - view.px([(x, 0.0)])[0, 0]
    image += (level * np.exp(-0.5 * (columns / (sigma * view.scale)) ** 2)).astype(np.float32)


def _mask(view: View, points: Points, blur: float) -> Grey:
    """Return 1 inside a polygon and 0 outside, with an edge rounded over some scene units."""
    mask = np.zeros((view.height, view.width), np.float32)
    cv2.fillPoly(mask, [view.fixed(points)], (1.0,), cv2.LINE_8, SHIFT)
    soft = cv2.GaussianBlur(mask, (0, 0), max(blur * view.scale, 0.5))
    edge: Grey = np.clip((soft - 0.5) * max(blur / 2, 1.0) + 0.5, 0, 1).astype(np.float32)
    return edge


def _disc(view: View, centre: tuple[float, float], radius: float, height: float | None = None) -> Grey:
    mask = np.zeros((view.height, view.width), np.float32)
    axes = (view.length(radius) << SHIFT, view.length(height or radius) << SHIFT)
    cv2.ellipse(mask, view.spot(centre), axes, 0, 0, 360, (1.0,), -1, cv2.LINE_8, SHIFT)
    return cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32)


def _blend(image: Grey, mask: Grey, level: Grey | float) -> None:
    image += mask * (level - image)


def _panel(view: View, image: Grey, points: Points, level: float, blur: float = 2) -> None:
    _blend(image, _mask(view, points, blur), level)


def _light_on_body(view: View, body: Grey) -> Grey:
    """Shade the body: lamps at the front and below leave a bright snout, a rim on the chest and a dark back."""
    y, x = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
    (sx, sy), (ex, ey) = view.px([(185, 215), (560, 330)])
    spread = view.scale
    snout = np.exp(-0.5 * (((x - sx) / (95 * spread)) ** 2 + ((y - sy) / (85 * spread)) ** 2))
    flank = np.exp(-0.5 * (((x - ex) / (330 * spread)) ** 2 + ((y - ey) / (300 * spread)) ** 2))
    soft = cv2.GaussianBlur(body, (0, 0), 20 * spread)
    slope = cv2.Sobel(soft, cv2.CV_32F, 1, 0) * (-1 if view.mirrored else 1) * 40 * spread
    light: Grey = 74 + 105 * snout + 40 * flank + 70 * np.clip(slope, 0, 1)
    return light


def _fur(view: View, rng: np.random.Generator, strength: float, slope_deg: float = 24.0) -> Grey:
    """Return hairs: noise drawn out along one direction, with a standard deviation in grey levels."""
    length = max(5, view.length(28) | 1)
    kernel = np.zeros((length, length), np.float32)
    rise = np.tan(np.deg2rad(-slope_deg if view.mirrored else slope_deg)) * (length // 2)
    middle = length // 2
    cv2.line(kernel, (0, round(middle - rise)), (length - 1, round(middle + rise)), (1.0,), 1, cv2.LINE_AA)
    hairs = cv2.filter2D(rng.standard_normal((view.height, view.width), dtype=np.float32), -1, kernel)
    fur: Grey = (hairs * (strength / hairs.std())).astype(np.float32)
    return fur


def _spout(view: View, image: Grey) -> None:
    _panel(view, image, ((-10, 392), (172, 300), (184, 314), (-10, 424)), 150, blur=3)
    _blend(image, _disc(view, (180, 306), 11), 214)


def _bolted_bar(view: View, image: Grey, start: tuple[float, float], stop: tuple[float, float]) -> None:
    along = np.subtract(stop, start) / np.hypot(*np.subtract(stop, start))
    aside = np.array([-along[1], along[0]]) * 13
    corners = [np.add(start, aside), np.add(stop, aside), np.subtract(stop, aside), np.subtract(start, aside)]
    _panel(view, image, [(float(x), float(y)) for x, y in corners], 108, blur=3)
    _blend(image, _disc(view, stop, 27), 140)
    _blend(image, _disc(view, stop, 14), 60)
    _blend(image, _disc(view, stop, 6), 205)


def _developed(image: Grey, view: View, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Darken the corners, add the grain of surfaces, and round."""
    y = np.linspace(-1, 1, view.height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, view.width, dtype=np.float32)
    lit = image * (1 - 0.12 * (x**2 + y**2)) + rng.normal(0, 1.5, image.shape)
    return np.clip(np.rint(lit - 6), 0, 235).astype(np.uint8)
