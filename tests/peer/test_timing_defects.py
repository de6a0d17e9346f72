"""Recordings that the reference times wrongly: by how much, and that ours is right.

The numbers in the names are those of `docs/differences.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_recordings import (
    AUDIO,
    CHANNELS,
    SAMPLE_S,
    camera_file,
    edit_frame_data,
    edit_sync,
    ephys_session,
    frames_off,
    silence_pins,
    time_by_bpod,
    time_by_daq,
    training_session,
    without_front,
)

from ibl_dask.synth import plan, training
from ibl_dask.timing.camera.camera_files import read_frame_data, read_timestamps_ssv
from ibl_dask.timing.clocks.bpod import read_bpod

if TYPE_CHECKING:
    from pathlib import Path

    from reference import Reference

    from ibl_dask.synth.truth import Truth

pytestmark = pytest.mark.peer

BODY = CHANNELS["body"]


def right_by_daq(folder: Path, truth: Truth) -> None:
    """Assert that ours times every frame of the body camera to a sample of the DAQ."""
    ours = time_by_daq(folder, "body")
    np.testing.assert_allclose(ours.times, truth.cameras["body"].frame_times_s, rtol=0, atol=SAMPLE_S)


# -- 7.1 and 7.2: before the first pulse and after the last --------------------------------------------------------


@pytest.mark.parametrize("pins", ["stuck", "none"])
def test_7_1_frames_after_the_last_trial_are_half_a_minute_apart_in_the_reference(
    reference: Reference, tmp_path: Path, pins: str
) -> None:
    folder, truth = training_session(tmp_path, head_s=-1, tail_s=10, pins=pins)
    theirs = reference.ask("bpod_times", session=folder)["times"]
    n_tail = truth.camera.n_frames - int(np.flatnonzero(truth.is_noted)[-1]) - 1
    assert n_tail >= 299
    np.testing.assert_allclose(np.diff(theirs[-n_tail:]), truth.camera.fps, rtol=2e-3)  # seconds: k * fps, not k / fps
    assert theirs[-1] - truth.camera.frame_times_s[-1] > 2 * 3600
    ours = time_by_bpod(folder)
    assert np.abs(frames_off(ours.times, truth.camera)).max() < 0.5
    assert not ours.measured[-n_tail:].any()


def test_7_2_frames_before_the_first_pulse_are_one_early_in_the_reference(reference: Reference, tmp_path: Path) -> None:
    folder, truth = ephys_session(tmp_path, missing_start_frames=6)
    theirs = reference.ask("daq_times", session=folder, label="body")["times"]
    off = frames_off(theirs, truth.cameras["body"])
    np.testing.assert_allclose(off[:6], -1, atol=0.02)
    assert np.abs(off[6:]).max() < 0.01
    np.testing.assert_allclose(np.diff(theirs[:9]) * 30, [1, 1, 1, 1, 1, 2, 1, 1], atol=0.02)  # a hole of two frames
    ours = time_by_daq(folder, "body")
    assert np.abs(frames_off(ours.times, truth.cameras["body"])).max() < 0.02
    assert np.flatnonzero(~ours.measured).tolist() == list(range(6))


# -- 7.5 and 7.7: the sounds of a Bpod -----------------------------------------------------------------------------


def test_7_5_one_trial_without_sounds_costs_the_reference_all_pins(reference: Reference, tmp_path: Path) -> None:
    """The camera runs for a second before the first trial: only the pins can tell."""
    heard, truth = training_session(tmp_path / "heard", head_s=1.0, tail_s=-0.3)
    mute, _ = training_session(tmp_path / "mute", head_s=1.0, tail_s=-0.3, mute_trials=1)
    noted = truth.is_noted
    control = reference.ask("bpod_times", session=heard)["times"]
    assert np.abs(frames_off(control, truth.camera))[noted].max() < 0.5
    fronts = reference.ask("bpod_fronts", session=mute)
    assert np.isnan(fronts["times"]).sum() == 2
    theirs = reference.ask("bpod_times", session=mute)
    assert any("Failed to extract using audio" in line for line in theirs.log)
    off = frames_off(theirs["times"], truth.camera)[noted]
    assert off.min() > 29  # a second late, every frame of the session
    ours = time_by_bpod(mute)
    assert ours.facts["method"] == "pins"
    assert np.abs(frames_off(ours.times, truth.camera)).max() < 0.5
    assert np.isfinite(read_bpod(mute / "raw_behavior_data" / "_iblrig_taskData.raw.jsonable").ttl.times_s).all()


def test_7_7_a_sound_that_chatters_swaps_rises_with_falls_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    quiet, truth = training_session(tmp_path / "quiet", head_s=1.0, tail_s=-0.3)
    control = reference.ask("bpod_times", session=quiet)["times"]
    assert np.abs(frames_off(control, truth.camera))[truth.is_noted].max() < 0.5
    folder, truth = training_session(tmp_path / "chatter", head_s=1.0, tail_s=-0.3, chatter=True)
    theirs = reference.ask("bpod_times", session=folder)["times"]
    assert np.abs(frames_off(theirs, truth.camera))[truth.is_noted].min() > 1
    ours = time_by_bpod(folder)
    assert ours.facts["method"] == "pins"
    assert np.abs(frames_off(ours.times, truth.camera)).max() < 0.5


# -- 7.6: which edge is a pulse ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["first rise", "rise in the middle", "fall in the middle"])
def test_7_6_one_lost_edge_makes_the_reference_time_all_later_frames_by_falls(
    reference: Reference, tmp_path: Path, lost: str
) -> None:
    folder, truth = ephys_session(tmp_path, surplus_start_s=1.0, surplus_end_s=0.5)
    control = reference.ask("daq_times", session=folder, label="body")["times"]
    np.testing.assert_allclose(control, truth.cameras["body"].frame_times_s, rtol=0, atol=SAMPLE_S)
    number = 0 if lost == "first rise" else 330  # frame 300: 30 pulses come before the first frame
    edit_sync(folder, without_front(BODY, -1 if lost.startswith("fall") else 1, number))
    theirs = reference.ask("daq_times", session=folder, label="body")["times"]
    off = frames_off(theirs, truth.cameras["body"])
    width = 0.3  # of a period: how long a pulse is high
    np.testing.assert_allclose(off[0 if number == 0 else 302 :] % 1, width, atol=0.01)
    right_by_daq(folder, truth)


# -- 7.8: rates that are no whole number of hertz ------------------------------------------------------------------


def test_7_8_a_rounded_rate_carries_the_reference_away_from_frames_without_pulses(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "TRAINING_FPS", 29.4)
    folder, truth = training_session(tmp_path, head_s=-0.3, tail_s=30)
    theirs = reference.ask("bpod_times", session=folder)["times"]
    n_tail = truth.camera.n_frames - int(np.flatnonzero(truth.is_noted)[-1]) - 1
    off = frames_off(theirs, truth.camera)
    assert np.abs(off[:-n_tail]).max() < 0.5
    assert off[-1] == pytest.approx(n_tail * (29.4 / 29 - 1), rel=0.02)
    assert off[-1] > 12
    assert np.abs(frames_off(time_by_bpod(folder).times, truth.camera)).max() < 0.1


def test_7_8_by_a_daq_the_rounded_rate_is_off_as_well(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plan.NOMINAL_FPS, "body", 29.4)
    folder, truth = ephys_session(tmp_path, missing_end_frames=28)
    off = frames_off(reference.ask("daq_times", session=folder, label="body")["times"], truth.cameras["body"])
    assert off[-1] == pytest.approx(28 * (29.4 / 29 - 1), rel=0.02)
    assert np.abs(frames_off(time_by_daq(folder, "body").times, truth.cameras["body"])).max() < 0.01


# -- 7.9: which sound is which -------------------------------------------------------------------------------------


def lose_first_sound(table: np.ndarray) -> np.ndarray:
    """Lose the first sound on the DAQ, and make one up after the last frame: as many fronts as before."""
    of_sound = np.flatnonzero(table[:, 1] == AUDIO)
    end = table[:, 0].max()
    made_up = np.array([[end + 0.2, AUDIO, 1], [end + 0.3, AUDIO, -1]])
    return np.vstack([np.delete(table, of_sound[:2], axis=0), made_up])


def hide_first_sound(table: np.ndarray) -> None:
    """Lose the first sound on the pin: the camera's cable was plugged in late."""
    high = table[:, 3] > 0
    first = int(np.flatnonzero(high)[0])
    table[first : first + int(np.flatnonzero(~high[first:])[0]), 3] = 0


def test_7_9_one_sound_missed_and_one_made_up_shift_the_reference_by_a_trial(
    reference: Reference, tmp_path: Path
) -> None:
    folder, truth = ephys_session(tmp_path, surplus_start_s=1.0, surplus_end_s=0.5)
    edit_sync(folder, lose_first_sound)
    theirs = reference.ask("daq_times", session=folder, label="body")
    off = frames_off(theirs["times"], truth.cameras["body"])
    assert off.min() > 30
    assert not any("CRITICAL" in line for line in theirs.log)
    right_by_daq(folder, truth)


def test_7_9_a_first_sound_that_the_pin_missed_shifts_the_reference(reference: Reference, tmp_path: Path) -> None:
    folder, truth = ephys_session(tmp_path, surplus_start_s=1.0, surplus_end_s=0.5)
    edit_frame_data(folder, "body", hide_first_sound)
    theirs = reference.ask("daq_times", session=folder, label="body")["times"]
    assert np.abs(frames_off(theirs, truth.cameras["body"])).min() > 0.5
    right_by_daq(folder, truth)


def test_7_9_a_camera_that_starts_after_the_first_sound_loses_its_pins_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """The workflow missed the last 25 exposures; by counts alone the reference takes them for the first."""
    folder, truth = training_session(tmp_path, head_s=-1, tail_s=-0.3, n_lost_end=25)
    theirs = reference.ask("bpod_times", session=folder)
    assert any("Failed to extract using audio" in line for line in theirs.log)
    np.testing.assert_allclose(frames_off(theirs["times"], truth.camera), 25, atol=0.02)
    ours = time_by_bpod(folder)
    assert ours.facts["method"] == "pins"
    assert np.abs(frames_off(ours.times, truth.camera)).max() < 0.02


def test_7_9_a_video_that_starts_after_the_first_sound_is_a_trial_off_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """The workflow missed the first 40 exposures, 1.3 s, and with them the first sound."""
    folder, truth = training_session(tmp_path, head_s=-0.3, tail_s=-0.3, n_lost_start=40)
    theirs = reference.ask("bpod_times", session=folder)
    assert not any("CRITICAL" in line for line in theirs.log)
    assert np.abs(frames_off(theirs["times"], truth.camera)).min() > 60
    ours = time_by_bpod(folder)
    assert ours.facts["method"] == "pins"
    assert np.abs(frames_off(ours.times, truth.camera)).max() < 0.02


# -- gaps ----------------------------------------------------------------------------------------------------------


def test_pulses_that_the_daq_missed_shift_all_later_frames_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """Five pulses in the middle, rise and fall."""
    folder, truth = ephys_session(tmp_path, surplus_start_s=1.0, surplus_end_s=0.5)
    for _ in range(5):
        edit_sync(folder, without_front(BODY, 1, 330))
        edit_sync(folder, without_front(BODY, -1, 330))
    theirs = reference.ask("daq_times", session=folder, label="body")["times"]
    off = frames_off(theirs, truth.cameras["body"])
    np.testing.assert_allclose(off[300:], 5, atol=0.02)
    ours = time_by_daq(folder, "body")
    assert np.flatnonzero(~ours.measured).tolist() == list(range(300, 305))
    assert np.abs(frames_off(ours.times, truth.cameras["body"])).max() < 0.02


# -- 7.11: the last resort -----------------------------------------------------------------------------------------


def test_7_11_without_pins_the_reference_gives_fewer_times_than_frames(reference: Reference, tmp_path: Path) -> None:
    folder, truth = ephys_session(tmp_path, missing_end_frames=10)
    edit_frame_data(folder, "body", silence_pins)
    camera = truth.cameras["body"]
    assert reference.ask("daq_times", session=folder, label="body")["times"].size == camera.n_frames - 10
    ours = time_by_daq(folder, "body")
    assert np.abs(frames_off(ours.times, camera)).max() < 0.5
    assert np.flatnonzero(~ours.measured).tolist() == list(range(camera.n_frames - 10, camera.n_frames))
    assert ours.facts["hint"] == "FAIL"


def test_7_11_where_counting_must_assume_ours_says_so(reference: Reference, tmp_path: Path) -> None:
    """Without pins nobody can tell that the surplus is at the end: both take it for the start, and both are wrong."""
    folder, truth = ephys_session(tmp_path, surplus_end_s=0.5)
    edit_frame_data(folder, "body", silence_pins)
    theirs = reference.ask("daq_times", session=folder, label="body")["times"]
    np.testing.assert_allclose(frames_off(theirs, truth.cameras["body"]), 15, atol=0.02)
    ours = time_by_daq(folder, "body")
    np.testing.assert_allclose(ours.times, theirs, rtol=0, atol=1e-6)
    assert ours.facts["hint"] == "FAIL"
    assert ours.facts["n_assumed"] == ours.times.size
    assert "15 pulses in excess are assumed to come before the first frame" in ours.notes


# -- 7.12: the camera's clock --------------------------------------------------------------------------------------


def test_7_12_two_frames_out_of_order_add_128_s_to_the_reference_s_camera_clock(
    reference: Reference, tmp_path: Path
) -> None:
    folder, truth = ephys_session(tmp_path)

    def swap(table: np.ndarray) -> None:
        table[[300, 301], 1] = table[[301, 300], 1]

    edit_frame_data(folder, "body", swap)
    lasted = truth.cameras["body"].frame_times_s[-1] - truth.cameras["body"].frame_times_s[0]
    theirs = reference.ask("camera_files", session=folder, label="body")["camera_clock"]
    assert theirs[-1] - lasted == pytest.approx(128, abs=0.01)
    ours = read_frame_data(camera_file(folder, "body", "frameData.bin")).camera_time_s
    assert ours[-1] == pytest.approx(lasted, abs=0.01)
    right_by_daq(folder, truth)


def test_7_12_a_pause_of_more_than_128_s_is_lost_in_the_reference(reference: Reference, tmp_path: Path) -> None:
    """The second half of the lines is of a later hour: 128 s times 28, and 16 s."""
    folder, truth = ephys_session(tmp_path, ssv_cameras=("body",))
    path = camera_file(folder, "body", "timestamps.ssv")
    lines = [line.split() for line in path.read_text().splitlines()]
    for line in lines[300:]:
        line[0] = line[0].replace("T10:", "T11:")
        line[1] = str((int(line[1]) + (16 << 25)) % 2**32)
    path.write_text("".join(" ".join(line) + " \n" for line in lines))
    lasted = truth.cameras["body"].frame_times_s[-1] - truth.cameras["body"].frame_times_s[0] + 3600
    theirs = reference.ask("camera_files", session=folder, label="body")["camera_clock"]
    assert lasted - (theirs[-1] - theirs[0]) == pytest.approx(28 * 128, abs=0.01)
    _, ours = read_timestamps_ssv(path)
    assert ours[-1] == pytest.approx(lasted, abs=0.01)


# -- 7.13: trials that overlap -------------------------------------------------------------------------------------


def test_7_13_a_gap_shorter_than_half_a_frame_overwrites_a_pulse_in_the_reference(
    reference: Reference, tmp_path: Path
) -> None:
    """A trial is noted so early that its first pulse comes 0.4 periods after the last one before.

    All that the Bpod noted in it is 0.6 of a frame early. The camera's clock says so, and ours times its frames by that
    clock, between the trials around it; in the reference they are late, and so is the frame before.
    """
    folder, truth = training_session(tmp_path, head_s=-0.3, tail_s=-0.3, short_gap=True)
    middle = len(truth.trial_times_s) // 2
    times = truth.camera.frame_times_s
    last = int(np.flatnonzero(times < truth.trial_times_s[middle - 1, 1])[-1])
    stop = truth.trial_times_s[middle, 1] - 0.5  # no later than its last pulse
    within = (np.arange(times.size) > last) & (times < stop)
    gap = (times >= stop) & (times < truth.trial_times_s[middle + 1, 0])
    theirs = frames_off(reference.ask("bpod_times", session=folder)["times"], truth.camera)
    assert theirs[last] == pytest.approx(0.4, abs=0.01)
    ours = time_by_bpod(folder)
    off = frames_off(ours.times, truth.camera)
    assert np.abs(off[within]).max() < 0.02
    assert not ours.measured[within].any()
    assert np.abs(off[~within & ~gap]).max() < 0.02
    assert np.all((off[gap] > -0.61) & (off[gap] < 0.02))
    assert np.abs(theirs[within] - 0.4).max() < 0.01
