"""A batch of real clips on the Slurm of the tests, disturbed all the time and left alone.

    python benchmarks/slurm_batch.py CLIPS [--sessions 300] [--minutes 60] [--seed 0]
                                     [--out benchmarks/results/slurm_batch.md]

CLIPS is a folder with `openfield_mouse.mp4` and `mirror_mouse.mp4`. Each session has the first as its left and the
second as its right camera, with synthetic pulses for them. `ibl-dask run` works on all of them in jobs of four minutes.
Every half minute or so, while the minutes last, something happens at random: a worker is killed or stopped for a while,
a job is cancelled, a node dies and comes back, the driver is killed and the same command given again. In the end the
same command runs once more, undisturbed; every result is compared with that of an undisturbed run, byte by byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from machine import machine, write_page

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import published
from published import assert_same, results
from slurm_machine import NODES, Slurm, running
from slurm_runs import write_profile

from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import read_journal
from ibl_dask.synth.session import write_session

RESULTS = Path(__file__).parent / "results" / "slurm_batch.md"
CLIPS = {"left": ("openfield_mouse.mp4", 2330, 60), "right": ("mirror_mouse.mp4", 994, 150)}
"""Camera -> its clip, frames of it, frames/s."""
TASKS = ["VideoRegisterRaw", "VideoSyncQcNidq"]
PROGRAM = [sys.executable, "-c", "from ibl_dask.cli.app import main; main()"]
EVERY_S = (15.0, 45.0)
"""Bounds of the time between two disturbances, s."""


def main() -> None:
    """Run the batch and write its closing table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    published.CAMERAS = tuple(CLIPS)
    with tempfile.TemporaryDirectory() as folder, running() as slurm:
        root = Path(folder)
        template = make_session(root / "template", options.clips)
        if run([template], output_root=root / "expected", tasks=TASKS).exit_code:
            sys.exit("the undisturbed run of one session failed")
        expected = results(root / "expected" / template.relative_to(root / "template"))
        batch = [copy_session(template, root / "data", number) for number in range(options.sessions)]
        disturber = Disturber(slurm, root, batch, random.Random(options.seed))
        seconds = disturber.run_all(60 * options.minutes)
        wrong = []
        for session in batch:
            try:
                assert_same(results(session), expected)
            except (AssertionError, OSError) as error:
                wrong.append(f"{session}: {error}")
        text = table(disturber, options, seconds, wrong)
    print(text)
    write_page(options.out, text)
    sys.exit(bool(wrong or disturber.codes[-1]))


def make_session(root: Path, clips: Path) -> Path:
    """Write a session whose videos are the clips."""
    session = root / "lab" / "Subjects" / "SW_000" / "2023-05-01" / "001"
    for number, (label, (name, n_frames, fps)) in enumerate(CLIPS.items()):
        alone = root / f"alone{number}" / "lab" / "Subjects" / "SW_000" / "2023-05-01" / "001"
        write_session(alone, duration_s=n_frames / fps, scale=0.15, cameras=tuple(CLIPS), seed=1)
        if number == 0:
            shutil.copytree(alone, session)
        video = session / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
        shutil.copy(clips / name, video)
        video.chmod(0o644)
        for file in (alone / "raw_video_data").glob(f"_iblrig_{label}Camera.*.bin"):
            shutil.copy(file, session / "raw_video_data")
    return session


def copy_session(template: Path, root: Path, number: int) -> Path:
    """Copy a session under the name of another subject."""
    session = root / "lab" / "Subjects" / f"SW_{number + 1:03}" / "2023-05-01" / "001"
    shutil.copytree(template, session)
    return session


class Disturber:
    """Runs a batch and disturbs it."""

    def __init__(self, slurm: Slurm, root: Path, batch: list[Path], rng: random.Random) -> None:
        self.slurm, self.root, self.batch, self.rng = slurm, root, batch, rng
        self.work = root / "data" / "work"
        self.done: Counter[str] = Counter()
        self.codes: list[int] = []
        self.listed = root / "sessions.txt"
        self.listed.write_text("\n".join(map(str, batch)) + "\n")
        pool = {"max_jobs": 4, "walltime": "00:04:00", "queue": "cpu"}
        self.profile = write_profile(root / "site.yaml", root / "data", cpu=pool)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the driver."""
        options = ["--profile", self.profile, "--work-dir", self.work, "--tasks", ",".join(TASKS), "--yes"]
        with (self.root / "printed.txt").open("ab") as printed:
            return subprocess.Popen(
                [*PROGRAM, "run", str(self.listed), *map(str, options)],
                stdout=printed,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.slurm.environment},
            )

    def run_all(self, disturbed_s: float) -> float:
        """Run the batch to its end, disturbed for this long, s; return its duration, s."""
        started = time.monotonic()
        driver = self.start()
        while time.monotonic() < started + disturbed_s:
            pause_s = self.rng.uniform(*EVERY_S)
            with suppress(subprocess.TimeoutExpired):
                driver.wait(pause_s)
            if driver.poll() is not None:
                self.codes.append(driver.returncode)
                if driver.returncode == 0:
                    break
                if driver.returncode == 2:
                    sys.exit((self.root / "printed.txt").read_text()[-3000:])
                driver = self.start()
            elif self.strike(driver):
                driver = self.start()
            print(f"{time.monotonic() - started:6.0f} s: {dict(self.done)}", flush=True)
        for node in NODES:
            self.slurm.start_node(node)
        if driver.poll() is None:
            self.codes.append(driver.wait())
        if self.codes[-1] != 0:
            self.codes.append(self.start().wait())
        return time.monotonic() - started

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes of all jobs."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "SLURM_JOB_ID" in process.environ() and "spawn_main" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def strike(self, driver: subprocess.Popen[bytes]) -> bool:
        """Do something bad; return True if that ended the driver."""
        ways = ["kill a worker", "stop a worker", "cancel a job", "kill a node", "stop the driver", "kill the driver"]
        how = self.rng.choice(ways)
        workers, jobs = self.workers(), [job for job in self.slurm.jobs().values() if job.state == "RUNNING"]
        with suppress(psutil.Error, ProcessLookupError, subprocess.CalledProcessError):
            if how == "kill the driver":
                driver.kill()
                driver.wait()
            elif how == "stop the driver":
                self._stop_for_a_while(driver.pid)
            elif how in ("kill a worker", "stop a worker") and workers:
                pid = self.rng.choice(workers).pid
                os.kill(pid, signal.SIGKILL) if how == "kill a worker" else self._stop_for_a_while(pid)
            elif how == "cancel a job" and jobs:
                self.slurm.call("scancel", self.rng.choice(jobs).id)
            elif how == "kill a node" and jobs:
                node = self.rng.choice(jobs).node
                self.slurm.kill_node(node)
                time.sleep(self.rng.uniform(0, 20))
                self.slurm.start_node(node)
            else:
                return False
            self.done[how] += 1
        return how == "kill the driver"

    def _stop_for_a_while(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.rng.uniform(1, 20))
        os.kill(pid, signal.SIGCONT)

    def events(self) -> Iterator[dict[str, object]]:
        """Yield the events of all drivers."""
        for folder in sorted((self.work / "runs").iterdir()):
            yield from read_journal(folder)


def table(disturber: Disturber, options: argparse.Namespace, seconds: float, wrong: list[str]) -> str:
    """Return the closing table."""
    told = subprocess.run(
        [*PROGRAM, "status", "--work-dir", str(disturber.work), "--json"], capture_output=True, text=True, check=False
    )
    last = json.loads(told.stdout)
    kinds = Counter(str(event.get("event") or event.get("type")) for event in disturber.events())
    left = [path for path in (disturber.root / "data").rglob("*") if path.name == "lock.json" or path.suffix == ".tmp"]
    scratch = list((disturber.work / "scratch").glob("*"))
    tasks = Counter(state for row in last["sessions"] for state in row["tasks"].values())
    done = ", ".join(f"{how} {n}" for how, n in sorted(disturber.done.items()))
    rows = [
        ("sessions", f"{options.sessions:,}"),
        ("wall time, min", f"{seconds / 60:.1f}"),
        ("disturbances", f"{sum(disturber.done.values())}: {done}"),
        (
            "drivers, and their exit codes",
            f"{len(disturber.codes) + disturber.done['kill the driver']}: {disturber.codes}",
        ),
        ("tasks in the last run", ", ".join(f"{state} {n}" for state, n in tasks.items())),
        ("events of all drivers", ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())),
        ("sessions whose results differ from an undisturbed run", f"{len(wrong)}"),
        (
            "locks and temporary files left",
            f"{len(left)}" + "".join(f", {path.name} in {path.parent.name}" for path in left),
        ),
        ("scratch folders left", f"{len(scratch)}"),
    ]
    lines = [
        "# A batch of real clips on Slurm, disturbed",
        "",
        f"`python benchmarks/slurm_batch.py CLIPS --sessions {options.sessions} --minutes {options.minutes:g} "
        f"--seed {options.seed}`: {machine()}, Slurm with four virtual nodes on it.",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows),
        *(["", *wrong[:20]] if wrong else []),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
