"""A Bpod's trials in, one time per frame out: against synthetic truth, real trials and the reference."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import PEER

from ibl_dask.errors import MissingFile, NoPulses, PulseCountMismatch, UnusableFile
from ibl_dask.model.outcome import Outcome
from ibl_dask.synth.bpod_files import write_bpod
from ibl_dask.synth.training import TrainingFaults, TrainingTruth, plan_training
from ibl_dask.timing.alignment.camera_times import CameraTimes, Quality
from ibl_dask.timing.alignment.clock_policy import BPOD
from ibl_dask.timing.alignment.frame_times import times_from_pulses
from ibl_dask.timing.camera.camera_files import CameraFiles
from ibl_dask.timing.clocks.bpod import TRIALS_FILE, bpod_pulses, fuse_doubles, read_bpod
from ibl_dask.timing.clocks.nidq import Fronts

TICK_S = 1e-4
JITTER_S = 1e-4
"""Exposures of the synthetic camera are at most this far from where an even camera would make them."""
REAL = {"training_ge5": (3010, 3165), "biased_ge5": (2518, 2628)}
"""Rises of port 1 in real trials, and the times that the reference makes of them."""


def camera_of(truth: TrainingTruth, pins: str = "sound") -> CameraFiles:
    """Return what the camera noted: its count, and on pin 4 the sounds."""
    times, count = truth.camera.frame_times_s, truth.camera.frame_exposures
    state = np.zeros((times.size, 4), bool)
    if pins == "sound":
        state[:, 3] = np.searchsorted(truth.ttl_times_s, times, side="right") % 2 == 1
    return CameraFiles(
        times.size, times - times[0], None, count - count[0], None if pins == "none" else state, ("frameData.bin",)
    )


def timed(folder: Path, seed: int = 3, duration_s: float = 60.0, **faults: Any) -> tuple[CameraTimes, TrainingTruth]:
    wanted = TrainingFaults(**faults)
    truth, noted = plan_training(duration_s, seed=seed, faults=wanted)
    write_bpod(folder, noted)
    events = read_bpod(folder / TRIALS_FILE)
    pulses = bpod_pulses(events, where="left")
    camera = camera_of(truth, wanted.pins)
    found = times_from_pulses(truth.camera.n_frames, pulses, events.ttl, camera, where="left", policy=BPOD)
    assert found.times_s.size == truth.camera.n_frames
    assert (np.diff(found.times_s) > 0).all()
    return found, truth


def error_of(found: CameraTimes, truth: TrainingTruth, quality: Quality | None = None) -> float:
    off = np.abs(found.times_s - truth.camera.frame_times_s)
    off = off if quality is None else off[found.quality == quality]
    return float(off.max(initial=0))


def trial(start: float, bpod: float = 0.0, **events: list[float]) -> dict[str, Any]:
    return {
        "behavior_data": {
            "Bpod start timestamp": bpod,
            "Trial start timestamp": bpod + start,
            "Trial end timestamp": bpod + start + 2,
            "Events timestamps": events,
        }
    }


def written(folder: Path, *trials: object, end: str = "\n") -> Path:
    path = folder / TRIALS_FILE
    path.write_text("\n".join(t if isinstance(t, str) else json.dumps(t) for t in trials) + end)
    return path


def frames_at(start: float, stop: float, period: float = 1 / 30) -> list[float]:
    """Return the times of an even camera's pulses within a trial, s since its start."""
    times = np.arange(np.ceil(start / period), np.ceil(stop / period)) * period
    return (times - start).tolist()


# -- any recording -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    duration_s=st.floats(40, 120),
    head_s=st.floats(-1, 3),
    tail_s=st.floats(-0.3, 20),
    n_dropped=st.integers(0, 8),
    n_lost_start=st.integers(0, 40),
    n_lost_end=st.integers(0, 6),
    mute_trials=st.integers(0, 2),
    blind_trials=st.integers(0, 2),
    chatter=st.booleans(),
)
def test_with_pins_every_frame_that_the_bpod_saw_is_within_one_tick(
    tmp_path_factory, seed, duration_s, **faults
) -> None:
    found, truth = timed(tmp_path_factory.mktemp("bpod"), seed, duration_s, **faults)
    assert found.method == "pins", found.notes
    seen = truth.is_noted
    np.testing.assert_array_equal(found.pulse_quality == Quality.MEASURED, seen)
    assert not found.assumed or "so few" in found.assumed
    assert error_of(found, truth, Quality.MEASURED) <= TICK_S
    assert error_of(found, truth, Quality.INTERPOLATED) <= TICK_S + JITTER_S
    assert error_of(found, truth, Quality.EXTRAPOLATED) <= 2e-3
    assert found.n_dropped == truth.camera.n_dropped
    assert found.n_surplus_start == truth.camera.n_surplus_start
    assert found.n_surplus_end == truth.camera.n_surplus_end


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    duration_s=st.floats(20, 90),
    head_s=st.floats(-1, -0.1),
    tail_s=st.floats(-0.3, 50),
    n_dropped=st.integers(0, 8),
    blind_trials=st.integers(0, 2),
    pins=st.sampled_from(["stuck", "none"]),
)
def test_without_pins_a_camera_that_starts_within_a_trial_is_timed_all_the_same(
    tmp_path_factory, seed, duration_s, **faults
) -> None:
    found, truth = timed(tmp_path_factory.mktemp("bpod"), seed, duration_s, **faults)
    assert found.method == "counts"
    assert error_of(found, truth, Quality.MEASURED) <= TICK_S
    assert error_of(found, truth) <= 2e-3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 0.02), min_size=1, max_size=60), st.integers(0, 1))
def test_fused_fronts_still_alternate_and_end_as_before(steps: list[float], first: int) -> None:
    fronts = Fronts(np.cumsum(steps), np.where(np.arange(len(steps)) % 2 == first, 1, -1).astype(np.int8))
    fused = fuse_doubles(fronts)
    assert (np.diff(fused.polarities) != 0).all()
    assert (len(fronts) - len(fused)) % 2 == 0
    assert fused.polarities.sum() == fronts.polarities.sum()
    low = (fused.polarities[:-1] < 0) & (np.diff(fused.times_s) < 5e-3)
    assert not low.any()
    assert set(fused.times_s) <= set(fronts.times_s)


# -- what the reference gets wrong ---------------------------------------------------------------------------


def test_7_1_frames_after_the_last_trial_follow_at_the_camera_s_period(tmp_path) -> None:
    found, truth = timed(tmp_path, head_s=-1, tail_s=30, pins="stuck")
    assert found.n_missing_end == 900
    assert (found.pulse_quality[-900:] == Quality.EXTRAPOLATED).all()
    assert error_of(found, truth) < 1e-3
    assert found.outcome_hint is Outcome.FAIL


def test_7_5_trials_without_sounds_add_no_fronts_and_do_not_cost_the_pins(tmp_path) -> None:
    found, truth = timed(tmp_path, mute_trials=4)
    assert found.method == "pins"
    assert error_of(found, truth, Quality.MEASURED) <= TICK_S
    path = written(tmp_path, trial(0, BNC2High=[0.5], BNC2Low=[0.6]), trial(3), trial(6, BNC2High=[1], BNC2Low=[2]))
    np.testing.assert_allclose(read_bpod(path).ttl.times_s, [0.5, 0.6, 7, 8])


def test_7_7_three_edges_within_5_ms_swap_no_rise_with_a_fall(tmp_path) -> None:
    found, truth = timed(tmp_path, chatter=True)
    assert found.method == "pins"
    assert error_of(found, truth, Quality.MEASURED) <= TICK_S
    times = [0.5, 0.502, 0.504, 0.6]
    events = {"BNC2High": times[::2], "BNC2Low": times[1::2]}
    ttl = read_bpod(written(tmp_path, trial(0, **events), trial(3, **events))).ttl
    np.testing.assert_allclose(ttl.times_s, [0.5, 0.6, 3.5, 3.6])
    assert ttl.polarities.tolist() == [1, -1, 1, -1]


def test_7_8_gaps_and_tail_are_counted_in_periods_that_are_no_round_number(tmp_path) -> None:
    """At 29.4 Hz, a minute without pulses holds 18 frames fewer than at 30 Hz."""
    period = 1 / 29.4
    trials = [
        trial(a, Port1In=(rises := frames_at(a, b, period)), Port1Out=[r + 0.02 for r in rises])
        for a, b in ((0.0, 20.0), (80.0, 100.0))
    ]
    pulses = bpod_pulses(read_bpod(written(tmp_path, *trials)))
    assert len(pulses) == round(100 / period)
    np.testing.assert_allclose(pulses.times_s, np.arange(len(pulses)) * period, atol=1e-6)
    found = times_from_pulses(len(pulses) + 600, pulses, None, None, where="left", policy=BPOD)
    np.testing.assert_allclose(found.times_s, np.arange(len(pulses) + 600) * period, atol=1e-6)


def test_7_11_more_pulses_than_frames_still_gives_one_time_per_frame_and_says_which_were_left_out(tmp_path) -> None:
    found, truth = timed(tmp_path, head_s=-1, tail_s=-0.3, n_lost_start=25, pins="none")
    assert found.n_surplus_start == 25
    off = np.abs(found.times_s - truth.camera.frame_times_s)
    assert off[found.pulse_quality == Quality.MEASURED].max() <= TICK_S
    assert found.outcome_hint is Outcome.FAIL
    assert (found.quality == Quality.ASSUMED).all()
    assert any("25 pulses in excess are assumed to come before the first frame" in note for note in found.notes)


@pytest.mark.parametrize(("where", "faults"), [("start", {"n_lost_start": 40}), ("end", {"n_lost_end": 40})])
def test_with_pins_surplus_pulses_are_known_to_be_at_one_end(tmp_path, where: str, faults: dict[str, int]) -> None:
    found, truth = timed(tmp_path, head_s=-1, tail_s=-0.3, **faults)
    assert found.method == "pins"
    assert (found.n_surplus_start, found.n_surplus_end) == ((40, 0) if where == "start" else (0, 40))
    assert error_of(found, truth, Quality.MEASURED) <= TICK_S


def test_7_13_a_trial_noted_so_early_that_its_gap_vanishes_moves_no_other_trial(tmp_path) -> None:
    found, truth = timed(tmp_path, short_gap=True)
    assert found.method == "pins"
    off = np.abs(found.times_s - truth.camera.frame_times_s)
    assert off.max() < truth.camera.fps**-1
    middle = len(truth.trial_times_s) // 2
    start, stop = truth.trial_times_s[middle - 1, 1], truth.trial_times_s[middle + 1, 0]
    elsewhere = (truth.camera.frame_times_s < start) | (truth.camera.frame_times_s > stop)
    assert off[elsewhere].max() <= 2 * TICK_S + JITTER_S
    assert any("0.40 after line" in note and "noted wrongly" in note for note in found.notes)


# -- what is said about it ---------------------------------------------------------------------------------


def test_a_gap_that_is_no_whole_number_of_periods_is_named(tmp_path) -> None:
    period = 1 / 30
    first, second = frames_at(0, 3), frames_at(4, 7)
    shifted = [time + 0.4 * period for time in second]
    pulses = bpod_pulses(read_bpod(written(tmp_path, trial(0, Port1In=first), trial(4, Port1In=shifted))))
    assert any("31.40 after line 1" in note and "may be off by one" in note for note in pulses.notes)
    assert len(pulses) == len(first) + 30 + len(second)
    even = bpod_pulses(read_bpod(written(tmp_path, trial(0, Port1In=first), trial(4, Port1In=second))))
    assert not any("whole number" in note for note in even.notes)


def test_a_gap_that_is_no_whole_number_of_periods_does_not_bend_what_follows(tmp_path) -> None:
    period = 1 / 30
    shifted = [time + 0.4 * period for time in frames_at(4, 7)]
    trials = [trial(0, Port1In=frames_at(0, 3)), trial(4, Port1In=shifted)]
    pulses = bpod_pulses(read_bpod(written(tmp_path, *trials)))
    found = times_from_pulses(len(pulses) + 1500, pulses, None, None, where="left", policy=BPOD)
    np.testing.assert_allclose(np.diff(found.times_s)[-1500:], period, atol=1e-7)


def test_where_the_camera_ran_before_the_first_trial_the_assumption_is_named_and_fails(tmp_path) -> None:
    found, truth = timed(tmp_path, head_s=1.0, pins="stuck")
    assert found.method == "counts"
    assert found.outcome_hint is Outcome.FAIL
    assert (found.quality == Quality.ASSUMED).all()
    assert found.n_missing_start == 0
    assert any("the first is assumed to be that of frame 0" in note for note in found.notes)
    assert any("ran before the first trial" in note for note in found.notes)
    assert error_of(found, truth) == pytest.approx(1.0, abs=0.05)


def test_with_pins_frames_before_the_first_trial_are_known_and_flagged(tmp_path) -> None:
    found, truth = timed(tmp_path, head_s=2.5)
    assert found.n_missing_start == 75
    assert (found.quality[:75] == Quality.EXTRAPOLATED).all()
    assert error_of(found, truth) < 1e-3


def test_a_pulse_within_half_a_period_of_another_of_its_trial_is_a_glitch(tmp_path) -> None:
    rises = frames_at(0, 3)
    glitched = sorted([*rises, rises[40] + 0.004])
    pulses = bpod_pulses(read_bpod(written(tmp_path, trial(0, Port1In=glitched))))
    np.testing.assert_allclose(pulses.times_s, rises)
    assert any("1 pulses came within half a period" in note for note in pulses.notes)


def test_a_minute_after_the_last_trial_is_timed_and_more_is_refused_with_the_counts(tmp_path) -> None:
    found, truth = timed(tmp_path, head_s=-1, tail_s=59.5, pins="stuck")
    assert found.n_missing_end == 1785
    assert error_of(found, truth) < 2e-3
    with pytest.raises(PulseCountMismatch) as raised:
        timed(tmp_path, head_s=-1, tail_s=180, pins="stuck")
    for text in ("5,400 after the last", "1,800 frames (60 s or 0.5%)", "protocol", "longest_extrapolation_s"):
        assert text in str(raised.value), raised.value


# -- files that are not as they should be --------------------------------------------------------------------


def test_a_torn_last_line_is_left_out_and_reported(tmp_path) -> None:
    whole = [trial(a, Port1In=frames_at(a, a + 2)) for a in (0, 3)]
    torn = json.dumps(trial(6, Port1In=frames_at(6, 8)))[:-40]
    events = read_bpod(written(tmp_path, *whole, torn, end=""))
    assert events.trial_lines.tolist() == [1, 2]
    assert any("line 3" in note and "cut off" in note for note in events.notes)


def test_a_last_line_without_its_newline_is_whole(tmp_path) -> None:
    events = read_bpod(written(tmp_path, *[trial(a, Port1In=frames_at(a, a + 2)) for a in (0, 3)], end=""))
    assert events.trial_lines.tolist() == [1, 2]
    assert events.notes == ()


def test_a_damaged_line_in_the_middle_is_named(tmp_path) -> None:
    path = written(tmp_path, trial(0), '{"behavior_data": {"Bpod', trial(3))
    with pytest.raises(UnusableFile, match=r"line 2 .*damaged.*Expected.*only the last line.*Got.*What to do"):
        read_bpod(path)


@pytest.mark.parametrize("content", ["", "\n\n", '{"behavior_data": {"Bpod st'])
def test_a_file_without_a_whole_trial_is_refused(tmp_path, content: str) -> None:
    with pytest.raises(UnusableFile, match=r"no whole trial.*Got: \d+ bytes"):
        read_bpod(written(tmp_path, content, end=""))


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(MissingFile, match=TRIALS_FILE):
        read_bpod(tmp_path / TRIALS_FILE)


def without(key: str) -> dict[str, Any]:
    damaged = trial(3)
    del damaged["behavior_data"][key]
    return damaged


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        ([1, 2], "behavior_data"),
        ({"trial_num": 2}, "an object with trial_num"),
        (without("Bpod start timestamp"), "no Bpod start timestamp"),
        (without("Trial start timestamp"), "no Trial start timestamp"),
        (without("Events timestamps"), "no Events timestamps"),
        (trial(3, bpod=float("nan")), "nan"),
        (trial(-5), "-5 s"),
        (trial(3, Port1In=["early", "late"]), "Port1In"),
        (trial(3, Port1In=[0.1, 1e12]), "1e+12 s"),
        ({"behavior_data": {**trial(3)["behavior_data"], "Events timestamps": [1]}}, "events by name"),
        ({"behavior_data": {**trial(3)["behavior_data"], "Trial start timestamp": None}}, "timestamps in s"),
    ],
)
def test_a_line_that_is_no_trial_is_named_with_what_it_lacks(tmp_path, damaged: object, told: str) -> None:
    with pytest.raises(UnusableFile) as raised:
        read_bpod(written(tmp_path, trial(0), damaged, trial(6)))
    message = str(raised.value)
    assert "line 2 is not a trial" in message
    for text in (told, str(tmp_path), "Expected: ", "Got: ", "What to do: "):
        assert text in message


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        ([trial(0), trial(9), trial(4)], "a trial does not start after the one before"),
        ([trial(0, Port1In=[1, 5]), trial(4, Port1In=[0.5, 2])], "a camera pulse does not come after the one before"),
        ([trial(0, Port1In=[0.1, 0.3, 0.2])], "a camera pulse does not come after the one before"),
    ],
)
def test_trials_or_pulses_that_run_backwards_are_named(tmp_path, trials: list[Any], told: str) -> None:
    with pytest.raises(UnusableFile, match=told) as raised:
        read_bpod(written(tmp_path, *trials))
    assert f"line {len(trials)}" in str(raised.value)


def test_events_without_a_time_are_left_out_and_reported(tmp_path) -> None:
    events = read_bpod(written(tmp_path, trial(0, Port1In=[0.1, float("nan"), 0.2], BNC2High=[float("nan")])))
    np.testing.assert_allclose(events.camera.rises_s, [0.1, 0.2])
    assert any("2 events without a time" in note for note in events.notes)


def test_a_session_whose_bpod_has_no_camera_is_refused_with_what_there_is(tmp_path) -> None:
    events = read_bpod(written(tmp_path, *[trial(a, BNC2High=[0.1], BNC2Low=[0.2]) for a in (0, 3, 6)]))
    with pytest.raises(NoPulses, match=r"Where: left of.*Port1In.*0 rises and 0 falls in 3 trials, 6 fronts"):
        bpod_pulses(events, where="left of SW_001")


def test_a_port_that_chatters_is_no_camera(tmp_path) -> None:
    events = read_bpod(written(tmp_path, trial(0, Port1In=[k * TICK_S for k in range(50)]), trial(80_000)))
    with pytest.raises(NoPulses, match=r"no pulses of a camera.*Got: 10,000 a second"):
        bpod_pulses(events, where="left")


def test_trials_without_camera_pulses_are_bridged_and_reported(tmp_path) -> None:
    found, truth = timed(tmp_path, blind_trials=3)
    assert error_of(found, truth) < 1e-3
    assert any("3 of" in note and "hold no camera pulse: lines 3, 6, 9" in note for note in found.notes)


# -- real trials -------------------------------------------------------------------------------------------


def real_trials(data_folder: Path, name: str) -> Path:
    return data_folder / "bpod" / f"session_{name}" / "raw_behavior_data" / TRIALS_FILE


@pytest.mark.parametrize("name", REAL)
def test_real_trials_are_timed_by_every_pulse_they_hold(data_folder, name: str) -> None:
    n_rises, n_reference = REAL[name]
    path = real_trials(data_folder, name)
    rises = []
    for line in path.read_text().splitlines():
        data = json.loads(line)["behavior_data"]
        offset = data["Trial start timestamp"] - data["Bpod start timestamp"]
        rises += [offset + time for time in data["Events timestamps"].get("Port1In", [])]
    pulses = bpod_pulses(read_bpod(path))
    assert len(rises) == n_rises
    np.testing.assert_allclose(pulses.times_s[pulses.measured], rises, atol=1e-9)
    assert len(pulses) == n_reference + 1  # the reference leaves out the last rise, whose fall came too late
    assert 0.0329 < np.diff(pulses.times_s).min() <= np.diff(pulses.times_s).max() < 0.0352
    assert any("the camera started within a trial" in note for note in pulses.notes)
    assert not any("whole number" in note for note in pulses.notes)


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import ibllib.io.raw_data_loaders as raw
from ibllib.io.extractors.camera import CameraTimestampsBpod

session = Path(sys.argv[1])

def extractor():
    made = CameraTimestampsBpod(session)
    made.bpod_trials, made.task_collection = raw.load_data(session), "raw_behavior_data"
    return made

pulses = extractor()._times_from_bpod()
surplus = extractor()._extract(video_path=len(pulses) - 7)
missing = extractor()._extract(video_path=len(pulses) + 10)
np.savez(sys.argv[2], pulses=pulses, surplus=surplus, missing=missing)
"""


@pytest.mark.peer
@pytest.mark.parametrize("name", REAL)
def test_real_trials_give_the_times_of_the_reference_where_it_is_right(data_folder, tmp_path, name: str) -> None:
    path = real_trials(data_folder, name)
    answer = subprocess.run(
        [PEER, "-c", SCRIPT, str(path.parents[1]), str(tmp_path / "answer.npz")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MPLBACKEND": "Agg"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    theirs = np.load(tmp_path / "answer.npz")
    mine = bpod_pulses(read_bpod(path))
    n = REAL[name][1]
    assert len(theirs["pulses"]) == n
    # Where a trial ends before the last pulse falls, the reference replaces that pulse by interpolation.
    np.testing.assert_allclose(mine.times_s[:n], theirs["pulses"], atol=2e-5)
    assert np.count_nonzero(np.abs(mine.times_s[:n] - theirs["pulses"])[mine.measured[:n]] > 1e-9) < 10

    def times(n_frames: int) -> np.ndarray:
        return times_from_pulses(n_frames, mine, None, None, where="left", policy=BPOD).times_s

    # With too few frames both keep the last pulses; ours has one more.
    np.testing.assert_allclose(times(n - 7 + 1)[:-1], theirs["surplus"], atol=2e-5)
    # With too many it leaves half a minute between the frames after the last trial.
    assert np.diff(theirs["missing"])[-9:].min() > 30
    np.testing.assert_allclose(times(n + 10)[:n], theirs["missing"][:n], atol=2e-5)
    assert np.diff(times(n + 10)).max() < 0.0352
