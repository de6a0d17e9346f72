"""Where the wheel was, from every source that a rig leaves."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wheel_scenes import TICK_RAD, turning

from ibl_dask.errors import InputError, MissingFile, UnequalLengths, UnusableFile
from ibl_dask.synth.wheel import quadrature
from ibl_dask.timing.clocks.nidq import Fronts
from ibl_dask.timing.wheel.bpod_encoder import read_bpod_wheel
from ibl_dask.timing.wheel.motion import motion
from ibl_dask.timing.wheel.sources import (
    counts_from_counter,
    read_alf_wheel,
    read_timeline_wheel,
    wheel_from_fronts,
    wheel_from_steps,
)
from ibl_dask.timing.wheel.trace import Wheel

WALKS = st.lists(st.sampled_from([-1, 1]), min_size=8, max_size=200)


def lines_of(counts, times):
    channel, polarity = quadrature(counts)
    return [Fronts(times[channel == k], polarity[channel == k].astype(np.int8)) for k in (0, 1)]


# -- a DAQ -------------------------------------------------------------------------------------------------


@given(WALKS)
def test_every_edge_of_both_lines_is_one_step_in_the_right_direction(steps):
    counts = np.cumsum(steps)
    times = np.arange(counts.size) * 0.01
    first, second = lines_of(counts, times)
    wheel = wheel_from_fronts(first, second)
    if not len(first) or not len(second):
        assert wheel is None
        return
    np.testing.assert_array_equal(wheel.times_s, times)
    # Until both lines have changed, which way the first one went is known from the level it went to.
    np.testing.assert_allclose(np.diff(wheel.position_rad), np.diff(counts) * TICK_RAD, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=50))
def test_7_18_a_counter_may_wrap_at_any_step(start, steps):
    true = start + np.concatenate([[0], np.cumsum(np.array(steps, np.int64))])
    np.testing.assert_array_equal(counts_from_counter((true % 2**32).astype(np.float64)), true)


def timeline(folder, counts, times, name="rotary_encoder"):
    raw = np.stack([np.zeros(counts.size), (counts % 2**32).astype(np.float64)], axis=1)
    np.save(folder / "raw.npy", raw)
    np.save(folder / "times.npy", times)
    inputs = [{"name": "chrono", "arrayColumn": 1}, {"name": name, "arrayColumn": 2}]
    (folder / "meta.json").write_text(json.dumps({"inputs": inputs}))
    return folder / "raw.npy", folder / "times.npy", folder / "meta.json"


@pytest.mark.parametrize("form", ["one per sample", "two rows"])
def test_the_counter_of_timeline_gives_the_angle_where_it_changes(tmp_path, form):
    rng = np.random.default_rng(3)
    counts = np.cumsum(rng.integers(-3, 4, 2000)) - 5  # below zero: the counter wraps
    clock = 7 + np.arange(2000) / 1000
    times = clock if form == "one per sample" else np.array([[0, clock[0]], [1999, clock[-1]]])
    wheel = read_timeline_wheel(*timeline(tmp_path, counts, times))
    at = np.flatnonzero(np.diff(counts)) + 1
    np.testing.assert_allclose(wheel.times_s, clock[at])
    np.testing.assert_allclose(np.diff(wheel.position_rad), np.diff(counts[at]) * TICK_RAD, atol=1e-9)


def test_timeline_without_encoder_or_with_a_still_one_has_no_wheel(tmp_path):
    times = np.arange(50) / 1000
    assert read_timeline_wheel(*timeline(tmp_path, np.zeros(50, np.int64), times)) is None
    assert read_timeline_wheel(*timeline(tmp_path, np.arange(50), times, name="laser")) is None


def test_damaged_timeline_files_are_refused(tmp_path):
    paths = timeline(tmp_path, np.arange(50), np.arange(49) / 1000)
    with pytest.raises(UnequalLengths, match="not as many times"):
        read_timeline_wheel(*paths)
    paths[2].write_text("{}")
    with pytest.raises(UnusableFile, match=r"meta\.json"):
        read_timeline_wheel(*paths)
    paths[2].unlink()
    with pytest.raises(MissingFile):
        read_timeline_wheel(*paths)


def test_directions_alone_tell_when_the_wheel_turned():
    fronts = Fronts(np.array([1.0, 1.1, 1.2]), np.array([1, 1, -1], np.int8))
    wheel = wheel_from_steps(fronts)
    np.testing.assert_allclose(wheel.position_rad / TICK_RAD, [1, 2, 1])
    assert "too low" in wheel.notes[0]


# -- an ALF file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [False, True])
def test_an_extracted_wheel_is_read_in_both_forms_of_its_times(tmp_path, rows):
    position = np.linspace(0, 3, 11)
    times = np.array([[0, 5.0], [10, 6.0]]) if rows else np.linspace(5, 6, 11)
    np.save(tmp_path / "t.npy", times)
    np.save(tmp_path / "p.npy", position)
    wheel = read_alf_wheel(tmp_path / "t.npy", tmp_path / "p.npy")
    np.testing.assert_allclose(wheel.times_s, np.linspace(5, 6, 11))
    np.testing.assert_allclose(wheel.position_rad, position)


def test_an_extracted_wheel_that_makes_no_sense_is_refused(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(4.0))
    np.save(tmp_path / "p.npy", np.arange(3.0))
    with pytest.raises(UnequalLengths):
        read_alf_wheel(tmp_path / "t.npy", tmp_path / "p.npy")
    np.save(tmp_path / "t.npy", np.array([0, 1, 1e12]))
    with pytest.raises(UnusableFile, match="make no sense"):
        read_alf_wheel(tmp_path / "t.npy", tmp_path / "p.npy")


# -- a Bpod ------------------------------------------------------------------------------------------------

DRIFT = 1 + 80e-6
"""The encoder's module runs this much faster than the Bpod."""


class Rig:
    """Files of a training rig whose wheel is known."""

    def __init__(self, folder, *, old=False, unit_us=1, module_start_us=5_000_000, seed=1):
        rng = np.random.default_rng(seed)
        wheel, _ = turning(60.0, rng)
        self.times_s, self.ticks = wheel.times_s[::4], np.rint(wheel.position_rad[::4] / TICK_RAD / 4).astype(int)
        trials = np.arange(2.0, 58.0, 4.0) + rng.uniform(0, 0.5, 14)
        self.resets = np.sort(np.concatenate([trials + 0.1, trials + 0.6]))
        loops = trials + 0.6001

        def stamp(times_s):
            us = np.rint((times_s * DRIFT * 1e6 + module_start_us) / unit_us).astype(np.int64)
            return us % 2**32

        zero, rows = 0, []
        events = sorted(
            [
                *((t, p, False) for t, p in zip(self.times_s, self.ticks, strict=True)),
                *((t + 3e-4, 0, True) for t in self.resets),
            ]
        )
        last = 0
        for t, p, is_reset in events:
            if is_reset:
                zero = last
            last = last if is_reset else p
            shown = -(last - zero)
            rows.append((int(stamp(np.array(t))), (shown + 512) % 1024 - 512))
        wall = " 2019-02-13T14:25:03.6477824+00:00"
        self.positions = folder / "positions.ssv"
        self.positions.write_text("".join(f"Position {t} {p}{wall} \n" if old else f"{t} {p} \n" for t, p in rows))
        self.events = folder / "events.ssv"
        codes = [(t, code) for trial in loops for t, code in ((trial - 0.05, 2), (trial, 3), (trial + 1.5, 1))]
        self.events.write_text(
            "".join(
                f"Event {int(stamp(np.array(t)))} StateMachine {code}{wall} \n"
                if old
                else f"{int(stamp(np.array(t)))} {code} \n"
                for t, code in codes
            )
        )
        self.trials = folder / "trials.jsonable"
        self.trials.write_text(
            "".join(
                json.dumps(
                    {
                        "behavior_data": {
                            "Bpod start timestamp": 1.5,
                            "Trial start timestamp": 1.5 + start,
                            "States timestamps": {
                                "reset_rotary_encoder": [[0.1, 0.1001]],
                                "reset2_rotary_encoder": [[0.6, 0.6001]],
                                "closed_loop": [[0.6001, 2.1]],
                            },
                        }
                    }
                )
                + "\n"
                for start in trials
            )
        )

    def read(self):
        return read_bpod_wheel(self.positions, self.events, self.trials)

    def assert_read(self, tolerance_s=3e-4):
        wheel = self.read()
        true = np.interp(wheel.times_s, self.times_s, self.ticks) * 2 * np.pi / 1024
        got = wheel.position_rad
        off = got - true - np.median(got - true)
        # A tick of angle, and what the wheel turns in the error of its clock.
        fastest = np.abs(motion(Wheel(self.times_s, self.ticks * 2 * np.pi / 1024, "")).velocity).max()
        assert np.abs(off).max() < 2 * 2 * np.pi / 1024 + tolerance_s * fastest
        return wheel


@pytest.mark.parametrize("old", [False, True], ids=["5.0.0 and later", "before 5.0.0"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"module_start_us": 2**32 - 20_000_000}, {"unit_us": 1000}],
    ids=["us", "the timer wraps", "firmware in ms"],
)
def test_a_training_rig_s_encoder_comes_out_on_the_bpod_s_clock(tmp_path, old, settings):
    Rig(tmp_path, old=old, **settings).assert_read(2e-3 if settings.get("unit_us") else 3e-4)


def test_torn_lines_and_lost_events_cost_nothing_but_themselves(tmp_path):
    rig = Rig(tmp_path)
    lines = rig.positions.read_text().splitlines(keepends=True)
    rig.positions.write_text("".join(lines[:50]) + "12 \nnonsense -\n" + "".join(lines[50:]) + "4711")
    events = rig.events.read_text().splitlines(keepends=True)
    rig.events.write_text("".join(events[6:]))  # the module started later than the Bpod
    wheel = rig.assert_read()
    assert "3 lines of positions.ssv are damaged" in " ".join(wheel.notes)


def test_leftovers_of_the_session_before_at_the_start_are_left_out(tmp_path):
    rig = Rig(tmp_path)
    rig.positions.write_text("1708862576 -80 \n" + rig.positions.read_text())
    assert "of another time" in " ".join(rig.assert_read().notes)


def test_an_encoder_of_another_session_is_refused(tmp_path):
    rig = Rig(tmp_path)
    (tmp_path / "other").mkdir()
    other = Rig(tmp_path / "other", seed=2)
    with pytest.raises(UnusableFile, match="cannot be tied"):
        read_bpod_wheel(rig.positions, other.events, rig.trials)
    rig.events.write_text("")
    with pytest.raises(UnusableFile, match="holds no wheel"):
        rig.read()
    rig.events.unlink()
    with pytest.raises(MissingFile):
        rig.read()


@pytest.mark.parametrize("name", ["session_training_ge5", "session_biased_ge5"])
def test_real_encoders_are_read(data_folder, name):
    folder = data_folder / "bpod" / name / "raw_behavior_data"
    files = ("_iblrig_encoderPositions.raw.ssv", "_iblrig_encoderEvents.raw.ssv", "_iblrig_taskData.raw.jsonable")
    wheel = read_bpod_wheel(*(folder / file for file in files))
    speed = np.abs(motion(wheel).velocity)
    # A mouse turns a wheel at some rad/s; a reset taken for movement would be tens of them.
    assert 1 < speed.max() < 30
    assert 0 < wheel.times_s[0] < 10


# -- any of them -------------------------------------------------------------------------------------------


@given(st.integers(2, 4000), st.integers(0, 2**32 - 1))
def test_speed_is_what_the_wheel_turned_and_zero_where_it_was_not_noted(n, seed):
    rng = np.random.default_rng(seed)
    times = 5 + np.cumsum(rng.uniform(1e-4, 0.01, n))
    wheel = Wheel(times, 2.0 * times, "made up")
    turned = motion(wheel)
    if turned is None:
        assert times[-1] - times[0] < 0.04
        return
    within = (turned.times_s > times[0] + 0.2) & (turned.times_s < times[-1] - 0.2)
    np.testing.assert_allclose(turned.velocity[within], 2.0, atol=0.02)
    assert turned.speed_at(np.array([times[0] - 1, times[-1] + 1])).tolist() == [0, 0]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_wheel_without_a_stretch_of_time_has_no_speed(n):
    times = np.arange(n) * 1e-3
    assert motion(Wheel(times, times, "made up")) is None


def test_every_refusal_says_what_to_do(tmp_path):
    np.save(tmp_path / "p.npy", np.arange(3.0))
    (tmp_path / "t.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="What to do: ") as raised:
        read_alf_wheel(tmp_path / "t.npy", tmp_path / "p.npy")
    assert str(tmp_path / "t.npy") in str(raised.value)
