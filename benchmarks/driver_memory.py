"""Memory of the driver, and of Dask's scheduler and worker, over a run of many sessions.

    python benchmarks/driver_memory.py [--sessions 2000] [--steps 300] [--workers N] [--before CSV] [--out FILE]
    python benchmarks/driver_memory.py --drawn CSV [--workers N] [--before CSV] [--out FILE]

Each session has three tasks whose steps do nothing. The executor answers at once with records of the size that a frame
pass leaves, so the process holds the driver, the journal and no decoder. With `--workers` Dask runs the steps instead,
its scheduler and workers in processes of their own, and the scheduler and the first worker are measured as well (2,000
sessions take two hours then). Resident memory is read from `/proc` at the end of every few sessions; the slope is that
of a straight line through the last three quarters of the samples. `--drawn` makes table and curve of samples that a run
left with `--csv`.
"""

from __future__ import annotations

import argparse
import csv
import os
import socket
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine, write_page

from ibl_dask.model.events import Event, SessionFinished
from ibl_dask.model.result import CamerasJudged, Result, Work
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.retries import Retries
from ibl_dask.pipeline.run import run

RESULTS = Path(__file__).parent / "results" / "driver_memory.md"
N_TASKS = 3
N_SAMPLES = 100


class AnsweringExecutor:
    """Executor that hands back a record for each step without running it, and keeps nothing."""

    slots = 1
    most_memory_gb = 0.0

    def __init__(self) -> None:
        self.retries = Retries()
        self._keys: deque[StepKey] = deque()

    @property
    def outstanding(self) -> int:
        """Return the number of steps that were taken and not handed back."""
        return len(self._keys)

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[StepKey, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        """Take steps."""
        self._keys.extend(step.key for step in steps)

    def completed(self) -> Iterator[StepRecord]:
        """Yield records until nothing is outstanding."""
        while self._keys:
            yield answer(self._keys.popleft())

    def drop(self, session: str) -> list[StepKey]:
        """Forget the steps of a session."""
        dropped = [key for key in self._keys if key[1] == session]
        self._keys = deque(key for key in self._keys if key[1] != session)
        return dropped

    def cancel(self) -> None:
        """Forget all steps."""
        self._keys.clear()


def answer(key: StepKey) -> StepRecord:
    """Return the record of a step as a worker would: new objects, none of them shared with another record."""
    if key.name == "report":
        result: Result = CamerasJudged(cameras={"left": "PASS"})
    else:
        n = key.chunk
        name = f"/mnt/data/lab/Subjects/{key.session}/scratch/left-chunks/{n:09d}-{n + 1500:09d}.npz"
        facts = {"frames": 1500 + n, "chunk": [1500 * n, 1500 * (n + 1)], "decoded": 1510 + n}
        facts |= {"reducers": ["brightness", "motion_energy", "sharpness"], "seconds": 0.125}
        result = Result(outputs=(Path(name),), work=Work("decode", 1500 + n, 1310720 * (1500 + n)), facts=facts)
    return StepRecord(key, "done", result, None, time.time(), 0.125, f"{socket.gethostname()}:{os.getpid()}")


def memory_kb(field: str, process: int | str = "self") -> int:
    """Return a field of `/proc/PROCESS/status`, kB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise KeyError(field)


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory of the driver after some sessions."""

    sessions: int
    """Sessions that ended."""
    rss_kb: int
    """Resident memory, kB."""
    peak_kb: int
    """Largest resident memory so far, kB."""
    seconds: float
    """Time since the start of the run, s."""
    scheduler_kb: int = 0
    """Resident memory of Dask's scheduler, kB."""
    worker_kb: int = 0
    """Resident memory of Dask's first worker, kB."""


class Sampler:
    """Listener that samples the memory after every few sessions."""

    def __init__(self, every: int, partial: Path | None = None, others: Mapping[str, int] | None = None) -> None:
        self.samples: list[Sample] = []
        self._every = every
        self._partial = partial
        self._others = others or {}
        self._n = 0
        self._clock = time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, SessionFinished):
            self._n += 1
            if self._n % self._every == 0:
                seconds = time.perf_counter() - self._clock
                others = {f"{role}_kb": memory_kb("VmRSS", process) for role, process in self._others.items()}
                self.samples.append(Sample(self._n, memory_kb("VmRSS"), memory_kb("VmHWM"), seconds, **others))
                if self._partial is not None:  # a run that is stopped leaves the samples so far
                    write_samples(self._partial, self.samples)


def make_sessions(folder: Path, n: int) -> list[Path]:
    """Make session folders with a description and nothing else."""
    made = []
    for number in range(n):
        made.append(folder / "lab" / "Subjects" / f"SW_{number // 100:03d}" / "2023-05-01" / f"{number % 100 + 1:03d}")
        made[-1].mkdir(parents=True)
        (made[-1] / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    return made


def measure(
    n_sessions: int, n_steps: int, folder: Path, partial: Path | None = None, n_workers: int = 0
) -> list[Sample]:
    """Drive sessions in one run and return the samples.

    Parameters
    ----------
    n_sessions
        Sessions of the run.
    n_steps
        Steps of a session, without its report.
    folder
        Folder that receives sessions and journal.
    partial
        CSV that receives the samples while the run goes on.
    n_workers
        Workers of Dask; without any, the steps are answered in this process.
    """
    labels = [f"camera{number}" for number in range(N_TASKS)]
    specs = [TaskSpec(x, "idle_steps.Idle", {"label": x, "n_steps": n_steps // N_TASKS}) for x in labels]
    every = max(1, n_sessions // N_SAMPLES)
    sessions = make_sessions(folder, n_sessions)
    work = folder / "work"
    if n_workers:
        from idle_cluster import cluster

        with cluster(n_workers) as (client, others):
            sampler = Sampler(every, partial, others)
            result = run(sessions, specs=specs, client=client, listeners=[sampler], work_dir=work)
    else:
        sampler = Sampler(every, partial)
        result = run(sessions, specs=specs, executor=AnsweringExecutor(), listeners=[sampler], work_dir=work)
    if not result.is_success:
        raise SystemExit([failure.message for outcome in result.sessions for failure in outcome.failures][:5])
    return sampler.samples


def slope_kb(samples: Sequence[Sample]) -> float:
    """Return the growth of resident memory, kB per session, over the last three quarters of the samples."""
    late = samples[len(samples) // 4 :]
    return float(np.polyfit([s.sessions for s in late], [s.rss_kb for s in late], 1)[0])


def by_role(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Return the samples of the driver, and those of scheduler and worker as of processes of their own."""
    found = {"driver": list(samples)} if samples else {}
    for role in ("scheduler", "worker"):
        sizes = [getattr(s, f"{role}_kb") for s in samples]
        if any(sizes):
            highest = np.maximum.accumulate(sizes).tolist()
            found[role] = [
                Sample(s.sessions, kb, peak, s.seconds) for s, kb, peak in zip(samples, sizes, highest, strict=True)
            ]
    return found


def read_samples(path: Path) -> list[Sample]:
    """Read samples that `write_samples` wrote."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    others = ("scheduler_kb", "worker_kb")
    return [
        Sample(
            int(r["sessions"]),
            int(r["rss_kb"]),
            int(r["peak_kb"]),
            float(r["seconds"]),
            *(int(r.get(name, 0)) for name in others),
        )
        for r in rows
    ]


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Sample.__slots__)
        writer.writerows(
            [s.sessions, s.rss_kb, s.peak_kb, f"{s.seconds:.2f}", s.scheduler_kb, s.worker_kb] for s in samples
        )


def curve(series: Mapping[str, Sequence[Sample]]) -> str:
    """Return an SVG of resident memory, MB, against sessions."""
    width, height, left, low = 720, 300, 60, 260
    last = max(s.sessions for samples in series.values() for s in samples)
    top = max(s.rss_kb for samples in series.values() for s in samples) / 1024 * 1.05
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"']
    parts[0] += ' font-size="12"><rect width="100%" height="100%" fill="white"/>'
    for part in range(5):
        y, x = low - part * (low - 20) / 4, left + part * (width - left - 20) / 4
        parts.append(f'<path d="M{left} {y:.1f}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{top * part / 4:.0f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{low + 16}" text-anchor="middle">{last * part / 4:.0f}</text>')
    for number, (name, samples) in enumerate(series.items()):
        places = [
            f"{left + s.sessions / last * (width - left - 20):.1f},{low - s.rss_kb / 1024 / top * (low - 20):.1f}"
            for s in samples
        ]
        colour = ("#1f5fa8", "#b22222", "#3a7d34", "#8a6d1f", "#6b4c9a")[number % 5]
        parts.append(f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{left + 10}" y="{low - 16 * (len(series) - number) + 6}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{width / 2:.0f}" y="{height - 6}" text-anchor="middle">sessions done</text>')
    parts.append('<text x="14" y="16">resident memory, MB</text></svg>')
    return "\n".join(parts) + "\n"


def table(series: Mapping[str, Sequence[Sample]], n_steps: int) -> str:
    """Return the results as Markdown."""
    titles = ("", "sessions", "MB at 10 %", "MB at the end", "peak, MB", "kB a session", "bytes a step", "s")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, samples in series.items():
        early, end, slope = samples[len(samples) // 10], samples[-1], slope_kb(samples)
        row = [name, f"{end.sessions:,}", *(f"{kb / 1024:.1f}" for kb in (early.rss_kb, end.rss_kb, end.peak_kb))]
        row += [f"{slope:.2f}", f"{slope * 1024 / n_steps:.1f}", f"{end.seconds:.0f}"]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write it beside the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=300, help="steps of a session")
    parser.add_argument("--workers", type=int, default=0, help="workers of Dask that run the steps")
    parser.add_argument("--before", type=Path, help="CSV of another version, for a second row and curve")
    parser.add_argument("--csv", type=Path, help="write the samples there")
    parser.add_argument("--drawn", type=Path, help="CSV of a run on this machine, with the same --steps and --workers")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where sessions and journal are made")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.drawn is None:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            samples = measure(options.sessions, options.steps, Path(folder), options.csv, options.workers)
    else:
        samples = read_samples(options.drawn)
    before = [] if options.before is None else read_samples(options.before)
    series = {f"{role}, before": found for role, found in by_role(before).items()} | by_role(samples)
    found = table(series, options.steps)
    print(found)
    options.out.parent.mkdir(exist_ok=True)
    options.out.with_suffix(".svg").write_text(curve(series))
    n = options.workers
    how = f"run by {n} worker{'s' * (n > 1)} of Dask" if n else "answered at once"
    write_page(
        options.out,
        f"# Memory of {', '.join(by_role(samples))}\n\n"
        f"`benchmarks/driver_memory.py`: sessions of {options.steps} steps that do nothing, {how}; "
        f"sessions and journal in memory (`{options.folder}`). {machine()}.\n\n{found}\n\n"
        f"![curve]({options.out.with_suffix('.svg').name})\n\n"
        "Slope: straight line through the last three quarters of the samples. A scheduler and a worker keep names, "
        "logs and profiles up to fixed numbers, which take the first 300 to 800 sessions."
        + (f" *Before*: the samples of `{options.before.name}`.\n" if options.before else "\n"),
    )


if __name__ == "__main__":
    main()
