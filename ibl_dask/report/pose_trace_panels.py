"""Panels of keypoints over a frame of each camera, for the figure of keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import InputError
from ibl_dask.pose.motion_region import motion_region
from ibl_dask.pose.rig import NOMINAL_SIZE_PX, PIXELS_PER_UNIT
from ibl_dask.report.pose_content import SIDES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints
    from ibl_dask.report.pose_content import PoseCamera

POINT_COLOURS = {
    "tail_start": "#636EFA",
    "nose_tip": "#636EFA",
    "paw_l": "#EF553B",
    "paw_r": "#00CC96",
    "pupil_bottom_r": "#AB63FA",
    "pupil_left_r": "#FFA15A",
    "pupil_right_r": "#19D3F3",
    "pupil_top_r": "#FF6692",
    "tongue_end_l": "#B6E880",
    "tongue_end_r": "#FF97FF",
}
"""Colours of points, those of brainbox; others get one of `FURTHER_COLOURS`."""
FURTHER_COLOURS = ("#17becf", "#bcbd22", "#8c564b", "#e377c2", "#7f7f7f")
MOST_POINTS = 20_000
"""Rows of keypoints drawn; further ones are thinned out evenly."""
EYE_WINDOW_PX = (33, 33, 28, 38)
"""Room around the eye, px of the right camera: left, right, above, below (`brainbox.behavior.dlc`)."""
TONGUE_WINDOW_PX = (60, 100, 100, 60)


def draw_traces(ax: Axes, camera: PoseCamera) -> str | None:
    """Draw the keypoints of a camera over a frame, with the whisker pad, and enlarged eye and tongue."""
    if camera.keypoints is None:
        return f"no keypoints of the {camera.label} camera"
    points = {name: camera.keypoints.of(name) for name in camera.keypoints.names if "tube" not in name}
    stride = max(1, -(-len(camera.keypoints) // MOST_POINTS))
    alpha = float(np.clip(300 / max(1, len(camera.keypoints) // stride), 0.05, 0.6))
    ax.set_anchor("N")
    _picture(ax, camera)
    _scatter(ax, points, stride, alpha, size=2)
    note = "" if camera.frame is not None else " (no frame)"
    ax.set_title(f"{camera.label.capitalize()} camera{note}", fontsize=10)
    if camera.label not in SIDES:
        return None
    try:
        region = motion_region(camera.keypoints, camera.label)
    except InputError:
        region = None
    if region is not None:
        from matplotlib.patches import Rectangle

        corner, size = (region.left, region.top), (region.right - region.left, region.bottom - region.top)
        ax.add_patch(Rectangle(corner, *size, linewidth=1, edgecolor="lime", facecolor="none"))
    at = (0.0, 0.5) if camera.label == "right" else (0.5, 0.0)
    for place, names, room in zip(
        at, (("pupil_top_r",), ("tube_top", "tube_bottom")), (EYE_WINDOW_PX, TONGUE_WINDOW_PX), strict=True
    ):
        centre = _centre(camera.keypoints, names)
        if centre is not None:
            _inset(ax, camera, points, stride, place, centre, room)
    return None


def _inset(
    ax: Axes,
    camera: PoseCamera,
    points: dict[str, NDArray[np.floating]],
    stride: int,
    place: float,
    centre: NDArray[np.float64],
    room: tuple[int, int, int, int],
) -> None:
    inset = ax.inset_axes((place, -0.62, 0.48, 0.58))
    _picture(inset, camera)
    _scatter(inset, points, stride, alpha=1, size=0.1)
    left, right, above, below = (side * PIXELS_PER_UNIT.get(camera.label, 1) / 2 for side in room)
    inset.set_xlim(centre[0] - left, centre[0] + right)
    inset.set_ylim(centre[1] + below, centre[1] - above)


def _picture(ax: Axes, camera: PoseCamera) -> None:
    if camera.frame is not None:
        ax.imshow(camera.frame, cmap="gray", vmin=0, vmax=255)
    else:
        width, height = NOMINAL_SIZE_PX.get(camera.label, NOMINAL_SIZE_PX["right"])
        ax.set_aspect("equal")
        ax.set_xlim(0, width)
        ax.set_ylim(height, 0)
        ax.set_facecolor("0.92")
    ax.set_xticks([])
    ax.set_yticks([])


def _scatter(ax: Axes, points: dict[str, NDArray[np.floating]], stride: int, alpha: float, size: float) -> None:
    further = [name for name in points if name not in POINT_COLOURS]
    for name, place in points.items():
        colour = POINT_COLOURS.get(name) or FURTHER_COLOURS[further.index(name) % len(FURTHER_COLOURS)]
        shown = place[::stride]
        shown = shown[~np.isnan(shown).any(axis=1)]
        ax.scatter(shown[:, 0], shown[:, 1], s=size, c=colour, alpha=alpha, linewidths=0, label=name)


def _centre(keypoints: Keypoints, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    known = [keypoints.of(name) for name in names if keypoints.has(name)]
    known = [place[~np.isnan(place).any(axis=1)] for place in known]
    means = [place.mean(axis=0) for place in known if len(place)]
    return np.mean(means, axis=0) if means else None
