"""Random sessions of every kind of trouble: none comes out wrong without a word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from clock_verdicts import (
    NO_TRACE,
    REFUSED,
    RIGHT,
    SILENT,
    WRONG_FLAGGED,
    Judged,
    judge,
    time_session,
)
from random_clocks import KINDS, random_session

from ibl_dask.model.outcome import Outcome
from ibl_dask.timing.alignment.camera_times import Quality

CLOCKS = 2000
LONGEST_S = 22.0
CALM = (
    "nothing wrong",
    "extra pulses at the ends",
    "frames dropped",
    "pulses made up",
    "pauses",
    "pins read late",
    "quick exposures at an end",
)
"""Kinds that leave nothing to flag, and pins enough to tell."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Judged]]:
    folder, kinds = tmp_path_factory.mktemp("clocks"), list(KINDS)
    found: dict[str, list[Judged]] = {kind: [] for kind in kinds}
    for number in range(CLOCKS):
        kind, seed = kinds[number % len(kinds)], number // len(kinds)
        found[kind].append(judge(random_session(kind, seed, LONGEST_S), folder))
    return found


def test_no_clock_of_2000_is_silently_wrong(judged: dict[str, list[Judged]]) -> None:
    counts = {kind: Counter(one.verdict for one in every) for kind, every in judged.items()}
    assert sum(map(len, judged.values())) == CLOCKS
    assert {kind: n[SILENT] for kind, n in counts.items() if n[SILENT]} == {}
    # Both are rare: a loss that leaves no trace, and a frame that is wrong and called interpolated.
    assert sum(n[NO_TRACE] for n in counts.values()) <= 2
    assert sum(n[WRONG_FLAGGED] for n in counts.values()) <= 4


FOUND = {
    "in short intervals a late reading is nearer to the next exposure than its delay": (
        "pins read late, few TTLs",
        2381,
    ),
    "a sound beyond the loss fits in part by chance": ("samples lost at an end", 2529),
    "a loss of two periods less 0.2 ms moves the rest by hardly more than a tick": ("samples lost at an end", 9141),
    "of 12 frames beyond the loss only the intervals show it": ("samples lost at an end", 13840),
    "an uneven camera beyond the loss looks like a rough clock": ("samples lost within", 3091),
    "late pins before a pause of 316 s look like those of the frame before": (
        "a pause, the computer's clock stalls",
        5926,
    ),
    "the same without jitter": ("a pause, the computer's clock stalls", 7118),
    "the same with pins that would be read as late as may be": ("a pause, the computer's clock stalls", 18523),
    "of a sound within a whole number of lost periods only the camera shows": ("samples lost at an end", 16146),
    "the loss cuts a sound on the main clock": ("samples lost at an end", 20099),
    "each side shows a sound of its own at the last end": ("samples lost at an end", 24081),
    "a loss of nearly a period before 41 % of the frames looks like late pins": ("samples lost within", 18330),
}
"""Found among a million."""


@pytest.mark.parametrize(("kind", "seed"), FOUND.values(), ids=FOUND)
def test_clocks_that_were_silently_wrong_once_are_flagged(kind: str, seed: int, tmp_path: Path) -> None:
    assert judge(random_session(kind, seed, 60.0), tmp_path).verdict not in (SILENT, NO_TRACE)


@pytest.mark.parametrize("kind", CALM)
def test_nearly_all_clocks_with_nothing_to_flag_are_right_and_pass(judged: dict[str, list[Judged]], kind: str) -> None:
    verdicts = Counter(one.verdict for one in judged[kind])
    assert verdicts[RIGHT] >= 0.9 * verdicts.total(), verdicts


def test_hardly_any_clock_is_refused(judged: dict[str, list[Judged]]) -> None:
    refused = [one.error for every in judged.values() for one in every if one.verdict == REFUSED]
    assert len(refused) < 0.01 * CLOCKS, refused


def test_times_that_are_assumed_fail_and_say_why(judged: dict[str, list[Judged]]) -> None:
    for one in (one for every in judged.values() for one in every if one.times is not None):
        times = one.times
        assert times is not None
        is_assumed = (times.quality == Quality.ASSUMED).any()
        assert is_assumed == (times.outcome_hint is Outcome.FAIL) == bool(times.assumed)
        assert (np.diff(times.times_s) > 0).all()


# -- kinds that were silently wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["samples lost at an end", "samples lost within"])
@pytest.mark.parametrize("first", [1000, 1040])
def test_samples_that_a_daq_lost_are_noticed_wherever_they_were(kind: str, first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 40):
        found = judge(random_session(kind, seed), tmp_path)
        assert found.verdict != SILENT, seed


def test_samples_lost_between_sounds_cost_no_frame_its_time(tmp_path: Path) -> None:
    n_right = 0
    for seed in range(40):
        session = random_session("samples lost within", seed)
        found = judge(session, tmp_path)
        if found.times is None:
            continue
        off = np.abs(found.times.times_s - session.truth_s) / session.period_s
        n_right += np.mean(np.nan_to_num(off) < 0.5) > 0.99
    assert n_right >= 16


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("periods", [0.3, 0.4, 0.55])
def test_exposures_that_come_too_soon_keep_their_pulses(at_end: bool, periods: float, tmp_path: Path) -> None:
    for quick in range(1, 6):
        settings = {"quick": quick, "quick_at_end": at_end, "quick_periods": periods}
        session = random_session("quick exposures at an end", 500 + quick, **settings)
        found = time_session(session, tmp_path)
        assert np.abs(found.times_s - session.truth_s).max() < session.period_s / 4, settings
        assert found.outcome_hint is Outcome.PASS
        assert not found.flagged


@pytest.mark.parametrize("seed", range(2000, 2030))
def test_pins_that_are_read_late_move_no_frame(seed: int, tmp_path: Path) -> None:
    session = random_session("pins read late", seed)
    found = time_session(session, tmp_path)
    assert np.abs(found.times_s - session.truth_s).max() < session.period_s / 4
    if session.plan.pin_delay > 0.2:
        assert any("reads its pin" in note for note in found.notes)


def test_the_generator_makes_the_same_session_again() -> None:
    for kind in KINDS:
        one, two = random_session(kind, 7, 22.0), random_session(kind, 7, 22.0)
        np.testing.assert_array_equal(one.truth_s, two.truth_s)
        assert (one.frame_data, one.trials, one.camlog) == (two.frame_data, two.trials, two.camlog)
