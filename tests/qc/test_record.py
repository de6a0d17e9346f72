"""What is published of the checks, and who may add one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import UsageError
from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc import registry
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.record import camera_record, extended_qc, failed_camera_record, session_record
from ibl_dask.qc.registry import check


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget checks that a test registers."""
    monkeypatch.setattr(registry, "_CHECKS", dict(registry._CHECKS))


def test_extended_qc_has_the_keys_and_values_of_the_field(good: CameraEvidence) -> None:
    evidence = replace(good, times_s=np.arange(1000) / 59.998, n_camera_times=1002)
    got = extended_qc({"left": camera_record(run_checks(evidence, without=("wheel_alignment",)))})
    assert got == {
        "_videoLeft_brightness": "PASS",
        "_videoLeft_camera_times": ["WARNING", 2],
        "_videoLeft_dropped_frames": ["PASS", 0, 0],
        "_videoLeft_file_headers": "PASS",
        "_videoLeft_focus": "PASS",
        "_videoLeft_framerate": ["PASS", 59.998],
        "_videoLeft_pin_state": ["PASS", 0, 0],
        "_videoLeft_position": "PASS",
        "_videoLeft_resolution": "PASS",
        "_videoLeft_timestamps": "PASS",
        "videoLeft": "WARNING",
    }
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_every_camera_has_its_own_keys(good: CameraEvidence) -> None:
    record = camera_record(run_checks(good))
    keys = extended_qc(dict.fromkeys(("left", "right", "body", "belly"), record)).keys()
    assert {key for key in keys if not key.startswith("_")} == {"videoLeft", "videoRight", "videoBody", "videoBelly"}


@given(st.lists(st.sampled_from(list(Outcome)), max_size=6))
def test_overall_outcome_is_the_worst_check(outcomes: list[Outcome]) -> None:
    results = [CheckResult(f"c{i}", outcome) for i, outcome in enumerate(outcomes)]
    record = camera_record(iter(results))
    assert record["outcome"] == max(outcomes, default=Outcome.NOT_SET).name
    assert {name: content["outcome"] for name, content in record["checks"].items()} == {
        r.name: r.outcome.name for r in results
    }


def test_number_that_could_not_be_computed_is_null(good: CameraEvidence) -> None:
    record = camera_record(run_checks(replace(good, times_s=np.full(1000, np.nan))))
    assert extended_qc({"left": record})["_videoLeft_framerate"] == ["FAIL", None]
    json.dumps(record, allow_nan=False)


def test_nan_of_a_foreign_check_is_null() -> None:
    result = CheckResult("colour", Outcome.PASS, (float("nan"), 1, float("inf"), None, 2.5))
    record = camera_record([result])
    assert record["checks"]["colour"]["numbers"] == [None, 1, None, None, 2.5]
    json.dumps(record, allow_nan=False)


def test_record_tells_what_was_measured_and_against_what(good: CameraEvidence) -> None:
    content = camera_record(run_checks(good, ("framerate",)))["checks"]["framerate"]
    assert content["outcome"] == "PASS"
    assert content["numbers"] == [60.0]
    assert "60.000 Hz" in content["measured"]
    assert "within 1 Hz" in content["threshold"]


def test_session_is_as_bad_as_its_worst_camera(good: CameraEvidence) -> None:
    fine = camera_record(run_checks(good))
    failed = failed_camera_record("its video cannot be indexed")
    assert fine["outcome"] == "PASS"
    record = session_record("SW_001/2023-05-01/001", {"left": fine, "body": failed})
    assert record["outcome"] == "CRITICAL"
    assert record["cameras"]["body"]["failure"] == "its video cannot be indexed"
    assert record["extended_qc"]["videoBody"] == "CRITICAL"
    assert record["extended_qc"]["videoLeft"] == "PASS"
    assert not [key for key in record["extended_qc"] if key.startswith("_videoBody")]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert session_record("s", {"left": fine})["outcome"] == "PASS"
    assert session_record("s", {})["outcome"] == "NOT_SET"


@given(st.sampled_from(list(Outcome)), st.sampled_from(list(Outcome)))
def test_checks_that_the_reference_lacks_stay_out_of_what_it_would_publish(ours: Outcome, theirs: Outcome) -> None:
    results = [CheckResult("flicker", ours, values={"share_jumps": 0.5}), CheckResult("focus", theirs)]
    record = camera_record(results)
    assert extended_qc({"left": record}) == {"_videoLeft_focus": theirs.name, "videoLeft": theirs.name}
    assert record["outcome"] == max(ours, theirs).name
    assert [content["in_extended_qc"] for content in record["checks"].values()] == [False, True]


def test_every_check_that_ran_gives_its_numbers_by_name(good: CameraEvidence) -> None:
    record = camera_record(run_checks(good))
    for name, content in record["checks"].items():
        if content["outcome"] != "NOT_SET":
            assert content["values"], name
            assert all(isinstance(number, int | float) for number in content["values"].values()), name
    json.dumps(record, allow_nan=False)


def test_value_that_could_not_be_computed_is_null() -> None:
    record = camera_record([CheckResult("colour", Outcome.PASS, values={"share": float("nan"), "n": 3})])
    assert record["checks"]["colour"]["values"] == {"share": None, "n": 3}


def test_checks_left_out_have_no_key(good: CameraEvidence) -> None:
    names = {r.name for r in run_checks(good, without=("pin_state", "wheel_alignment"))}
    assert not names & {"pin_state", "wheel_alignment"}
    assert "focus" in names


@pytest.mark.usefixtures("own_registry")
def test_check_of_a_lab_is_registered_by_decorator_and_runs(good: CameraEvidence) -> None:
    @check
    def check_colour(evidence: CameraEvidence) -> CheckResult | None:
        return CheckResult("colour", Outcome.WARNING, (evidence.n_frames,))

    results = run_checks(good)
    names = [r.name for r in results]
    assert "colour" in names
    assert names == sorted(names)
    record = camera_record(results)
    assert record["outcome"] == "WARNING"
    assert record["checks"]["colour"]["numbers"] == [1000]
    assert check_colour(good) == CheckResult("colour", Outcome.WARNING, (1000,))


@pytest.mark.usefixtures("own_registry")
def test_check_of_a_lab_that_has_nothing_to_say_is_not_set(good: CameraEvidence) -> None:
    @check
    def check_colour(evidence: CameraEvidence) -> CheckResult | str:
        return "no colour camera"

    (result,) = run_checks(good, ("colour",))
    assert (result.name, result.outcome) == ("colour", Outcome.NOT_SET)
    assert result.message == "no colour camera"


@pytest.mark.usefixtures("own_registry")
def test_check_of_a_lab_that_breaks_does_not_take_the_others_with_it(good: CameraEvidence) -> None:
    @check
    def check_colour(evidence: CameraEvidence) -> CheckResult | str:
        raise ZeroDivisionError("no colour")

    results = {result.name: result for result in run_checks(good)}
    assert results["colour"].outcome == Outcome.CRITICAL
    assert "no colour" in results["colour"].message
    assert results["brightness"].outcome == Outcome.PASS


def test_checks_of_a_test_do_not_stay(good: CameraEvidence) -> None:
    assert "colour" not in [r.name for r in run_checks(good)]


def test_selected_checks_alone_run_in_alphabetical_order(good: CameraEvidence) -> None:
    assert [r.name for r in run_checks(good, ("resolution", "focus"))] == ["focus", "resolution"]
    assert run_checks(good, ()) == ()


def test_unknown_check_is_refused_with_those_there_are(good: CameraEvidence) -> None:
    with pytest.raises(UsageError, match="no such check") as caught:
        run_checks(good, ("focus", "smell"))
    assert caught.value.got == "smell"
    assert "brightness" in caught.value.expected
