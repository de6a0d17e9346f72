"""Pin changes against sync changes."""

from __future__ import annotations

import numpy as np
import pytest

from ibl_dask.timing.alignment import start_votes
from ibl_dask.timing.alignment.pin_changes import pin_edges
from ibl_dask.timing.alignment.pin_matching import match_pins
from ibl_dask.timing.clocks.nidq import Fronts
from ibl_dask.timing.clocks.pulses import Pulses

PERIOD = 1 / 60


def matrix(state: np.ndarray) -> np.ndarray:
    pins = np.zeros((state.size, 4), np.bool_)
    pins[:, 3] = state
    return pins


def scene(n: int = 3000, offset: int = 0, n_tones: int = 40, seed: int = 0) -> tuple[Pulses, np.ndarray, Fronts]:
    """Return pulses, pins of a camera whose frame 0 is at pulse `offset`, and tones of 0.1 s."""
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.uniform(101, 100 + n * PERIOD - 1, n_tones))
    starts = starts[np.diff(starts, prepend=0) > 0.3]
    edges = np.ravel(np.column_stack([starts, starts + 0.1]))
    pulses = 100 + np.arange(n) * PERIOD
    exposures = 100 + np.arange(offset, n) * PERIOD
    state = np.array([np.count_nonzero(edges <= t) % 2 == 1 for t in exposures])
    ttl = Fronts(edges, np.tile(np.array([1, -1], np.int8), starts.size))
    return Pulses(pulses, np.ones(n, np.bool_)), matrix(state), ttl


def test_pin_already_up_on_the_first_frame_is_no_change() -> None:
    frames, polarities = pin_edges(matrix(np.array([1, 1, 0, 0, 1], bool)))
    assert frames.tolist() == [2, 4]
    assert polarities.tolist() == [-1, 1]


@pytest.mark.parametrize("offset", [0, 1, 57, -33])
def test_start_is_the_exact_pulse_of_frame_0(offset: int) -> None:
    pulses, pins, ttl = scene(offset=offset)
    match = match_pins(pulses, np.arange(len(pins)), pins, ttl)
    assert match.usable
    assert match.start == offset
    assert match.n_matched == match.n_pin_edges == match.n_ttl_edges
    assert match.confidence > 0.7
    assert (match.residuals_s <= 1e-9).all()
    assert (match.residuals_s > -PERIOD).all()


def test_each_change_is_used_once() -> None:
    pulses, pins, ttl = scene()
    twice = Fronts(np.repeat(ttl.times_s, 2), np.repeat(ttl.polarities, 2))
    match = match_pins(pulses, np.arange(len(pins)), pins, twice)
    assert match.start == 0
    assert match.n_matched == match.n_pin_edges == len(ttl)
    assert len(set(match.frames.tolist())) == match.n_matched


def test_changes_during_dropped_frames_are_seen_on_the_next_one() -> None:
    pulses, pins, ttl = scene(offset=20)
    keep = np.ones(len(pins), bool)
    for frame in pin_edges(pins)[0][::4]:
        keep[frame : frame + 3] = False
    match = match_pins(pulses, np.flatnonzero(keep), pins[keep], ttl)
    assert match.start == 20
    assert match.n_matched == match.n_pin_edges


def test_7_9_equal_counts_with_one_missed_and_one_spurious_change_do_not_mislead() -> None:
    pulses, pins, ttl = scene(offset=11)
    times = np.append(np.delete(ttl.times_s, [0, 1]), [149.2, 149.3])  # first tone missed, one heard too many
    polarities = np.append(np.delete(ttl.polarities, [0, 1]), [1, -1]).astype(np.int8)
    assert times.size == pin_edges(pins)[0].size
    match = match_pins(pulses, np.arange(len(pins)), pins, Fronts(times, polarities))
    assert match.usable
    assert match.start == 11
    assert match.n_matched == times.size - 2
    assert (np.abs(match.residuals_s) <= PERIOD + 1e-9).all()


def test_regular_changes_fit_everywhere_and_are_not_used() -> None:
    edges = 101 + 0.5 * np.arange(80)
    pulses = Pulses(100 + np.arange(3000) * PERIOD, np.ones(3000, np.bool_))
    state = np.searchsorted(edges, pulses.times_s, side="right") % 2 == 1
    ttl = Fronts(edges, np.tile(np.array([1, -1], np.int8), 40))
    match = match_pins(pulses, np.arange(3000), matrix(state), ttl)
    assert not match.usable
    assert "two places about equally well" in match.reason


def test_regular_changes_that_fit_one_place_best_are_in_doubt() -> None:
    rises = 101 + 2.5 * np.arange(18)
    ttl = Fronts(np.ravel(np.column_stack([rises, rises + 0.1])), np.tile(np.array([1, -1], np.int8), 18))
    pulses = Pulses(100 + np.arange(3000) * PERIOD, np.ones(3000, np.bool_))
    seen = np.repeat(np.isin(np.arange(18), [0, 3, 5, 17]), 2)
    state = np.searchsorted(ttl.times_s[seen], pulses.times_s, side="right") % 2 == 1
    match = match_pins(pulses, np.arange(3000), matrix(state), ttl)
    assert (match.usable, match.start) == (True, 0)
    assert "34 of 36 changes repeat after one and the same interval" in match.doubt


def test_unrelated_changes_are_not_used() -> None:
    pulses, pins, _ = scene(seed=1)
    _, _, other = scene(seed=2)
    match = match_pins(pulses, np.arange(len(pins)), pins, other)
    assert not match.usable
    assert "coincide" in match.reason


@pytest.mark.parametrize("kept", [0, 1])
def test_fewer_than_two_changes_are_not_used(kept: int) -> None:
    pulses, pins, ttl = scene()
    match = match_pins(pulses, np.arange(len(pins)), pins, Fronts(ttl.times_s[:kept], ttl.polarities[:kept]))
    assert not match.usable
    assert "twice or more" in match.reason


def test_two_changes_are_enough() -> None:
    pulses, _, _ = scene()
    state = np.zeros(2000, bool)
    state[500:506] = True
    edges = pulses.times_s[[700, 706]] - 0.004
    match = match_pins(pulses, np.arange(2000), matrix(state), Fronts(edges, np.array([1, -1], np.int8)))
    assert match.usable
    assert match.start == 200
    assert "so few that chance may have made them" in match.doubt


def test_clean_changes_leave_no_doubt() -> None:
    pulses, pins, ttl = scene(n_tones=6)
    match = match_pins(pulses, np.arange(len(pins)), pins, ttl)
    assert match.usable
    assert match.doubt == ""


def test_changes_that_no_frame_can_show_are_not_asked_for() -> None:
    pulses, pins, ttl = scene(offset=3)
    short = pulses.times_s[100:2900:100] + 0.3 * PERIOD
    short = short[[np.abs(ttl.times_s - t).min() > 0.2 for t in short]]
    times = np.concatenate([ttl.times_s, short, short + 1e-3])
    polarities = np.concatenate([ttl.polarities, np.ones(short.size), -np.ones(short.size)]).astype(np.int8)
    order = np.argsort(times)
    match = match_pins(pulses, np.arange(len(pins)), pins, Fronts(times[order], polarities[order]))
    assert (match.start, match.n_matched) == (3, len(ttl))
    assert match.doubt == ""


@pytest.mark.parametrize("shift", [1, -1, 40])
def test_7_9_a_stretch_that_wants_another_place_is_in_doubt_however_good_the_rest(shift: int) -> None:
    pulses, pins, ttl = scene(offset=500, n_tones=60)
    times = pulses.times_s
    moved = np.delete(times, np.arange(2200, 2200 + shift)) if shift > 0 else np.insert(times, 2200, times[2200] - 5e-3)
    match = match_pins(Pulses(moved, np.ones(moved.size, np.bool_)), np.arange(len(pins)), pins, ttl)
    assert match.usable
    assert "the changes want another place than elsewhere" in match.doubt


def test_transform_counts_the_same_votes_as_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    pulses, pins, ttl = scene(offset=-70, seed=5)
    count = np.arange(len(pins)) + (np.arange(len(pins)) > 900) * 4
    rng = np.random.default_rng(3)
    starts = range(-299, 500)
    sides = [(rng.integers(-200, 900, 300), rng.integers(0, 400, 200)) for _ in range(2)]
    by_pairs = match_pins(pulses, count, pins, ttl), start_votes.count_votes(sides, starts)
    monkeypatch.setattr(start_votes, "MOST_PAIRS", 0)
    by_transform = match_pins(pulses, count, pins, ttl), start_votes.count_votes(sides, starts)
    np.testing.assert_array_equal(by_pairs[1], by_transform[1])
    assert by_pairs[0].start == by_transform[0].start
    assert by_pairs[0].confidence == by_transform[0].confidence


def test_change_at_the_very_time_of_a_pulse_shows_on_its_frame() -> None:
    pulses, _, _ = scene()
    state = np.zeros(2000, bool)
    state[500:506] = True
    exact = Fronts(pulses.times_s[[700, 706]], np.array([1, -1], np.int8))
    match = match_pins(pulses, np.arange(2000), matrix(state), exact)
    assert match.start == 200
    assert match.residuals_s.tolist() == [0, 0]


def test_changes_one_frame_off_count_as_the_same_but_do_not_move_the_start() -> None:
    pulses, pins, ttl = scene(offset=30)
    late = ttl.times_s.copy()
    late[::5] += PERIOD
    match = match_pins(pulses, np.arange(len(pins)), pins, Fronts(late, ttl.polarities))
    assert match.start == 30
    assert match.n_matched == len(ttl)
    assert np.count_nonzero(match.residuals_s > 0) == np.ceil(len(ttl) / 5)


def test_two_changes_of_which_one_fits_elsewhere_are_too_few() -> None:
    pulses, _, _ = scene()
    state = np.zeros(2000, bool)
    state[500:506] = True
    edges = np.append(pulses.times_s[[700, 706, 1100]] - 0.004, 130.0)
    match = match_pins(pulses, np.arange(2000), matrix(state), Fronts(edges, np.array([1, -1, 1, -1], np.int8)))
    assert not match.usable
    assert "only 1 fewer" in match.reason
