"""Check of the alignment of video and wheel."""

from __future__ import annotations

from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.registry import check

MAX_OFFSET_FRAMES = 1
"""Tolerance of the reference for PASS. Beyond it the outcome is WARNING, as in the reference since 2022."""


@check
def check_wheel_alignment(evidence: CameraEvidence) -> CheckResult | str:
    """Compare motion energy and wheel speed in one bout of movement, subject to the confidence of the whole session.

    Notes
    -----
    Outcome and offset follow the reference: the shift with the largest correlation of energy and speed in the middle
    one of all bouts of 3 to 20 s. The reference always finds a shift, also where a paw hides the wheel or the region
    shows something else, and gives no confidence. Here the windows of the session must agree on a shift first. Where
    they do not (`ibl_dask.timing.wheel.alignment.Alignment.is_confident` defines the limit) the outcome is NOT_SET with
    the reason, never PASS or WARNING. The offset is reported in either case.
    """
    if evidence.wheel is None:
        return evidence.no_wheel
    wheel = evidence.wheel
    session = f"confidence {wheel.confidence:.2f}"
    if wheel.shift_frames is not None and wheel.shift_s is not None:
        session = f"whole session {wheel.shift_frames:+.2f} frames ({1000 * wheel.shift_s:+.1f} ms), {session}"
    bout = "no bout compared" if wheel.offset_frames is None else f"one bout {wheel.offset_frames:+d} frames"

    def result(outcome: Outcome, message: str = "") -> CheckResult:
        return CheckResult(
            "wheel_alignment",
            outcome,
            () if wheel.offset_frames is None else (wheel.offset_frames,),
            measured=f"{bout}, {session}",
            threshold=f"at most {MAX_OFFSET_FRAMES} frame in the bout, and a session that tells one shift from others",
            message=message,
            values={
                "offset_frames": wheel.offset_frames,
                "session_shift_frames": wheel.shift_frames,
                "session_shift_s": wheel.shift_s,
                "confidence": wheel.confidence,
            },
        )

    if not wheel.has_bout:
        return result(Outcome.NOT_SET, "the wheel has no bout of movement of 3 to 20 s")
    if not wheel.overlaps:
        return result(Outcome.FAIL, "video and wheel have no time in common")
    if wheel.offset_frames is None:
        return result(Outcome.NOT_SET, "the video lacks the bout of movement that is looked at")
    if not wheel.is_confident:
        return result(Outcome.NOT_SET, wheel.why_not)
    return result(Outcome.PASS if abs(wheel.offset_frames) <= MAX_OFFSET_FRAMES else Outcome.WARNING)
