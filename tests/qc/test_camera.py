"""Every check of a camera at its thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faces import make_face
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.model.description import Camera
from ibl_dask.model.failure import Failure
from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence

PASS, WARNING, FAIL, CRITICAL, NOT_SET = (
    Outcome.PASS,
    Outcome.WARNING,
    Outcome.FAIL,
    Outcome.CRITICAL,
    Outcome.NOT_SET,
)


def run(name: str, evidence: CameraEvidence, **changes: object) -> CheckResult:
    (result,) = run_checks(replace(evidence, **changes), (name,))  # type: ignore[arg-type]
    assert result.name == name
    return result


def test_camera_in_perfect_order_passes_every_check(good: CameraEvidence) -> None:
    results = run_checks(good)
    assert {r.name: r.outcome.name for r in results} == {r.name: "PASS" for r in results}
    names = [r.name for r in results]
    assert names == sorted(names)
    assert set(names) >= {
        "brightness",
        "camera_times",
        "decoding",
        "dropped_frames",
        "file_headers",
        "focus",
        "framerate",
        "pin_state",
        "position",
        "resolution",
        "timestamps",
    }
    assert all(r.measured and r.threshold for r in results)


def test_checks_that_lack_what_they_need_are_not_set_and_say_so(bare: CameraEvidence) -> None:
    results = {r.name: r for r in run_checks(bare)}
    assert results.pop("timestamps").outcome == CRITICAL
    assert {r.outcome for r in results.values()} == {NOT_SET}
    assert all(r.message for r in results.values())


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("brightness", "sample_brightness"),
        ("camera_times", "n_camera_times"),
        ("decoding", "n_decode_errors"),
        ("dropped_frames", "count"),
        ("focus", "sample_laplacian"),
        ("focus", "sample_high_frequency"),
        ("framerate", "times_s"),
        ("pin_state", "pin_state"),
        ("pin_state", "n_ttl_rises"),
        ("position", "face"),
        ("frame_intervals", "times_s"),
        ("pulse_residuals", "residuals_s"),
        ("pulse_residuals", "period_s"),
        ("reckoned_times", "time_quality"),
        ("black_frames", "brightness"),
        ("repeated_frames", "brightness"),
        ("repeated_frames", "motion_energy"),
        ("light_steps", "brightness"),
        ("flicker", "brightness"),
        ("camera_movement", "thumbnails"),
    ],
)
def test_each_missing_part_unsets_its_check(good: CameraEvidence, name: str, missing: str) -> None:
    result = run(name, good, **{missing: None})
    assert (result.outcome, result.numbers) == (NOT_SET, ())


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("file_headers", Camera("left", width=1280, height=1024)),
        ("framerate", Camera("left", width=1280, height=1024)),
        ("resolution", Camera("left", fps=60, height=1024)),
        ("resolution", Camera("left", fps=60, width=1280)),
    ],
)
def test_unknown_setting_of_the_rig_unsets_its_check(good: CameraEvidence, name: str, camera: Camera) -> None:
    assert run(name, good, camera=camera).outcome == NOT_SET


def brightness(*groups: tuple[int, float]) -> np.ndarray:
    return np.concatenate([np.full(n, value) for n, value in groups])


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        (brightness((100, 100)), PASS),
        (brightness((5, 100)), PASS),
        (brightness((1, 100)), PASS),
        (brightness((76, 100), (24, 70)), PASS),
        (brightness((76, 60), (24, 38)), PASS),
        (brightness((75, 60), (25, 38)), WARNING),
        (brightness((100, 40)), WARNING),
        (brightness((100, 40.1)), PASS),
        (brightness((100, 200)), WARNING),
        (brightness((100, 199.9)), PASS),
        (brightness((100, 20)), FAIL),
        (brightness((100, 20.1)), WARNING),
        (brightness((100, 234.9)), WARNING),
        (brightness((100, 235)), FAIL),
        (brightness((100, 255)), FAIL),
        (brightness((100, 0)), FAIL),
        (brightness((75, 30), (25, 19)), FAIL),
        (brightness((76, 30), (24, 19)), WARNING),
        (brightness((50, 80), (50, 120)), FAIL),
        (brightness((50, 80.1), (50, 119.9)), PASS),
        (brightness((50, 100), (50, np.nan)), PASS),
        (brightness((100, np.nan)), FAIL),
        (np.zeros(0), FAIL),
    ],
)
def test_brightness(good: CameraEvidence, values: np.ndarray, outcome: Outcome) -> None:
    result = run("brightness", good, sample_brightness=values)
    assert (result.outcome, result.numbers) == (outcome, ())


@pytest.mark.parametrize(("n", "outcome"), [(1000, PASS), (999, WARNING), (1001, WARNING), (0, WARNING)])
def test_camera_times(good: CameraEvidence, n: int, outcome: Outcome) -> None:
    result = run("camera_times", good, n_camera_times=n)
    assert (result.outcome, result.numbers) == (outcome, (n - 1000,))


def counter(n: int, *dropped_after: int) -> np.ndarray:
    """Return a counter of n records that misses one frame after each of some records."""
    steps = np.ones(n - 1, np.int64)
    for place in dropped_after:
        steps[place] += 1
    return np.concatenate([[5], 5 + np.cumsum(steps)])


@pytest.mark.parametrize(
    ("count", "outcome", "numbers"),
    [
        (counter(1000), PASS, (0, 0)),
        (counter(1001), WARNING, (0, 1)),
        (counter(996), WARNING, (0, -4)),
        (counter(995), FAIL, (0, -5)),
        (counter(1005), FAIL, (0, 5)),
        (counter(1000, 10), FAIL, (1, 0)),
        (counter(1000, 10, 10, 500), FAIL, (3, 0)),
        (counter(1002, 10), FAIL, (1, 2)),
        (counter(1001, 10), FAIL, (1, 1)),
        (np.array([0]), FAIL, (0, -999)),
        (np.zeros(0, np.int64), FAIL, (0, -1000)),
    ],
)
def test_dropped_frames(good: CameraEvidence, count: np.ndarray, outcome: Outcome, numbers: tuple[int, ...]) -> None:
    result = run("dropped_frames", good, count=count)
    assert (result.outcome, result.numbers) == (outcome, numbers)


@pytest.mark.parametrize("beyond", [np.zeros(30, np.int64), np.arange(2005, 2035), np.array([10**12])])
def test_records_beyond_the_video_drop_no_frame(good: CameraEvidence, beyond: np.ndarray) -> None:
    count = counter(1000)
    plain = run("dropped_frames", good, count=count)
    more = run("dropped_frames", good, count=np.append(count, beyond))
    assert more.values["n_dropped"] == plain.values["n_dropped"] == 0
    assert more.values["dropped_per_step_percent"] == plain.values["dropped_per_step_percent"]
    assert more.outcome != CRITICAL


@pytest.mark.parametrize("n_stuck", [1, 3])
def test_counter_that_does_not_rise_is_critical_without_numbers(good: CameraEvidence, n_stuck: int) -> None:
    result = run("dropped_frames", good, count=None, n_count_stuck=n_stuck)
    assert (result.outcome, result.numbers) == (CRITICAL, ())
    assert f"{n_stuck} steps" in result.measured


@pytest.mark.parametrize(
    ("header", "fps", "outcome"),
    [
        (60, 60, PASS),
        (59.94, 60, PASS),
        (60_000 / 1001, 60, PASS),
        (29.97, 30, PASS),
        (149.99, 150, PASS),
        (60.49, 60, PASS),
        (60.5, 60, FAIL),
        (59.5, 60, FAIL),
        (30, 60, FAIL),
        (60, 30, FAIL),
        (0, 60, FAIL),
    ],
)
def test_file_headers(good: CameraEvidence, header: float, fps: float, outcome: Outcome) -> None:
    result = run("file_headers", good, header_fps=header, camera=Camera("left", fps=fps))
    assert (result.outcome, result.numbers) == (outcome, ())


@pytest.mark.parametrize(
    ("edges", "detail", "outcome"),
    [
        ([[101.0, 101.0]], [0.0], PASS),
        ([[100.0, 101.0]], [6.0], FAIL),
        ([[101.0, 100.0]], [6.1], PASS),
        ([[101.0, 101.0], [101.0, 99.0]], [7.0, 7.0], PASS),
        ([[101.0, 101.0], [101.0, 99.0]], [7.0, 5.0], FAIL),
        ([[101.0, 101.0], [np.nan, np.nan]], [0.0, np.nan], PASS),
        ([[np.nan, np.nan]], [np.nan], FAIL),
    ],
)
def test_focus(good: CameraEvidence, edges: list[list[float]], detail: list[float], outcome: Outcome) -> None:
    result = run("focus", good, sample_laplacian=np.array(edges), sample_high_frequency=np.array(detail), face=None)
    assert (result.outcome, result.numbers) == (outcome, ())
    assert "fixed regions" in result.measured or np.isnan(detail).all()


@pytest.mark.parametrize(
    ("is_sharp", "detail", "outcome"),
    [(1, 0.0, PASS), (0, 6.0, FAIL), (0, 6.1, PASS), (1, 7.0, PASS)],
)
def test_focus_is_judged_in_the_face_where_it_was_found(
    good: CameraEvidence, is_sharp: float, detail: float, outcome: Outcome
) -> None:
    result = run(
        "focus",
        good,
        face=make_face(is_sharp=is_sharp),
        sample_laplacian=np.full((20, 2), 1.0),
        sample_high_frequency=np.full(20, detail),
    )
    assert (result.outcome, result.numbers) == (outcome, ())
    assert "the face" in result.measured


def test_one_frame_out_of_focus_is_enough(good: CameraEvidence) -> None:
    face = make_face()
    face.is_sharp[7] = 0
    assert run("focus", good, face=face, sample_high_frequency=np.full(20, 1.0)).outcome == FAIL


WIDE, HIGH = 1280, 1024


@pytest.mark.parametrize(
    ("dx", "dy", "correlation", "outcome"),
    [
        (0, 0, 0, PASS),
        (127, 0, 0, PASS),
        (128, 0, 0, WARNING),
        (-128, 0, 0, WARNING),
        (191, 0, 0, WARNING),
        (192, 0, 0, FAIL),
        (0, 102, 0, PASS),
        (0, 103, 0, WARNING),
        (0, 153, 0, WARNING),
        (0, -154, 0, FAIL),
        (127, 103, 0, WARNING),
        (300, 0, 0.80, WARNING),
        (300, 0, 0.801, PASS),
        (300, 0, 0.751, WARNING),
        (300, 0, 0.75, FAIL),
        (300, 300, -1, FAIL),
        (150, 0, 0.801, PASS),
    ],
)
def test_position_is_judged_by_the_better_of_shift_and_histogram(
    good: CameraEvidence, dx: float, dy: float, correlation: float, outcome: Outcome
) -> None:
    result = run("position", good, face=make_face(138 + dx, 45 + dy, correlation))
    assert (result.outcome, result.numbers) == (outcome, ())
    assert result.values["shift_x_percent"] == pytest.approx(100 * dx / WIDE)
    assert result.values["shift_y_percent"] == pytest.approx(100 * dy / HIGH)
    assert result.values["lowest_histogram_correlation_percent"] == pytest.approx(100 * correlation)
    assert f"{100 * dx / WIDE:+.1f} % of the width" in result.measured
    assert f"{100 * correlation:.1f} %" in result.measured


def test_position_is_of_the_median_match_and_of_the_frames_that_decode(good: CameraEvidence) -> None:
    x = np.concatenate([np.full(51, 138.0), np.full(49, 900.0)])
    assert run("position", good, face=make_face(x, correlation=0)).outcome == PASS
    x[:50] = np.nan
    assert run("position", good, face=make_face(x, correlation=0)).outcome == FAIL
    lost = run("position", good, face=make_face(np.nan))
    assert lost.outcome == FAIL
    assert "decodes" in lost.message


def test_position_without_a_reference_frame_says_why(good: CameraEvidence) -> None:
    result = run("position", good, face=None, no_face="there are no reference frames: give a folder")
    assert (result.outcome, result.message) == (NOT_SET, "there are no reference frames: give a folder")


@pytest.mark.parametrize(
    ("rate", "outcome"), [(59.998, PASS), (60.99, PASS), (59.01, PASS), (61.01, FAIL), (58.99, FAIL), (30, FAIL)]
)
def test_framerate(good: CameraEvidence, rate: float, outcome: Outcome) -> None:
    result = run("framerate", good, times_s=np.arange(1000) / rate)
    assert (result.outcome, result.numbers) == (outcome, (pytest.approx(rate, abs=5e-4),))
    assert result.numbers == tuple(round(number, 3) for number in result.numbers if number is not None)


def test_framerate_is_of_the_median_interval(good: CameraEvidence) -> None:
    times = np.arange(1000) / 60
    times[600:] += 60
    assert run("framerate", good, times_s=times).numbers == (60.0,)


@pytest.mark.parametrize("rate", [30.0, 60.0, 150.0])
def test_framerate_of_a_clock_that_is_read_in_steps_of_a_millisecond_passes(good: CameraEvidence, rate: float) -> None:
    camera = Camera("left", fps=rate, width=1280, height=1024)
    result = run("framerate", good, camera=camera, times_s=np.ceil(1000 * np.arange(0, 60, 1 / rate)) / 1000)
    assert result.outcome == PASS
    assert result.values["mean_rate_hz"] == pytest.approx(rate, abs=0.01)
    slower = run("framerate", good, camera=camera, times_s=np.ceil(1000 * np.arange(0, 60, 1 / (rate - 1.5))) / 1000)
    assert slower.outcome == FAIL


@pytest.mark.parametrize("times", [np.zeros(5), -np.arange(5.0), np.full(5, np.nan)])
def test_times_that_stand_still_fail_the_framerate_without_a_number(good: CameraEvidence, times: np.ndarray) -> None:
    result = run("framerate", good, times_s=times)
    assert (result.outcome, result.numbers) == (FAIL, (None,))
    assert result.message


def test_one_frame_has_no_framerate(good: CameraEvidence) -> None:
    assert run("framerate", good, times_s=np.array([1.0])).outcome == NOT_SET


@pytest.mark.parametrize(
    ("n_states", "n_ttl", "outcome", "numbers"),
    [
        (1000, 9, PASS, (0, 0)),
        (1000, 13, PASS, (4, 0)),
        (1000, 5, PASS, (-4, 0)),
        (1000, 14, WARNING, (5, 0)),
        (1000, 4, WARNING, (-5, 0)),
        (1004, 9, WARNING, (0, 4)),
        (996, 9, WARNING, (0, -4)),
        (1005, 9, FAIL, (0, 5)),
        (995, 9, FAIL, (0, -5)),
        (1005, 99, FAIL, (90, 5)),
    ],
)
def test_pin_state(good: CameraEvidence, n_states: int, n_ttl: int, outcome: Outcome, numbers: tuple[int, ...]) -> None:
    pin = np.zeros(n_states, bool)
    pin[100:1000:100] = True
    result = run("pin_state", good, pin_state=pin, n_ttl_rises=n_ttl)
    assert (result.outcome, result.numbers) == (outcome, numbers)


def test_pin_that_is_up_from_the_first_frame_has_not_risen(good: CameraEvidence) -> None:
    pin = np.zeros(1000, bool)
    pin[:10] = pin[20:30] = True
    assert run("pin_state", good, pin_state=pin, n_ttl_rises=1).numbers == (0, 0)


@pytest.mark.parametrize(
    ("width", "height", "outcome"), [(1280, 1024, PASS), (1280, 1023, FAIL), (640, 1024, FAIL), (1024, 1280, FAIL)]
)
def test_resolution(good: CameraEvidence, width: int, height: int, outcome: Outcome) -> None:
    result = run("resolution", good, width=width, height=height)
    assert (result.outcome, result.numbers) == (outcome, ())


def with_value(place: int, value: float) -> np.ndarray:
    times = np.arange(1000) / 60
    times[place] = value
    return times


@pytest.mark.parametrize(
    ("times", "outcome"),
    [
        (np.arange(1000) / 60, PASS),
        (np.arange(999) / 60, FAIL),
        (np.arange(1001) / 60, FAIL),
        (with_value(5, 6 / 60), FAIL),
        (with_value(5, 0), FAIL),
        (with_value(5, np.nan), FAIL),
        (with_value(-1, np.nan), FAIL),
        (with_value(-1, np.inf), FAIL),
    ],
)
def test_timestamps(good: CameraEvidence, times: np.ndarray, outcome: Outcome) -> None:
    result = run("timestamps", good, times_s=times)
    assert (result.outcome, result.numbers) == (outcome, ())


def test_times_that_were_not_measured_are_a_warning_and_their_history_is_told(good: CameraEvidence) -> None:
    result = run(
        "timestamps", good, n_not_measured=1, timing_notes=("3 frames at the end have no pulse", "drift 2 ppm")
    )
    assert result.outcome == WARNING
    assert result.message == "3 frames at the end have no pulse; drift 2 ppm"
    assert "1 not measured" in result.measured
    assert run("timestamps", good, timing_notes=("drift 2 ppm",)).outcome == PASS
    assert run("timestamps", good, times_s=np.zeros(1000), n_not_measured=1).outcome == FAIL


@pytest.mark.parametrize("times", [None, np.zeros(0)])
def test_no_times_are_critical_with_the_reason(good: CameraEvidence, times: np.ndarray | None) -> None:
    reason = Failure("NoPulses", "input", "the sync holds no pulse of this camera")
    result = run("timestamps", good, times_s=times, no_times=reason)
    assert (result.outcome, result.message) == (CRITICAL, "the sync holds no pulse of this camera")
    assert run("timestamps", good, times_s=times).message


SAMPLES = st.lists(st.floats(0, 255) | st.just(float("nan")), min_size=0, max_size=12)


@given(
    times=st.none() | st.lists(st.floats(width=32, allow_infinity=False), max_size=5),
    count=st.none() | st.lists(st.integers(-(2**40), 2**40), max_size=5),
    pin=st.none() | st.lists(st.booleans(), max_size=5),
    n_camera_times=st.none() | st.integers(0, 9),
    n_ttl=st.none() | st.integers(0, 9),
    samples=st.none() | SAMPLES,
    luma=st.none() | st.lists(st.floats(0, 255, width=32) | st.just(float("nan")), min_size=1, max_size=60),
    n_frames=st.integers(1, 6),
    fps=st.none() | st.floats(1, 300),
)
def test_whatever_the_evidence_each_check_answers_once(
    times, count, pin, n_camera_times, n_ttl, samples, luma, n_frames: int, fps: float | None
) -> None:
    bright = None if luma is None else np.array(luma, np.float32)
    values = None if samples is None else np.array(samples, float)
    results = run_checks(
        CameraEvidence(
            Camera("left", fps=fps),
            n_frames,
            64,
            48,
            60.0,
            times_s=None if times is None else np.array(times, float),
            count=None if count is None else np.array(count, np.int64),
            pin_state=None if pin is None else np.array(pin, bool),
            n_camera_times=n_camera_times,
            n_ttl_rises=n_ttl,
            sample_brightness=values,
            sample_laplacian=None if values is None else np.column_stack([values, values]),
            sample_high_frequency=values,
            brightness=bright,
            motion_energy=bright,
            thumbnails=None
            if bright is None
            else np.resize(np.nan_to_num(bright), (len(bright), 4, 5)).astype(np.uint8),
            thumbnail_frames=None if bright is None else np.arange(len(bright)),
            time_quality=None if count is None else np.array(count, np.int64).astype(np.uint8),
            residuals_s=values,
            period_s=fps,
        )
    )
    assert "the check itself failed" not in " ".join(r.message for r in results)
    assert len({r.name for r in results}) == len(results)
    assert all(isinstance(r.outcome, Outcome) for r in results)
    assert all(number is None or np.isfinite(number) for r in results for number in r.numbers)
