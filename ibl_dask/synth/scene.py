"""Grey frames of a head-fixed mouse at its wheel, in the views of the three cameras of an ephys rig."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.synth.scene_geometry import SHIFT, View, draw_above, draw_side, noise_tile
from ibl_dask.synth.scene_motion import EYE, LEAST_TONGUE, SceneState, far_paw, near_paw, pupil_axes, reach, tongue_tip
from ibl_dask.synth.wheel_texture import WheelTexture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Point = tuple[float, float]

FULL_SIZE = {"left": (1280, 1024), "right": (640, 512), "body": (640, 512)}
"""(width, height) of the cameras of an ephys rig, pixels."""

_MARGIN_PX = 64
_WHISKERS = 11


class Scene:
    """Renderer of one camera; scenes with equal arguments draw equal frames.

    Parameters
    ----------
    label
        left, right or body.
    width, height
        Size of the frames, pixels; by default that of the rig.
    seed
        Seed of fur, wheel and noise.

    Raises
    ------
    UsageError
        If no such camera is known.
    """

    def __init__(self, label: str, width: int | None = None, height: int | None = None, seed: int = 0) -> None:
        if label not in FULL_SIZE:
            raise UsageError(
                f"no scene is known for camera {label!r}", expected=", ".join(FULL_SIZE), got=label, do="give footage"
            )
        full_width, full_height = FULL_SIZE[label]
        units = (640.0, 512.0) if label == "body" else (1280.0, 1024.0)
        self.view = View(width or full_width, height or full_height, *units, mirrored=label == "right")
        rng = np.random.default_rng([seed, zlib.crc32(label.encode())])
        self._from_above = label == "body"
        if self._from_above:
            self._still = draw_above(self.view, rng)
        else:
            self._still = draw_side(self.view, rng, ambient=84 if label == "right" else 36)
        self._noise = noise_tile(self.view, rng, _MARGIN_PX)
        self._shifts = rng.integers(0, _MARGIN_PX, (251, 2)).tolist()
        self._wheel_texture = WheelTexture(self.view, rng)
        k = np.arange(_WHISKERS)
        self._whisker_roots = np.stack([205 + 13.0 * (k % 4), 205 + 9.0 * (k % 5)], axis=1)
        self._whisker_angles = np.deg2rad(298 - 18.0 * k)
        self._whisker_lengths = np.stack([0.8 * (175 + 35 * np.cos(k)), -(175 + 35 * np.cos(k))], axis=1)

    def draw(self, number: int, state: SceneState) -> NDArray[np.uint8]:
        """Return a new frame `(y, x)`; the number chooses the noise and is not burnt in."""
        image = self._still.copy()
        if self._from_above:
            self._draw_from_above(image, state)
        else:
            self._draw_from_the_side(image, state)
        top, left = self._shifts[number % len(self._shifts)]
        noise = self._noise[top : top + self.view.height, left : left + self.view.width]
        cv2.add(image, noise, dst=image)
        return image

    def _draw_from_the_side(self, image: NDArray[np.uint8], state: SceneState) -> None:
        far, near = far_paw(state), near_paw(state)
        self._limb(image, (520, 520), (far[0] + 22, far[1] - 6), (64, 24), 148)
        self._wheel_texture.draw_side(image, state.wheel_rad)
        self._paw(image, far, (44, 17), 186)
        self._limb(image, (720, 545), (near[0] + 20, near[1] - 12), (104, 40), 120)
        self._paw(image, near, (56, 30), 205)
        self._ellipse(image, EYE, pupil_axes(state), 10)
        self._ellipse(image, (443, 122), (5, 5), 226)
        self._whiskers(image, state.whisk)
        tip = tongue_tip(state)
        if tip is not None:
            self._limb(image, (240, 296), tip, (20, 14), 196)
            self._ellipse(image, tip, (11, 8), 200)

    def _draw_from_above(self, image: NDArray[np.uint8], state: SceneState) -> None:
        along_wheel = reach(state.wheel_rad)
        self._wheel_texture.draw_above(image, state.wheel_rad)
        paw = (80 + 3 * along_wheel, 420 + 22 * along_wheel)
        self._limb(image, (112, 318), paw, (26, 13), 132)
        self._ellipse(image, paw, (14, 16), 200)
        for toe in (-9.0, 0.0, 9.0):
            self._ellipse(image, (paw[0] + toe, paw[1] + 15 - abs(toe) / 3), (4, 6), 216)
        sway = 9 * along_wheel + 4 * state.whisk
        along = np.linspace(0, 1, 12)
        tail = np.stack([462 + 160 * along, 206 + sway * along**1.5 + 9 * np.sin(4 * along + 0.05 * sway)], axis=1)
        cv2.polylines(image, [self.view.fixed(tail)], False, (146,), self.view.length(8), cv2.LINE_AA, SHIFT)
        if state.tongue > LEAST_TONGUE:
            self._ellipse(image, (16 - 14 * state.tongue, 205), (7, 5), 228)

    def _limb(self, image: NDArray[np.uint8], start: Point, stop: Point, thick: Point, level: int) -> None:
        """Draw a straight limb that is thick at one end and thin at the other."""
        along = (stop[0] - start[0], stop[1] - start[1])
        length = math.hypot(*along) or 1.0
        aside = (-along[1] / length / 2, along[0] / length / 2)
        ends = ((start, thick[0], 1), (stop, thick[1], 1), (stop, thick[1], -1), (start, thick[0], -1))
        corners = [
            self.view.spot((end[0] + side * wide * aside[0], end[1] + side * wide * aside[1]))
            for end, wide, side in ends
        ]
        cv2.fillConvexPoly(image, np.array(corners, dtype=np.int32), (level,), cv2.LINE_AA, SHIFT)

    def _paw(self, image: NDArray[np.uint8], centre: Point, axes: Point, level: int) -> None:
        self._ellipse(image, centre, axes, level)
        for toe in (-1, 0, 1):
            spot = (centre[0] - 0.85 * axes[0] - 3 * (toe == 0), centre[1] + (0.6 * toe + 0.25) * axes[1])
            self._ellipse(image, spot, (0.36 * axes[0], 0.27 * axes[1]), min(level + 18, 226))

    def _ellipse(self, image: NDArray[np.uint8], centre: Point, axes: Point, level: int) -> None:
        wide, high = (max(1 << SHIFT, round(axis * self.view.scale * (1 << SHIFT))) for axis in axes)
        cv2.ellipse(image, self.view.spot(centre), (wide, high), 0, 0, 360, (level,), -1, cv2.LINE_AA, SHIFT)

    def _whiskers(self, image: NDArray[np.uint8], whisk: float) -> None:
        angle = self._whisker_angles + 0.2 * whisk
        away = np.stack([np.cos(angle), np.sin(angle)], axis=1) * self._whisker_lengths
        lines = self.view.fixed(np.stack([self._whisker_roots, self._whisker_roots + away], axis=1))
        cv2.polylines(image, list(lines), False, (168,), 1, cv2.LINE_AA, SHIFT)
