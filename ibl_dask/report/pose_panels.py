"""Panels of the figure of keypoints: each draws on given axes, or returns the reason why it has nothing to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import InputError
from ibl_dask.pose.motion_region import motion_region
from ibl_dask.pose.rig import NOMINAL_SIZE_PX, PIXELS_PER_UNIT
from ibl_dask.pose.speed import speed
from ibl_dask.report.event_windows import (
    AFTER_S,
    BEFORE_S,
    lick_counts,
    mean_and_error,
    wheel_windows,
    windows,
    z_scores,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ibl_dask.pose.keypoints import Keypoints
    from ibl_dask.report.pose_content import PoseCamera, PoseContent, Trials

CAMERA_COLOURS = {"left": "#bd7a98", "right": "#2b6f39", "body": "#035382"}
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
REWARD_RAD = 0.26
"""Position of the wheel at which the stimulus reaches the centre, rad."""
_CORRECT, _INCORRECT = 1, -1
_SIDES = ("left", "right")


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
    if camera.label not in _SIDES:
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


def draw_motion_energy(ax: Axes, content: PoseContent, trials: Trials) -> str | None:
    """Draw the mean motion energy of each camera around the stimulus."""
    lacking = []
    for label, colour in CAMERA_COLOURS.items():
        camera = content.camera(label)
        energy, times = camera.motion_energy, camera.times_s
        if energy is None or times is None or len(energy) != len(times) or len(times) < 2:
            lacking.append(label)
            continue
        offsets, rows = windows(z_scores(energy), times, trials.stim_on_s)
        _band(ax, offsets, rows, colour, f"{label} camera")
    if len(lacking) == len(CAMERA_COLOURS):
        return "no camera has both motion energy\nand as many frame times"
    if lacking:
        note = f"no data of the {' and '.join(lacking)} camera"
        ax.text(0.97, 0.03, note, color="#b00020", fontsize=8, ha="right", va="bottom", transform=ax.transAxes)
    _event(ax, "stimulus on", "k")
    _label(ax, "Motion energy\n(mean ± SEM)", "motion energy [z-score]")
    return None


def draw_wheel(ax: Axes, content: PoseContent, trials: Trials) -> str | None:
    """Draw the position of the wheel around the stimulus, of each trial and on average, by choice."""
    if content.wheel is None or len(content.wheel[0]) < 2:
        return content.reasons.get("wheel", "no wheel")
    offsets, rows = wheel_windows(*content.wheel, trials.stim_on_s)
    for choice, label, colour in ((-1, "right turn", "darkred"), (1, "left turn", "#1f77b4")):
        chosen = rows[trials.choice == choice]
        if len(chosen):
            ax.plot(offsets, chosen.T, color=colour, alpha=0.5, linewidth=0.1)
            ax.plot(offsets, mean_and_error(chosen)[0], color=colour, linewidth=2, label=label)
    for position in (-REWARD_RAD, REWARD_RAD):
        ax.axhline(position, linestyle="--", color="g", label="reward" if position > 0 else None)
    ax.set_ylim(-REWARD_RAD - 0.01, REWARD_RAD + 0.01)
    _event(ax, "stimulus on", "k")
    _label(ax, "Wheel position\n(trials and mean)", "position relative to first [rad]")
    return None


def draw_speed(ax: Axes, content: PoseContent, trials: Trials, part: str) -> str | None:
    """Draw the mean speed of the near paw, or of the nose, around the stimulus, by feedback.

    The left camera is taken if it has keypoints and as many times, else the right one. The paw near to the left camera
    is `paw_r`, that near to the right one `paw_l`.
    """
    reasons = []
    for label in _SIDES:
        camera, name = content.camera(label), part
        if part == "paw":
            name = "paw_r" if label == "left" else "paw_l"
        if camera.keypoints is None or camera.times_s is None:
            reasons.append(f"{label}: no {'keypoints' if camera.keypoints is None else 'frame times'}")
            continue
        if not camera.keypoints.has(name):
            reasons.append(f"{label}: no {name}")
            continue
        if len(camera.keypoints) != len(camera.times_s) or len(camera.keypoints) < 3:
            reasons.append(f"{label}: {len(camera.keypoints):,} rows, {len(camera.times_s):,} times")
            continue
        offsets, rows = windows(speed(camera.keypoints, name, camera.times_s, label), camera.times_s, trials.stim_on_s)
        _by_feedback(ax, offsets, rows, trials)
        _event(ax, "stimulus on", "r")
        _label(ax, f"{name} speed\n({label} camera)", "speed [px/s]")
        return None
    return "\n".join(reasons)


def draw_lick_rate(ax: Axes, content: PoseContent, trials: Trials) -> str | None:
    """Draw the mean number of licks around the feedback, by feedback."""
    if content.licks_s is None or not content.licks_s.size:
        return content.reasons.get("licks", "no licks")
    watched = _watched(content, trials)
    offsets, rows = lick_counts(content.licks_s, trials.feedback_s[watched])
    _by_feedback(ax, offsets, rows, trials, watched)
    _event(ax, "feedback", "purple")
    _label(ax, "Licks", "licks per bin of 20 ms")
    return None


def draw_lick_raster(ax: Axes, content: PoseContent, trials: Trials) -> str | None:
    """Draw the licks of each correct trial around its feedback."""
    if content.licks_s is None or not content.licks_s.size:
        return content.reasons.get("licks", "no licks")
    correct = _watched(content, trials) & (trials.feedback_type == _CORRECT)
    if not correct.any():
        return "no correct trial while the video ran"
    _, rows = lick_counts(content.licks_s, trials.feedback_s[correct])
    ax.imshow(
        rows, aspect="auto", extent=(-BEFORE_S, AFTER_S, len(rows), 0), cmap="gray_r", interpolation="nearest", vmin=0
    )
    _event(ax, "feedback", "purple", legend=False)
    _label(ax, "Licks of each correct trial", "correct trials")
    return None


def draw_pupil(ax: Axes, content: PoseContent, trials: Trials) -> str | None:
    """Draw the mean diameter of the pupil around stimulus and feedback, of each trial relative to its first value."""
    reasons = []
    for label in _SIDES:
        camera = content.camera(label)
        diameter, times = camera.pupil_smooth_px, camera.times_s
        if diameter is None or times is None:
            reasons.append(f"{label}: no {'diameter of the pupil' if diameter is None else 'frame times'}")
            continue
        if len(diameter) != len(times) or len(times) < 2 or np.isnan(diameter).all():
            empty = np.isnan(diameter).all()
            reasons.append(
                f"{label}: " + ("diameter unknown" if empty else f"{len(diameter):,} rows, {len(times):,} times")
            )
            continue
        for events, name, colour in ((trials.stim_on_s, "stimulus", "red"), (trials.feedback_s, "feedback", "purple")):
            offsets, rows = windows(diameter, times, events)
            scores = z_scores(rows)
            _band(ax, offsets, scores - scores[:, :1], colour, name)
        _event(ax, "", "k", legend=False)
        ax.legend(loc="lower right", title="aligned to", fontsize=8, title_fontsize=8)
        _label(ax, f"Pupil diameter\n({label} camera)", "smoothed diameter [z-score]")
        return None
    return "\n".join(reasons)


def _watched(content: PoseContent, trials: Trials) -> NDArray[np.bool_]:
    """Return the trials whose feedback lies within the videos of the tongue."""
    spans = [content.camera(label).times_s for label in _SIDES]
    known = [times for times in spans if times is not None and len(times)]
    if not known:
        return np.ones(len(trials), np.bool_)
    first, last = min(times[0] for times in known), max(times[-1] for times in known)
    return np.asarray((trials.feedback_s - BEFORE_S >= first) & (trials.feedback_s + AFTER_S <= last))


def _by_feedback(
    ax: Axes,
    offsets: NDArray[np.float64],
    rows: NDArray[np.float64],
    trials: Trials,
    kept: NDArray[np.bool_] | None = None,
) -> None:
    kinds = trials.feedback_type if kept is None else trials.feedback_type[kept]
    for kind, label, colour in ((_CORRECT, "correct trial", "k"), (_INCORRECT, "incorrect trial", "gray")):
        if (kinds == kind).any():
            ax.plot(offsets, mean_and_error(rows[kinds == kind])[0], color=colour, label=label)


def _band(ax: Axes, offsets: NDArray[np.float64], rows: NDArray[np.float64], colour: str, label: str) -> None:
    mean, error = mean_and_error(rows)
    ax.plot(offsets, mean, color=colour, linewidth=2, label=label)
    ax.fill_between(offsets, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)


def _event(ax: Axes, label: str, colour: str, legend: bool = True) -> None:
    ax.axvline(0, linestyle="--", color=colour, label=label or None)
    if legend:
        ax.legend(loc="upper right", fontsize=8)


def _label(ax: Any, title: str, ylabel: str) -> None:  # Axes; its stubs differ between versions
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("time [s]", fontsize=9)
    ax.set_ylabel(ylabel, fontsize=9)
    ax.set_xlim(-BEFORE_S, AFTER_S)
    ax.set_xticks([-0.5, 0, 0.5, 1, 1.5])
    ax.tick_params(labelsize=8)
