"""Whether the video moves with the wheel."""

from __future__ import annotations

from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.registry import check

MAX_OFFSET_FRAMES = 1
"""The reference's tolerance for PASS. Beyond it all is WARNING: it demoted FAIL in 2022."""


@check
def check_wheel_alignment(evidence: CameraEvidence) -> CheckResult | str:
    """Compare motion energy and wheel in one bout of movement, and say how sure the whole session is.

    Notes
    -----
    Outcome and offset are the reference's: of the middle one of all bouts of 3 to 20 s, the shift at which energy and
    speed correlate most. It always finds one, also where a paw hides the wheel or the region shows something else, and
    has no word for how sure it is. Here all windows of the session must agree on a shift before the bout is judged:
    where they do not (`ibl_dask.timing.wheel.alignment.Alignment.is_confident`; there it is argued how much is enough)
    the outcome is NOT_SET and says why, never PASS or WARNING. The offset is told all the same.
    """
    if evidence.wheel is None:
        return evidence.no_wheel
    wheel = evidence.wheel
    told = f"confidence {wheel.confidence:.2f}"
    if wheel.shift_frames is not None and wheel.shift_s is not None:
        told = f"whole session {wheel.shift_frames:+.2f} frames ({1000 * wheel.shift_s:+.1f} ms), {told}"
    bout = "no bout compared" if wheel.offset_frames is None else f"one bout {wheel.offset_frames:+d} frames"

    def result(outcome: Outcome, message: str = "") -> CheckResult:
        return CheckResult(
            "wheel_alignment",
            outcome,
            () if wheel.offset_frames is None else (wheel.offset_frames,),
            measured=f"{bout}, {told}",
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
