"""Time and memory of `ibl-dask status` for a large run.

    python benchmarks/status.py [--sessions 2000] [--steps 500] [--folder DIR] [--out FILE]

A synthetic run is written through the record that the driver writes through: each session has some steps on each of
three cameras, its tasks end, and one in ten fails. Then `ibl-dask status` runs in a process of its own; so does the
same with the summary removed, which folds the whole journal. `--again` adds rows to the table.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import machine, write_page

from ibl_dask.model import events
from ibl_dask.model.failure import Failure
from ibl_dask.model.result import Result, Work
from ibl_dask.model.status import Status
from ibl_dask.model.step import StepKey, StepRecord
from ibl_dask.store.processes import this_process
from ibl_dask.store.run_record import RunRecord
from ibl_dask.store.run_summary import find_runs, read_summary

RESULTS = Path(__file__).parent / "results" / "status.md"
CAMERAS = ("left", "right", "body")
STATUS = "import sys; from ibl_dask.cli.app import main; sys.argv[0] = 'ibl-dask'; main()"
"""The program `ibl-dask`."""


def run_events(n_sessions: int, n_steps: int) -> Iterator[events.Event]:
    """Yield the events of a run, some sessions in flight at a time."""
    paths = [f"/mnt/data/lab/Subjects/SW_{n // 100:04d}/2023-05-01/{n % 100 + 1:03d}" for n in range(n_sessions)]
    about = (platform.node(), os.getpid(), 64, "1.0", time.time(), this_process().mark)
    yield events.RunStarted("synthetic", tuple(paths), *about)
    for start in range(0, n_sessions, 8):
        together = paths[start : start + 8]
        for path in together:
            yield events.SessionPlanned(path, {f"framepass-{label}": n_steps // 3 for label in CAMERAS}, time.time())
        for step in range(n_steps):
            for path in together:
                yield events.StepFinished(path, step_record(path, CAMERAS[step % 3], step))
        for number, path in enumerate(together, start):
            yield from session_ends(path, number % 10 == 0)
    n_failed = len(range(0, n_sessions, 10))
    yield events.RunFinished("synthetic", n_sessions - n_failed, n_failed, 1.0, time.time())


def step_record(path: str, camera: str, chunk: int) -> StepRecord:
    """Return the record of a frame pass of a chunk."""
    name = f"{path}/scratch/{camera}-chunks/{chunk:09d}-{chunk + 1500:09d}.npz"
    facts = {"frames": 1500, "chunk": [1500 * chunk, 1500 * (chunk + 1)], "decoded": 1510}
    facts |= {"reducers": ["brightness", "motion_energy", "sharpness"]}
    result = Result(outputs=(Path(name),), work=Work("decode", 1500, 1310720 * 1500), facts=facts)
    key = StepKey(f"framepass-{camera}", path[-19:], "0123456789abcdef", chunk)
    return StepRecord(key, "done", result, None, time.time(), 2.5, "node017:4242")


def session_ends(path: str, is_failed: bool) -> Iterator[events.Event]:
    """Yield the last events of a session."""
    where = f"{path}/raw_video_data/_iblrig_rightCamera.raw.mp4"
    failure = Failure("UnreadableVideo", "corrupt_input", "the container cannot be indexed", where, "an MP4", "zeros")
    for task in ("VideoRegisterRaw", "VideoCompress", "VideoSyncQC_nidq", "DLC"):
        bad = is_failed and task == "VideoSyncQC_nidq"
        status = Status.ERRORED if bad else Status.WAITING if task == "DLC" else Status.COMPLETE
        yield events.TaskFinished(path, task, status, (), (failure,) if bad else (), time.time())
    qc = dict.fromkeys(CAMERAS, "PASS")
    yield events.SessionFinished(path, not is_failed, qc, f"{path}/ibl_dask/report.html", None, time.time())


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of one call of the program."""

    seconds: float
    """Time from the call to its end, s."""
    cpu_s: float
    """Time of its process on a core, s."""
    peak_mb: float
    """Largest resident memory, MB."""


def measure(*command: str) -> Answer:
    """Run a command in a process of its own."""
    clock = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return Answer(time.perf_counter() - clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def write_run(work: Path, n_sessions: int, n_steps: int) -> float:
    """Write a run and return the time of this process on a core, s."""
    clock = time.process_time()
    with RunRecord(work, "20230501T000000-synthetic") as record:
        for event in run_events(n_sessions, n_steps):
            record.append(events.to_json(event))
    return time.process_time() - clock


def rows(n_sessions: int, n_steps: int, folder: Path, with_journal: bool) -> list[str]:
    """Return rows of the table for a run of some size."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        written_s = write_run(work, n_sessions, n_steps)
        (run,) = find_runs(work)
        size = sum(path.stat().st_size for path in run.path.iterdir()) / 1e6
        first = f"{n_sessions * n_steps:,} | {n_sessions:,} | {written_s:.0f} | {size:,.0f}"
        call = (sys.executable, "-c", STATUS, "status", "--work-dir", str(work))
        read = (
            f"from pathlib import Path; from ibl_dask.store.run_summary import *; r, = find_runs(Path({str(work)!r})); "
        )
        read += "s = read_summary(r); print(s.states, sum(1 for _ in s.rows))"
        found = [("`status`", measure(*call)), ("`status --failed`", measure(*call, "--failed"))]
        found += [
            ("`status --json`", measure(*call, "--json")),
            ("`read_summary`, all rows", measure(sys.executable, "-c", read)),
        ]
        if with_journal:
            states = read_summary(run).states
            run.summary_file.unlink()
            found.append(("the same, from the journal", measure(sys.executable, "-c", read)))
            if read_summary(run).states != states:
                raise SystemExit("journal and summary disagree")
    return [
        f"| {first} | {what} | {answer.seconds:.2f} | {answer.cpu_s:.2f} | {answer.peak_mb:.0f} |"
        for what, answer in found
    ]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=500, help="steps of a session")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the run is written")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="keep the rows that the file has")
    parser.add_argument("--summary-only", action="store_true", help="do not read the whole journal")
    options = parser.parse_args()
    found = rows(options.sessions, options.steps, options.folder, not options.summary_only)
    titles = ("steps", "sessions", "written in, core-s", "on disk, MB", "read", "s", "core-s", "peak, MB")
    head = [f"| {' | '.join(titles)} |", "|---" + "|---:" * 3 + "|---|---:|---:|---:|"]
    if options.again and options.out.is_file():
        found = [line for line in options.out.read_text().splitlines() if line.startswith("|")][2:] + found
    print("\n".join([*head, *found]))
    write_page(
        options.out,
        "# Summary of a large run\n\n"
        "`benchmarks/status.py`: a run is written through the record of the driver, fsync included, and read by a "
        f"process of its own, whose start and imports count. {machine()}.\n\n"
        + "\n".join([*head, *found])
        + "\n\n`from the journal`: the summary was removed, so every event is read.\n",
    )


if __name__ == "__main__":
    main()
