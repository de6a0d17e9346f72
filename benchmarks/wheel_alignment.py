"""CPU time of comparing an hour of video with the wheel, and that of the reference where it is installed.

    python benchmarks/wheel_alignment.py [--repeat 5] [--out benchmarks/results/wheel_alignment.md]

Motion energies and wheel are synthetic (no frame is drawn): an hour of a right camera at 150 Hz, 540,000 frames, and of
a left camera at 60 Hz; a wheel in bouts, four edges per tick. Everything runs on one core, and durations are CPU times,
so that other work on the machine has no effect.

speed          1 kHz interpolation, filter and differences.
alignment      every window of the hour, all shifts within 2 s, compared with those within 8 s.
short          the reference's bout and its offset.
reference      `MotionAlignmentFullSession.compute_shifts` on the same arrays, for every `--every`th of its windows,
               since each costs the same and all of them take too long. Needs IBL_DASK_PEER_PYTHON.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine, write_page

from ibl_dask.synth.wheel import encoder_edges, simulate_behaviour, trial_times
from ibl_dask.timing.clocks.pulses import Pulses
from ibl_dask.timing.wheel.alignment import align
from ibl_dask.timing.wheel.bout import active_bout, bout_offset
from ibl_dask.timing.wheel.motion import Motion, motion
from ibl_dask.timing.wheel.trace import Wheel

DURATION_S = 3600.0
PIECE_S = 120.0
TICK_RAD = 2 * np.pi / 4096
GRAIN_RAD = 0.02
"""Turn at which the difference of two frames saturates."""
PEER = os.environ.get("IBL_DASK_PEER_PYTHON")
REFERENCE = """
import sys, time
import numpy as np
from ibldsp.utils import WindowGenerator
from ibllib.io.extractors.video_motion import MotionAlignmentFullSession
import brainbox.behavior.wheel as wh

data, every = np.load(sys.argv[1]), int(sys.argv[2])
fps, twin = float(data["fps"]), 150
full = MotionAlignmentFullSession.__new__(MotionAlignmentFullSession)
clock = time.process_time()
position, full.wheel_time = wh.interpolate_position(data["wheel_times"], data["wheel_position"], freq=1000)
full.wheel_vel, _ = wh.velocity_filtered(position, 1000)
speed_s = time.process_time() - clock
overlap = int(fps * (twin - 1))
energy = np.r_[np.full(overlap, np.nan), data["energy"][:-2]]
times = np.r_[data["times"][0] - (np.arange(overlap)[::-1] + 1) / fps, data["times"]]
windows = WindowGenerator(energy.size - 1, int(fps * twin), overlap)
places = list(enumerate(windows.firstlast))
chosen = places[twin::every]
clock = time.process_time()
shifts = [full.compute_shifts(times, energy, first, last, i, windows)[0] for i, (first, last) in chosen]
each_s = (time.process_time() - clock) / len(chosen)
print("ANSWER", speed_s, each_s, len(places), len(chosen), np.nanmedian(shifts))
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--every", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = ["| camera | frames | step | CPU s | found, frames |", "|---|---|---|---|---|"]
    for label, fps in (("right", 150.0), ("left", 60.0)):
        lines += rows(label, fps, options.repeat, options.every)
    title, _, text = __doc__.partition("\n")
    report = "\n".join([f"# {title}", "", machine(), "", *lines, "", "```text", text.strip(), "```"])
    print(report)
    if options.out:
        write_page(options.out, report + "\n")


def rows(label: str, fps: float, repeat: int, every: int) -> list[str]:
    """Return the rows of one camera, whose video is three frames late."""
    wheel, times, energy = make_hour(fps)
    pulses, late = Pulses(times, np.ones(times.size, bool)), np.arange(times.size) + 3
    turned = motion(wheel)
    assert turned is not None  # noqa: S101
    found = align(energy, pulses, late, turned)

    def short(moving: Motion) -> int | None:
        bout = active_bout(moving)
        return None if bout is None else bout_offset(energy, times + 3 / fps, moving, bout)

    ours = {
        "speed": (lambda: motion(wheel), "-"),
        "alignment": (
            lambda: align(energy, pulses, late, turned),
            f"{found.shift_frames:.2f} ({found.confidence:.2f})",
        ),
        "short": (lambda: short(Motion(turned.start_s, turned.velocity)), str(short(turned))),
    }
    n = f"{times.size:,}"
    told = []
    total = 0.0
    for step, (work, answer) in ours.items():
        seconds = [timed(work) for _ in range(repeat)]
        total += statistics.median(seconds)
        told.append(f"| {label} | {n} | {step} | {statistics.median(seconds):.2f} | {answer} |")
    told.append(f"| {label} | {n} | **all three** | **{total:.2f}** | |")
    if PEER:
        told += reference(label, fps, wheel, times + 3 / fps, energy, every)
    return told


def reference(label: str, fps: float, wheel: Wheel, times: np.ndarray, energy: np.ndarray, every: int) -> list[str]:
    """Return the rows of the reference."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.npz"
        np.savez(
            path, fps=fps, times=times, energy=energy, wheel_times=wheel.times_s, wheel_position=wheel.position_rad
        )
        done = subprocess.run(
            [str(PEER), "-c", REFERENCE, str(path), str(every)],
            env={"PATH": os.environ["PATH"], "HOME": folder, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    speed_s, each_s, n_windows, n_run, shift = map(float, done.stdout.partition("ANSWER")[2].split())
    n = f"{times.size:,}"
    return [
        f"| {label} | {n} | reference: speed | {speed_s:.2f} | - |",
        f"| {label} | {n} | reference: shifts, {n_windows:,.0f} windows of {each_s:.3f} s ({n_run:.0f} run) | "
        f"{each_s * n_windows:,.0f} | {shift:.0f} |",
    ]


def make_hour(fps: float) -> tuple[Wheel, np.ndarray, np.ndarray]:
    """Return a synthetic wheel, frame times and motion energies of an hour, in pieces of two minutes."""
    rng = np.random.default_rng(1)
    clock, angle, edges, counts = [], [], [], []
    start = turned = 0
    while start < DURATION_S + 2:
        piece = simulate_behaviour(PIECE_S, trial_times((0.5, PIECE_S - 1.5), rng), rng)
        at, after = encoder_edges(piece)
        clock.append(start + piece.times_s[:-1])
        angle.append(turned * TICK_RAD + piece.wheel_rad[:-1])
        edges.append(start + at)
        counts.append(turned + after)
        start += PIECE_S
        turned = int(counts[-1][-1])
    unique, last = np.unique(np.concatenate(edges)[::-1], return_index=True)
    wheel = Wheel(unique, np.concatenate(counts)[::-1][last] * TICK_RAD, "made up")
    times = 1 + np.arange(round(DURATION_S * fps)) / fps
    seen = np.interp(times, np.concatenate(clock), np.concatenate(angle))
    energy = np.full(times.size, np.nan, np.float32)
    moved = np.abs(seen[2:] - seen[:-2])
    energy[:-2] = 2 + np.abs(rng.normal(0, 0.5, moved.size)) + 10 * (1 - np.exp(-moved / GRAIN_RAD))
    return wheel, times, energy


def timed(work: Callable[[], object]) -> float:
    """Return the CPU time of a call, s."""
    clock = time.process_time()
    work()
    return time.process_time() - clock


if __name__ == "__main__":
    sys.exit(main())
