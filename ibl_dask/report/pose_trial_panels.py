"""Panels of averages over trials, for the figure of keypoints.

Each draws on given axes, or returns the reason why it has nothing to draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
from ibl_dask.report.pose_content import SIDES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ibl_dask.report.pose_content import PoseContent, Trials

CAMERA_COLOURS = {"left": "#bd7a98", "right": "#2b6f39", "body": "#035382"}
REWARD_RAD = 0.26
"""Position of the wheel at which the stimulus reaches the centre, rad."""
_CORRECT, _INCORRECT = 1, -1


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
    for label in SIDES:
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
    for label in SIDES:
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
    spans = [content.camera(label).times_s for label in SIDES]
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
