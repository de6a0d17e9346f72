"""Random sessions of cameras and clocks, as the devices of a rig note them, with the truth beside them.

Written from the rig's side: of `ibl_dask` it uses nothing but the class that holds fronts. Everything that a camera's
computer, a Bpod or labcams notes is given as the bytes of their files, so that readers are tried as well. A kind and a
seed make the same session again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ibl_dask.timing.clocks.nidq import Fronts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Randoms = np.random.Generator

DAQ_HZ = 30_003.0003
CAMERA_HZ = 8000
CYCLE_S = 128
BPOD_TICK_S = 1e-4
RATES_HZ = (30.0, 30.03, 59.767, 60.0, 60.1, 149.99, 150.01)
TICKS_PER_S = 10_000_000
FIRST_TICK = 6.37e17
"""A day of 2019, in steps of 100 ns since the year 1."""
DIP_S = 3e-3
"""Between the two pulses of a go cue."""


@dataclass(frozen=True)
class Plan:
    """What a rig does, and what goes wrong. All off but for drift, jitter and what comes before and after the video."""

    route: str = "daq"
    rate_hz: float = 60.0
    n_exposures: int = 1800
    """From the first frame to the last."""
    drift_ppm: float = 0.0
    jitter: float = 0.0
    """Largest distance of an exposure from its due time, periods."""
    before: int = 100
    """Exposures before the first frame; negative for frames before the first pulse."""
    after: int = 100
    """Exposures after the last frame; negative for frames after the last pulse."""
    dropped: int = 0
    missed: float = 0.0
    """Share of the pulses that the main clock missed."""
    made_up: float = 0.0
    """Pulses that the main clock made up, as a share of the true ones."""
    ttl_missed: float = 0.0
    ttl_made_up: float = 0.0
    pin_missed: float = 0.0
    pin_made_up: float = 0.0
    doubled: float = 0.0
    """Share of the sounds that are two pulses, 3 ms apart."""
    sounds: int = 40
    regular_s: float | None = None
    """None for sounds at irregular times; else how far each is at most from its place in a regular row, s."""
    other_sounds: bool = False
    """The sync line is that of another session."""
    pauses_s: tuple[float, ...] = ()
    stalled: bool = False
    """The computer's clock stood still, or ran late, around the pauses."""
    clock_steps_s: tuple[float, ...] = ()
    """Steps of the computer's clock."""
    pin_delay: float = 0.0
    """When the camera reads its pin, periods after the exposure began."""
    lost_s: float = 0.0
    """Samples that the DAQ lost in one piece, s."""
    lost_at: float = 0.5
    """Where, as a share of the recording."""
    quick: int = 0
    """Exposures that come too soon after another, at one end."""
    quick_at_end: bool = False
    quick_periods: float = 0.4
    columns: frozenset[str] = frozenset({"clock", "count", "pins"})
    """What the camera's file holds."""
    has_file: bool = True
    video_lacks: int = 0
    """Frames that the camera's file describes and the video does not hold."""
    lacks_last: bool = False
    """Those are the last ones; else any."""
    wrong_start_s: float = 0.0
    """By how much the start of one trial is noted wrongly, s."""
    watched: bool = False
    """The Bpod's first trial began before the camera."""


@dataclass(frozen=True)
class Session:
    """What the devices noted, and the truth."""

    plan: Plan
    n_frames: int
    """Frames of the video."""
    truth_s: Floats
    """When each was exposed, s on the main clock; NaN where the main clock did not run (frame,)."""
    period_s: float
    fronts: Fronts | None = None
    ttl: Fronts | None = None
    frame_data: bytes | None = None
    camlog: bytes | None = None
    trials: bytes | None = None
    leaves_no_trace: bool = False
    """Samples were lost whose length is a whole number of periods, to under a tick of the camera's clock, and no change
    of the sync line lies beyond them: the same files come from a recording without a loss."""


# -- kinds -----------------------------------------------------------------------------------------------------------


def _calm(rng: Randoms) -> dict[str, object]:
    return {}


def _either_end(rng: Randoms, most: int) -> dict[str, object]:
    which = rng.integers(3)
    return {name: int(rng.integers(0, most)) for i, name in enumerate(("before", "after")) if which in (i, 2)}


def _missing_ends(rng: Randoms) -> dict[str, object]:
    which = rng.integers(3)
    return {name: -int(rng.integers(1, 14)) for i, name in enumerate(("before", "after")) if which in (i, 2)}


def _pauses(rng: Randoms) -> dict[str, object]:
    return {"pauses_s": tuple(rng.uniform(0.04, 5, rng.integers(1, 4)))}


def _long_pause(rng: Randoms) -> dict[str, object]:
    return {"pauses_s": (float(rng.uniform(30, 400)),)}


def _lost(rng: Randoms) -> dict[str, object]:
    lost = float(rng.uniform(0.005, 2) if rng.random() < 0.5 else 10 ** rng.uniform(-2.3, 0.3))
    return {"lost_s": lost, "lost_at": float(rng.uniform(0.04, 0.96))}


def _lost_at_an_end(rng: Randoms) -> dict[str, object]:
    at = rng.uniform(0, 0.04)
    return _lost(rng) | {"lost_at": float(at if rng.random() < 0.5 else 1 - at)}


def _quick(rng: Randoms) -> dict[str, object]:
    return {
        "quick": int(rng.integers(1, 6)),
        "quick_at_end": bool(rng.random() < 0.5),
        "quick_periods": float(rng.uniform(0.3, 0.55)),
    }


def _regular(rng: Randoms) -> dict[str, object]:
    return {"regular_s": float(10 ** rng.uniform(-5, -2)), "sounds": int(rng.integers(4, 80))} | _missed_sounds(rng)


def _missed_sounds(rng: Randoms) -> dict[str, object]:
    return {
        "ttl_missed": rng.uniform(0, 0.25),
        "pin_missed": rng.uniform(0, 0.25),
        "ttl_made_up": rng.uniform(0, 0.3),
        "pin_made_up": rng.uniform(0, 0.3),
        "doubled": rng.uniform(0, 1),
    }


def _few_sounds(rng: Randoms) -> dict[str, object]:
    return {"sounds": int(rng.integers(0, 7)), "ttl_missed": rng.uniform(0, 0.4), "pin_missed": rng.uniform(0, 0.4)}


def _lost_sounds(rng: Randoms) -> dict[str, object]:
    return {name: rng.uniform(0, 1) for name in ("ttl_missed", "pin_missed", "ttl_made_up", "pin_made_up")}


def _without(*columns: str) -> Callable[[Randoms], dict[str, object]]:
    def kind(rng: Randoms) -> dict[str, object]:
        found: dict[str, object] = {"columns": frozenset({"clock", "count", "pins"}) - set(columns)}
        if rng.random() < 0.5:
            found |= {"dropped": int(rng.integers(1, 20))}
        if rng.random() < 0.3:
            found |= {"missed": rng.uniform(0, 0.01)}
        if rng.random() < 0.3:
            found |= _missing_ends(rng)
        return found

    return kind


def _everything(rng: Randoms) -> dict[str, object]:
    found: dict[str, object] = {}
    for change in (_pauses, _missed_sounds, _missing_ends, _quick, _clock_steps, _pin_delay, _lost, _lost_at_an_end):
        if rng.random() < 0.3:
            found |= change(rng)
    found |= {"dropped": int(rng.integers(0, 30)), "missed": rng.uniform(0, 0.02), "made_up": rng.uniform(0, 0.02)}
    return found


def _clock_steps(rng: Randoms) -> dict[str, object]:
    size = 10 ** rng.uniform(-1, 4, rng.integers(1, 4))
    return {"clock_steps_s": tuple(size * rng.choice([-1, 1], size.size))}


def _pin_delay(rng: Randoms) -> dict[str, object]:
    return {"pin_delay": float(rng.uniform(0, 0.65))}


def _video_lacks(rng: Randoms) -> dict[str, object]:
    return {"video_lacks": int(rng.integers(1, 40)), "lacks_last": bool(rng.random() < 0.5)}


def _bpod(**more: object) -> Callable[[Randoms], dict[str, object]]:
    def kind(rng: Randoms) -> dict[str, object]:
        found: dict[str, object] = {"route": "bpod", "watched": bool(rng.random() < 0.3), "sounds": 15}
        if rng.random() < 0.3:
            found |= {"dropped": int(rng.integers(1, 10))}
        if "pause" in more:
            found |= {"pauses_s": (float(rng.uniform(0.05, 20)),)}
        if "start" in more:
            found |= {"wrong_start_s": float(rng.choice([-1, 1]) * 10 ** rng.uniform(-3, -0.7))}
        if "no_pins" in more:
            found |= {"columns": frozenset({"clock", "count"})}
        return found

    return kind


def _labcams(rng: Randoms) -> dict[str, object]:
    found: dict[str, object] = {"route": "camlog", "columns": frozenset({"clock", "count"})}
    if rng.random() < 0.4:
        found |= {"before": 0}
    if rng.random() < 0.3:
        found |= {"dropped": int(rng.integers(1, 20))}
    if rng.random() < 0.3:
        found |= {"missed": rng.uniform(0, 0.01)}
    if rng.random() < 0.2:
        found |= _missing_ends(rng)
    return found


KINDS: dict[str, Callable[[Randoms], dict[str, object]]] = {
    "nothing wrong": _calm,
    "extra pulses at the ends": lambda rng: _either_end(rng, 900),
    "missed pulses at the ends": _missing_ends,
    "frames dropped": lambda rng: {"dropped": int(rng.integers(1, 60))},
    "pulses missed": lambda rng: {"missed": rng.uniform(0, 0.05)},
    "pulses made up": lambda rng: {"made_up": rng.uniform(0, 0.05)},
    "pulses missed and made up": lambda rng: {"missed": rng.uniform(0, 0.05), "made_up": rng.uniform(0, 0.05)},
    "TTLs missed, made up, doubled": _missed_sounds,
    "most TTLs lost": _lost_sounds,
    "few TTLs": _few_sounds,
    "TTLs at regular intervals": _regular,
    "TTLs of another session": lambda rng: {"other_sounds": True},
    "pauses": _pauses,
    "a pause of up to 400 s, clocks wrap": _long_pause,
    "a pause, the computer's clock stalls": lambda rng: _long_pause(rng) | {"stalled": True},
    "the computer's clock is set": lambda rng: _clock_steps(rng) | (_pauses(rng) if rng.random() < 0.5 else {}),
    "pins read late": _pin_delay,
    "pins read late, few TTLs": lambda rng: _few_sounds(rng) | _pin_delay(rng),
    "pins read late, TTLs missed": lambda rng: _missed_sounds(rng) | _pin_delay(rng),
    "no pins": _without("pins"),
    "no camera clock": _without("clock"),
    "no counter": _without("count"),
    "no clock, no counter": _without("clock", "count"),
    "no camera file": lambda rng: {"has_file": False} | (_missing_ends(rng) if rng.random() < 0.5 else {}),
    "samples lost within": _lost,
    "samples lost at an end": _lost_at_an_end,
    "quick exposures at an end": _quick,
    "everything at once": _everything,
    "the video lacks frames": _video_lacks,
    "Bpod": _bpod(),
    "Bpod, a pause": _bpod(pause=True),
    "Bpod, a start noted wrongly": _bpod(start=True),
    "Bpod without pins": _bpod(no_pins=True),
    "Bpod without pins, a pause": _bpod(no_pins=True, pause=True),
    "camlog": _labcams,
    "camlog, pauses": lambda rng: _labcams(rng) | _pauses(rng),
}
"""What goes wrong, each as bad as chance makes it."""


def random_session(kind: str, seed: int, longest_s: float = 60.0, **settings: object) -> Session:
    """Make a session of one kind; `settings` are those of `Plan` that chance does not decide."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    rate = float(rng.choice(RATES_HZ))
    plan = Plan(
        rate_hz=rate,
        n_exposures=int(rate * rng.uniform(20, longest_s)),
        drift_ppm=rng.uniform(-200, 200),
        jitter=float(rng.choice([0, rng.uniform(0, 0.01), rng.uniform(0, 0.1)])),
        before=int(rng.integers(0, 200)),
        after=int(rng.integers(0, 200)),
        sounds=int(rng.integers(15, 60)),
    )
    plan = replace(plan, **(KINDS[kind](rng) | settings))
    return (_bpod_session if plan.route == "bpod" else _daq_session)(plan, rng)


# -- the camera ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Camera:
    """Exposures of a camera and the frames it kept."""

    exposed_s: Floats
    """All exposures, s by the camera's clock (exposure,)."""
    first: int
    """Exposure of frame 0."""
    frames: Ints
    """Exposure of each frame (frame,)."""
    in_pause: Ints
    """Last exposure before each pause."""


def _camera(plan: Plan, rng: Randoms) -> _Camera:
    before, after = max(plan.before, 0), max(plan.after, 0)
    n = before + plan.n_exposures + after
    period = 1 / plan.rate_hz
    exposed = (np.arange(n) + rng.uniform(-plan.jitter, plan.jitter, n)) * period
    places = []
    for number, pause in enumerate(plan.pauses_s, 1):
        place = number * n // (len(plan.pauses_s) + 1) + int(rng.integers(-n // 12, n // 12))
        exposed[place:] += pause
        places.append(place - 1)
    if plan.quick:
        sooner = (1 - plan.quick_periods) * period
        if plan.quick_at_end:
            for i in range(plan.quick):
                exposed[before + plan.n_exposures - 1 - i :] -= sooner
        else:
            for i in range(plan.quick):
                exposed[before + 1 + i :] -= sooner
    frames = np.arange(before, before + plan.n_exposures)
    if plan.dropped:
        frames = np.delete(frames, rng.choice(np.arange(1, frames.size - 1), plan.dropped, replace=False))
    return _Camera(exposed, before, frames, np.array(places, dtype=np.int64))


def _sounds(plan: Plan, rng: Randoms, start: float, stop: float, margin: float = 2.0) -> tuple[Floats, NDArray, Ints]:
    """Return the edges of the sync line in order, their directions, and the sound of each; none overlap."""
    if not plan.sounds:
        return np.empty(0), np.empty(0, np.int8), np.empty(0, np.int64)
    slot = (stop - start) / plan.sounds
    extra = int(margin / slot)
    places = start + (np.arange(-extra, plan.sounds + extra) + 0.3) * slot
    if plan.regular_s is None:
        places += rng.uniform(-0.28, 0.4, places.size) * slot
    else:
        places += rng.uniform(-1, 1, places.size) * min(plan.regular_s, 0.05 * slot)
    widths = np.minimum(
        rng.choice([max(0.1, 2.2 / plan.rate_hz), max(0.5, 3.2 / plan.rate_hz)], places.size), 0.3 * slot
    )
    rises, falls = places, places + widths
    number = np.arange(places.size)
    two = rng.random(places.size) < plan.doubled
    inner = places[two] + 0.3 * widths[two]
    times = np.concatenate([rises, falls, inner, inner + DIP_S])
    signs = np.concatenate([np.ones(number.size), -np.ones(number.size), -np.ones(inner.size), np.ones(inner.size)])
    owners = np.concatenate([number, number, number[two], number[two]])
    order = np.argsort(times)
    return times[order], signs[order].astype(np.int8), owners[order]


def _pin(plan: Plan, rng: Randoms, read_s: Floats, times: Floats, signs: NDArray) -> NDArray[np.bool_]:
    """Return what the pin shows on each frame."""
    heard = rng.random(times.size) >= plan.pin_missed
    times, signs = times[heard], signs[heard]
    passed = np.searchsorted(times, read_s, side="right")
    state = np.append(signs, -1)[passed - 1] > 0
    state[passed == 0] = False
    for _ in range(round(plan.pin_made_up * times.size / 2)):
        at = int(rng.integers(1, max(state.size - 4, 2)))
        state[at : at + int(rng.integers(1, 4))] ^= True
    return state


def _frame_data(plan: Plan, rng: Randoms, camera: _Camera, pin: NDArray[np.bool_]) -> bytes:
    """Return the file of a camera: wall clock, camera clock, counter, pins."""
    exposed = camera.exposed_s[camera.frames]
    cycles = np.floor((exposed + rng.uniform(0, CYCLE_S)) * CAMERA_HZ).astype(np.int64) % (CYCLE_S * CAMERA_HZ)
    register = ((cycles // CAMERA_HZ) << 25) | ((cycles % CAMERA_HZ) << 12) | rng.integers(0, 3072, cycles.size)
    noted = exposed + np.maximum.accumulate(rng.exponential(2e-3, exposed.size) * (rng.random(exposed.size) < 0.2))
    if plan.stalled:
        for last in camera.in_pause:
            after = camera.frames > last
            if rng.random() < 0.5:  # the clock stood still for a part of the pause, or all of it
                gap = camera.exposed_s[last + 1] - camera.exposed_s[last]
                noted[after] -= rng.uniform(0, 1) * gap
            else:  # frames after the pause were noted late, all at once
                first = int(np.argmax(after))
                until = exposed[first] + rng.uniform(0.5, 8)
                noted[first:] = np.maximum(noted[first:], until)
    for step in plan.clock_steps_s:
        noted[int(rng.integers(1, noted.size)) :] += step
    columns = plan.columns
    table = np.column_stack(
        [
            FIRST_TICK + noted * TICKS_PER_S,
            register if "clock" in columns else np.full(noted.size, np.nan),
            camera.frames + int(rng.integers(0, 10**7)) if "count" in columns else np.full(noted.size, np.nan),
            pin * 2.0**28 if "pins" in columns else np.full(noted.size, np.nan),
        ]
    )
    return table.astype("<f8").tobytes()


def _line(plan: Plan, rng: Randoms, seen_s: Floats, tick_s: float) -> Fronts:
    """Return the camera's line as the main clock notes it."""
    period = 1 / plan.rate_hz
    missed = rng.random(seen_s.size) < plan.missed
    part = rng.integers(0, 3, seen_s.size)  # of a missed pulse: its rise, its fall, or both
    extra = rng.uniform(seen_s[0], seen_s[-1], round(plan.made_up * seen_s.size))
    rises = np.append(seen_s[~(missed & (part != 1))], extra)
    falls = np.append((seen_s + 0.25 * period)[~(missed & (part != 0))], extra + rng.uniform(0.01, 0.2) * period)
    return _fronts(rises, falls, tick_s)


def _fronts(rises: Floats, falls: Floats, tick_s: float) -> Fronts:
    times = np.concatenate([rises, falls])
    signs = np.repeat(np.array([1, -1], np.int8), [rises.size, falls.size])
    order = np.argsort(times, kind="stable")
    return Fronts(np.ceil(times[order] / tick_s) * tick_s, signs[order])


# -- a DAQ -----------------------------------------------------------------------------------------------------------


def _daq_session(plan: Plan, rng: Randoms) -> Session:
    camera = _camera(plan, rng)
    origin = rng.uniform(1, 100)
    exposed = origin + camera.exposed_s * (1 + plan.drift_ppm * 1e-6)
    first, last = exposed[camera.frames[0]], exposed[camera.frames[-1]]
    times, signs, _ = _sounds(plan, rng, first, last)
    period = 1 / plan.rate_hz
    pin = _pin(plan, rng, exposed[camera.frames] + plan.pin_delay * period, times, signs)
    is_logged = plan.route == "camlog"
    file = _frame_data(plan, rng, camera, pin) if plan.has_file and not is_logged else None
    log = _camlog(plan, rng, camera) if is_logged else None
    heard_from, heard_to = exposed[0] - 1, exposed[-1] + 1
    if plan.before < 0:
        heard_from = exposed[camera.first - plan.before] - 0.6 * period
    if plan.after < 0:
        heard_to = exposed[camera.first + plan.n_exposures - 1 + plan.after] + 0.4 * period
    lost_from = first + plan.lost_at * (last - first)
    lost_to = lost_from + plan.lost_s
    if plan.other_sounds:
        times, signs, _ = _sounds(plan, rng, first, last)
    heard = (rng.random(times.size) >= plan.ttl_missed) & ((times < lost_from) | (times >= lost_to))
    made_up = rng.uniform(heard_from, heard_to, round(plan.ttl_made_up * times.size))
    rises = np.append(times[heard & (signs > 0)], made_up[::2])
    falls = np.append(times[heard & (signs < 0)], made_up[1::2])
    seen = exposed[(exposed >= heard_from) & (exposed <= heard_to)]
    truth = exposed[camera.frames]
    no_trace = False
    if plan.lost_s:
        whole = np.round(plan.lost_s * plan.rate_hz)
        is_whole = abs(plan.lost_s - whole * period) < 1.5 / CAMERA_HZ
        within = times[heard]
        beyond = (within > lost_to) & (within < last) if plan.lost_at > 0.5 else (within < lost_from) & (within > first)
        no_trace = bool(is_whole and np.count_nonzero(beyond) < 2)
        seen, rises, falls = (_collapse(part, lost_from, lost_to) for part in (seen, rises, falls))
        in_piece = (truth >= lost_from) & (truth < lost_to)
        truth = np.where(truth >= lost_to, truth - plan.lost_s, truth)
        truth[in_piece] = np.nan
    keep = np.ones(truth.size, np.bool_)
    if plan.video_lacks:
        at = np.arange(truth.size)[-plan.video_lacks :]
        keep[at if plan.lacks_last else rng.choice(truth.size, plan.video_lacks, replace=False)] = False
    return Session(
        plan,
        int(keep.sum()),
        truth[keep],
        period,
        _line(plan, rng, seen, 1 / DAQ_HZ),
        _fronts(rises, falls, 1 / DAQ_HZ),
        file,
        log,
        leaves_no_trace=no_trace,
    )


def _collapse(times: Floats, lost_from: float, lost_to: float) -> Floats:
    """Return times on a clock that did not run for a while, without what happened meanwhile."""
    kept = times[(times < lost_from) | (times >= lost_to)]
    return np.where(kept >= lost_to, kept - (lost_to - lost_from), kept)


# -- a Bpod ----------------------------------------------------------------------------------------------------------


def _bpod_session(plan: Plan, rng: Randoms) -> Session:
    camera = _camera(plan, rng)
    origin = rng.uniform(5, 60)
    exposed = origin + camera.exposed_s * (1 + plan.drift_ppm * 1e-6)
    period = 1 / plan.rate_hz
    first, last = exposed[camera.frames[0]], exposed[camera.frames[-1]]
    # The camera runs free, frames begin with the camera; trials begin before it or after, and end before it does.
    exposed, camera_start = exposed[camera.first :], first
    starts, ends = [], []
    at = camera_start - rng.uniform(0.1, 3) if plan.watched else camera_start + rng.uniform(0, 10)
    while at < last - 3:
        length = rng.uniform(2, 6)
        starts.append(at)
        ends.append(min(at + length, last - rng.uniform(0.5, 2)))
        at = ends[-1] + rng.uniform(0.15, 0.9)
    times, signs, _ = _sounds(replace(plan, sounds=max(2 * len(starts), 4)), rng, starts[0], ends[-1], 0)
    pin = _pin(plan, rng, (exposed)[camera.frames - camera.first] + plan.pin_delay * period, times, signs)
    lines = []
    wrong = int(rng.integers(1, max(len(starts) - 1, 2))) if plan.wrong_start_s and len(starts) > 2 else -1
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):

        def noted(moments: Floats, start: float = start, end: float = end) -> list[float]:
            inside = moments[(moments >= start) & (moments < end)]
            return np.round(np.round((inside - start) / BPOD_TICK_S) * BPOD_TICK_S, 4).tolist()

        events = {
            "Port1In": noted(exposed),
            "Port1Out": noted(exposed + 0.25 * period),
            "BNC2High": noted(times[signs > 0]),
            "BNC2Low": noted(times[signs < 0]),
        }
        told = start + (plan.wrong_start_s if number == wrong else 0)
        behaviour = {
            "Bpod start timestamp": 0.0,
            "Trial start timestamp": told,
            "Trial end timestamp": told + end - start,
            "Events timestamps": {name: values for name, values in events.items() if values},
        }
        lines.append(json.dumps({"behavior_data": behaviour}))
    truth = exposed[camera.frames - camera.first]
    return Session(
        plan,
        truth.size,
        truth,
        period,
        frame_data=_frame_data(plan, rng, camera, pin),
        trials="\n".join(lines).encode(),
    )


# -- labcams ---------------------------------------------------------------------------------------------------------


def _camlog(plan: Plan, rng: Randoms, camera: _Camera) -> bytes:
    """Return the log of a camera that labcams ran."""
    exposed = camera.exposed_s[camera.frames]
    ids = camera.frames - camera.frames[0] + 1
    clock = np.floor((exposed + rng.uniform(0, 1000)) * 1e6) / 1e6
    lines = [f"{number},{time:.7f}" for number, time in zip(ids.tolist(), clock.tolist(), strict=True)]
    head = "# Camera: body log file\n# labcams version: 1.0\n# Log header:frame_id,timestamp\n"
    return (head + "\n".join(lines) + f"\n# [10:12:13] - Wrote {ids.size} frames on body (1 files).\n").encode()
