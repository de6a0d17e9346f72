"""Places of the parts of the side view that move or that pose networks look for, in scene coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass

Point = tuple[float, float]

EYE: Point = (445.0, 117.0)
"""Centre of the pupil."""
NOSE: Point = (170.0, 205.0)
"""Tip of the snout."""
SPOUT: Point = (180.0, 306.0)
"""End of the tube that drops come from."""
LEAST_TONGUE = 0.05
"""Extension from which on the tongue is seen."""


@dataclass(frozen=True, slots=True)
class SceneState:
    """State of the moving parts at one time."""

    wheel_rad: float = 0.0
    """Angle of the wheel."""
    tongue: float = 0.0
    """Extension of the tongue, 0 to 1."""
    whisk: float = 0.0
    """Angle of the whiskers about their rest, -1 to 1."""
    pupil: float = 0.5
    """Size of the pupil, 0 to 1."""


def reach(wheel_rad: float) -> float:
    """Return the position of the paw, -1 to 1: it follows the wheel, and returns when it is out of reach."""
    return 2 / math.pi * math.asin(math.sin(wheel_rad * 2.2))


def far_paw(state: SceneState) -> Point:
    """Return the middle of the paw behind the body."""
    return 428 + 20 * reach(state.wheel_rad), 632 - 3 * reach(state.wheel_rad)


def near_paw(state: SceneState) -> Point:
    """Return the middle of the paw before the body."""
    return 590 + 34 * reach(state.wheel_rad), 742 + 66 * reach(state.wheel_rad)


def pupil_axes(state: SceneState) -> Point:
    """Return half the width and half the height of the pupil."""
    return 11 + 13 * state.pupil, 10 + 12 * state.pupil


def tongue_tip(state: SceneState) -> Point | None:
    """Return the end of the tongue; None where it is not seen."""
    return None if state.tongue <= LEAST_TONGUE else (226 - 42 * state.tongue, 306 + 8 * state.tongue)


def side_keypoints(state: SceneState) -> dict[str, Point | None]:
    """Return the keypoints of the side view under names of the International Brain Laboratory; None where not seen.

    `paw_r` is the nearer paw. The two ends of the tongue lie above and below its tip, those of the tube above and below
    its middle.
    """
    (x, y), (wide, high), tip = EYE, pupil_axes(state), tongue_tip(state)
    return {
        "nose_tip": NOSE,
        "pupil_top_r": (x, y - high),
        "pupil_right_r": (x + wide, y),
        "pupil_bottom_r": (x, y + high),
        "pupil_left_r": (x - wide, y),
        "paw_l": far_paw(state),
        "paw_r": near_paw(state),
        "tongue_end_l": None if tip is None else (tip[0], tip[1] - 8),
        "tongue_end_r": None if tip is None else (tip[0], tip[1] + 8),
        "tube_top": (SPOUT[0], SPOUT[1] - 11),
        "tube_bottom": (SPOUT[0], SPOUT[1] + 11),
    }
