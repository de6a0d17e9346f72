"""Checks of the reference (`ibllib.qc.camera`), with its names, numbers and thresholds.

Deviations from the reference are errors of it; see the notes of each check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.model.outcome import CheckResult, Number, Outcome
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.registry import check

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRIGHTNESS_BOUNDS = (40, 200)
BRIGHTNESS_LIMITS = (20, 235)
"""Beyond these a frame is black or white. 8 bits cannot exceed the reference's upper limit, 400; 235 is white in video
levels."""
BRIGHTNESS_MAX_STD = 20
BRIGHTNESS_SHARE = 0.75
FRAMERATE_TOLERANCE_HZ = 1.0
HEADER_TOLERANCE_HZ = 0.5
_PER_S, _MOST_STEPS = 1e5, 3
MAX_SIZE_DIFFERENCE = 5
MAX_TTL_DIFFERENCE = 5
MAX_DROPPED_PERCENT = 0.1
FOCUS_LAPLACIAN = 100
"""Equal to `ibl_dask.video.reducers.reference_frame.SHARP_LAPLACIAN`, which is used where the face was searched for."""
FOCUS_HIGH_FREQUENCY = 6
POSITION_PERCENT = (10, 15)
HISTOGRAM_PERCENT = (80, 75)
"""PASS, then WARNING."""


def _result(
    name: str,
    outcome: Outcome,
    *numbers: float | None,
    values: Mapping[str, Number] | None = None,
    measured: str = "",
    threshold: str = "",
    message: str = "",
) -> CheckResult:
    return CheckResult(name, outcome, tuple(numbers), measured, threshold, message, values or {})


def _of_size(difference: int) -> Outcome:
    """Return the outcome for a difference between a number of records and the number of frames."""
    if difference == 0:
        return Outcome.PASS
    return Outcome.WARNING if abs(difference) < MAX_SIZE_DIFFERENCE else Outcome.FAIL


def _beside(difference: int, what: str) -> str:
    """Return a difference between a number of records and the number of frames as text."""
    if difference == 0:
        return f"as many {what} as frames"
    return f"{abs(difference):,} {'more' if difference > 0 else 'fewer'} {what} than frames"


@check
def check_brightness(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the mean brightness of the QC region in the sampled frames with bounds.

    Notes
    -----
    Shares refer to the frames that were sampled and decoded; the reference divides by the number of frames requested.
    """
    if evidence.sample_brightness is None:
        return "no frame was sampled"
    values = evidence.sample_brightness[~np.isnan(evidence.sample_brightness)]
    if len(values) == 0:
        return _result("brightness", Outcome.FAIL, message="no sampled frame decodes")
    inside = float(np.mean((values > BRIGHTNESS_BOUNDS[0]) & (values < BRIGHTNESS_BOUNDS[1])))
    visible = float(np.mean((values > BRIGHTNESS_LIMITS[0]) & (values < BRIGHTNESS_LIMITS[1])))
    spread = float(np.std(values))
    outcome = Outcome.PASS if inside > BRIGHTNESS_SHARE else Outcome.WARNING
    if visible <= BRIGHTNESS_SHARE or spread >= BRIGHTNESS_MAX_STD:
        outcome = Outcome.FAIL
    return _result(
        "brightness",
        outcome,
        measured=f"{inside:.0%} of {len(values)} sampled frames inside, mean {values.mean():.1f}, std {spread:.1f}",
        threshold=f"over {BRIGHTNESS_SHARE:.0%} of frames within {BRIGHTNESS_BOUNDS}, std under {BRIGHTNESS_MAX_STD}; "
        f"FAIL if not over {BRIGHTNESS_SHARE:.0%} within {BRIGHTNESS_LIMITS}",
        values={
            "share_inside": inside,
            "share_visible": visible,
            "mean": float(values.mean()),
            "std": spread,
            "lowest": float(values.min()),
            "highest": float(values.max()),
            "n_samples": len(evidence.sample_brightness),
            "n_samples_decoded": len(values),
        },
    )


@check
def check_camera_times(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the number of entries of the camera's own clock with the number of frames."""
    if evidence.n_camera_times is None:
        return "the camera has no clock of its own, or none that can be read"
    difference = evidence.n_camera_times - evidence.n_frames
    return _result(
        "camera_times",
        Outcome.PASS if difference == 0 else Outcome.WARNING,
        difference,
        measured=f"{evidence.n_camera_times:,} camera times, {evidence.n_frames:,} frames",
        threshold="as many as frames",
        values={"n_camera_times": evidence.n_camera_times, "n_frames": evidence.n_frames},
    )


@check
def check_dropped_frames(evidence: CameraEvidence) -> CheckResult | str:
    """Count the frames that the camera counted and the video lacks."""
    if evidence.n_count_stuck:
        return _result(
            "dropped_frames",
            Outcome.CRITICAL,
            measured=f"{evidence.n_count_stuck:,} steps of the counter do not rise",
            threshold="every step rises",
            values={"n_not_rising": evidence.n_count_stuck},
        )
    if evidence.count is None:
        return "the camera has no frame counter"
    steps = np.diff(evidence.count[: evidence.n_frames])
    difference = len(evidence.count) + evidence.n_records_beyond - evidence.n_frames
    n_dropped = int((steps - 1).sum())
    percent = 100 * n_dropped / max(1, len(steps))
    lost = Outcome.PASS if percent < MAX_DROPPED_PERCENT else Outcome.FAIL
    return _result(
        "dropped_frames",
        max(_of_size(difference), lost),
        n_dropped,
        difference,
        measured=f"{n_dropped:,} frames dropped ({percent:.3g} % of the steps of the counter), "
        f"{_beside(difference, 'entries of the counter')}",
        threshold=f"under {MAX_DROPPED_PERCENT} % dropped; difference 0 (WARNING under {MAX_SIZE_DIFFERENCE})",
        values={"n_dropped": n_dropped, "dropped_per_step_percent": percent, "size_difference": difference},
    )


@check
def check_file_headers(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the frame rate in the video's header with the setting of the rig.

    Notes
    -----
    The reference truncates the header's rate to an integer and requires equality, so that 59.94 Hz fails at 60.
    """
    if evidence.camera.fps is None:
        return "the rate that the rig was set to is not known"
    difference = abs(evidence.header_fps - evidence.camera.fps)
    return _result(
        "file_headers",
        Outcome.PASS if difference < HEADER_TOLERANCE_HZ else Outcome.FAIL,
        measured=f"header {evidence.header_fps:.5g} Hz",
        threshold=f"{evidence.camera.fps:g} Hz, within {HEADER_TOLERANCE_HZ} Hz",
        values={"header_hz": evidence.header_fps, "expected_hz": evidence.camera.fps},
    )


@check
def check_focus(evidence: CameraEvidence) -> CheckResult | str:
    """Check the focus of some sampled frames by edges in the face, or by high frequencies of the frame.

    Notes
    -----
    As in the reference, the position of the face is the median match of all samples, and either measure of focus is
    sufficient. The number is that of the match in each frame, equal to a pixel. Without a reference frame, edges are
    measured in the reference's fixed regions instead (face and paws, or the holder).
    """
    if evidence.sample_laplacian is None or evidence.sample_high_frequency is None:
        return "no frame was sampled"
    decoded = ~np.isnan(evidence.sample_high_frequency)
    if not decoded.any():
        return _result("focus", Outcome.FAIL, message="no sampled frame decodes")
    detail = float(evidence.sample_high_frequency[decoded].min())
    if evidence.face is None:
        edges = float(evidence.sample_laplacian[decoded].min())
        has_edges, where = edges > FOCUS_LAPLACIAN, "fixed regions"
    else:
        edges = float(evidence.face.laplacian[decoded].min())
        has_edges, where = bool((evidence.face.is_sharp[decoded] == 1).all()), "the face"
    return _result(
        "focus",
        Outcome.PASS if has_edges or detail > FOCUS_HIGH_FREQUENCY else Outcome.FAIL,
        measured=f"variance of the Laplacian of {where} at least {edges:.1f}, "
        f"high-frequency mean at least {detail:.2f}",
        threshold=f"every frame over {FOCUS_LAPLACIAN} or every frame over {FOCUS_HIGH_FREQUENCY}",
        values={
            "lowest_laplacian": edges,
            "lowest_laplacian_of_fixed_regions": float(evidence.sample_laplacian[decoded].min()),
            "lowest_high_frequency": detail,
        },
    )


@check
def check_framerate(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the rate of the frames with the setting of the rig.

    Notes
    -----
    The published number is that of the median interval, as in the reference. Where the main clock has coarse steps (a
    Timeline at 1 kHz: intervals of 60 Hz are 16 and 17 ms), the median is one of the steps, 58.8 Hz, and fails in the
    reference. Here, if the intervals near the median (off by less than half of it) have at most three lengths at a
    resolution of 10 us, their mean may pass as well. The mean of all intervals, gaps included, is reported only.
    """
    if evidence.times_s is None or evidence.camera.fps is None or len(evidence.times_s) < 2:
        return "there are no frame times, or the rate that the rig was set to is not known"
    intervals = np.diff(evidence.times_s)
    median_s = float(np.median(intervals))
    if not (0 < median_s < np.inf and 1 / median_s < np.inf):
        return _result("framerate", Outcome.FAIL, None, message=f"the median frame interval is {median_s:g} s")
    even = intervals[np.abs(intervals - median_s) < median_s / 2]
    median_hz, even_hz, mean_hz = 1 / median_s, _rate_hz(even), _rate_hz(intervals)
    is_stepped = 0 < np.unique(np.rint(even * _PER_S)).size <= _MOST_STEPS
    candidates = [median_hz, *([even_hz] if is_stepped and even_hz is not None else [])]
    near = min(abs(rate - evidence.camera.fps) for rate in candidates) < FRAMERATE_TOLERANCE_HZ
    rates = [f"{median_hz:.3f} Hz by the median interval"]
    rates += [f"{even_hz:.3f} Hz by the mean of those near it"] if is_stepped and even_hz is not None else []
    rates += [f"{mean_hz:.3f} Hz by the mean of all"] if mean_hz is not None else []
    return _result(
        "framerate",
        Outcome.PASS if near else Outcome.FAIL,
        round(median_hz, 3),
        measured=", ".join(rates),
        threshold=f"{evidence.camera.fps:g} Hz, within {FRAMERATE_TOLERANCE_HZ:g} Hz",
        values={
            "median_rate_hz": median_hz,
            "mean_rate_hz": mean_hz,
            "mean_rate_near_median_hz": even_hz,
            "expected_hz": evidence.camera.fps,
        },
    )


def _rate_hz(intervals: NDArray[np.float64]) -> float | None:
    """Return the rate by the mean of some intervals, Hz; None where it is not positive and finite."""
    with np.errstate(all="ignore"):
        rate = 1 / np.mean(intervals) if len(intervals) else np.nan
    return float(rate) if 0 < rate < np.inf else None


@check
def check_pin_state(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the states of the camera's pin with the TTLs on the main clock."""
    if evidence.pin_state is None or evidence.n_ttl_rises is None:
        return "the camera has no pin states, or there is no sync line to compare them with"
    difference = len(evidence.pin_state) - evidence.n_frames
    n_rises = int((np.diff(evidence.pin_state.astype(np.int8)) == 1).sum())
    missed = evidence.n_ttl_rises - n_rises
    seen = Outcome.PASS if abs(missed) < MAX_TTL_DIFFERENCE else Outcome.WARNING
    return _result(
        "pin_state",
        max(_of_size(difference), seen),
        missed,
        difference,
        measured=f"{evidence.n_ttl_rises:,} TTLs, {n_rises:,} pin rises, {_beside(difference, 'pin states')}",
        threshold=f"fewer than {MAX_TTL_DIFFERENCE} TTLs apart; difference 0 (WARNING under {MAX_SIZE_DIFFERENCE})",
        values={"n_ttls": evidence.n_ttl_rises, "n_pin_rises": n_rises, "size_difference": difference},
    )


@check
def check_position(evidence: CameraEvidence) -> CheckResult | str:
    """Check the position of the face (body camera: of the holder) against that of a well-placed camera.

    The shift is that of the median match of all samples, in percent of the frame's width and height. As in the
    reference, the outcome is the better of those of shift and histogram, so read both numbers: a misplaced camera can
    have the histogram of a well-placed one.

    Notes
    -----
    The reference divides the shift in x by the height and that in y by the width.
    """
    face = evidence.face
    if face is None:
        return evidence.no_face
    decoded = ~np.isnan(face.x)
    if not decoded.any():
        return _result("position", Outcome.FAIL, message="no sampled frame decodes")
    dx = float(np.median(face.x[decoded])) - face.left
    dy = float(np.median(face.y[decoded])) - face.top
    dx_percent, dy_percent = 100 * dx / evidence.width, 100 * dy / evidence.height
    correlation = 100 * float(face.histogram_correlation[decoded].min())
    shift = max(abs(dx_percent), abs(dy_percent))
    placed = _graded(shift < POSITION_PERCENT[0], shift < POSITION_PERCENT[1])
    alike = _graded(correlation > HISTOGRAM_PERCENT[0], correlation > HISTOGRAM_PERCENT[1])
    score = float(np.median(face.score[decoded]))
    return _result(
        "position",
        min(placed, alike),
        measured=f"shifted by {dx_percent:+.1f} % of the width and {dy_percent:+.1f} % of the height ({placed.name}; "
        f"median match {score:.2f}), histogram correlation at least {correlation:.1f} % ({alike.name})",
        threshold="either shift under {} % (WARNING {} %)".format(*POSITION_PERCENT)
        + " or histogram correlation over {} % (WARNING {} %)".format(*HISTOGRAM_PERCENT),
        values={
            "shift_x_px": dx,
            "shift_y_px": dy,
            "shift_x_percent": dx_percent,
            "shift_y_percent": dy_percent,
            "median_score": score,
            "lowest_histogram_correlation_percent": correlation,
        },
    )


def _graded(passes: bool, warns: bool) -> Outcome:
    return Outcome.PASS if passes else Outcome.WARNING if warns else Outcome.FAIL


@check
def check_resolution(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the frame size with the setting of the rig."""
    if evidence.camera.width is None or evidence.camera.height is None:
        return "the frame size that the rig was set to is not known"
    same = (evidence.width, evidence.height) == (evidence.camera.width, evidence.camera.height)
    return _result(
        "resolution",
        Outcome.PASS if same else Outcome.FAIL,
        measured=f"{evidence.width} x {evidence.height}",
        threshold=f"{evidence.camera.width} x {evidence.camera.height}",
        values={"width_px": evidence.width, "height_px": evidence.height},
    )


@check
def check_timestamps(evidence: CameraEvidence) -> CheckResult | str:
    """Require one finite time per frame, strictly increasing, and all of them measured.

    Notes
    -----
    The reference passes interpolated and extrapolated times. Here any time that was not measured is at least a WARNING,
    and FAIL where the match of frame and pulse is an assumption. Without times the reference records nothing; here
    that is CRITICAL.
    """
    if evidence.times_s is None or len(evidence.times_s) == 0:
        failure = evidence.no_times
        message = "there are no frame times" if failure is None else failure.message
        return CheckResult("timestamps", Outcome.CRITICAL, message=message, failure=failure)
    times = evidence.times_s
    good = len(times) == evidence.n_frames and np.isfinite(times).all() and (np.diff(times) > 0).all()
    outcome = Outcome.PASS if good else Outcome.FAIL
    if good and evidence.n_not_measured:
        outcome = Outcome.FAIL if evidence.n_assumed else Outcome.WARNING
    outcome = max(outcome, evidence.timing_outcome)
    return _result(
        "timestamps",
        outcome,
        measured=f"{len(times):,} times for {evidence.n_frames:,} frames, {evidence.n_not_measured:,} not measured, "
        f"{evidence.n_assumed:,} of these assumed",
        threshold="one per frame, strictly increasing, finite, measured; FAIL where assumed",
        message="; ".join(evidence.timing_notes),
        values={
            "n_times": len(times),
            "n_frames": evidence.n_frames,
            "n_not_measured": evidence.n_not_measured,
            "n_assumed": evidence.n_assumed,
        },
    )
