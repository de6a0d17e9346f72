"""Checks of keypoints: those of the reference (`ibllib.qc.dlc`), with its names, numbers and thresholds.

Thresholds in pixels are for the frame sizes that the rigs are set to, and scaled for videos of other sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.model.outcome import CheckResult, Number, Outcome
from ibl_dask.pose.rig import NOMINAL_SIZE_PX
from ibl_dask.qc.pose_evidence import PoseEvidence
from ibl_dask.qc.registry import run_check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.pose.features import Tracker

PoseCheck = Callable[[PoseEvidence], CheckResult | str]

BOXES_PX = MappingProxyType(
    {
        "body": ((201, 500), (81, 330)),
        "left": ((301, 700), (181, 470)),
        "right": ((301, 600), (110, 275)),
    }
)
"""Range of the mean place of all points, x then y, its end excluded (`PoseQC.bbox`; found by looking at sessions)."""
LEAST_HIDDEN_TONGUE = 0.1
"""Share of frames without a tongue below which the points show something else, such as the spout."""
MOST_BLOCKED_PUPIL = 0.9
"""Share of frames without a diameter of the pupil (`DlcQC.check_pupil_blocked`; its docstring has 60 %)."""
MOST_PUPIL_STD_PX = MappingProxyType({"left": 10.0, "right": 5.0})
"""Standard deviation of the raw diameter, "found for bad sessions"."""
LEAST_PUPIL_SNR = MappingProxyType({"left": 10.0, "right": 5.0})
"""Ratio of the variances of the smooth diameter and of the rest."""
HIDDEN_PAW = (0.1, 0.2)
"""Share of frames without a paw around the stimulus: WARNING above the first, FAIL above the second."""
AROUND_STIMULUS_S = (-0.5, 1.5)
"""Window around the onset of the stimulus, s."""
_TONGUE = ("tongue_end_l", "tongue_end_r")
_NO_FACE = "this camera does not show the face"


def _result(
    name: str,
    is_good: bool | Outcome,
    values: Mapping[str, Number],
    *numbers: Number,
    measured: str = "",
    threshold: str = "",
    message: str = "",
) -> CheckResult:
    outcome = is_good if isinstance(is_good, Outcome) else Outcome.PASS if is_good else Outcome.FAIL
    return CheckResult(name, outcome, numbers, measured, threshold, message, values)


def check_time_trace_length_match(evidence: PoseEvidence) -> CheckResult | str:
    """Compare the number of rows with the number of frame times."""
    if evidence.times_s is None:
        return "there are no frame times"
    n_rows, n_times = len(evidence.keypoints), len(evidence.times_s)
    return _result(
        "time_trace_length_match",
        n_rows == n_times,
        {"n_rows": n_rows, "n_times": n_times},
        measured=f"{n_rows:,} rows of keypoints, {n_times:,} frame times",
        threshold="as many of both",
    )


def check_trace_all_nan(evidence: PoseEvidence) -> CheckResult | str:
    """Require every point, apart from those of the tube, to be likely at least once."""
    points = [name for name in evidence.keypoints.names if "tube" not in name]
    never = [name for name in points if np.isnan(evidence.keypoints.of(name)).all(axis=0).any()]
    return _result(
        "trace_all_nan",
        not never,
        {"n_points": len(points), "n_never_likely": len(never)},
        measured=f"{len(never)} of {len(points)} points never likely",
        threshold="each likely at least once",
        message=f"never likely: {', '.join(never)}" if never else "",
    )


def check_mean_in_bbox(evidence: PoseEvidence) -> CheckResult | str:
    """Compare the mean place of all points with a box: a camera that was turned, or another video, lies outside.

    Notes
    -----
    Where no point is ever likely the outcome is FAIL; the reference raises.
    """
    if evidence.label not in BOXES_PX:
        return f"no box is known for the {evidence.label} camera"
    means = [_mean(evidence.keypoints.of(name)) for name in evidence.keypoints.names]
    known = np.array([mean for mean in means if not np.isnan(mean).any()])
    place = known.mean(axis=0) if len(known) else np.full(2, np.nan)
    boxes = [
        (round(low * scale), round(high * scale))
        for (low, high), scale in zip(BOXES_PX[evidence.label], _scale(evidence), strict=True)
    ]
    inside = all(low <= at < high for at, (low, high) in zip(place, boxes, strict=True))
    (left, right), (top, bottom) = boxes
    return _result(
        "mean_in_bbox",
        inside,
        {"mean_x_px": float(place[0]), "mean_y_px": float(place[1])},
        measured=f"mean of all points at x {place[0]:.0f}, y {place[1]:.0f} px",
        threshold=f"x {left} to {right - 1}, y {top} to {bottom - 1} px",
        message="" if len(known) else "no point is ever likely",
    )


def check_lick_detection(evidence: PoseEvidence) -> CheckResult | str:
    """Require the tongue to be hidden in some frames: a tongue always seen is something else, such as the spout."""
    if evidence.label == "body":
        return _NO_FACE
    if not evidence.keypoints.has(*_TONGUE):
        return "the tongue was not tracked"
    hidden = [float(np.isnan(evidence.keypoints.of(name)[:, 0]).mean()) for name in _TONGUE]
    return _result(
        "lick_detection",
        max(hidden) >= LEAST_HIDDEN_TONGUE,
        {"left_hidden_share": hidden[0], "right_hidden_share": hidden[1]},
        measured=f"left end of the tongue hidden in {hidden[0]:.0%} of frames, right end in {hidden[1]:.0%}",
        threshold=f"one of them in {LEAST_HIDDEN_TONGUE:.0%} at least",
    )


def check_pupil_blocked(evidence: PoseEvidence) -> CheckResult | str:
    """Require a diameter of the pupil that is mostly known, and steady: a whisker may hide the eye."""
    raw, label = evidence.pupil_raw_px, evidence.label
    if label not in MOST_PUPIL_STD_PX:
        return _NO_FACE
    if raw is None or not raw.size:
        return "there is no diameter of the pupil"
    blocked = float(np.isnan(raw).mean())
    spread = float(np.nanstd(raw)) if blocked < 1 else float("nan")
    most = MOST_PUPIL_STD_PX[label] * float(np.sqrt(np.prod(_scale(evidence))))
    return _result(
        "pupil_blocked",
        blocked <= MOST_BLOCKED_PUPIL and spread <= most,
        {"blocked_share": blocked, "diameter_std_px": spread},
        measured=f"no diameter in {blocked:.0%} of frames, standard deviation {spread:.1f} px",
        threshold=f"at most {MOST_BLOCKED_PUPIL:.0%} of frames, {most:g} px",
    )


def check_pupil_diameter_snr(evidence: PoseEvidence) -> CheckResult | str:
    """Compare the variance of the smooth diameter with that of its distance to the raw one.

    Notes
    -----
    Published, but left out of the outcome of the camera, as in the reference. Without any smooth diameter the outcome
    is NOT_SET; the reference has PASS.
    """
    raw, smooth, label = evidence.pupil_raw_px, evidence.pupil_smooth_px, evidence.label
    if label not in LEAST_PUPIL_SNR:
        return _NO_FACE
    if raw is None or smooth is None:
        return "there is no diameter of the pupil"
    known = ~np.isnan(raw) & ~np.isnan(smooth)
    noise = float(np.var((smooth - raw)[known])) if known.any() else 0.0
    if noise == 0:
        return "the smooth diameter of the pupil is empty, or equal to the raw one"
    ratio, least = float(np.var(smooth[known])) / noise, LEAST_PUPIL_SNR[label]
    return _result(
        "pupil_diameter_snr",
        ratio >= least,
        {"variance_ratio": ratio},
        round(ratio, 3),
        measured=f"variance of the smooth diameter {ratio:.1f} times that of the rest",
        threshold=f"at least {least:g} times",
    )


def check_paw_close_nan(evidence: PoseEvidence) -> CheckResult | str:
    """Require the near paw to be seen around the stimulus."""
    return _paw("paw_close_nan", "paw_r", evidence)


def check_paw_far_nan(evidence: PoseEvidence) -> CheckResult | str:
    """Require the far paw to be seen around the stimulus."""
    return _paw("paw_far_nan", "paw_l", evidence)


def _paw(check: str, paw: str, evidence: PoseEvidence) -> CheckResult | str:
    """Compare the share of frames without a paw, of those within 0.5 s before to 1.5 s after a stimulus, with bounds.

    Windows are measured by the frame times. The reference takes 120 frames (300 on the right) from the frame next to
    the start, whatever the rate of the camera, and so also frames long after a stimulus that came before the video.
    """
    times, stimuli = evidence.times_s, evidence.stim_on_s
    if evidence.label == "body":
        return _NO_FACE
    if not evidence.keypoints.has(paw):
        return f"{paw} was not tracked"
    if times is None or len(times) != len(evidence.keypoints):
        return "there is not one frame time per row of keypoints"
    if stimuli is None:
        return "there are no trials"
    starts, stops = (np.searchsorted(times, stimuli[~np.isnan(stimuli)] + edge) for edge in AROUND_STIMULUS_S)
    hidden_before = np.concatenate(([0], np.cumsum(np.isnan(evidence.keypoints.of(paw)[:, 0]))))
    n_frames = int((stops - starts).sum())
    if not n_frames:
        return "no stimulus came on while the video ran"
    hidden = float((hidden_before[stops] - hidden_before[starts]).sum() / n_frames)
    warn, fail = HIDDEN_PAW
    outcome = Outcome.FAIL if hidden > fail else Outcome.WARNING if hidden > warn else Outcome.PASS
    return _result(
        check,
        outcome,
        {"hidden_share": hidden, "n_frames": n_frames, "n_stimuli": int((stops > starts).sum())},
        measured=f"{paw} hidden in {hidden:.1%} of {n_frames:,} frames around stimuli",
        threshold=f"at most {warn:.0%}; FAIL above {fail:.0%}",
    )


_BOTH: tuple[PoseCheck, ...] = (
    check_lick_detection,
    check_mean_in_bbox,
    check_time_trace_length_match,
    check_trace_all_nan,
)
CHECKS: Mapping[Tracker, tuple[PoseCheck, ...]] = MappingProxyType(
    {
        "dlc": (*_BOTH, check_paw_close_nan, check_paw_far_nan, check_pupil_blocked, check_pupil_diameter_snr),
        "lightningPose": _BOTH,
    }
)
"""Checks of each tracker, those of `DlcQC` and `LpQC`."""


def run_pose_checks(evidence: PoseEvidence) -> tuple[CheckResult, ...]:
    """Run the checks of a tracker in alphabetical order.

    The outcome of a check is NOT_SET, with the reason, where its data are missing, and CRITICAL where it raises.
    """
    named = sorted((function.__name__.removeprefix("check_"), function) for function in CHECKS[evidence.tracker])
    return tuple(run_check(name, function, evidence) for name, function in named)


def _mean(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean place of a point over the frames that have it; NaN where none has."""
    known = points[~np.isnan(points).any(axis=1)].astype(np.float64)
    return known.mean(axis=0) if len(known) else np.full(2, np.nan)


def _scale(evidence: PoseEvidence) -> tuple[float, float]:
    """Return the size of the frames beside that which thresholds are for, width then height."""
    if evidence.frame_size_px is None or evidence.label not in NOMINAL_SIZE_PX:
        return 1.0, 1.0
    nominal = NOMINAL_SIZE_PX[evidence.label]
    return evidence.frame_size_px[0] / nominal[0], evidence.frame_size_px[1] / nominal[1]
