"""Wheels and the motion energy that a video of them would have, without drawing a frame."""

from dataclasses import dataclass

import numpy as np

from ibl_dask.synth.wheel import encoder_edges, simulate_behaviour, trial_times
from ibl_dask.timing.clocks.pulses import Pulses
from ibl_dask.timing.wheel.motion import Motion, motion
from ibl_dask.timing.wheel.trace import Wheel

TICK_RAD = 2 * np.pi / 4096
_GRAIN_RAD = 0.02
"""Turn after which two frames look as different as they can."""
_START_S = 1.0


@dataclass(frozen=True)
class Scene:
    """Motion energy of a video whose frame i shows exposure `shows[i]`."""

    energy: np.ndarray
    pulses: Pulses
    shows: np.ndarray
    motion: Motion
    wheel: Wheel


def turning(duration_s, rng, pace=1.0):
    """Return a wheel as an encoder notes it; the more pace, the more trials in a time."""
    trials = trial_times((0.5, duration_s * pace - 0.5), rng) / pace
    behaviour = simulate_behaviour(duration_s, trials, rng)
    times, counts = encoder_edges(behaviour)
    unique, last = np.unique(times[::-1], return_index=True)
    return Wheel(unique, counts[::-1][last] * TICK_RAD, "made up"), behaviour


def make_scene(duration_s, fps=60.0, seed=0, *, noise=0.3, pace=1.0, lost=(), hand=0.0, hand_s=2.0, unknown=0.0):
    """Return a video of a wheel.

    Parameters
    ----------
    duration_s
        Length of the video.
    fps, seed
        Frame rate; what varies.
    noise
        Standard deviation of the energy of still frames; a fast wheel has 10 more than a still one.
    pace
        Trials in the time of one.
    lost
        Exposures of which the video has no frame.
    hand
        Share of the frames in which a hand moves, in runs of `hand_s`, with four times the energy of the wheel.
    unknown
        Share of the frames whose energy is not known, in runs.
    """
    rng = np.random.default_rng(seed)
    wheel, behaviour = turning(duration_s + 2 * _START_S, rng, pace)
    n = round(duration_s * fps)
    times = _START_S + (np.arange(n) + rng.normal(0, 1e-3, n)) / fps
    shows = np.setdiff1d(np.arange(n), np.asarray(lost, np.int64))
    angle = behaviour.wheel_at(times[shows])
    turned = np.abs(angle[2:] - angle[:-2])
    energy = np.full(shows.size, np.nan, np.float32)
    energy[:-2] = 2 + np.abs(rng.normal(0, noise, turned.size)) + 10 * (1 - np.exp(-turned / _GRAIN_RAD))
    for share, length, spoil in ((hand, hand_s, _hand), (unknown, 0.5, _unknown)):
        run = round(length * fps)
        for start in rng.integers(0, max(1, energy.size - run), round(share * energy.size / run)):
            spoil(energy[start : start + run], rng)
    turned_at = motion(wheel)
    assert turned_at is not None
    return Scene(energy, Pulses(times, np.ones(n, bool)), shows, turned_at, wheel)


def _hand(energy, rng):
    energy += 40 + 10 * rng.random(energy.size).astype(np.float32)


def _unknown(energy, rng):
    energy[:] = np.nan
