"""Checks of one camera: the reference's names, numbers and thresholds, right where it is wrong."""

from __future__ import annotations

import numpy as np

from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.model.runs import say_runs
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.registry import check

BRIGHTNESS_BOUNDS = (40, 200)
BRIGHTNESS_LIMITS = (20, 235)
"""Beyond these a frame is as good as black or white. The reference's upper limit, 400, cannot be passed by 8 bits;
235 is white in video levels."""
BRIGHTNESS_MAX_STD = 20
BRIGHTNESS_SHARE = 0.75
FRAMERATE_TOLERANCE_HZ = 1.0
HEADER_TOLERANCE_HZ = 0.5
MAX_SIZE_DIFFERENCE = 5
MAX_TTL_DIFFERENCE = 5
MAX_DROPPED_PERCENT = 0.1
FOCUS_LAPLACIAN = 100
FOCUS_HIGH_FREQUENCY = 6


def _result(function_name: str, outcome: Outcome, *numbers: float | None, **words: str) -> CheckResult:
    return CheckResult(function_name, outcome, tuple(numbers), **words)


def _of_size(difference: int) -> Outcome:
    """Judge a difference between a number of records and the number of frames."""
    if difference == 0:
        return Outcome.PASS
    return Outcome.WARNING if abs(difference) < MAX_SIZE_DIFFERENCE else Outcome.FAIL


@check
def check_brightness(evidence: CameraEvidence) -> CheckResult | str:
    """Judge the mean of the QC region in the sampled frames.

    Notes
    -----
    The shares are of the frames that were sampled and decoded; the reference divides by the number it wanted.
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
    )


@check
def check_camera_times(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the number of entries of the camera's own clock with the number of frames."""
    if evidence.n_camera_times is None:
        return "the camera has no clock file"
    difference = evidence.n_camera_times - evidence.n_frames
    return _result(
        "camera_times",
        Outcome.PASS if difference == 0 else Outcome.WARNING,
        difference,
        measured=f"{evidence.n_camera_times:,} camera times, {evidence.n_frames:,} frames",
        threshold="as many as frames",
    )


@check
def check_dropped_frames(evidence: CameraEvidence) -> CheckResult | str:
    """Judge the frames that the camera counted and the video lacks."""
    if evidence.count is None:
        return "the camera has no frame counter"
    steps = np.diff(evidence.count)
    if (steps <= 0).any():
        return _result(
            "dropped_frames",
            Outcome.CRITICAL,
            measured=f"{int((steps <= 0).sum()):,} steps of the counter do not rise",
        )
    difference = len(evidence.count) - evidence.n_frames
    n_dropped = int((steps - 1).sum())
    percent = 100 * n_dropped / max(1, len(steps))
    lost = Outcome.PASS if percent < MAX_DROPPED_PERCENT else Outcome.FAIL
    return _result(
        "dropped_frames",
        max(_of_size(difference), lost),
        n_dropped,
        difference,
        measured=f"{n_dropped:,} frames dropped ({percent:.3g} %), counter {difference:+,} entries beside the video",
        threshold=f"under {MAX_DROPPED_PERCENT} % dropped; difference 0 (WARNING under {MAX_SIZE_DIFFERENCE})",
    )


@check
def check_file_headers(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the frame rate in the video's header with what the rig was set to.

    Notes
    -----
    The reference cuts the header's rate to an integer and asks for equality, so that 59.94 Hz fails at 60.
    """
    if evidence.camera.fps is None:
        return "the rate that the rig was set to is not known"
    difference = abs(evidence.header_fps - evidence.camera.fps)
    return _result(
        "file_headers",
        Outcome.PASS if difference < HEADER_TOLERANCE_HZ else Outcome.FAIL,
        measured=f"header {evidence.header_fps:.5g} Hz",
        threshold=f"{evidence.camera.fps:g} Hz, within {HEADER_TOLERANCE_HZ} Hz",
    )


@check
def check_focus(evidence: CameraEvidence) -> CheckResult | str:
    """Judge the focus of some sampled frames: by edges in the focus regions, or by high frequencies.

    Notes
    -----
    The regions are the reference's fixed ones (face and paws, holder), not a face found by template.
    """
    if evidence.sample_laplacian is None or evidence.sample_high_frequency is None:
        return "no frame was sampled"
    decoded = ~np.isnan(evidence.sample_high_frequency)
    if not decoded.any():
        return _result("focus", Outcome.FAIL, message="no sampled frame decodes")
    edges = float(evidence.sample_laplacian[decoded].min())
    detail = float(evidence.sample_high_frequency[decoded].min())
    sharp = edges > FOCUS_LAPLACIAN or detail > FOCUS_HIGH_FREQUENCY
    return _result(
        "focus",
        Outcome.PASS if sharp else Outcome.FAIL,
        measured=f"variance of the Laplacian at least {edges:.1f}, high-frequency mean at least {detail:.2f}",
        threshold=f"every frame over {FOCUS_LAPLACIAN} or every frame over {FOCUS_HIGH_FREQUENCY}",
    )


@check
def check_framerate(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the median frame interval with the rate that the rig was set to."""
    if evidence.times_s is None or evidence.camera.fps is None or len(evidence.times_s) < 2:
        return "there are no frame times, or the rate that the rig was set to is not known"
    interval_s = float(np.median(np.diff(evidence.times_s)))
    if not interval_s > 0:
        return _result("framerate", Outcome.FAIL, None, message=f"the median frame interval is {interval_s:g} s")
    rate = 1 / interval_s
    near = abs(rate - evidence.camera.fps) < FRAMERATE_TOLERANCE_HZ
    return _result(
        "framerate",
        Outcome.PASS if near else Outcome.FAIL,
        round(rate, 3),
        measured=f"{rate:.3f} Hz",
        threshold=f"{evidence.camera.fps:g} Hz, within {FRAMERATE_TOLERANCE_HZ:g} Hz",
    )


@check
def check_pin_state(evidence: CameraEvidence) -> CheckResult | str:
    """Compare what the camera's pin saw with the TTLs that the main clock saw."""
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
        measured=f"{evidence.n_ttl_rises:,} TTLs, {n_rises:,} pin rises, {difference:+,} pin states beside the video",
        threshold=f"fewer than {MAX_TTL_DIFFERENCE} TTLs apart; difference 0 (WARNING under {MAX_SIZE_DIFFERENCE})",
    )


@check
def check_resolution(evidence: CameraEvidence) -> CheckResult | str:
    """Compare the frame size with what the rig was set to."""
    if evidence.camera.width is None or evidence.camera.height is None:
        return "the frame size that the rig was set to is not known"
    same = (evidence.width, evidence.height) == (evidence.camera.width, evidence.camera.height)
    return _result(
        "resolution",
        Outcome.PASS if same else Outcome.FAIL,
        measured=f"{evidence.width} x {evidence.height}",
        threshold=f"{evidence.camera.width} x {evidence.camera.height}",
    )


@check
def check_timestamps(evidence: CameraEvidence) -> CheckResult | str:
    """Ask for one finite time per frame, strictly increasing, and all of them measured.

    Notes
    -----
    The reference passes times that were invented; here any that was not measured is at least a WARNING. Without
    times it records nothing; here that is CRITICAL.
    """
    if evidence.times_s is None or len(evidence.times_s) == 0:
        return _result("timestamps", Outcome.CRITICAL, message=evidence.no_times or "there are no frame times")
    times = evidence.times_s
    good = len(times) == evidence.n_frames and np.isfinite(times).all() and (np.diff(times) > 0).all()
    outcome = Outcome.PASS if good else Outcome.FAIL
    if good and evidence.n_not_measured:
        outcome = Outcome.WARNING
    outcome = max(outcome, evidence.timing_outcome)
    return _result(
        "timestamps",
        outcome,
        measured=f"{len(times):,} times for {evidence.n_frames:,} frames, {evidence.n_not_measured:,} not measured",
        threshold="one per frame, strictly increasing, finite, measured",
        message="; ".join(evidence.timing_notes),
    )


@check
def check_decoding(evidence: CameraEvidence) -> CheckResult | str:
    """Ask for every frame of the video to decode undamaged; the reference reads damaged frames as black."""
    if evidence.n_decode_errors is None:
        return "the video was not decoded"
    return _result(
        "decoding",
        Outcome.FAIL if evidence.n_decode_errors else Outcome.PASS,
        measured=f"{evidence.n_decode_errors:,} of {evidence.n_frames:,} frames do not decode",
        threshold="none",
        message=f"frames {say_runs(evidence.undecoded_runs)}; `decode_error` of the per-frame store names every one"
        if evidence.undecoded_runs
        else "",
    )
