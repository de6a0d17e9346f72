"""The check of video against wheel, at its thresholds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibl_dask.model.outcome import Outcome
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence, WheelEvidence
from ibl_dask.qc.record import camera_record, extended_qc

GOOD = WheelEvidence(True, True, 0, 0.2, 0.003, 0.8, True, "")


def published(evidence: CameraEvidence, **changes: object) -> tuple[object, dict[str, object]]:
    wheel = replace(GOOD, **changes)  # type: ignore[arg-type]
    results = run_checks(replace(evidence, wheel=wheel), ("wheel_alignment",))
    record = camera_record(results)
    return extended_qc({"left": record})["_videoLeft_wheel_alignment"], record["checks"]["wheel_alignment"]


@pytest.mark.parametrize(
    ("offset", "outcome"), [(0, "PASS"), (1, "PASS"), (-1, "PASS"), (2, "WARNING"), (-90, "WARNING")]
)
def test_outcome_and_offset_are_published_as_the_reference_does(
    bare: CameraEvidence, offset: int, outcome: str
) -> None:
    key, check = published(bare, offset_frames=offset)
    assert key == [outcome, offset]
    assert f"one bout {offset:+d} frames" in str(check["measured"])
    assert "confidence 0.80" in str(check["measured"])


@pytest.mark.parametrize("offset", [0, 50])
def test_a_session_that_tells_no_shift_is_never_judged(bare: CameraEvidence, offset: int) -> None:
    key, check = published(bare, offset_frames=offset, confidence=0.1, is_confident=False, why_not="they do not agree")
    assert key == ["NOT_SET", offset]
    assert check["message"] == "they do not agree"
    assert "confidence 0.10" in str(check["measured"])


def test_video_and_wheel_of_different_times_fail(bare: CameraEvidence) -> None:
    key, check = published(bare, offset_frames=None, overlaps=False, is_confident=False)
    assert key == "FAIL"
    assert "no time in common" in str(check["message"])


@pytest.mark.parametrize(
    "changes", [{"has_bout": False}, {"has_bout": False, "shift_frames": None, "shift_s": None}, {}]
)
def test_without_a_bout_in_the_video_nothing_is_judged(bare: CameraEvidence, changes: dict[str, object]) -> None:
    key, check = published(bare, offset_frames=None, **changes)
    assert key == "NOT_SET"
    assert "bout" in str(check["message"])


def test_without_a_wheel_the_reason_is_told(bare: CameraEvidence) -> None:
    (result,) = run_checks(replace(bare, no_wheel="no wheel was recorded"), ("wheel_alignment",))
    assert (result.outcome, result.message) == (Outcome.NOT_SET, "no wheel was recorded")
