"""How far video and wheel are apart, whatever the recording is like.

Examples are the same each time: what is estimated from noise is off now and then, and chance must not decide a test.
"""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wheel_scenes import make_scene

from ibl_dask.timing.wheel.alignment import align, corrected_numbers
from ibl_dask.timing.wheel.bout import active_bout, bout_offset
from ibl_dask.timing.wheel.motion import motion
from ibl_dask.timing.wheel.trace import Wheel

SEEDS = st.integers(0, 2**16)


def look(scene, off=0, late=0, early=0, energy=None):
    """Align a video whose frames are taken to show exposures `off` later than they do."""
    energy = scene.energy if energy is None else energy
    return align(energy, scene.pulses, scene.shows + off, scene.motion, late, early)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(-60, 60), st.sampled_from([30.0, 60.0, 150.0]), st.floats(0.5, 2.0))
def test_a_video_is_late_by_as_many_frames_as_its_times_are(seed, off, fps, pace):
    """At any rate and density of movement, in a minute."""
    found = look(make_scene(60, fps, seed, pace=pace), off)
    assert found.is_confident, found
    assert abs(found.shift_frames - off) < max(0.75, 0.01 * fps)
    np.testing.assert_allclose(found.shift_s, found.shift_frames / fps, rtol=1e-3)
    assert found.changes == ()


@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 20_000), st.integers(0, 20_000))
def test_surplus_pulses_are_searched_at_either_end_however_many_they_are(seed, late, early):
    scene = make_scene(60, 60, seed)
    for off in (late, -early):
        found = look(scene, off, late, early)
        assert found.is_confident
        assert abs(found.shift_frames - off) < 0.75


@settings(max_examples=30, deadline=None, derandomize=True)
@example(2, 0, 0.25, 0.265625, 0.25)
@given(SEEDS, st.integers(-10, 10), st.floats(0.05, 3.0), st.floats(0, 0.3), st.floats(0, 0.3))
def test_noise_hands_and_frames_that_do_not_decode_do_not_decide(seed, off, noise, hand, unknown):
    """A hand is in up to a third of the frames, in runs of two seconds, with four times the energy of the wheel.

    Where a quarter of the frames is missing, the best whole frame may be the one beside the true one, to which the
    parabola adds less than half a frame.
    """
    scene = make_scene(120, 60, seed, noise=noise, hand=hand, unknown=unknown)
    found = look(scene, off)
    assert found.is_confident, found
    assert abs(found.shift_frames - off) < (1 if unknown < 0.1 else 1.5)


@pytest.mark.parametrize("hand_s", [0.2, 1.0, 10.0])
def test_hands_of_any_duration_do_not_decide(hand_s):
    for seed in range(4):
        found = look(make_scene(120, 60, seed, hand=0.25, hand_s=hand_s), 5)
        assert found.is_confident, found
        assert abs(found.shift_frames - 5) < 1


def spoilt(scene, start, stop):
    """Return energies with a hand in some frames."""
    energy = scene.energy.copy()
    energy[start:stop] += 40 + 10 * np.random.default_rng(1).random(energy[start:stop].size)
    return energy


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (-3, -2), (0, 400), (-400, -2), (3000, 3001)])
def test_7_15_7_16_a_hand_at_either_end_or_in_one_frame_alone_is_as_good_as_any(start, stop):
    scene = make_scene(60, 60, 2)
    found = look(scene, 3, energy=spoilt(scene, start, stop))
    assert found.is_confident
    assert abs(found.shift_frames - 3) < 0.75


def test_7_17_a_hand_that_stays_for_thousands_of_frames_does_not_decide():
    scene = make_scene(240, 60, 2)
    found = look(scene, 3, energy=spoilt(scene, 5000, 9000))
    assert found.is_confident
    assert abs(found.shift_frames - 3) < 0.75


def test_a_hand_s_energy_does_not_matter_only_that_it_is_above_the_wheel_s():
    scene = make_scene(60, 60, 3, hand=0.2)
    brighter = np.where(scene.energy > 30, 1000 * scene.energy, scene.energy)
    assert look(scene).shifts.tolist() == look(scene, energy=brighter).shifts.tolist()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(-8, 8), st.sampled_from([30.0, 60.0, 150.0]))
def test_7_14_twenty_seconds_are_enough(seed, off, fps):
    """The reference has no motion energy at all of fewer than 5000 frames, and windows of 150 s."""
    found = look(make_scene(20, fps, seed), off)
    assert found.n_windows >= 3
    assert abs(found.shift_frames - off) < max(1.0, 0.02 * fps)
    assert found.confidence > 0.2


@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS)
def test_energy_that_has_nothing_to_do_with_the_wheel_tells_no_shift(seed):
    one, other = make_scene(180, 30, seed), make_scene(180, 30, seed + 2**17)
    found = look(one, energy=other.energy)
    assert not found.is_confident


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS)
def test_twenty_seconds_of_energy_of_another_recording_tell_no_shift(seed):
    one, other = make_scene(20, 60, seed), make_scene(20, 60, seed + 2**17)
    assert not look(one, energy=other.energy).is_confident


@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS, st.integers(3, 8), st.integers(1, 3), st.floats(0.6, 0.9))
def test_frames_lost_on_the_way_are_found_where_they_were_lost(seed, n_lost, n_places, where):
    """Nobody counted them, so that the frames before are late by as many as are lost after."""
    places = (14_400 * where * np.arange(1, n_places + 1) / n_places).astype(int)
    lost = (places[:, None] + np.arange(n_lost)).ravel()
    scene = make_scene(240, 60, seed, lost=lost)
    counted = np.arange(scene.shows.size) + lost.size  # surplus pulses are assumed to come first
    found = align(scene.energy, scene.pulses, counted, scene.motion, lost.size)
    assert found.is_confident, found
    corrected = corrected_numbers(counted, found)
    assert corrected is not None
    off = np.abs(corrected - scene.shows)
    # Where the wheel stands nothing tells which of its frames is which.
    assert np.quantile(off, 0.8) <= 1
    assert off[:300].max() <= 1
    assert off[-300:].max() <= 1
    assert (np.diff(corrected) > 0).all()


def test_a_shift_that_rises_is_explained_by_no_loss_of_frames():
    scene = make_scene(120, 60, 5)
    half = scene.shows.size // 2
    late = scene.shows + np.where(np.arange(scene.shows.size) < half, 0, 12)
    found = align(scene.energy, scene.pulses, late, scene.motion, 20)
    assert np.diff(found.steps).max() > 0
    assert corrected_numbers(late, found) is None


def test_7_14_no_window_is_skipped_and_those_without_movement_are_counted():
    scene = make_scene(300, 60, 7)
    turning = scene.wheel.times_s < 150
    still = Wheel(scene.wheel.times_s[turning], scene.wheel.position_rad[turning], "half")
    found = align(scene.energy, scene.pulses, scene.shows, motion(still))
    assert found.n_windows == found.times_s.size + found.n_still
    assert found.n_still > 0.3 * found.n_windows
    whole = look(scene)
    assert whole.n_still == 0
    assert whole.times_s[0] < scene.pulses.times_s[0] + 11
    assert whole.times_s[-1] > scene.pulses.times_s[-1] - 11
    assert np.diff(whole.times_s).max() <= 11


def test_a_wheel_that_stands_says_nothing():
    scene = make_scene(30, 60, 1)
    clock = np.arange(1.0, 30.0)
    found = align(scene.energy, scene.pulses, scene.shows, motion(Wheel(clock, 0 * clock, "still")))
    assert not found.is_confident
    assert np.isnan(found.shift_frames)
    assert found.n_still == found.n_windows
    assert "stood" in found.why_not


def test_frames_that_do_not_decode_at_all_say_nothing():
    scene = make_scene(30, 60, 1)
    found = look(scene, energy=np.full_like(scene.energy, np.nan))
    assert not found.is_confident
    assert found.n_unknown == found.n_windows


@pytest.mark.parametrize("n", [3, 4, 5, 40])
def test_a_video_of_a_few_frames_is_no_error(n):
    scene = make_scene(20, 60, 1)
    found = align(scene.energy[300 : 300 + n], scene.pulses, scene.shows[300 : 300 + n], scene.motion)
    assert found.n_windows == 1


def test_energy_of_frames_that_never_change_says_nothing():
    scene = make_scene(30, 60, 1)
    found = look(scene, energy=np.full_like(scene.energy, 3.0))
    assert not found.is_confident


# -- the reference's short alignment ---------------------------------------------------------------------------


def long_bout(seed=0, fps=60.0):
    """Return a video with one bout of 6 s in it."""
    rng = np.random.default_rng(seed)
    clock = np.arange(0, 30, 1e-3)
    speed = np.where((clock > 10) & (clock < 16), 3 + np.cumsum(rng.normal(0, 0.05, clock.size)), 0)
    wheel = Wheel(clock, np.cumsum(speed) * 1e-3, "made up")
    times = 1 + np.arange(round(28 * fps)) / fps
    angle = np.interp(times, clock, wheel.position_rad)
    energy = np.full(times.size, np.nan)
    energy[:-2] = np.abs(angle[2:] - angle[:-2]) + 0.002 * rng.random(times.size - 2)
    return energy, times, motion(wheel)


def test_the_middle_one_of_the_long_bouts_is_found():
    _, _, turned = long_bout()
    start, end = active_bout(turned)
    assert 9.5 < start < 10.5
    assert 15.5 < end < 16.5


@pytest.mark.parametrize("off", [-4, -1, 0, 2, 7])
def test_the_offset_of_a_bout_is_positive_where_the_video_is_late(off):
    for fps in (30.0, 60.0, 150.0):
        energy, times, turned = long_bout(fps=fps)
        assert bout_offset(energy, times + off / fps, turned, active_bout(turned)) == off


def test_a_bout_outside_the_video_or_without_energy_has_no_offset():
    energy, times, turned = long_bout()
    bout = active_bout(turned)
    assert bout_offset(energy, times + 100, turned, bout) is None
    assert bout_offset(np.full_like(energy, np.nan), times, turned, bout) is None
    assert bout_offset(np.ones_like(energy), times, turned, bout) is None
    energy[600:620] = np.nan
    assert bout_offset(energy, times, turned, bout) == 0


def test_a_wheel_without_a_long_bout_has_none():
    clock = np.arange(0, 30, 1e-3)
    assert active_bout(motion(Wheel(clock, 0 * clock, "still"))) is None
