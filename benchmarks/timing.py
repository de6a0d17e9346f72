"""Frame times against the truth on 1,000 random recordings, and how long an hour of camera takes on both sides.

    python benchmarks/timing.py [--sessions 1000] [--repeat 5] [--out benchmarks/results/timing.md]

Errors. Each recording has drift and jitter, some offset between camera and DAQ, and the disturbances of its class, each
as bad as chance makes it (`CLASSES`; tests/helpers/recordings.py plays them). Only where at least 60 % of the edges of
the sync line survive on both sides can pins be expected to tell; the last classes are below that, or ambiguous. A
recording is flagged if its times come with another outcome than PASS, or were matched by counts; it is confidently
wrong if it is not flagged, and any frame is off by half a period or more.

Speed. One hour of the right camera: 540,000 frames, 4,000 sounds (8,000 edges). Both sides use one core, and seconds
are those of the core, so that other work on the machine does not count.
reading      `frameData.bin`: `read_frame_data`, beside the reference's `load_embedded_frame_data` and
             `load_camera_ssv_times`, which its extraction calls one after the other.
alignment    `frame_times`, beside `groom_pin_state` and `align_with_gpio` with the extraction's own arguments.
The reference, ibllib 4.1.0, is named by IBL_DASK_PEER_PYTHON. Where the number of edges differs, it needs the grooming
that takes most of its time; where it is the same, it pairs them by order. Both are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from frame_pass import machine

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

from recordings import Recording, Scene, record

from ibl_dask.errors import InputError
from ibl_dask.model.outcome import Outcome
from ibl_dask.synth.clocks import CameraTimer
from ibl_dask.timing.alignment.frame_times import frame_times
from ibl_dask.timing.camera.camera_files import read_frame_data

Randoms = np.random.Generator
SURVIVING = 0.6
"""Share of edges from which on pins must tell."""

CLASSES: dict[str, Callable[[Randoms], dict[str, object]]] = {
    "drift, jitter, offsets alone": lambda rng: {},
    "frames dropped": lambda rng: {"n_dropped": int(rng.integers(1, 60))},
    "camera paused": lambda rng: {"pauses_s": tuple(rng.uniform(0.05, 4, rng.integers(1, 4)))},
    "sync edges missed": lambda rng: {"ttl_missed": rng.uniform(0, 0.35)},
    "pin edges missed": lambda rng: {"pin_missed": rng.uniform(0, 0.35)},
    "edges made up": lambda rng: {"ttl_spurious": rng.uniform(0, 0.5), "pin_spurious": rng.uniform(0, 0.5)},
    "double pulses, pin up on frame 0": lambda rng: {"double_tones": True, "high_at_start": True},
    "pulses missed": lambda rng: {"pulses_missed": rng.uniform(0, 0.05), "leading_fall": bool(rng.random() < 0.5)},
    "pulses made up": lambda rng: {"pulses_spurious": rng.uniform(0, 0.05)},
    "pulses missed and made up": lambda rng: {
        "pulses_missed": rng.uniform(0, 0.05),
        "pulses_spurious": rng.uniform(0, 0.05),
    },
    "no counter, frames dropped": lambda rng: {"with_counter": False, "n_dropped": int(rng.integers(1, 60))},
    "no camera clock": lambda rng: {"with_clock": False, "pulses_missed": rng.uniform(0, 0.01)},
    "five sounds": lambda rng: {"n_tones": 5},
    "everything at once": lambda rng: {
        "n_dropped": int(rng.integers(0, 60)),
        "pauses_s": tuple(rng.uniform(0.05, 4, rng.integers(0, 2))),
        "ttl_missed": rng.uniform(0, 0.2),
        "pin_missed": rng.uniform(0, 0.2),
        "ttl_spurious": rng.uniform(0, 0.3),
        "pin_spurious": rng.uniform(0, 0.3),
        "double_tones": bool(rng.random() < 0.5),
        "high_at_start": bool(rng.random() < 0.5),
        "leading_fall": bool(rng.random() < 0.5),
        "pulses_missed": rng.uniform(0, 0.03),
        "pulses_spurious": rng.uniform(0, 0.03),
    },
    "most edges lost": lambda rng: {
        "ttl_missed": rng.uniform(0.3, 0.95),
        "pin_missed": rng.uniform(0.3, 0.95),
        "n_tones": int(rng.integers(5, 120)),
    },
    "five sounds, edges lost": lambda rng: {
        "n_tones": 5,
        "ttl_missed": rng.uniform(0, 0.6),
        "pin_missed": rng.uniform(0, 0.6),
        "pin_spurious": rng.uniform(0, 0.5),
    },
    "regular sounds": lambda rng: {
        "regular_jitter_s": 10 ** rng.uniform(-5, -2),
        "n_tones": int(rng.integers(5, 120)),
        "ttl_missed": rng.uniform(0, 0.3),
    },
    "no pin states": lambda rng: {"with_pins": False},
    "no counter, no clock": lambda rng: {
        "with_counter": False,
        "with_clock": False,
        "n_dropped": int(rng.integers(1, 20)),
    },
}

REFERENCE = """
import json, logging, statistics, sys, time
from pathlib import Path
import numpy as np
import ibllib.io.raw_data_loaders as raw
from ibllib.io.extractors.camera import align_with_gpio, groom_pin_state
logging.disable(logging.CRITICAL)
session, repeat = Path(sys.argv[1]), int(sys.argv[2])
seconds = {"reading": [], "alignment, edges missed": [], "alignment, as many edges": []}
for _ in range(repeat):
    clock = time.process_time()
    count, pins = raw.load_embedded_frame_data(session, "right")
    _, camera_s = raw.load_camera_ssv_times(session, "right")
    seconds["reading"].append(time.process_time() - clock)
    pulses = np.load(session / "pulses.npy")
    for side in ("missed", "whole"):
        ttl = {part: np.load(session / f"{side}.{part}.npy") for part in ("times", "polarities")}
        pin = {"indices": pins[-1]["indices"].copy(), "polarities": pins[-1]["polarities"].copy()}
        clock = time.process_time()
        pin, ttl, _ = groom_pin_state(pin, ttl, camera_s)
        align_with_gpio(pulses, ttl, pin, count)
        name = "alignment, edges missed" if side == "missed" else "alignment, as many edges"
        seconds[name].append(time.process_time() - clock)
print("SECONDS" + json.dumps({name: statistics.median(values) for name, values in seconds.items()}))
"""


@dataclass(frozen=True)
class Result:
    """How one recording came out."""

    kind: str
    scene: Scene
    survived: float
    is_clear: bool
    """True where at least 60 % of irregular edges survive, so that pins must tell."""
    error: float | None
    """Largest, in periods; None where refused."""
    is_flagged: bool
    told: str

    @property
    def is_wrong(self) -> bool:
        """Return whether somebody would believe a wrong time."""
        return self.error is not None and self.error >= 0.5 and not self.is_flagged


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sections = [machine(), errors(options.sessions, options.seed)]
    if not options.no_speed:
        with tempfile.TemporaryDirectory() as folder:
            sections.append(speed(Path(folder), options.repeat))
    text = "\n\n".join(sections) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


# -- errors ------------------------------------------------------------------------------------------------


def errors(n_sessions: int, seed: int) -> str:
    """Time all recordings and return the table."""
    kinds = list(CLASSES)
    results = [time_one(kinds[i % len(kinds)], np.random.default_rng([seed, i])) for i in range(n_sessions)]
    wrong = [result for result in results if result.is_wrong]
    missed = [r for r in results if r.is_clear and (r.error is None or r.error >= 0.5)]
    for result in (*wrong, *missed):
        print(f"{result.kind}: off by {result.error} periods, {result.told}\n  {result.scene}", file=sys.stderr)
    columns = ("recordings", "median", "95 %", "99 %", "max", "flagged", "refused", "60 % survive, not timed")
    head = f"| | {' | '.join(columns)} | confidently wrong |"
    lines = [
        f"### Largest error of a frame in {n_sessions:,} random recordings, in frame periods",
        "",
        head,
        "| --- |" + " ---: |" * 9,
        *(row(kind, [result for result in results if result.kind == kind]) for kind in kinds),
        row("**all**", results),
        row("all that are not flagged", [result for result in results if not result.is_flagged]),
    ]
    return "\n".join(lines)


def row(name: str, results: list[Result]) -> str:
    """Return a line of the table."""
    known = [result.error for result in results if result.error is not None]
    quantiles = np.percentile(known, [50, 95, 99, 100]) if known else [np.nan] * 4
    flagged = sum(r.is_flagged and r.error is not None for r in results) / max(len(results), 1)
    refused = sum(r.error is None for r in results) / max(len(results), 1)
    missed = sum(r.is_clear and (r.error is None or r.error >= 0.5) for r in results)
    numbers = " | ".join(f"{value:.3g}" for value in quantiles)
    wrong = sum(r.is_wrong for r in results)
    return f"| {name} | {len(results)} | {numbers} | {flagged:.0%} | {refused:.0%} | {missed} | {wrong} |"


def time_one(kind: str, rng: Randoms) -> Result:
    """Play one recording of a class and time it."""
    around = {}
    for end in ("start", "end"):
        which = rng.integers(3)  # both begin or end together, or the camera goes beyond the DAQ, or the DAQ beyond it
        around |= {
            1: {f"surplus_{end}": int(rng.integers(1, 500))},
            2: {f"missing_{end}": int(rng.integers(1, 14))},
        }.get(int(which), {})
    scene = Scene(
        fps=float(rng.choice([30, 59.767, 60, 150.01])),
        n_frames=int(rng.integers(2000, 9000)),
        drift_ppm=rng.uniform(-200, 200),
        jitter=rng.uniform(0, 0.1),
        n_tones=int(rng.integers(20, 150)),
        seed=int(rng.integers(2**32)),
    )
    scene = replace(scene, **{**around, **CLASSES[kind](rng)})
    recording = record(scene)
    is_clear = recording.survived >= SURVIVING and scene.regular_jitter_s is None and scene.with_pins
    is_clear = is_clear and (scene.with_counter or scene.with_clock)
    try:
        found = frame_times(recording.truth_s.size, recording.fronts, recording.ttl, recording.camera, where=f"{kind}")
    except InputError as error:
        return Result(kind, scene, recording.survived, is_clear, None, True, str(error))
    off = float(np.abs(found.times_s - recording.truth_s).max()) / recording.period_s
    is_flagged = found.outcome_hint is not Outcome.PASS or found.method == "counts"
    return Result(kind, scene, recording.survived, is_clear, off, is_flagged, "; ".join(found.notes))


# -- speed -------------------------------------------------------------------------------------------------


def speed(root: Path, repeat: int) -> str:
    """Measure both sides on an hour of the right camera and return the table."""
    recording, session = write_hour(root)
    path = session / "raw_video_data" / "_iblrig_rightCamera.frameData.bin"
    camera = read_frame_data(path)
    n_frames = recording.truth_s.size

    def align(ttl: object) -> None:
        found = frame_times(n_frames, recording.fronts, ttl, camera, where="right")
        if found.method != "pins" or np.abs(found.times_s - recording.truth_s).max() > recording.period_s / 2:
            raise SystemExit("the hour is not timed right")

    ours = {
        "reading": lambda: read_frame_data(path),
        "alignment, edges missed": lambda: align(with_missed(recording)),
        "alignment, as many edges": lambda: align(recording.ttl),
    }
    seconds = {name: median_of(repeat, call) for name, call in ours.items()}
    reference, told = measure_reference(session, repeat)
    lines = [
        f"### One hour of the right camera, {n_frames:,} frames, {len(recording.ttl):,} edges, median of {repeat}, s",
        "",
        "| | ibl_dask | reference | ratio |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {name} | {value:.3f} | {reference[name]:.2f} | {reference[name] / value:.1f} |"
            if name in reference
            else f"| {name} | {value:.3f} | | |"
            for name, value in seconds.items()
        ),
        "",
        told,
    ]
    return "\n".join(lines)


def write_hour(root: Path) -> tuple[Recording, Path]:
    """Write what both sides read of an hour of the right camera."""
    recording = record(
        Scene(fps=150, n_frames=540_000, n_tones=4000, drift_ppm=20, jitter=0.002, surplus_start=150, seed=1)
    )
    folder = root / "raw_video_data"
    folder.mkdir()
    camera = recording.camera
    table = np.empty((recording.truth_s.size, 4))
    table[:, 0] = 637_568_488e9 + (recording.truth_s - recording.truth_s[0]) * 1e7
    table[:, 1] = CameraTimer(phase_s=3.0).read(recording.truth_s)
    table[:, 2] = 1000 + camera.count
    table[:, 3] = camera.pins[:, 3] * 2.0**28
    table.tofile(folder / "_iblrig_rightCamera.frameData.bin")
    np.save(root / "pulses.npy", recording.fronts.rises_s)
    for name, ttl in (("missed", with_missed(recording)), ("whole", within_frames(recording))):
        np.save(root / f"{name}.times.npy", ttl.times_s)
        np.save(root / f"{name}.polarities.npy", ttl.polarities)
    return recording, root


def within_frames(recording: Recording) -> object:
    """Return the edges that the pin shows, too."""
    ttl = recording.ttl
    inside = (ttl.times_s > recording.truth_s[0]) & (ttl.times_s <= recording.truth_s[-1])
    return type(ttl)(ttl.times_s[inside], ttl.polarities[inside])


def with_missed(recording: Recording) -> object:
    """Return the edges without every twentieth sound."""
    ttl = within_frames(recording)
    keep = np.arange(len(ttl)) // 2 % 20 != 7
    return type(ttl)(ttl.times_s[keep], ttl.polarities[keep])


def median_of(repeat: int, call: Callable[[], object]) -> float:
    """Return the median time of a call, s."""
    seconds = []
    for _ in range(repeat):
        clock = time.process_time()
        call()
        seconds.append(time.process_time() - clock)
    return statistics.median(seconds)


def measure_reference(session: Path, repeat: int) -> tuple[dict[str, float], str]:
    """Return what the reference takes, s, and what there is to say about it."""
    python = os.environ.get("IBL_DASK_PEER_PYTHON")
    if not python:
        return {}, "The reference was not measured: IBL_DASK_PEER_PYTHON is not set."
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [python, "-c", REFERENCE, str(session), str(repeat)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": home, "MPLBACKEND": "Agg"},
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.partition("SECONDS")[2]), "Reference: ibllib 4.1.0, in the same run."


if __name__ == "__main__":
    main()
