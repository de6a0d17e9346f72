"""One decode of a video with all reducers, beside FFmpeg alone and beside the reference.

    python benchmarks/frame_pass.py [--frames 5000] [--repeat 3] [--out benchmarks/results/frame_pass.md]

All sides read the same files in the same run, one after another, and the table gives ratios: absolute numbers depend on
the machine. The reference (ibllib 4.1.0) runs in its own environment, named by IBL_DASK_PEER_PYTHON; without it its
rows are left out, and the table says so.

What is compared:

ffmpeg           `ffmpeg -threads 1 -i VIDEO -f null -`: decoding and nothing else, on one core.
frame pass       every reducer of the camera task, one process, one thread.
two workers      the same through `ibl_dask.run` on two Dask workers: index, chunks, merge, checks, report; the start of
                 the cluster is not counted.
reference        its products only: motion energy of the wheel region of every frame
                 (`get_video_frames_preload` in batches + `motion_energy`) and its 100 sampled frames.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import imageio_ffmpeg

from ibl_dask.deploy.local import connect
from ibl_dask.deploy.profile import Profile
from ibl_dask.model.chunk import Chunk
from ibl_dask.pipeline.run import Run, run
from ibl_dask.synth.session import write_session
from ibl_dask.video.framepass import run_pass
from ibl_dask.video.index import index_video
from ibl_dask.video.reader import FrameReader, luma
from ibl_dask.video.regions import camera_reducers, wheel_region

CAMERAS = {"left": (1280, 1024, 60), "right": (640, 512, 150)}

REFERENCE = """
import json, sys, time
import numpy as np
from brainbox.video import motion_energy
from ibllib.io.video import get_video_frames_preload
path, n, top, bottom, left, right = sys.argv[1], *map(int, sys.argv[2:])
mask = np.s_[top:bottom, left:right, 0]
clock = time.perf_counter()
for start in range(0, n, 500):
    frames = get_video_frames_preload(path, range(start, min(start + 502, n)), mask=mask, quiet=True)
    if len(frames) > 2:
        motion_energy(frames, 2, normalize=False)
motion_s = time.perf_counter() - clock
clock = time.perf_counter()
samples = get_video_frames_preload(path, np.linspace(100, n - 100, 100).astype(int), mask=np.s_[:, :, 0], quiet=True)
samples.mean(axis=(1, 2))
print(json.dumps({"motion_s": motion_s, "samples_s": time.perf_counter() - clock}))
"""

WORKER = """
import resource, sys
from pathlib import Path
from ibl_dask.video.framepass import run_pass
from ibl_dask.video.index import index_video
from ibl_dask.video.plan import chunk_frames, plan_chunks
from ibl_dask.video.reader import FrameReader, luma
from ibl_dask.video.regions import camera_reducers
path, label = Path(sys.argv[1]), sys.argv[2]
index = index_video(path)
reducers = camera_reducers(label, len(index), index.width, index.height)
for chunk in plan_chunks(index.keyframes, len(index), chunk_frames(len(index), index.width, index.height)):
    run_pass(path, index, chunk, reducers)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sections = [table(label, options.frames, options.repeat, Path(folder)) for label in CAMERAS]
    text = "\n\n".join([machine(), *sections]) + "\n"
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)


def machine() -> str:
    """Return what the numbers were measured on."""
    cores = len(os.sched_getaffinity(0))
    return f"{time.strftime('%Y-%m-%d')}, {cores} cores ({platform.machine()}), Python {platform.python_version()}"


def table(label: str, n_frames: int, repeat: int, folder: Path) -> str:
    """Measure one camera and return its table."""
    width, height, fps = CAMERAS[label]
    session = folder / "Subjects" / f"SW_{label}" / "2023-05-01" / "001"
    style = {"preset": "veryfast", "crf": "17"}
    write_session(session, duration_s=n_frames / fps, cameras=(label,), video_options=style)
    video = session / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
    index = index_video(video)
    reducers = camera_reducers(label, len(index), width, height)
    whole = Chunk(0, len(index))

    # In turn, so that a machine that slows down slows every side.
    sides: dict[str, Callable[[], float]] = {
        "ffmpeg": lambda: timed(lambda: ffmpeg(video)),
        "decode": lambda: timed(lambda: run_pass(video, index, whole, [])),
        "pass": lambda: timed(lambda: run_pass(video, index, whole, reducers)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in [*sides, "workers"]}
    with connect(Profile(workers=2, dashboard_port=0)) as client:
        warm(client, session, folder)
        for turn in range(repeat):
            for name, side in sides.items():
                seconds[name].append(side())
            out = folder / f"out-{label}-{turn}"
            seconds["workers"].append(timed(lambda out=out: check(run([session], client=client, output_root=out))))
    s = {name: statistics.median(values) for name, values in seconds.items()}
    rate = {name: n_frames / value for name, value in s.items()}
    rows = [
        ["ffmpeg -threads 1 -f null", f"{rate['ffmpeg']:.0f}", "1"],
        ["frame pass, no reducer, 1 process", f"{rate['decode']:.0f}", f"{rate['decode'] / rate['ffmpeg']:.2f}"],
        ["frame pass, all reducers, 1 process", f"{rate['pass']:.0f}", f"{rate['pass'] / rate['ffmpeg']:.2f}"],
        [
            "ibl_dask.run, all steps, 2 workers",
            f"{rate['workers']:.0f}",
            f"{rate['workers'] / rate['ffmpeg']:.2f} ({rate['workers'] / rate['ffmpeg'] / 2:.2f} of two ffmpeg)",
        ],
    ]
    reference = measure_reference(video, len(index), label, width, height)
    if reference is not None:
        total = reference["motion_s"] + reference["samples_s"]
        ours = f"ours is {total / s['workers']:.1f} times as fast on 2 workers, {total / s['pass']:.1f} on 1"
        rows.append(
            ["reference, its products", f"{n_frames / total:.0f}", f"{n_frames / total / rate['ffmpeg']:.2f}; {ours}"]
        )
    lines = [f"### {label}: {width}x{height}, {n_frames:,} frames, H.264, median of {repeat}", ""]
    lines += ["| | frames/s | times ffmpeg |", "| --- | ---: | --- |", *("| " + " | ".join(row) + " |" for row in rows)]
    if reference is None:
        lines.append("\nThe reference was not measured: IBL_DASK_PEER_PYTHON is not set.")
    spent = per_reducer(video, label)
    each = ", ".join(f"{name} {1e6 * value / n_frames:.0f}" for name, value in spent.items())
    lines.append(f"\nMicroseconds per frame: decoding {1e6 * s['decode'] / n_frames:.0f}; {each}.")
    lines.append(f"\nPeak resident memory of a process that passes over the video: {peak_mb(video, label)} MB.")
    return "\n".join(lines)


def per_reducer(video: Path, label: str) -> dict[str, float]:
    """Return the seconds that each reducer takes of one pass, by a clock around each call."""
    index = index_video(video)
    reducers = camera_reducers(label, len(index), index.width, index.height)
    cv2.setNumThreads(1)
    accumulators = [reducer.start(Chunk(0, len(index))) for reducer in reducers]
    spent = dict.fromkeys((reducer.name for reducer in reducers), 0.0)
    with FrameReader(video, index) as reader:
        for number, frame in reader.frames(0, len(index)):
            if frame is None:
                continue
            plane = luma(frame)
            for reducer, accumulator in zip(reducers, accumulators, strict=True):
                clock = time.perf_counter()
                accumulator.add(number, plane, frame)
                spent[reducer.name] += time.perf_counter() - clock
    return spent


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes, s."""
    clock = time.perf_counter()
    call()
    return time.perf_counter() - clock


def ffmpeg(video: Path) -> None:
    """Decode a video on one core and throw the frames away."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-threads", "1", "-i", str(video), "-threads", "1", "-f", "null", "-"]
    subprocess.run(command, check=True)


def check(result: Run) -> None:
    """Insist that a run succeeded, or its time means nothing."""
    if result.exit_code:
        raise SystemExit([failure.message for outcome in result.sessions for failure in outcome.failures])


def warm(client: object, session: Path, folder: Path) -> None:
    """Let the workers import what they need before anything is timed."""
    check(run([session], client=client, output_root=folder / "warm"))


def peak_mb(video: Path, label: str) -> int:
    """Return the peak resident memory of one process that passes over all chunks, MB."""
    done = subprocess.run([sys.executable, "-c", WORKER, str(video), label], capture_output=True, text=True, check=True)
    return int(done.stdout)


def measure_reference(video: Path, n_frames: int, label: str, width: int, height: int) -> dict[str, float] | None:
    """Return the seconds that the reference takes for its products; None where it is not installed."""
    python = os.environ.get("IBL_DASK_PEER_PYTHON")
    if not python:
        return None
    region = wheel_region(label, width, height)
    numbers = [n_frames, region.top, region.bottom, region.left, region.right]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [python, "-c", REFERENCE, str(video), *map(str, numbers)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "HOME": home, "OMP_NUM_THREADS": "2"},
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
