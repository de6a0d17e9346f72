"""Pulses out of fronts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import NoPulses, UnusableFile
from ibl_dask.timing.alignment.spurious_pulses import drop_spurious
from ibl_dask.timing.clocks.nidq import Fronts
from ibl_dask.timing.clocks.pulses import Pulses, camera_pulses, fill_gaps, find_gaps, typical_period_s


def fronts(rises: np.ndarray, width: float = 0.004) -> Fronts:
    times = np.concatenate([rises, rises + width])
    polarities = np.concatenate([np.ones(rises.size), -np.ones(rises.size)]).astype(np.int8)
    order = np.argsort(times)
    return Fronts(times[order], polarities[order])


def without(source: Fronts, *entries: int) -> Fronts:
    return Fronts(np.delete(source.times_s, entries), np.delete(source.polarities, entries))


RISES = 5 + np.arange(200) / 60


def test_7_6_recording_that_starts_with_a_fall_still_gives_rises() -> None:
    pulses = camera_pulses(without(fronts(RISES), 0))
    np.testing.assert_allclose(pulses.times_s, RISES[1:])
    assert pulses.measured.all()
    assert "starts with a fall" in pulses.notes[0]


def test_7_6_missed_rise_is_placed_from_its_fall_and_shifts_nothing() -> None:
    pulses = camera_pulses(without(fronts(RISES), 2 * 50))
    np.testing.assert_allclose(pulses.times_s, RISES, atol=1e-9)
    assert np.flatnonzero(~pulses.measured).tolist() == [50]
    assert pulses.n_inserted == 1
    assert "1 rises were missed" in pulses.notes[0]


def test_7_6_missed_fall_changes_nothing() -> None:
    pulses = camera_pulses(without(fronts(RISES), 2 * 50 + 1))
    np.testing.assert_array_equal(pulses.times_s, RISES)
    assert pulses.measured.all()


def test_fall_right_after_a_fall_makes_no_pulse() -> None:
    source = fronts(RISES)
    bounced = Fronts(np.insert(source.times_s, 102, source.times_s[101] + 1e-4), np.insert(source.polarities, 102, -1))
    np.testing.assert_array_equal(camera_pulses(bounced).times_s, RISES)


def test_line_without_rises_is_refused_with_what_every_channel_carries() -> None:
    silent = Fronts(np.array([1.0, 2.0]), np.array([-1, -1], np.int8))
    with pytest.raises(NoPulses, match=r"left of SW_001.*0 rises and 2 falls.*2: 2, 4: 1,234"):
        camera_pulses(silent, where="left of SW_001", fronts_per_channel={4: 1234, 2: 2})


def test_7_8_period_is_not_rounded_to_whole_hertz_or_samples() -> None:
    rng = np.random.default_rng(1)
    truth = 1 / 59.767
    sampled = np.round((np.arange(60_000) * truth + rng.normal(0, 2e-5, 60_000)) * 30_000) / 30_000
    pulses = Pulses(sampled, np.ones(sampled.size, np.bool_))
    assert pulses.period_s == pytest.approx(truth, rel=1e-6)


def test_period_survives_few_and_uneven_intervals() -> None:
    assert typical_period_s(np.array([0.0, 1.0, 4.0])) == 1.0
    assert typical_period_s(np.array([0.0, 3.0])) == 3.0
    assert np.isnan(typical_period_s(np.array([1.0])))


def test_7_2_pulses_before_the_first_go_back_one_period_at_a_time() -> None:
    pulses = Pulses(RISES, np.ones(RISES.size, np.bool_))
    found = pulses.at(np.arange(-4, 204))
    np.testing.assert_allclose(found, 5 + np.arange(-4, 204) / 60, atol=1e-9)


def test_times_and_numbers_are_inverse_beyond_both_ends() -> None:
    pulses = Pulses(RISES, np.ones(RISES.size, np.bool_))
    numbers = np.arange(-50, 260)
    np.testing.assert_array_equal(pulses.number_at(pulses.at(numbers) - 0.002), numbers)
    np.testing.assert_array_equal(pulses.number_at(pulses.at(numbers) + 0.002), numbers + 1)


def test_gaps_are_found_and_filled_where_they_are() -> None:
    pulses = Pulses(np.delete(RISES, [40, 41, 42, 90]), np.ones(196, np.bool_))
    gaps = find_gaps(pulses)
    assert [(gap.after, gap.n_periods) for gap in gaps] == [(39, 4), (86, 2)]
    filled = fill_gaps(pulses, gaps)
    np.testing.assert_allclose(filled.times_s, RISES, atol=1e-9)
    assert np.flatnonzero(~filled.measured).tolist() == [40, 41, 42, 90]
    assert filled.n_inserted == 4
    assert fill_gaps(pulses, ()) is pulses


# -- glitches ---------------------------------------------------------------------------------------------------


def measured(times: np.ndarray) -> Pulses:
    return Pulses(np.sort(times), np.ones(times.size, np.bool_))


@given(st.lists(st.tuples(st.integers(5, 190), st.floats(0.02, 0.98)), min_size=1, max_size=6))
def test_glitches_are_left_out_wherever_they_come_between_pulses(glitches: list[tuple[int, float]]) -> None:
    made_up = np.unique([RISES[at] + phase / 60 for at, phase in glitches])
    found = drop_spurious(measured(np.append(RISES, made_up)))
    assert len(found) == RISES.size
    assert np.abs(found.times_s - RISES).max() <= 0.1 / 60
    assert "did not fit between their neighbours" in found.notes[0]


@given(st.integers(5, 190), st.floats(0.05, 0.95))
def test_a_glitch_beside_a_missed_pulse_takes_at_most_its_place(at: int, phase: float) -> None:
    pulses = drop_spurious(measured(np.append(np.delete(RISES, at), RISES[at - 1] + 2 * phase / 60)))
    filled = fill_gaps(pulses, find_gaps(pulses))
    assert len(filled) == RISES.size
    assert np.abs(filled.times_s - RISES).max() < 0.5 / 60


def test_glitches_before_the_first_and_after_the_last_pulse_are_left_out() -> None:
    found = drop_spurious(measured(np.append(RISES, [RISES[0] - 0.4 / 60, RISES[-1] + 0.3 / 60])))
    np.testing.assert_array_equal(found.times_s, RISES)


def test_regular_pulses_are_not_touched() -> None:
    pulses = measured(RISES)
    assert drop_spurious(pulses) is pulses


@pytest.mark.parametrize("phase", [30.4, 30.5, 30.6])
def test_a_glitch_within_a_pause_adds_no_period_to_it(phase: float) -> None:
    paused = np.append(RISES, RISES[-1] + (90.3 + np.arange(50)) / 60)
    pulses = drop_spurious(measured(np.append(paused, RISES[-1] + phase / 60)))
    assert sum(gap.n_periods for gap in find_gaps(pulses)) == 90


def test_a_time_that_is_no_number_is_refused() -> None:
    source = fronts(RISES)
    source.times_s[6] = np.nan
    with pytest.raises(UnusableFile, match=r"no number at front 6 \(1 in all\).*left of SW_001"):
        camera_pulses(source, where="left of SW_001")
