"""Recordings of one camera whose truth is known: what a DAQ and the camera's computer note while much goes wrong.

Written from the rig's side and independent of what is tested: of `ibl_dask` it uses only the classes that hold fronts
and the camera's files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ibl_dask.timing.camera.camera_files import CameraFiles
from ibl_dask.timing.clocks.nidq import Fronts

Floats = NDArray[np.float64]
DAQ_HZ = 30003.0003
CAMERA_TICK_S = 1 / 8000
PULSE_WIDTH = 0.3
"""Of a camera pulse, in periods."""
DIP_S = 3e-3
"""Between the two pulses of a go cue."""


@dataclass(frozen=True)
class Scene:
    """What the rig does, and what goes wrong."""

    fps: float = 60.0
    n_frames: int = 3000
    """Exposures from the first frame to the last."""
    drift_ppm: float = 0.0
    jitter: float = 0.0
    """Largest distance of an exposure from its due time, in periods."""
    surplus_start: int = 0
    """Exposures that the DAQ saw before the first frame."""
    surplus_end: int = 0
    missing_start: int = 0
    """First frames whose pulses the DAQ did not see."""
    missing_end: int = 0
    n_dropped: int = 0
    """Exposures between the first and the last frame that became no frame."""
    pauses_s: tuple[float, ...] = ()
    """Times for which the camera stood still, each at a random exposure, with some hundred exposures in between."""
    n_tones: int = 60
    regular_jitter_s: float | None = None
    """None for tones at irregular times; else how far a tone is at most from its place in a regular row, s."""
    double_tones: bool = False
    """Each tone begins with a pulse of its own, 3 ms before the rest, as the go cue of some sound cards."""
    high_at_start: bool = False
    """A tone sounds while the first frame is exposed."""
    ttl_missed: float = 0.0
    """Chance of each edge to be missed by the DAQ."""
    ttl_spurious: float = 0.0
    """Edges that the DAQ makes up, as a share of the true ones."""
    pin_missed: float = 0.0
    pin_spurious: float = 0.0
    leading_fall: bool = False
    """The DAQ starts while the camera's line is up."""
    pulses_missed: float = 0.0
    """Chance of each pulse to be missed by the DAQ: its rise, its fall, or both."""
    pulses_spurious: float = 0.0
    """Pulses that the DAQ makes up, as a share of the true ones."""
    with_counter: bool = True
    with_clock: bool = True
    with_pins: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Recording:
    """What the devices noted, and the truth."""

    fronts: Fronts
    """The camera's line."""
    ttl: Fronts
    camera: CameraFiles
    truth_s: Floats
    """When each frame was exposed, s on the main clock (frame,)."""
    period_s: float
    n_dropped: int
    survived: float
    """Share of the visible edges between the first and the last frame that DAQ and pin both have."""
    n_edges: int
    """True edges between the first and the last frame that frames can show."""


def record(scene: Scene) -> Recording:
    """Play a scene."""
    rng = np.random.default_rng(scene.seed)
    period = 1 / scene.fps
    first, last = scene.surplus_start, scene.surplus_start + scene.n_frames
    camera_s = _exposures(scene, rng, last + scene.surplus_end)
    origin = rng.uniform(0.5, 100)
    main_s = origin + camera_s * (1 + scene.drift_ppm * 1e-6)

    dropped = rng.choice(np.arange(first + 1, last - 1), scene.n_dropped, replace=False) if scene.n_dropped else []
    frames = np.setdiff1d(np.arange(first, last), dropped)
    truth = main_s[frames]

    times, signs, sounds = _tones(scene, rng, main_s, first, last)
    heard, noticed = (rng.random(times.size) >= chance for chance in (scene.ttl_missed, scene.pin_missed))
    within = (times > truth[0]) & (times < truth[-1])
    # The edges within a sound are over before a frame sees them; where one is lost, the edges around it are, too.
    is_inner = np.concatenate(([False], sounds[1:-1] == sounds[:-2], [False])) & np.append(
        sounds[1:] == sounds[:-1], False
    )
    is_whole = ~np.isin(sounds, sounds[is_inner & ~(heard & noticed)])
    visible = within & ~is_inner
    pins = np.zeros((frames.size, 4), np.bool_)
    pins[:, 3] = _pin(scene, rng, truth, times[noticed], signs[noticed])
    clock = np.floor((camera_s[frames] + rng.uniform(0, 128)) / CAMERA_TICK_S) * CAMERA_TICK_S
    files = CameraFiles(
        frames.size,
        clock - clock[0] if scene.with_clock else None,
        None,
        (frames - frames[0]).astype(np.int64) if scene.with_counter else None,
        pins if scene.with_pins else None,
        ("frameData.bin",),
    )
    seen = main_s[first + scene.missing_start if scene.missing_start else 0 :]
    seen = seen[: -scene.missing_end] if scene.missing_end else seen
    return Recording(
        _line(scene, rng, seen, period),
        _ttl(scene, rng, times[heard], signs[heard], (main_s[0], main_s[-1])),
        files,
        truth,
        period,
        scene.n_dropped,
        float((heard & noticed & is_whole)[visible].mean()) if visible.any() else 0.0,
        int(visible.sum()),
    )


def _exposures(scene: Scene, rng: np.random.Generator, n: int) -> Floats:
    """Return when the camera exposes, by its own clock."""
    due = np.arange(n) / scene.fps + rng.uniform(-scene.jitter, scene.jitter, n) / scene.fps
    for number, pause_s in enumerate(scene.pauses_s, 1):
        place = number * n // (len(scene.pauses_s) + 1)
        due[place + rng.integers(-n // 12, n // 12) :] += pause_s
    return due


def _tones(
    scene: Scene, rng: np.random.Generator, main_s: Floats, first: int, last: int
) -> tuple[Floats, NDArray, NDArray]:
    """Return the edges of the sound's TTL in order, their directions, and the number of the sound of each.

    No sounds overlap, and between two the line is down for a while.
    """
    start, stop = main_s[first], main_s[last - 1]
    slot = (stop - start) / scene.n_tones
    n_around = [int((start - main_s[0]) / slot), int((main_s[-1] - stop) / slot)]
    places = start + (np.arange(-n_around[0], scene.n_tones + n_around[1]) + rng.uniform(0.1, 0.4)) * slot
    if scene.regular_jitter_s is None:
        places += rng.uniform(-0.1, 0.45, places.size) * slot
    else:
        places += rng.uniform(-1, 1, places.size) * min(scene.regular_jitter_s, 0.05 * slot)
    shortest = 2.2 / scene.fps
    widths = np.minimum(rng.choice([max(0.1, shortest), max(0.5, shortest)], places.size), 0.3 * slot)
    edges = [places, places + widths]
    signs = [np.ones(places.size), -np.ones(places.size)]
    if scene.double_tones:
        edges += [places + 0.3 * widths, places + 0.3 * widths + DIP_S]
        signs += [-np.ones(places.size), np.ones(places.size)]
    times, polarities = np.concatenate(edges), np.concatenate(signs).astype(np.int8)
    sounds = np.tile(np.arange(places.size), len(edges))
    if scene.high_at_start:
        around = np.array([start - 0.05 * slot, start + 0.05 * slot])
        times, polarities = np.append(times, around), np.append(polarities, np.array([1, -1], np.int8))
        sounds = np.append(sounds, [-1, -1])
    order = np.argsort(times)
    return times[order], polarities[order], sounds[order]


def _pin(scene: Scene, rng: np.random.Generator, truth: Floats, times: Floats, signs: NDArray) -> NDArray[np.bool_]:
    """Return what the pin shows on each frame: the direction of the last edge that it noticed."""
    passed = np.searchsorted(times, truth, side="right")
    state = np.append(signs, -1)[passed - 1] > 0
    state[passed == 0] = False
    for _ in range(round(scene.pin_spurious * times.size / 2)):
        at = int(rng.integers(1, max(truth.size - 4, 2)))
        state[at : at + int(rng.integers(1, 4))] ^= True
    return state


def _ttl(scene: Scene, rng: np.random.Generator, times: Floats, signs: NDArray, span: tuple[float, float]) -> Fronts:
    n_extra = round(scene.ttl_spurious * times.size)
    times = np.append(times, rng.uniform(*span, n_extra))
    signs = np.append(signs, rng.choice(np.array([1, -1], np.int8), n_extra))
    return _sampled(times, signs)


def _line(scene: Scene, rng: np.random.Generator, pulses: Floats, period: float) -> Fronts:
    missed = rng.random(pulses.size) < scene.pulses_missed
    kind = rng.integers(0, 3, pulses.size)  # of those missed: 0 the rise, 1 the fall, 2 both
    spurious = rng.uniform(pulses[0], pulses[-1], round(scene.pulses_spurious * pulses.size))
    rises = np.append(pulses[~(missed & (kind != 1))], spurious)
    falls = np.append(
        (pulses + PULSE_WIDTH * period)[~(missed & (kind != 0))], spurious + rng.uniform(0.01, 0.2) * period
    )
    if scene.leading_fall:
        rises = np.sort(rises)[1:]
    return _sampled(np.append(rises, falls), np.append(np.ones(rises.size, np.int8), -np.ones(falls.size, np.int8)))


def _sampled(times: Floats, signs: NDArray) -> Fronts:
    order = np.argsort(times, kind="stable")
    return Fronts(np.ceil(times[order] * DAQ_HZ) / DAQ_HZ, signs[order].astype(np.int8))
