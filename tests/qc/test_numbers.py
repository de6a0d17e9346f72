"""Every number that a check publishes, beside what its name says, computed in plain Python from random series."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.model.description import Camera
from ibl_dask.model.outcome import CheckResult
from ibl_dask.qc.checks import run_checks
from ibl_dask.qc.evidence import CameraEvidence, FaceEvidence, WheelEvidence
from ibl_dask.qc.record import REFERENCE_CHECKS, camera_record, extended_qc

SIZE = WIDTH, HEIGHT = 1280, 1024


def random_times(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return times of a camera that jitters, drops frames and pauses, by a clock that may be read in steps."""
    period = 1 / rng.choice([30.0, 59.94, 60.0, 150.0])
    jitter = rng.choice([0, 0.001, 0.1])
    steps = period * (1 + jitter * rng.normal(size=n))
    for place in rng.integers(0, n, rng.integers(0, 4)):
        steps[place] += period * rng.choice([1, 2, 0.6, 100])
    times = rng.uniform(0, 100) + np.cumsum(np.abs(steps))
    return np.ceil(1000 * times) / 1000 if rng.random() < 0.3 else times


def random_evidence(seed: int) -> CameraEvidence:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 1500))
    brightness = rng.normal(rng.uniform(15, 120), rng.choice([0.0, 0.5, 8.0]), n).astype(np.float32)
    if n > 40:
        for start in rng.integers(0, n - 30, 3):
            brightness[start : start + rng.integers(1, 30)] = rng.choice([brightness[start], 5.0, np.nan])
    brightness[rng.integers(0, n)] = 99
    energy = np.where(rng.random(n) < 0.8, rng.uniform(0.1, 2, n), 0).astype(np.float32)
    count = np.cumsum(rng.choice([1, 1, 1, 2, 5], n + int(rng.integers(-1, 3)))).astype(np.int64)
    n_samples, n_focus = int(rng.integers(1, 101)), int(rng.integers(1, 21))
    lost = rng.random(n_samples) < 0.2
    lost[0] = False
    focus_lost = rng.random(n_focus) < 0.2
    focus_lost[0] = False
    nan = np.where(lost, np.nan, 0.0)
    face = FaceEvidence(
        138,
        45,
        nan + rng.integers(0, 300, n_samples),
        nan + rng.integers(0, 300, n_samples),
        nan + rng.uniform(0, 1, n_samples),
        nan + rng.uniform(-1, 1, n_samples),
        np.where(focus_lost, np.nan, rng.uniform(10, 200, n_focus)),
        np.where(focus_lost, np.nan, rng.integers(0, 2, n_focus)),
    )
    return CameraEvidence(
        Camera("left", fps=60, width=WIDTH, height=HEIGHT),
        n,
        *SIZE,
        header_fps=float(rng.choice([30, 59.94, 60])),
        times_s=random_times(rng, n),
        n_not_measured=int(rng.integers(0, n)),
        n_assumed=int(rng.integers(0, n)),
        n_camera_times=int(n + rng.integers(-3, 4)),
        count=count,
        pin_state=rng.random(n + int(rng.integers(-1, 2))) < 0.5,
        n_ttl_rises=int(rng.integers(0, n)),
        sample_brightness=nan + rng.uniform(0, 255, n_samples),
        sample_laplacian=np.where(focus_lost[:, None], np.nan, rng.uniform(10, 200, (n_focus, 2))),
        sample_high_frequency=np.where(focus_lost, np.nan, rng.uniform(0, 12, n_focus)),
        face=face if rng.random() < 0.7 else None,
        brightness=brightness,
        motion_energy=energy,
        time_quality=rng.choice([0, 0, 0, 1, 2, 3], n).astype(np.uint8),
        residuals_s=rng.uniform(-0.03, 0.01, int(rng.integers(1, 50))),
        period_s=1 / 60,
        wheel=WheelEvidence(True, True, int(rng.integers(-9, 9)), 0.3, 0.005, float(rng.random()), True, ""),
        n_decode_errors=int(rng.integers(0, n)),
    )


def known(values: Sequence[float]) -> list[float]:
    return [float(v) for v in values if not math.isnan(v)]


def intervals(evidence: CameraEvidence) -> list[float]:
    return [float(b) - float(a) for a, b in pairwise(evidence.times_s)]


def longest_run(flags: Sequence[bool]) -> int:
    longest = here = 0
    for flag in flags:
        here = here + 1 if flag else 0
        longest = max(longest, here)
    return longest


def count_runs(flags: Sequence[bool]) -> int:
    return sum(bool(b) and not a for a, b in pairwise([False, *flags]))


def brightness(e: CameraEvidence) -> dict[str, float]:
    found = known(e.sample_brightness)
    return {
        "share_inside": sum(40 < v < 200 for v in found) / len(found),
        "share_visible": sum(20 < v < 235 for v in found) / len(found),
        "mean": statistics.fmean(found),
        "std": statistics.pstdev(found),
        "lowest": min(found),
        "highest": max(found),
        "n_samples": len(e.sample_brightness),
        "n_samples_decoded": len(found),
    }


def dropped_frames(e: CameraEvidence) -> dict[str, float]:
    steps = [int(b - a) for a, b in pairwise(e.count[: e.n_frames])]  # records beyond the video count for nothing
    n_dropped = sum(step - 1 for step in steps)
    return {
        "n_dropped": n_dropped,
        "dropped_per_step_percent": 100 * n_dropped / max(1, len(steps)),
        "size_difference": len(e.count) - e.n_frames,
    }


def focus(e: CameraEvidence) -> dict[str, float]:
    fixed = min(known(e.sample_laplacian.ravel()))
    return {
        "lowest_laplacian": fixed if e.face is None else min(known(e.face.laplacian)),
        "lowest_laplacian_of_fixed_regions": fixed,
        "lowest_high_frequency": min(known(e.sample_high_frequency)),
    }


def framerate(e: CameraEvidence) -> dict[str, float]:
    steps = intervals(e)
    median = statistics.median(steps)
    near = [step for step in steps if abs(step - median) < median / 2]
    return {
        "median_rate_hz": 1 / median,
        "mean_rate_hz": (len(e.times_s) - 1) / float(e.times_s[-1] - e.times_s[0]),
        "mean_rate_near_median_hz": len(near) / sum(near) if near else math.nan,
        "expected_hz": 60,
    }


def position(e: CameraEvidence) -> dict[str, float]:
    dx, dy = statistics.median(known(e.face.x)) - 138, statistics.median(known(e.face.y)) - 45
    return {
        "shift_x_px": dx,
        "shift_y_px": dy,
        "shift_x_percent": 100 * dx / WIDTH,
        "shift_y_percent": 100 * dy / HEIGHT,
        "median_score": statistics.median(known(e.face.score)),
        "lowest_histogram_correlation_percent": 100 * min(known(e.face.histogram_correlation)),
    }


def black_frames(e: CameraEvidence) -> dict[str, float]:
    black = [bool(v <= 20) for v in e.brightness]
    return {
        "n_black": sum(black),
        "share_black": sum(black) / len(known(e.brightness)),
        "n_runs": count_runs(black),
    }


def repeated_frames(e: CameraEvidence) -> dict[str, float]:
    value, energy, n = e.brightness, e.motion_energy, len(e.brightness)
    same = [False, *(bool(b == a) for a, b in pairwise(value))]
    repeats = list(same)
    for i in range(n - 2):  # three frames of one brightness, the third of which differs from the first
        if same[i + 1] and same[i + 2] and energy[i] > 0:
            repeats[i + 1] = repeats[i + 2] = False
    longest, period = longest_run(repeats), statistics.median(intervals(e))
    return {
        "n_repeated": sum(repeats),
        "share_repeated": sum(repeats) / n,
        "longest_frames": longest,
        "longest_s": longest * period,
    }


def light_steps(e: CameraEvidence) -> dict[str, float]:
    rate = round(1 / statistics.median(intervals(e)))
    seconds = [(i, known(e.brightness[i : i + rate])) for i in range(0, len(e.brightness), rate)]
    means = [(start, statistics.fmean(values)) for start, values in seconds if values]
    steps = []
    for i in range(15, len(means) - 14):
        before, after = ([m for _, m in part] for part in (means[i - 15 : i], means[i : i + 15]))
        steps.append((statistics.median(after) - statistics.median(before), means[i][0]))
    largest = max(abs(step) for step, _ in steps)
    return {
        "n_steps": count_runs([abs(step) >= 10 for step, _ in steps]),
        "largest_step_luma": max(steps, key=lambda s: abs(s[0]))[0] if largest < 10 else math.nan,
        "largest_step_frame": math.nan,  # looked at below, where the truth is known
    }


def flicker(e: CameraEvidence) -> dict[str, float]:
    jumps = known([abs(b - a) for a, b in pairwise(e.brightness)])
    n = sum(jump >= 10 for jump in jumps)
    return {"n_jumps": n, "share_jumps": n / len(jumps), "largest_jump_luma": max(jumps)}


def frame_intervals(e: CameraEvidence) -> dict[str, float]:
    steps = intervals(e)
    median = statistics.median(steps)
    n_uneven = sum(abs(step - median) > median / 2 for step in steps)
    return {
        "median_s": median,
        "n_uneven": n_uneven,
        "share_uneven": n_uneven / len(steps),
        "longest_s": max(steps),
        "longest_after_frame": steps.index(max(steps)),
    }


def end_of_reading(lags: Sequence[float]) -> float:
    """Return where the period ends that holds nearly all changes, in periods after the exposure."""
    edge = 0.02
    ending = {v: sum(v - 1 - 2 * edge <= other <= v for other in lags) for v in lags}
    beginning = {v: sum(v <= other <= v + 1 + 2 * edge for other in lags) for v in lags}
    most = max(ending.values())
    enough = max(most - 1 - round(0.05 * most), 1)
    earliest = min(v for v in lags if ending[v] >= enough) - edge
    latest = max(v for v in lags if beginning[v] >= enough) + 1 + edge
    whole = math.ceil(earliest)
    return whole if whole <= latest else (earliest + latest) / 2


def pulse_residuals(e: CameraEvidence) -> dict[str, float]:
    found, period = [float(v) for v in e.residuals_s], e.period_s
    lags = [v / period for v in found]
    end = end_of_reading(lags)
    first, last = (end - 1.5, end + (0.02 if end else 0)) if 0 <= end <= 0.65 else (-1, 0)
    n_off = sum(v > last or v <= first for v in lags)
    return {
        "n_matched": len(found),
        "n_off": n_off,
        "share_off": n_off / len(found),
        "farthest_residual_s": max(found, key=lambda v: abs(v + period / 2)),
        "median_residual_s": statistics.median(found),
    }


def reckoned_times(e: CameraEvidence) -> dict[str, float]:
    interpolated, extrapolated = ([bool(q == value) for q in e.time_quality] for value in (1, 2))
    return {
        "share_interpolated": sum(interpolated) / len(interpolated),
        "share_extrapolated": sum(extrapolated) / len(extrapolated),
        "n_interpolated": sum(interpolated),
        "n_extrapolated": sum(extrapolated),
        "n_assumed": sum(int(q) == 3 for q in e.time_quality),
        "longest_interpolated_frames": longest_run(interpolated),
        "longest_extrapolated_frames": longest_run(extrapolated),
    }


NAMED: dict[str, Callable[[CameraEvidence], dict[str, float]]] = {
    "brightness": brightness,
    "camera_times": lambda e: {"n_camera_times": e.n_camera_times, "n_frames": e.n_frames},
    "dropped_frames": dropped_frames,
    "file_headers": lambda e: {"header_hz": e.header_fps, "expected_hz": 60},
    "focus": focus,
    "framerate": framerate,
    "pin_state": lambda e: {
        "n_ttls": e.n_ttl_rises,
        "n_pin_rises": sum(b and not a for a, b in pairwise(e.pin_state)),
        "size_difference": len(e.pin_state) - e.n_frames,
    },
    "position": position,
    "resolution": lambda e: {"width_px": WIDTH, "height_px": HEIGHT},
    "timestamps": lambda e: {
        "n_times": len(e.times_s),
        "n_frames": e.n_frames,
        "n_not_measured": e.n_not_measured,
        "n_assumed": e.n_assumed,
    },
    "decoding": lambda e: {"n_undecoded": e.n_decode_errors, "share_undecoded": e.n_decode_errors / e.n_frames},
    "black_frames": black_frames,
    "repeated_frames": repeated_frames,
    "light_steps": light_steps,
    "flicker": flicker,
    "frame_intervals": frame_intervals,
    "pulse_residuals": pulse_residuals,
    "reckoned_times": reckoned_times,
    "wheel_alignment": lambda e: {
        "offset_frames": e.wheel.offset_frames,
        "session_shift_frames": e.wheel.shift_frames,
        "session_shift_s": e.wheel.shift_s,
        "confidence": e.wheel.confidence,
    },
}
MOVED = {
    "shift_x_px",
    "shift_y_px",
    "shift_x_percent",
    "shift_y_percent",
    "last_frame_before",
    "first_frame_after",
    "face_shift_x_px",
    "face_shift_y_px",
}


def judged(evidence: CameraEvidence) -> dict[str, CheckResult]:
    return {result.name: result for result in run_checks(evidence)}


def agree(found: object, wanted: float) -> bool:
    if wanted is None or (isinstance(wanted, float) and math.isnan(wanted)):
        return True
    return found == pytest.approx(wanted, rel=2e-5, abs=2e-6)


def test_no_check_publishes_a_number_that_is_not_looked_at_here() -> None:
    seen: dict[str, set[str]] = {}
    for seed in range(30):
        for name, result in judged(random_evidence(seed)).items():
            seen.setdefault(name, set()).update(result.values)
    assert seen.pop("camera_movement") <= MOVED
    told = {
        name: set(compute(random_evidence(0)) if name != "position" else position(with_face()))
        for name, compute in NAMED.items()
        if name != "light_steps"
    }
    assert {name: names for name, names in seen.items() if name != "light_steps"} == told
    assert seen["light_steps"] <= {"n_steps", "largest_step_luma", "largest_step_frame"}


def with_face() -> CameraEvidence:
    return next(e for e in map(random_evidence, range(99)) if e.face is not None)


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_every_number_of_every_check_is_what_its_name_says(seed: int) -> None:
    evidence = random_evidence(seed)
    for name, result in judged(evidence).items():
        if not result.values or name == "camera_movement":
            continue
        wanted = NAMED[name](evidence)
        assert result.values.keys() == wanted.keys(), name
        for key, value in wanted.items():
            assert agree(result.values[key], value), (name, key, result.values[key], value)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_numbers_beside_the_outcomes_are_those_of_the_reference_s_checks(seed: int) -> None:
    evidence = random_evidence(seed)
    steps = [int(b - a) for a, b in pairwise(evidence.count[: evidence.n_frames])]
    rises = sum(b and not a for a, b in pairwise(evidence.pin_state))
    wanted = {
        "camera_times": [evidence.n_camera_times - evidence.n_frames],
        "dropped_frames": [sum(steps) - len(steps), len(evidence.count) - evidence.n_frames],
        "framerate": [round(1 / float(np.median(np.diff(evidence.times_s))), 3)],
        "pin_state": [evidence.n_ttl_rises - rises, len(evidence.pin_state) - evidence.n_frames],
        "wheel_alignment": [evidence.wheel.offset_frames],
    }
    record = camera_record(run_checks(evidence))
    published = extended_qc({"left": record})
    assert published.keys() == {"videoLeft", *(f"_videoLeft_{name}" for name in REFERENCE_CHECKS)}
    for name in REFERENCE_CHECKS:
        content = published[f"_videoLeft_{name}"]
        found = content[1:] if isinstance(content, list) else []
        assert found == wanted.get(name, []), name


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_numbers_in_words_are_those_of_the_values(seed: int) -> None:
    for name, result in judged(random_evidence(seed)).items():
        said = [float(n.replace(",", "")) for n in re.findall(r"-?[\d,]*\d(?:\.\d+)?(?:e[+-]\d+)?", result.measured)]
        for key, value in result.values.items():
            if key.startswith("n_") and key not in ("n_samples", "n_runs") and value is not None:
                assert float(value) in said, (name, key, value, result.measured)


@pytest.mark.parametrize("seed", range(6))
def test_a_step_of_the_light_is_told_with_its_size_and_its_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, at, size = 3600, int(rng.integers(1000, 2500)), float(rng.choice([-25, 18, 40]))
    value = rng.normal(100, 0.5, n).astype(np.float32)
    value[at:] += size
    evidence = CameraEvidence(Camera("left"), n, *SIZE, 60.0, times_s=np.arange(n) / 60, brightness=value)
    (result,) = run_checks(evidence, ("light_steps",))
    assert result.values["n_steps"] == 1
    assert result.values["largest_step_luma"] == pytest.approx(size, abs=0.5)
    assert abs(result.values["largest_step_frame"] - at) <= 60


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(-12, 12), st.integers(-12, 12), st.integers(2, 6))
def test_a_camera_that_was_moved_is_told_by_how_many_pixels_and_when(seed: int, dx: int, dy: int, after: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = 96, 64  # a picture that was not made smaller by one factor in both directions
    large = cv2.GaussianBlur(rng.integers(0, 256, (height + 40, width + 40)).astype(np.uint8), (0, 0), 1.5)
    still, moved = large[20 : 20 + height, 20 : 20 + width], large[20 - dy :, 20 - dx :][:height, :width]
    pictures = np.array([still if i < after else moved for i in range(8)])
    frames = np.sort(rng.choice(1000, 8, replace=False))
    evidence = CameraEvidence(Camera("left"), 1000, *SIZE, 60.0, thumbnails=pictures, thumbnail_frames=frames)
    (result,) = run_checks(evidence, ("camera_movement",))
    x, y = dx * WIDTH / width, dy * HEIGHT / height
    found = result.values
    assert found["shift_x_px"] == pytest.approx(x, abs=0.5 * WIDTH / width)
    assert found["shift_y_px"] == pytest.approx(y, abs=0.5 * HEIGHT / height)
    assert found["shift_x_percent"] == pytest.approx(100 * found["shift_x_px"] / WIDTH)
    assert found["shift_y_percent"] == pytest.approx(100 * found["shift_y_px"] / HEIGHT)
    if dx or dy:
        assert (found["last_frame_before"], found["first_frame_after"]) == (frames[after - 1], frames[after])


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(9, 100))
def test_the_face_is_told_to_move_by_the_medians_of_the_first_and_the_last_third(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, 300, n).astype(float) for _ in range(2))
    face = FaceEvidence(138, 45, x, y, np.full(n, 0.9), np.ones(n), np.ones(n), np.ones(n))
    scene = rng.integers(0, 256, (64, 80)).astype(np.uint8)
    evidence = CameraEvidence(
        Camera("left"),
        9,
        *SIZE,
        60.0,
        face=face,
        thumbnails=np.array([scene] * 5),
        thumbnail_frames=np.arange(5),
    )
    (result,) = run_checks(evidence, ("camera_movement",))
    third = n // 3
    for key, places in (("face_shift_x_px", x), ("face_shift_y_px", y)):
        wanted = statistics.median(places[n - third :]) - statistics.median(places[:third])
        assert result.values[key] == pytest.approx(wanted)


ANY = st.one_of(st.floats(), st.sampled_from([0.0, 5e-324, 1.7e308, -1.7e308, math.nan, math.inf, -math.inf, 93.0]))
SERIES = st.one_of(
    st.lists(ANY, max_size=9).map(lambda values: np.array(values, np.float64)),
    st.builds(np.full, st.sampled_from([1, 2, 3, 700]), ANY),
)


@settings(max_examples=40)
@given(st.integers(0, 2**32), SERIES, SERIES)
def test_every_check_has_a_word_on_any_series(seed: int, any_times: np.ndarray, any_values: np.ndarray) -> None:
    evidence = random_evidence(seed)
    grey = np.clip(np.nan_to_num(any_values, nan=np.nan, posinf=255, neginf=0), 0, 255)
    for changes in (
        {"times_s": any_times},
        {"residuals_s": any_times},
        {"brightness": grey.astype(np.float32), "motion_energy": grey.astype(np.float32)},
        {"sample_brightness": grey, "sample_high_frequency": grey, "sample_laplacian": grey[:, None], "face": None},
        {"thumbnails": np.nan_to_num(grey).astype(np.uint8)[:, None, None], "thumbnail_frames": np.arange(len(grey))},
        {"header_fps": float(any_values[0]) if len(any_values) else 0.0},
    ):
        results = run_checks(replace(evidence, **changes))
        assert [result for result in results if "the check itself failed" in result.message] == []
        json.dumps(camera_record(results), allow_nan=False)
