"""Behaviour of a mouse at its wheel: bouts of turns, trials with sounds, licks, and the rotary encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

COUNTS_PER_TURN = 4096
"""Edges of both encoder channels in one turn of the wheel."""

_RATE_HZ = 1000
_GO_CUE_S = 0.1
_ERROR_SOUND_S = 0.5
_LICK_HZ = 7.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Movements of the mouse, on the DAQ's clock."""

    times_s: Floats
    """1 kHz from zero on."""
    wheel_rad: Floats
    """Angle of the wheel at these times; counter-clockwise for the mouse is positive."""
    trial_times_s: Floats
    """Go cues."""
    lick_times_s: Floats
    """Starts of bouts of licks."""

    def wheel_at(self, times_s: Floats) -> Floats:
        """Return the angle of the wheel at some times, rad."""
        return np.interp(times_s, self.times_s, self.wheel_rad)

    def speed_at(self, times_s: Floats) -> Floats:
        """Return the speed of the wheel at some times, rad/s, never negative."""
        return np.interp(times_s, self.times_s, np.abs(np.gradient(self.wheel_rad, 1 / _RATE_HZ)))

    def tongue_at(self, times_s: Floats) -> Floats:
        """Return the extension of the tongue at some times, 0 to 1."""
        out = np.zeros(times_s.size)
        for start in self.lick_times_s:
            since = times_s - start
            out += np.where((since >= 0) & (since < 1.0), np.clip(np.sin(2 * math.pi * _LICK_HZ * since), 0, 1), 0)
        return np.clip(out, 0, 1)


def trial_times(window_s: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Return go cues 2 to 6 s apart, the first early in the window, each over before its end."""
    times, at = [], window_s[0] + rng.uniform(0.0, 0.2)
    while at + _GO_CUE_S < window_s[1]:
        times.append(at)
        at += rng.uniform(2.0, 6.0)
    return np.array(times, dtype=np.float64)


def simulate_behaviour(duration_s: float, trials: Floats, rng: np.random.Generator) -> Behaviour:
    """Simulate a mouse: a turn after each go cue and sometimes between, licks after most.

    Parameters
    ----------
    duration_s
        Duration of the wheel's record, s.
    trials
        Times of the go cues.
    rng
        Source of everything that varies.
    """
    starts = np.concatenate([trials + rng.uniform(0.15, 0.45, trials.size), _spontaneous(duration_s, rng)])
    times = np.arange(math.ceil(duration_s * _RATE_HZ) + 1) / _RATE_HZ
    speed = np.zeros(times.size)
    for start in starts:
        length, peak = rng.uniform(0.35, 1.1), rng.uniform(1.2, 4.5) * rng.choice([-1, 1])
        phase = (times - start) / length
        moving = (phase > 0) & (phase < 1)
        speed[moving] += peak * np.sin(math.pi * phase[moving]) ** 2
    wheel = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 / _RATE_HZ)])
    rewarded = rng.random(trials.size) < 0.7
    return Behaviour(times, wheel, trials, trials[rewarded] + 1.1)


def sound_edges(behaviour: Behaviour, window_end_s: float, rng: np.random.Generator) -> Floats:
    """Return rises and falls of the audio TTL in turn: go cues of 0.1 s, after some of them an error sound of 0.5 s.

    Parameters
    ----------
    behaviour : Behaviour
        Trials and licks.
    window_end_s : float
        Time at which all sounds are over, s.
    rng : numpy.random.Generator
        Source of the jitter of falls.
    """
    edges: list[float] = []
    rewarded = set(np.round(behaviour.lick_times_s - 1.1, 6))
    for trial in behaviour.trial_times_s:
        edges += [trial, trial + _GO_CUE_S + rng.uniform(-1e-3, 1e-3)]
        if round(trial, 6) not in rewarded and trial + 1.0 + _ERROR_SOUND_S < window_end_s:
            edges += [trial + 1.0, trial + 1.0 + _ERROR_SOUND_S + rng.uniform(-1e-3, 1e-3)]
    return np.array(edges, dtype=np.float64)


def encoder_edges(behaviour: Behaviour) -> tuple[Floats, NDArray[np.int64]]:
    """Return the times at which the count of the encoder changes, s, and the count after each change, x4 decoded."""
    counts = behaviour.wheel_rad * COUNTS_PER_TURN / (2 * math.pi)
    whole = np.floor(counts).astype(np.int64)
    steps = np.abs(np.diff(whole))
    segment = np.repeat(np.arange(steps.size), steps)
    nth = np.arange(segment.size) - np.repeat(np.cumsum(steps) - steps, steps)
    up = np.diff(whole)[segment] > 0
    level = np.where(up, whole[segment] + 1 + nth, whole[segment] - nth)
    fraction = (level - counts[segment]) / (counts[segment + 1] - counts[segment])
    after = np.where(up, level, level - 1)
    return behaviour.times_s[segment] + fraction / _RATE_HZ, after


def quadrature(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the encoder channel that changes with each count (0 or 1), and its polarity.

    Going up, the channels (A, B) run low-low, high-low, high-high, low-high.
    """
    a = np.isin(counts % 4, (1, 2))
    b = np.isin(counts % 4, (2, 3))
    first_up = counts.size > 0 and counts[0] > 0
    before = np.concatenate([[counts[0] - 1 if first_up else counts[0] + 1], counts[:-1]]) if counts.size else counts
    a_changes = a != np.isin(before % 4, (1, 2))
    channel = np.where(a_changes, 0, 1)
    return channel, np.where(np.where(a_changes, a, b), 1, -1)


def _spontaneous(duration_s: float, rng: np.random.Generator) -> Floats:
    return rng.uniform(0, duration_s, max(1, round(duration_s / 8)))
