"""Frame pass and compression on Slurm workers, and a simulation of a thousand workers.

    python benchmarks/scaling.py [--frames 24000] [--encoded 1500] [--workers 1,2,4] [--repeat 3]
                                 [--out benchmarks/results/scaling.md]

Slurm is that of the tests: real commands and daemons, four virtual nodes on this machine. Workers beyond the cores of
the machine show their cost, not their gain; efficiency is given up to the number of cores.

frame pass     `ibl_dask.run` of VideoSyncQcNidq on a right camera, 640x512, with running workers.
compression    VideoCompress of a raw MPEG-4 video of that size, likewise.
first chunk    from the call of `run` to the start of the first chunk: with running workers, and without any job.
a chunk costs  time between two chunks on one worker, beyond the step itself.

A thousand workers are simulated: sessions of three cameras, with the measured time per pixel of a chunk, are handed out
step by step by one driver with its measured time per step. The driver's cost is measured on empty steps: it comprises
Dask's scheduler, the driver's own work and the journal with its fsync.

A million chunks on a thousand workers are simulated likewise, with workers that last as long as their jobs, or are
replaced: a new one takes no steps for the measured time from nothing to a first chunk. Dask keeps something of every
task on the worker that ran it; how much is measured on empty steps.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from films import make_session
from machine import machine, write_page

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from slurm_machine import Slurm, running

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import Pool, Profile, this_machine
from ibl_dask.model import events
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, StepRecord, Upstream
from ibl_dask.pipeline import in_process
from ibl_dask.pipeline.driver import WINDOW_PER_SLOT
from ibl_dask.pipeline.executors import OnCluster
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_outcome import Run
from ibl_dask.store.journal import Journal
from ibl_dask.synth.session import write_session
from ibl_dask.tasks.run_step import run_step
from ibl_dask.video.chunking import split_for_encoding, split_video

CAMERAS = {"left": (1280, 1024, 60), "right": (640, 512, 150), "body": (640, 512, 30)}
SIMULATED = (10, 100, 300, 1000)
SESSION_S = 3600
EMPTY_STEPS = 3000
MANY_CHUNKS, MANY_WORKERS = 1_000_000, 1000
LIFETIMES_H = (math.inf, 4.0, 1.0, 0.25)
"""Lifetimes of simulated workers, h; 4 h is the walltime of the shipped profiles."""
GOP = 250


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=24_000)
    parser.add_argument("--encoded", type=int, default=1500)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    workers = [int(n) for n in options.workers.split(",")]
    with tempfile.TemporaryDirectory() as folder, running() as slurm:
        root = Path(folder)
        session, _ = make_session(root, "right", options.frames)
        raw = write_raw(root / "raw", options.encoded)
        jobs = {
            "frame pass": (session, {"tasks": ["VideoSyncQC_nidq"]}),
            "compression": (raw, {"tasks": ["VideoCompress"]}),
        }
        seconds, records = measure(slurm, root, jobs, workers, options.repeat)
        first_s = from_nothing(slurm, root, session)
        driver = drive_empty_steps(root)
        calls = {name: count_file_calls(session, root, more) for name, (session, more) in jobs.items()}
    text = "\n\n".join(
        [
            machine(),
            scaling_table(jobs, seconds, records, options),
            f"From `run` without any job to the first chunk: {first_s:.1f} s, nearly all of it Slurm, Python and "
            "its imports.",
            simulation_table(records, driver, calls, options),
            recycling_table(records, driver, options, first_s),
        ]
    )
    print(text)
    if options.out is not None:
        write_page(options.out, text + "\n")


def write_raw(root: Path, n_frames: int) -> Path:
    """Write a raw right camera in the rig's format."""
    session = root / "Subjects" / "SW_raw" / "2023-05-01" / "001"
    fps = CAMERAS["right"][2]
    write_session(session, duration_s=n_frames / fps, cameras=("right",), raw_avi=True, codec="mpeg4", gop=12)
    return session


@contextmanager
def site(slurm: Slurm, root: Path, workers: int, least: int) -> Iterator[Any]:
    """Connect to a pool of jobs with one worker each."""
    os.environ["SLURM_CONF"] = str(slurm.conf)
    pool = Pool(
        "cpu",
        "slurm",
        min_jobs=least,
        max_jobs=workers,
        memory_gb=2.0,
        walltime_s=3600,
        queue="cpu",
        python=sys.executable,
        interface="lo",
    )
    profile = Profile("slurm", (pool,), root / "work", 0, "lo", security="none", log_folder=root / "jobs", poll_s=2.0)
    with connect(profile) as client:
        if least:
            client.wait_for_workers(least, timeout=120)
            # Excludes the imports that a worker does in the background at its start.
            time.sleep(4.0)
        yield client


def measure(
    slurm: Slurm, root: Path, jobs: Mapping[str, tuple[Path, Any]], workers: list[int], repeat: int
) -> tuple[dict[tuple[str, int], list[float]], dict[tuple[str, int], list[StepRecord]]]:
    """Return the duration of each run on each number of workers, s, and the records of the last one."""
    seconds: dict[tuple[str, int], list[float]] = {}
    records: dict[tuple[str, int], list[StepRecord]] = {}
    for _ in range(repeat):
        for n in workers:
            with site(slurm, root, n, n) as client:
                for name, (session, options) in jobs.items():
                    started_s, result, found = timed_run(session, root, client, options)
                    seconds.setdefault((name, n), []).append(result.seconds)
                    records[name, n] = [*found, _started(started_s)]
    return seconds, records


def timed_run(
    session: Path, root: Path, client: Any, options: Mapping[str, Any]
) -> tuple[float, Run, list[StepRecord]]:
    """Run a session into an empty folder; return the Unix time of the call, the run, and the records of its steps.

    The records are read before the folder goes, which holds their journal.
    """
    with tempfile.TemporaryDirectory(dir=root) as out:
        started_s = time.time()
        result = run([session], client=client, output_root=out, work_dir=Path(out) / "work", **options)
        if result.exit_code:
            raise SystemExit([failure.message for failure in result.sessions[0].failures])
        records = list(result.sessions[0].records.values())
    return started_s, result, records


def _started(started_s: float) -> StepRecord:
    return StepRecord(StepKey("call", "", "", 0), "done", started_s=started_s)


def from_nothing(slurm: Slurm, root: Path, session: Path) -> float:
    """Return the time from `run` to the first chunk without a running job, s."""
    with site(slurm, root, 2, 0) as client:
        started_s, _, records = timed_run(session, root, client, {"tasks": ["VideoSyncQC_nidq"]})
    return first_chunk_s(started_s, records)


def first_chunk_s(started_s: float, records: Any) -> float:
    """Return the time from a moment to the start of the first chunk, s."""
    return min(r.started_s for r in records if r.key[0].startswith(("framepass", "encode"))) - started_s


def chunks_of(records: list[StepRecord]) -> list[StepRecord]:
    """Return the records of chunks."""
    return [r for r in records if r.key[0].startswith(("framepass", "encode")) and r.status == "done"]


def gaps_s(records: list[StepRecord]) -> list[float]:
    """Return the intervals between the end of a chunk and the start of the next on the same worker, s."""
    by_worker: dict[str, list[StepRecord]] = {}
    for record in chunks_of(records):
        by_worker.setdefault(record.worker, []).append(record)
    gaps = []
    for of_one in by_worker.values():
        ordered = sorted(of_one, key=lambda r: r.started_s)
        gaps += [b.started_s - a.started_s - a.seconds for a, b in itertools.pairwise(ordered)]
    return gaps


def scaling_table(jobs: Any, seconds: Any, records: Any, options: Any) -> str:
    """Return the table of measured runs."""
    lines = [
        f"### On Slurm: right 640x512, {options.frames:,} frames to measure, {options.encoded:,} to compress, "
        f"median of {options.repeat}",
        "",
        "| | workers | wall time, s | efficiency | chunks | first chunk after, s | between chunks, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    cores = len(os.sched_getaffinity(0))
    for name in jobs:
        alone = statistics.median(seconds[name, 1])
        for n in sorted(n for task, n in seconds if task == name):
            wall = statistics.median(seconds[name, n])
            found = records[name, n]
            (call,) = [r for r in found if r.key[0] == "call"]
            efficiency = f"{alone / wall / n:.2f}" if n <= cores else f"({alone / wall / cores:.2f} of {cores} cores)"
            between = f"{1000 * statistics.median(gaps_s(found)):.0f}" if gaps_s(found) else ""
            first = first_chunk_s(call.started_s, found)
            n_chunks = len(chunks_of(found))
            lines.append(f"| {name} | {n} | {wall:.1f} | {efficiency} | {n_chunks} | {first:.2f} | {between} |")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty(Step):
    """A step that does nothing."""

    kind: ClassVar[str] = "empty"

    number: int

    def identity(self) -> dict[str, object]:
        return {}

    def run(self, upstream: Upstream) -> Result:
        return Result(facts={"number": self.number})


def drive_empty_steps(root: Path) -> dict[str, float]:
    """Return the driver's cost of a step: wall time and time of all threads, s; memory of a waiting step, kB."""
    with connect(this_machine(2, dashboard_port=0)) as client, Journal(root / "empty") as journal:
        executor = OnCluster(client)
        # More places than workers, so that no worker waits for the driver, as with many workers.
        executor._count_workers = lambda: [{"CPU": 1.0, "MEMORY_GB": 2.0}] * 64  # type: ignore[method-assign]
        drive(executor, journal, root, 200)
        before = resource.getrusage(resource.RUSAGE_SELF)
        clock = time.perf_counter()
        drive(executor, journal, root, EMPTY_STEPS)
        wall = time.perf_counter() - clock
        after = resource.getrusage(resource.RUSAGE_SELF)
        small = sum(client.run(resident_kb).values())
        drive(executor, journal, root, 2 * EMPTY_STEPS)
        kept_kb = (sum(client.run(resident_kb).values()) - small) / (2 * EMPTY_STEPS)
        held_kb = memory_of_waiting(root, client)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall / EMPTY_STEPS, "cpu_s": cpu / EMPTY_STEPS, "held_kb": held_kb, "kept_kb": kept_kb}


def empty_steps(root: Path, n: int, turn: str) -> list[Step]:
    """Return empty steps."""
    return [Empty(session=f"session-{turn}", camera="left", number=number, chunk=number) for number in range(n)]


def drive(executor: OnCluster, journal: Journal, root: Path, n: int) -> None:
    """Run empty steps, and journal them like a driver."""
    executor.submit(empty_steps(root, n, str(n)), root, {}, 0)
    for record in executor.completed():
        journal.append(events.to_json(events.StepFinished("session", record)))


def memory_of_waiting(root: Path, client: Any, n: int = 50_000) -> float:
    """Return the memory of a waiting step in the driver, kB."""
    before = resident_kb()
    executor = OnCluster(client)
    executor._feed = lambda: None  # type: ignore[method-assign]
    executor.submit(empty_steps(root, n, "waiting"), root, {}, 0)
    return (resident_kb() - before) / n


def resident_kb() -> int:
    """Return the resident memory of this process, kB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


COUNTED = {"open": "open", "os.rename": "rename", "os.mkdir": "mkdir", "os.remove": "remove", "os.scandir": "list"}


def count_file_calls(session: Path, root: Path, options: Mapping[str, Any]) -> tuple[Counter[str], int]:
    """Run a session in this process; return the file system calls of its chunks, and the number of chunks."""
    calls: Counter[str] = Counter()
    n = itertools.count()
    counting = False

    def hear(event: str, arguments: Any) -> None:
        if counting and event in COUNTED and not str(arguments[0]).startswith(("/dev", "/proc", sys.prefix)):
            calls[COUNTED[event]] += 1

    def watched(step: Step, *more: Any) -> StepRecord:
        nonlocal counting
        counting = step.kind in ("framepass", "encode")
        if counting:
            next(n)
        try:
            return run_step(step, *more)
        finally:
            counting = False

    fsync, stat = os.fsync, os.stat

    def noted(name: str, call: Any) -> Any:
        def noting(*arguments: Any, **more: Any) -> Any:
            calls[name] += counting
            return call(*arguments, **more)

        return noting

    sys.addaudithook(hear)
    before = in_process.run_step
    in_process.run_step, os.fsync, os.stat = watched, noted("fsync", fsync), noted("stat", stat)
    try:
        with tempfile.TemporaryDirectory(dir=root) as out:
            run([session], output_root=out, work_dir=Path(out) / "work", **options)
    finally:
        in_process.run_step, os.fsync, os.stat = before, fsync, stat
    return calls, next(n)


def chunk_seconds(of_step: Mapping[str, float]) -> list[float]:
    """Return the duration of each chunk of an hour's session, s, in the order of submission."""
    steps: list[tuple[int, float]] = []
    for width, height, fps in CAMERAS.values():
        n = fps * SESSION_S
        chunks = {
            "encode": split_for_encoding(np.arange(0, n, 12), n, width, height),
            "framepass": split_video(np.arange(0, n, GOP), n, width, height),
        }
        for kind, second in of_step.items():
            steps += [(i, len(chunk) * width * height * second) for i, chunk in enumerate(chunks[kind])]
    return [second for _, second in sorted(steps, key=lambda step: step[0])]


def simulate(
    n_workers: int, durations: list[float], driver_s: float, lifetime_s: float = math.inf, start_s: float = 0.0
) -> tuple[float, float, int]:
    """Simulate handing steps to workers that hold two each.

    A returned record waits until the driver has processed those before it; its worker then gets one more step.

    Parameters
    ----------
    n_workers
        Number of workers.
    durations
        Duration of each step, s.
    driver_s
        Time that the driver needs for a step, s.
    lifetime_s
        Time after which a worker takes no further steps and is replaced, s; the first ones get random shares of it, so
        that they do not end together.
    start_s
        Time that a new worker takes to its first step, s.

    Returns
    -------
    tuple of float, float, int
        Duration of it all, s; share of it during which the driver is busy; most steps that one worker ran.
    """
    todo = iter(durations)
    free_s = 0.0
    busy_s = 0.0
    waiting: list[list[tuple[float, float]]] = [[] for _ in range(n_workers)]
    events_at: list[tuple[float, int]] = []
    idle_since = [0.0] * n_workers
    runs = [False] * n_workers
    random = np.random.default_rng(0)
    ends_s = [
        lifetime_s if math.isinf(lifetime_s) else lifetime_s * share for share in random.uniform(0.5, 1, n_workers)
    ]
    n_run, most_run = [0] * n_workers, 0

    def give(worker: int, now_s: float) -> None:
        nonlocal free_s, busy_s
        second = next(todo, None)
        if second is None:
            return
        free_s = max(free_s, now_s) + driver_s
        busy_s += driver_s
        waiting[worker].append((free_s, second))
        start(worker)

    def start(worker: int) -> None:
        if runs[worker] or not waiting[worker]:
            return
        there_s, second = waiting[worker].pop(0)
        runs[worker] = True
        heapq.heappush(events_at, (max(there_s, idle_since[worker]) + second, worker))

    for _ in range(2):
        for worker in range(n_workers):
            give(worker, 0.0)
    now_s = 0.0
    while events_at:
        now_s, worker = heapq.heappop(events_at)
        runs[worker], idle_since[worker] = False, now_s
        n_run[worker] += 1
        most_run = max(most_run, n_run[worker])
        if now_s > ends_s[worker]:
            ends_s[worker], n_run[worker] = now_s + lifetime_s, 0
            idle_since[worker] += start_s
        start(worker)
        give(worker, now_s)
    return now_s, busy_s / now_s, most_run


def session_seconds(records: Any, options: Any) -> list[float]:
    """Return the duration of each chunk of an hour's session, s, from the measured chunks of the right camera."""
    width, height, _ = CAMERAS["right"]
    frames = {"framepass": ("frame pass", options.frames), "encode": ("compression", options.encoded)}
    return chunk_seconds(
        {
            kind: sum(r.seconds for r in chunks_of(records[name, 1])) / (n * width * height)
            for kind, (name, n) in frames.items()
        }
    )


def recycling_table(records: Any, driver: Mapping[str, float], options: Any, first_s: float) -> str:
    """Return the table of a million chunks on a thousand workers that are replaced after a while."""
    session = session_seconds(records, options)
    n_sessions = math.ceil(MANY_CHUNKS / len(session))
    durations = session * n_sessions
    lines = [
        f"### Simulated: {MANY_CHUNKS:,} chunks ({n_sessions:,} such sessions) on {MANY_WORKERS:,} workers",
        "",
        f"Dask keeps {driver['kept_kb']:.1f} kB of a task on the worker that ran it, until that ends. A new worker "
        f"takes its first chunk after {first_s:.1f} s.",
        "",
        "| lifetime of a worker, h | hours | workers at work | driver busy | most chunks on one | kept there, MB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for lifetime_h in LIFETIMES_H:
        wall_s, busy, most = simulate(MANY_WORKERS, durations, driver["wall_s"], 3600 * lifetime_h, first_s)
        lines.append(
            f"| {'never replaced' if math.isinf(lifetime_h) else f'{lifetime_h:g}'} | {wall_s / 3600:.2f} "
            f"| {sum(durations) / wall_s / MANY_WORKERS:.0%} | {busy:.0%} | {most:,} "
            f"| {most * driver['kept_kb'] / 1000:.1f} |"
        )
    return "\n".join(lines)


def simulation_table(
    records: Any, driver: Mapping[str, float], calls: Mapping[str, tuple[Counter[str], int]], options: Any
) -> str:
    """Return the table of the simulation of many workers."""
    session = session_seconds(records, options)
    per_chunk = {name: sum(of.values()) / n for name, (of, n) in calls.items()}
    n_calls = statistics.mean(per_chunk.values())
    lines = [
        f"### Simulated: sessions of three cameras and {SESSION_S // 3600} hour, compressed and measured",
        "",
        f"A session is {len(session):,} chunks of {statistics.mean(session):.1f} s, {sum(session) / 3600:.1f} core-"
        f"hours. An empty step costs the driver {1000 * driver['wall_s']:.1f} ms "
        f"({1000 * driver['cpu_s']:.1f} ms of all its threads), which limits it to {1 / driver['wall_s']:.0f} steps/s. "
        f"A waiting step takes {driver['held_kb']:.1f} kB of its memory; at most {WINDOW_PER_SLOT} per worker wait, "
        "plus those of one session. "
        + " ".join(
            f"A chunk of the {name} makes {per_chunk[name]:.0f} calls to the file system "
            f"({format_calls(*calls[name])})."
            for name in calls
        ),
        "",
        "| workers | sessions | hours | steps/s | workers at work | driver busy | file calls/s | waiting steps, MB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for n in SIMULATED:
        n_sessions = max(2, math.ceil(12 * n / len(session)))
        durations = session * n_sessions
        wall_s, busy, _ = simulate(n, durations, driver["wall_s"])
        rate = len(durations) / wall_s
        held_mb = (WINDOW_PER_SLOT * n + len(session)) * driver["held_kb"] / 1000
        lines.append(
            f"| {n:,} | {n_sessions:,} | {wall_s / 3600:.2f} | {rate:.1f} | {sum(durations) / wall_s / n:.0%} "
            f"| {busy:.0%} | {rate * n_calls:.0f} | {held_mb:.0f} |"
        )
    return "\n".join(lines)


def format_calls(calls: Counter[str], n: int) -> str:
    """Format the number of calls of each kind per chunk."""
    return ", ".join(f"{name} {of / n:.1f}" for name, of in calls.most_common())


if __name__ == "__main__":
    main()
