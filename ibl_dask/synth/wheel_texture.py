"""Texture of the wheel: a rubber tyre with irregular blocks, so that no speed looks like rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.synth.scene_geometry import SHIFT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.synth.scene_geometry import View

    Floats = NDArray[np.float64]

_BLOCKS = 27
_SHADES = 5
_CENTRE = (380.0, 1000.0)
_RADII = (232.0, 362.0)
_DEPTH = 520.0
_RINGS = ((1.0, 30), (0.93, 40), (0.6, 24), (0.5, 84), (0.43, 34))


@dataclass(frozen=True, slots=True)
class _Facets:
    """Four-cornered facets that turn about an axis: `centre + radius * (cos, sin)(angle + turn)`."""

    angle: Floats
    """Angle of each corner at rest, `(facet, corner)`, rad."""
    centre: Floats
    """Centre about which each corner turns, `(facet, corner, xy)`, fixed-point pixels."""
    radius: Floats
    """Half axes of the ellipse each corner runs on, `(facet, corner, xy)`, fixed-point pixels."""
    shade: Floats
    """Grey level of each facet in full light."""

    def at(self, turn: float) -> tuple[NDArray[np.int32], Floats]:
        """Return the corners after a turn, and the angle of the middle of each facet, -pi to pi."""
        angle = self.angle + turn
        round_about = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        middle = (angle[:, 0] + angle[:, 1]) / 2
        wrapped = (middle + math.pi) % (2 * math.pi) - math.pi
        return np.rint(self.centre + self.radius * round_about).astype(np.int32), wrapped


class WheelTexture:
    """Texture of the wheel in one view."""

    def __init__(self, view: View, rng: np.random.Generator) -> None:
        cuts = np.concatenate([[0.0], np.cumsum(rng.uniform(0.7, 1.3, _BLOCKS))])
        cuts *= 2 * math.pi / cuts[-1]
        starts, stops = cuts[:-1] + 0.025, cuts[1:] - 0.025
        shades = rng.uniform(44, 108, (3, _BLOCKS))
        self._view = view
        self._side_lugs = _joined(
            [_facets(view, starts, stops, near, far, 1.0, 1.0, shades[k]) for k, (near, far) in enumerate(_ACROSS)]
        )
        bumps = rng.uniform(90, 170, _BLOCKS)
        self._bumps = _facets(view, starts, starts + 0.6 * (stops - starts), 0, 0, 0.7, 0.83, bumps)
        hub = np.arange(5) * 2 * math.pi / 5
        self._spokes = _facets(view, hub - 0.12, hub + 0.12, 0, 0, 0.46, 0.1, np.full(5, 96.0))
        self._top_lugs = _joined([_rows(view, starts, stops, 12 + 33 * k, shades[k]) for k in range(3)])
        turn = np.linspace(0, 2 * math.pi, 61)
        self._rings = [(view.fixed(_rim(turn, 0, size)), level) for size, level in _RINGS]
        wide = np.linspace(-math.pi, 0.9, 40)
        self._outline = view.fixed(np.concatenate([_rim(wide, 0.0), _rim(wide[::-1], 1.0)]))
        self._pit = view.fixed([(8, 318), (112, 318), (124, 512), (0, 512)])

    def draw_side(self, image: NDArray[np.uint8], turn_rad: float) -> None:
        """Draw lugs and side wall as the cameras at the side see them."""
        cv2.fillPoly(image, [self._outline], (22,), cv2.LINE_8, SHIFT)
        corners, middle = self._side_lugs.at(turn_rad)
        light = 0.55 + 0.65 * np.clip(np.cos(middle + 1.5), 0, 1)
        _draw(image, corners, self._side_lugs.shade * light, (middle > -1.95) & (middle < 0.75))
        for ring, level in self._rings:
            cv2.fillPoly(image, [ring], (level,), cv2.LINE_8, SHIFT)
        corners, middle = self._bumps.at(turn_rad)
        _draw(image, corners, self._bumps.shade, (middle < 0.4) | (middle > math.pi - 0.4))
        cv2.fillPoly(image, list(self._spokes.at(turn_rad)[0]), (96,), cv2.LINE_8, SHIFT)

    def draw_above(self, image: NDArray[np.uint8], turn_rad: float) -> None:
        """Draw the lugs as the camera above sees it: blocks come up at one end and go down at the other."""
        cv2.fillPoly(image, [self._pit], (20,), cv2.LINE_8, SHIFT)
        corners, middle = self._top_lugs.at(turn_rad)
        upward = np.cos(middle)
        _draw(image, corners, self._top_lugs.shade * (0.6 + 0.5 * upward), upward > 0.12)


_ACROSS = ((0.02, 0.3), (0.34, 0.64), (0.68, 0.97))


def _draw(image: NDArray[np.uint8], corners: NDArray[np.int32], level: Floats, seen: NDArray[np.bool_]) -> None:
    """Fill facets, one call for each of a few shades."""
    step = 176 // _SHADES
    shade = np.clip(level.astype(np.int64) // step, 0, _SHADES - 1)
    for value in range(_SHADES):
        chosen = np.flatnonzero(seen & (shade == value))
        if chosen.size:
            cv2.fillPoly(image, list(corners[chosen]), (value * step + step // 2,), cv2.LINE_8, SHIFT)


def _rim(angle: Floats, across: float, size: float = 1.0) -> Floats:
    """Return points of the tyre: angle from the x axis, clockwise; 0 to 1 across the tyre; part of the radius."""
    centre, radius = _axes(across, size)
    points: Floats = centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return points


def _axes(across: float, size: float) -> tuple[Floats, Floats]:
    """Return centre and half axes of a ring of the tyre, scene units."""
    narrowed = (1 - 0.06 * across) * size
    centre = np.array([_CENTRE[0] + _DEPTH * across, _CENTRE[1] + 10 * across])
    return centre, np.array([_RADII[0] * size, _RADII[1] * narrowed])


def _facets(
    view: View, starts: Floats, stops: Floats, near: float, far: float, inner: float, outer: float, shade: Floats
) -> _Facets:
    rings = [_axes(near, inner), _axes(near, inner), _axes(far, outer), _axes(far, outer)]
    centre, radius = (np.stack([ring[part] for ring in rings]) for part in (0, 1))
    angle = np.stack([starts, stops, stops, starts], axis=1)
    return _in_pixels(view, angle, centre, radius, shade)


def _rows(view: View, starts: Floats, stops: Floats, left: float, shade: Floats) -> _Facets:
    centre = np.array([(left, 420.0), (left, 420.0), (left + 28, 423.0), (left + 28, 423.0)])
    radius = np.broadcast_to(np.array([0.0, 100.0]), (4, 2))
    return _in_pixels(view, np.stack([starts, stops, stops, starts], axis=1), centre, radius, shade)


def _in_pixels(view: View, angle: Floats, centre: Floats, radius: Floats, shade: Floats) -> _Facets:
    there = view.fixed(centre).astype(np.float64)
    reach = view.fixed(centre + radius).astype(np.float64) - there
    return _Facets(angle, np.broadcast_to(there, (*angle.shape, 2)), np.broadcast_to(reach, (*angle.shape, 2)), shade)


def _joined(parts: list[_Facets]) -> _Facets:
    return _Facets(
        np.concatenate([part.angle for part in parts]),
        np.concatenate([part.centre for part in parts]),
        np.concatenate([part.radius for part in parts]),
        np.concatenate([part.shade for part in parts]),
    )
