"""Checks of how frames lie in time, beyond the median that the reference looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence

PASS, WARNING, FAIL, NOT_SET = Outcome.PASS, Outcome.WARNING, Outcome.FAIL, Outcome.NOT_SET


def run(name: str, evidence: CameraEvidence, **changes: object) -> CheckResult:
    (result,) = run_checks(replace(evidence, **changes), (name,))  # type: ignore[arg-type]
    return result


def times(n: int = 10_001, **gaps: float) -> np.ndarray:
    """Return times at 60 Hz; `after_7=2` makes the interval after frame 7 two periods long."""
    intervals = np.full(n - 1, 1 / 60)
    for name, periods in gaps.items():
        intervals[int(name.removeprefix("after_"))] = periods / 60
    return np.concatenate([[5.0], 5 + np.cumsum(intervals)])


@pytest.mark.parametrize(
    ("gaps", "outcome", "n_uneven"),
    [
        ({}, PASS, 0),
        ({"after_7": 1.49}, PASS, 0),
        ({"after_7": 1.51}, WARNING, 1),
        ({"after_7": 0.51}, PASS, 0),
        ({"after_7": 0.49}, WARNING, 1),
        ({"after_7": 2}, WARNING, 1),
        ({f"after_{i}": 2 for i in range(9)}, WARNING, 9),
        ({f"after_{i}": 2 for i in range(10)}, FAIL, 10),
        ({"after_7": 59.9}, WARNING, 1),
        ({"after_7": 60.1}, FAIL, 1),
        ({"after_7": -1}, WARNING, 1),
    ],
)
def test_intervals_off_the_median_are_counted(
    good: CameraEvidence, gaps: dict[str, float], outcome: Outcome, n_uneven: int
) -> None:
    result = run("frame_intervals", good, times_s=times(**gaps))
    assert (result.outcome, result.values["n_uneven"]) == (outcome, n_uneven)
    assert result.values["share_uneven"] == n_uneven / 10_000


def test_longest_gap_is_named_with_its_frame(good: CameraEvidence) -> None:
    result = run("frame_intervals", good, times_s=times(after_7=4, after_900=30))
    assert result.values["longest_after_frame"] == 900
    assert result.values["longest_s"] == pytest.approx(0.5)
    assert "0.5 s after frame 900" in result.measured


def test_tail_that_the_reference_extrapolates_in_minutes_fails_here_and_passes_its_checks(good: CameraEvidence) -> None:
    """The reference divides by the period where it should multiply: 60 s steps at 60 Hz (7.1)."""
    seen = np.arange(900) / 60
    wrong = np.concatenate([seen, seen[-1] + np.arange(1, 101) * 60])
    assert run("timestamps", good, times_s=wrong).outcome == PASS
    assert run("framerate", good, times_s=wrong).outcome == PASS
    result = run("frame_intervals", good, times_s=wrong)
    assert (result.outcome, result.values["n_uneven"], result.values["longest_s"]) == (FAIL, 100, pytest.approx(60))


def test_times_that_are_missing_are_no_intervals(good: CameraEvidence) -> None:
    some = times(1000)
    some[100:200] = np.nan
    assert run("frame_intervals", good, times_s=some).outcome == PASS
    for few in (np.zeros(0), np.zeros(1), np.zeros(2), np.full(9, np.nan)):
        assert run("frame_intervals", good, times_s=few).outcome == NOT_SET


@given(st.floats(5, 500), st.integers(3, 400), st.floats(0, 0.49))
def test_jitter_below_half_a_period_is_even(rate: float, n: int, jitter: float) -> None:
    from ibl_dask.model.description import Camera

    rng = np.random.default_rng(n)
    intervals = np.full(2 * n, 1 / rate)
    intervals[rng.permutation(2 * n)[: n - 1]] *= 1 + jitter
    evidence = CameraEvidence(
        Camera("left"), 2 * n + 1, 8, 8, rate, times_s=np.concatenate([[0], np.cumsum(intervals)])
    )
    assert run("frame_intervals", evidence).values["n_uneven"] == 0


@pytest.mark.parametrize(
    ("residual_ms", "n_off", "outcome"),
    [
        (0.0, 0, PASS),
        (0.01, 1, WARNING),
        (-24.9, 0, PASS),
        (-25.1, 1, WARNING),
        (40.0, 1, WARNING),
    ],
)
def test_pin_changes_off_by_a_frame_are_counted(
    good: CameraEvidence, residual_ms: float, n_off: int, outcome: Outcome
) -> None:
    residuals = -np.random.default_rng(0).uniform(0, 1 / 60, 400)
    residuals[17] = residual_ms / 1000
    result = run("pulse_residuals", good, residuals_s=residuals)
    assert (result.outcome, result.values["n_off"]) == (outcome, n_off)
    assert result.values["n_matched"] == 400


def test_frames_shifted_against_the_clock_fail(good: CameraEvidence) -> None:
    residuals = -np.random.default_rng(0).uniform(0, 1 / 60, 1000)
    late = residuals.copy()
    late[:10] += 1 / 60
    assert run("pulse_residuals", good, residuals_s=late).outcome == FAIL
    for shift in (1, 2, -2):
        result = run("pulse_residuals", good, residuals_s=residuals + shift / 60)
        assert (result.outcome, result.values["share_off"]) == (FAIL, 1)


def test_no_matched_change_tells_nothing(good: CameraEvidence) -> None:
    assert run("pulse_residuals", good, residuals_s=np.zeros(0)).outcome == NOT_SET


@pytest.mark.parametrize(
    ("interpolated", "extrapolated", "outcome"),
    [(0, 0, PASS), (1, 0, WARNING), (0, 1, WARNING), (20_000, 10_000, WARNING), (0, 10_001, FAIL)],
)
def test_times_that_no_pulse_measured_are_counted(
    good: CameraEvidence, interpolated: int, extrapolated: int, outcome: Outcome
) -> None:
    quality = np.zeros(40_000, np.uint8)
    quality[5 : 5 + interpolated] = 1
    quality[40_000 - extrapolated :] = 2
    result = run("reckoned_times", good, time_quality=quality)
    assert result.outcome == outcome
    assert result.values["share_interpolated"] == interpolated / 40_000
    assert result.values["share_extrapolated"] == extrapolated / 40_000
    assert result.values["longest_extrapolated_frames"] == extrapolated


def test_extrapolation_counts_by_the_run(good: CameraEvidence) -> None:
    quality = np.zeros(40_000, np.uint8)
    quality[:6000] = quality[-6000:] = 2
    assert run("reckoned_times", good, time_quality=quality).outcome == WARNING


# -- times that are assumed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_assumed", [1, 40, 40_000])
def test_assumed_times_fail(good: CameraEvidence, n_assumed: int) -> None:
    quality = np.zeros(40_000, np.uint8)
    quality[:n_assumed] = 3
    result = run("reckoned_times", good, time_quality=quality)
    assert (result.outcome, result.values["n_assumed"]) == (FAIL, n_assumed)
    assert f"{n_assumed:,} assumed" in result.measured


@pytest.mark.parametrize(("n_not_measured", "n_assumed", "outcome"), [(0, 0, PASS), (5, 0, WARNING), (5, 1, FAIL)])
def test_the_check_of_the_times_fails_where_any_is_assumed(
    good: CameraEvidence, n_not_measured: int, n_assumed: int, outcome: Outcome
) -> None:
    result = run("timestamps", good, n_not_measured=n_not_measured, n_assumed=n_assumed)
    assert result.outcome == outcome


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.45, 0.6])
def test_pins_that_are_read_late_are_no_frames_off(good: CameraEvidence, delay: float) -> None:
    period = 1 / 60
    residuals = (delay - np.random.default_rng(0).uniform(0, 1, 400)) * period
    assert run("pulse_residuals", good, residuals_s=residuals).values["n_off"] == 0
    for frames in (-2, -1, 1, 2):
        assert run("pulse_residuals", good, residuals_s=residuals + frames * period).outcome == FAIL
