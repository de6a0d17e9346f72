"""Pupil, licks, speed and region of motion: values by plain arithmetic, and the places where the reference is wrong."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pose_data import PLACES, SIDE, predictions, side_camera

from ibl_dask.errors import MissingKeypoints, UnequalLengths, UnusableFile
from ibl_dask.model.region import Region
from ibl_dask.pose.ensembles import merge_ensemble
from ibl_dask.pose.features import features
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.licks import lick_times, session_licks, sniff_times
from ibl_dask.pose.motion_region import motion_region, region_position
from ibl_dask.pose.pupil import PUPIL, diameter, smooth_diameter
from ibl_dask.pose.speed import speed
from ibl_dask.pose.uneven_savgol import smooth_uneven


def circle(centre: tuple[float, float], width: float, n: int = 3) -> Keypoints:
    offsets = {"pupil_top_r": (0, -1), "pupil_bottom_r": (0, 1), "pupil_left_r": (-1, 0), "pupil_right_r": (1, 0)}
    points = np.array([np.add(centre, np.multiply(offsets[name], width / 2)) for name in PUPIL])
    return Keypoints(PUPIL, np.dstack([np.tile(points, (n, 1, 1)), np.ones((n, 4))]))


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0.1, 500), st.lists(st.integers(0, 3), max_size=2))
def test_the_diameter_of_a_circle_is_found_from_any_two_of_its_points(
    x: float, y: float, width: float, hidden: list[int]
) -> None:
    table = circle((x, y), width)
    table.values[:, hidden, 2] = 0.5
    np.testing.assert_allclose(diameter(table.likely()), width, rtol=1e-6)


def test_one_point_of_the_pupil_makes_no_diameter() -> None:
    table = circle((50, 50), 10)
    table.values[:, :3, 2] = 0.5
    assert np.isnan(diameter(table.likely())).all()
    with pytest.raises(MissingKeypoints, match="pupil_top_r"):
        diameter(Keypoints(("paw_l",), np.ones((3, 1, 3))))


def fit_exactly(places: np.ndarray, values: np.ndarray, at: int, half: int) -> float:
    """Fit a cubic around a sample in exact arithmetic."""
    rows = range(at - half, at + half + 1)
    t, y = [Fraction(int(places[row] - places[at])) for row in rows], [Fraction(float(values[row])) for row in rows]
    system = [
        [sum(x ** (p + q) for x in t) for q in range(4)] + [sum(v * x**p for x, v in zip(t, y, strict=True))]
        for p in range(4)
    ]
    for column in range(4):
        pivot = next(row for row in range(column, 4) if system[row][column])
        system[column], system[pivot] = system[pivot], system[column]
        system[column] = [value / system[column][column] for value in system[column]]
        for row in set(range(4)) - {column}:
            factor = system[row][column]
            system[row] = [a - factor * b for a, b in zip(system[row], system[column], strict=True)]
    return float(system[0][4])


@pytest.mark.parametrize("gap", [0, 1, 50, 3_000, 100_000])
def test_the_filter_is_a_fit_in_exact_arithmetic_however_long_a_gap_is(gap: int) -> None:
    rng = np.random.default_rng(gap)
    places = np.concatenate((np.arange(60), np.arange(60) + 60 + gap))
    values = 20 + rng.normal(0, 1, 120)
    found = smooth_uneven(places, values, 31, 3)
    at = [15, 40, 50, 59, 60, 70, 104]
    np.testing.assert_allclose(found[at], [fit_exactly(places, values, i, 15) for i in at], rtol=1e-9)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.integers(0, 2**32 - 1))
def test_a_cubic_passes_the_filter_unchanged(coefficients: list[float], seed: int) -> None:
    places = np.flatnonzero(np.random.default_rng(seed).random(120) < 0.8)
    values = np.polyval(coefficients, places / 60)
    np.testing.assert_allclose(smooth_uneven(places, values, 31, 3), values, atol=1e-9 * (1 + np.abs(values).max()))


def test_7_19_gaps_over_a_second_stay_wherever_they_are() -> None:
    rng = np.random.default_rng(1)
    for camera, rate, seconds in (("left", 60, 20), ("right", 150, 8)):
        n = rate * seconds
        for gaps in (
            [(0, rate + 1)],
            [(n - rate - 1, n)],
            [(0, 5), (300, 300 + rate + 1)],
            [(0, 2 * rate), (400, 405)],
        ):
            raw = 20 + rng.normal(0, 0.1, n)
            long = np.zeros(n, bool)
            for start, stop in gaps:
                raw[start:stop] = np.nan
                long[start:stop] = stop - start > rate
            np.testing.assert_array_equal(np.isnan(smooth_diameter(raw, camera)), long)


def test_the_longest_gap_is_a_second_at_the_camera_s_rate() -> None:
    raw = 20 + np.random.default_rng(2).normal(0, 0.1, 600)
    raw[200:240] = np.nan
    assert not np.isnan(smooth_diameter(raw, "left")).any()
    assert np.isnan(smooth_diameter(raw, "left", rate_hz=30)[200:240]).all()


def test_an_outlier_is_replaced_by_its_neighbours() -> None:
    raw = 20 + np.random.default_rng(3).normal(0, 0.1, 600)
    raw[300] = 90
    assert abs(smooth_diameter(raw, "left")[300] - 20) < 0.5


def test_too_few_diameters_are_a_column_of_nan_with_the_reason() -> None:
    table = side_camera(400)
    table.values[:380, 1:5, 2] = 0.1
    found = features(table, "left", "dlc")
    assert np.isnan(found.pupil_smooth_px).all()
    assert "too few frames" in found.notes[0]
    assert len(found.pupil_raw_px) == 400
    with pytest.raises(UnusableFile, match="body"):
        smooth_diameter(found.pupil_raw_px, "body")


def test_the_raw_diameter_of_an_ensemble_is_that_of_its_medians_and_the_smooth_one_that_of_the_smoother() -> None:
    merged = merge_ensemble([circle((50, 50), width) for width in (10, 11, 30)])
    smoothed = replace(merged, values=circle((50, 50), 12).values)
    found = features(smoothed, "left", "lightningPose")
    np.testing.assert_allclose(found.pupil_raw_px, 11)
    np.testing.assert_allclose(found.pupil_smooth_px, 12)
    assert found.notes == ()


@pytest.mark.recordings
def test_a_real_pupil_has_a_plausible_diameter_and_less_jitter_once_smoothed() -> None:
    found = features(merge_ensemble([predictions(seed) for seed in range(5)]), "left", "dlc")
    assert 10 < np.nanmedian(found.pupil_raw_px) < 40
    jitter = [np.nanstd(np.diff(trace)) for trace in (found.pupil_raw_px, found.pupil_smooth_px)]
    assert jitter[1] < jitter[0] / 2


def test_a_lick_has_the_time_of_the_frame_before_the_tongue_jumps() -> None:
    n, times = 300, 7 + np.arange(300) / 60
    values = np.zeros((n, 2, 3))
    values[:, :, 2] = 1
    values[100:, 0, 0] += 30
    values[200:, 1, 1] += 30
    table = Keypoints(("tongue_end_l", "tongue_end_r"), values)
    np.testing.assert_array_equal(lick_times(table, times), times[[99, 199]])
    np.testing.assert_array_equal(session_licks([times[[99, 199]], times[[10, 99]]]), times[[10, 99, 99, 199]])
    assert session_licks([]).shape == (0,)


def test_a_tongue_that_is_never_seen_licks_never() -> None:
    table = side_camera(200)
    table.values[:, 7:9, 2] = 0
    assert lick_times(table.likely(), np.arange(200) / 60).size == 0


@pytest.mark.parametrize("n_times", [0, 199, 201])
def test_times_of_another_number_are_refused_not_shifted(n_times: int) -> None:
    table, times = side_camera(200).likely(), np.arange(n_times) / 60
    for compute in (lick_times, sniff_times, lambda t, s: speed(t, "paw_r", s, "left")):
        with pytest.raises(UnequalLengths, match="200"):
            compute(table, times)


def test_new_times_move_licks_and_scale_speeds_and_leave_diameters() -> None:
    """Keypoints and times are separate: a session timed anew needs no network."""
    table, times = side_camera(500, 8).likely(), np.arange(500) / 60
    later = 3 + 2 * times
    np.testing.assert_array_equal(lick_times(table, later), 3 + 2 * lick_times(table, times))
    fast, slow = (speed(table, "paw_r", t, "left") for t in (times, later))
    np.testing.assert_allclose(fast, 2 * slow, rtol=1e-6)


@given(st.floats(1, 200), st.floats(-50, 50), st.floats(-50, 50), st.sampled_from(["left", "right", "body", "belly"]))
def test_a_point_that_moves_evenly_has_one_speed(rate: float, dx: float, dy: float, camera: str) -> None:
    n = 20
    values = np.ones((n, 1, 3))
    values[:, 0, :2] = np.arange(n)[:, None] * [dx, dy]
    found = speed(Keypoints(("nose_tip",), values), "nose_tip", np.arange(n) / rate, camera)
    expected = np.hypot(dx, dy) * rate / (2 if camera == "left" else 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_very_short_videos_have_no_speed_and_no_licks(n: int) -> None:
    table = side_camera(n) if n else Keypoints(SIDE, np.empty((0, len(SIDE), 3)))
    assert np.isnan(speed(table, "paw_r", np.arange(n) / 60, "left")).all()
    assert lick_times(table.likely(), np.arange(n) / 60).size <= n


def test_the_region_lies_between_nose_and_eye() -> None:
    """Nose at (420, 400), eye at (620, 180): 297 px apart, and half-way at (520, 290)."""
    values = np.array([[(*PLACES[name], 1.0) for name in SIDE]])
    region = motion_region(Keypoints(SIDE, values), "left")
    assert region == Region(290, 290 + 99, 445, 445 + 148)
    assert region_position(region).tolist() == [148, 99, 445, 290]
    tail = Keypoints(("tail_start",), np.array([[[250.9, 200.2, 1.0]]]))
    assert region_position(motion_region(tail, "body")).tolist() == [150, 210, 100, 80]


def test_the_first_point_of_the_eye_that_is_ever_likely_counts() -> None:
    values = np.array([[(*PLACES[name], 1.0) for name in SIDE]] * 4)
    table = Keypoints(SIDE, values)
    values[:, 1, 2] = 0.1
    values[:, 4, 2] = 0.1
    nose, eye = np.array(PLACES["nose_tip"]), np.array(PLACES["pupil_right_r"])
    assert motion_region(table, "right").top == int((nose[1] + eye[1]) / 2)
    values[:, :, 2] = 0.1
    with pytest.raises(MissingKeypoints, match="never likely"):
        motion_region(table, "left")
    with pytest.raises(MissingKeypoints, match="tail_start"):
        motion_region(table, "body")


def test_a_region_outside_of_the_frame_is_refused() -> None:
    for tail in ([100.0, 50.0, 1.0], [0.0, 300.0, 1.0]):
        with pytest.raises(UnusableFile, match="does not lie in the frame"):
            motion_region(Keypoints(("tail_start",), np.array([[tail]])), "body")
