"""One decode of a video with all reducers, compared with FFmpeg, plain processes and the reference.

    python benchmarks/frame_pass.py [--minutes 6] [--repeat 3] [--out benchmarks/results/frame_pass.md]

All sides read the same files in the same run, one after another, and the tables give ratios, since absolute numbers
depend on the machine. Videos have the reference's settings (libx264, preset slow, CRF 17, a keyframe every 250 frames).
The start of the cluster is excluded.

ffmpeg           `ffmpeg -threads 1 -i VIDEO -f null -`, decoding only, on one core.
two ffmpeg       the same twice, side by side on both cores: the limit of the machine.
pass             every frame decoded in one process, with all reducers of the camera task.
two workers      all steps of `ibl_dask.run` on two Dask workers: index, times, chunks, merge, checks, report.
plain processes  the same steps in the same order on two plain processes, without Dask.
reference        ibllib 4.1.0 in the environment of IBL_DASK_PEER_PYTHON, for the results that both sides produce:
                 frame times from the sync fronts, the 100 sampled frames with brightness and focus, and motion energy
                 of every frame in the same region. On 5,000 frames, which maximises the share of fixed cost on
                 both sides (100 random seeks in the reference).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import psutil
from films import CAMERAS, make_session
from machine import machine, write_page

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.cluster.local_workers import WORKER_ENVIRONMENT
from ibl_dask.deploy.cluster.worker_setup import import_all
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.pipeline.ready_queue import ReadyQueue
from ibl_dask.pipeline.retries import Retries
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_outcome import Run
from ibl_dask.tasks.run_step import run_step
from ibl_dask.video.reducers.camera_set import wheel_region

REFERENCE_FRAMES = 5000

REFERENCE = """
import json, sys, time
from pathlib import Path
import numpy as np
from iblutil.util import Bunch
from brainbox.video import motion_energy
from ibllib.io.extractors.camera import CameraTimestampsFPGA
from ibllib.io.video import get_video_frames_preload, get_video_meta
from ibllib.qc.camera import CameraQC

session, path, label, window = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
top, bottom, left, right = map(int, sys.argv[5:])
seconds = {}

clock = time.perf_counter()
parts = ("times", "channels", "polarities")
sync = Bunch({part: np.load(session / "raw_ephys_data" / f"_spikeglx_sync.{part}.npy") for part in parts})
channels = {"left_camera": 0, "right_camera": 1, "body_camera": 2, "audio": 7}
times = CameraTimestampsFPGA(label, session_path=session)._extract(sync=sync, chmap=channels, video_path=Path(path))
seconds["times"] = time.perf_counter() - clock

clock = time.perf_counter()
qc = CameraQC.__new__(CameraQC)
qc.label, qc._type, qc.n_samples, qc.one = label, "ephys", 100, None
meta = get_video_meta(path)
numbers = np.linspace(100, meta.length - 100, 100).astype(int)
frames = get_video_frames_preload(path, numbers, mask=np.s_[:, :, 0], quiet=True)
qc.data = Bunch(video=meta, frame_samples=frames)
outcomes = [qc.check_brightness(), qc.check_focus(roi=None)]
seconds["samples"] = time.perf_counter() - clock

clock = time.perf_counter()
mask = np.s_[top:bottom, left:right, 0]
for start in range(0, meta.length, window):
    stop = min(start + window + 2, meta.length)
    frames = get_video_frames_preload(path, range(start, stop), mask=mask, quiet=True)
    if len(frames) > 2:
        motion_energy(frames, 2, normalize=False)
seconds["motion energy"] = time.perf_counter() - clock
print("SECONDS" + json.dumps(seconds))
"""

REFERENCE_WINDOW = {"left": 1000, "right": 5000}
"""Frames that the reference holds at a time; its own windows of 5,000 need over 10 GB for this region on left."""

PASS = """
import sys, time
from pathlib import Path
from ibl_dask.deploy.cluster.worker_setup import import_all
from ibl_dask.video.framepass import run_pass
from ibl_dask.video.container.index import index_video
from ibl_dask.video.chunking import split_video
from ibl_dask.video.reducers.camera_set import camera_reducers
path, label = Path(sys.argv[1]), sys.argv[2]
import_all()
index = index_video(path)
size = len(index), index.width, index.height
reducers = camera_reducers(label, *size)
clock = time.perf_counter()
for chunk in split_video(index.keyframes, *size):
    run_pass(path, index, chunk, reducers)
print(time.perf_counter() - clock)
"""

REDUCERS = """
import json, sys, time
from pathlib import Path
import cv2
from ibl_dask.model.chunk import Chunk
from ibl_dask.video.container.index import index_video
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader
from ibl_dask.video.reducers.camera_set import camera_reducers
path, label = Path(sys.argv[1]), sys.argv[2]
index = index_video(path)
reducers = camera_reducers(label, len(index), index.width, index.height)
cv2.setNumThreads(1)
accumulators = [reducer.start(Chunk(0, len(index))) for reducer in reducers]
spent = dict.fromkeys((reducer.name for reducer in reducers), 0.0)
with FrameReader(path, index) as reader:
    for number, frame in reader.frames(0, len(index)):
        plane = luma(frame)
        for reducer, accumulator in zip(reducers, accumulators, strict=True):
            clock = time.perf_counter()
            accumulator.add(number, plane, frame)
            spent[reducer.name] += time.perf_counter() - clock
print(json.dumps(spent))
"""


class PlainProcesses:
    """Executor of two plain processes, without Dask."""

    slots = 2
    most_memory_gb = 0.0

    def __init__(self) -> None:
        self.retries = Retries()  # never used: nothing is tried again
        os.environ.update(WORKER_ENVIRONMENT)
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(2, mp_context=context, initializer=import_all)
        list(self._pool.map(time.sleep, [2, 2]))
        self._waiting = ReadyQueue()
        self._running: set[Future[StepRecord]] = set()

    @property
    def outstanding(self) -> int:
        """Return the number of steps that were taken and not handed back."""
        return len(self._waiting) + len(self._running)

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[StepKey, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        """Take steps."""
        self._waiting.add(steps, root, known, priority, places)

    def drop(self, session: str) -> list[StepKey]:
        """Forget the steps of a session."""
        return self._waiting.drop(session)

    def completed(self) -> Iterator[StepRecord]:
        """Yield records until nothing is outstanding."""
        while self.outstanding:
            for kind in self._waiting.kinds():
                while self._waiting.n_ready(kind):
                    queued = self._waiting.next(kind)
                    self._running.add(self._pool.submit(run_step, queued.step, queued.records, queued.root))
            done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                record = future.result()
                self._waiting.end(record)
                yield record

    def cancel(self) -> None:
        """Drop steps that have not started."""
        self._waiting.clear()

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6.0, help="length of the session")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cameras", nargs="+", default=list(CAMERAS))
    parser.add_argument("--films", type=Path, help="folder that keeps the videos for the next run")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.films or Path(folder)
        sections = [table(label, options.minutes, options.repeat, root) for label in options.cameras]
    text = "\n\n".join([machine(), *sections]) + "\n"
    print(text)
    if options.out is not None:
        write_page(options.out, text)


def table(label: str, minutes: float, repeat: int, root: Path) -> str:
    """Measure one camera and return its table."""
    width, height, fps = CAMERAS[label]
    n_frames = max(REFERENCE_FRAMES, round(minutes * 60 * fps / 1000) * 1000)
    session, video = make_session(root, label, n_frames)
    short, short_video = make_session(root, label, REFERENCE_FRAMES)
    n_tenth = max(1000, n_frames // 10000 * 1000)
    tenth, _ = make_session(root, label, n_tenth)
    plain = PlainProcesses()
    with connect(this_machine(2, dashboard_port=0)) as client:
        timed_run(tenth, root, client=client)
        peak_of_tenth = peak_mb(client)
        # In turn, so that a machine that slows down slows every side.
        sides: dict[str, Callable[[], float]] = {
            "ffmpeg": lambda: timed(lambda: ffmpeg(video)),
            # Two videos in this time, so half of it for one.
            "both": lambda: timed(lambda: ffmpeg(video, at_once=2)) / 2,
            "pass": lambda: measure_pass(video, label),
            "workers": lambda: timed_run(session, root, client=client),
            "plain": lambda: timed_run(session, root, executor=plain),
            "short": lambda: timed_run(short, root, client=client),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        core_s: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(repeat):
            # Forwards and backwards: the order matters on a machine that warms up.
            for name, side in list(sides.items())[:: 1 if turn % 2 == 0 else -1]:
                before = spent_s()
                seconds[name].append(side())
                core_s[name].append(spent_s() - before)
        peak = peak_mb(client)
    plain.close()
    both = "two side by side"
    s = {name: statistics.median(values) for name, values in seconds.items()}
    rate = {name: n_frames / value for name, value in s.items()}
    over = {name: value / rate["ffmpeg"] for name, value in rate.items()}
    dask, dask_cores = (
        [100 * (w / p - 1) for w, p in zip(of["workers"], of["plain"], strict=True)] for of in (seconds, core_s)
    )
    lines = [
        f"### {label}: {width}x{height}, {n_frames:,} frames, H.264, median of {repeat}",
        "",
        "| | frames/s | of one ffmpeg |",
        "| --- | ---: | --- |",
        f"| ffmpeg -threads 1 -f null | {rate['ffmpeg']:.0f} | 1 |",
        f"| {both} | {rate['both']:.0f} | {over['both']:.2f}, {over['both'] / 2:.2f} of twice |",
        f"| pass, all reducers, 1 process | {rate['pass']:.0f} | {over['pass']:.2f} |",
        f"| ibl_dask.run, 2 workers | {rate['workers']:.0f} | {over['workers']:.2f}, {over['workers'] / 2:.2f} of twice"
        f", {rate['workers'] / rate['both']:.2f} of {both} |",
        f"| the same steps, 2 plain processes | {rate['plain']:.0f} | {over['plain']:.2f} |",
        "",
        f"Core time of a run: {statistics.median(core_s['workers']):.0f} s. "
        f"Dask costs {statistics.median(dask):+.1f} % of the wall time (each turn: {format_percents(dask)}), "
        f"{statistics.median(dask_cores):+.1f} % of the core time (each turn: {format_percents(dask_cores)}).",
        "",
        f"Peak resident memory of a worker: {peak_of_tenth} MB after {n_tenth:,} frames, {peak} MB after {n_frames:,}.",
        "",
        measure_reducers(short_video, label),
        "",
        measure_reference(short, short_video, label, s["short"], REFERENCE_FRAMES / rate["both"]),
    ]
    return "\n".join(lines)


def peak_mb(client: Any) -> int:
    """Return the peak resident memory of the workers so far, MB."""

    def peak() -> int:
        # Not `ru_maxrss`: a new process inherits the value of its parent.
        lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") // 1024

    return max(client.run(peak).values())


def spent_s() -> float:
    """Return the core time spent so far by this process and its children, s."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def format_percents(values: Sequence[float]) -> str:
    """Format signed percentages."""
    return ", ".join(f"{value:+.1f}" for value in values)


def timed(call: Callable[[], object]) -> float:
    """Return the duration of a call, s."""
    clock = time.perf_counter()
    call()
    return time.perf_counter() - clock


def timed_run(session: Path, root: Path, **who: object) -> float:
    """Return the duration of a run into an empty folder, s."""
    with tempfile.TemporaryDirectory(dir=root) as out:
        return timed(lambda: check(run([session], output_root=out, **who)))


def check(result: Run) -> None:
    """Exit if a run failed, since its duration is then meaningless."""
    if result.exit_code:
        raise SystemExit([failure.message for outcome in result.sessions for failure in outcome.failures])


def ffmpeg(video: Path, at_once: int = 1) -> None:
    """Decode a video in `at_once` processes of one thread each, and discard the frames."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-threads", "1", "-i", str(video), "-threads", "1", "-f", "null", "-"]
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(at_once)]
    if sum(each.wait() for each in running):
        raise SystemExit(f"FFmpeg does not decode {video}")


def measure_pass(video: Path, label: str) -> float:
    """Return the duration of a pass over all chunks, in one process started like a worker, s."""
    done = subprocess.run(
        [sys.executable, "-c", PASS, str(video), label],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | WORKER_ENVIRONMENT,
    )
    return float(done.stdout)


def measure_reducers(video: Path, label: str) -> str:
    """Measure the share of each reducer in a pass, by a clock around each call."""
    done = subprocess.run(
        [sys.executable, "-c", REDUCERS, str(video), label],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | WORKER_ENVIRONMENT,
    )
    spent = json.loads(done.stdout)
    each = ", ".join(f"{name} {1e6 * value / REFERENCE_FRAMES:.0f}" for name, value in spent.items())
    return f"Microseconds per frame in each reducer, on {REFERENCE_FRAMES:,} frames: {each}."


def measure_reference(session: Path, video: Path, label: str, ours_s: float, least_s: float) -> str:
    """Compare the reference on the short session with a whole run, and with decoding alone on all cores.

    Decoding alone is the lower limit for any program that reads every frame.
    """
    python = os.environ.get("IBL_DASK_PEER_PYTHON")
    if not python:
        return "The reference was not measured: IBL_DASK_PEER_PYTHON is not set."
    region = wheel_region(label, *CAMERAS[label][:2])
    place = [region.top, region.bottom, region.left, region.right]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [python, "-c", REFERENCE, *map(str, [session, video, label, REFERENCE_WINDOW[label], *place])],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": home, "MPLBACKEND": "Agg"},
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds = json.loads(done.stdout.partition("SECONDS")[2])
    total = sum(seconds.values())
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    return (
        f"Reference on {REFERENCE_FRAMES:,} frames: {total:.1f} s ({parts}); "
        f"a whole run of ours on 2 workers: {ours_s:.2f} s, {total / ours_s:.1f} times as fast. "
        f"Decoding alone, two ffmpeg side by side: {least_s:.2f} s, {total / least_s:.1f} times as fast."
    )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
