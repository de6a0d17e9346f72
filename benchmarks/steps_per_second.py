"""Steps per second through the whole driver, beside a bare loop of `client.submit`.

    python benchmarks/steps_per_second.py [--sessions 6] [--steps 300] [--workers 2] [--rounds 5] [--out FILE]

Steps do nothing. The scheduler and each worker are processes of their own. The bare loop keeps as many futures as the
driver gives out, takes them as they end, and submits the next: the least that any program on Dask does. Both sides run
in turn, several times, on the same cluster; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from distributed import Client, as_completed
from idle_cluster import cluster
from idle_steps import Idle
from machine import machine, write_page

from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.executors import IN_HAND
from ibl_dask.pipeline.run import run

RESULTS = Path(__file__).parent / "results" / "steps_per_second.md"


def main() -> None:
    """Run both sides in turn and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    n = arguments.sessions * arguments.steps
    bare, driven = [], []
    with cluster(arguments.workers) as (client, _), tempfile.TemporaryDirectory() as folder:
        submit_bare(client, 200, arguments.workers)
        drive(client, Path(folder) / "first", 1, 100)
        for number in range(arguments.rounds):
            bare.append(n / timed(lambda: submit_bare(client, n, arguments.workers)))
            place = Path(folder) / str(number)
            driven.append(n / timed(lambda place=place: drive(client, place, arguments.sessions, arguments.steps)))
            print(f"bare {bare[-1]:,.0f} steps/s, driver {driven[-1]:,.0f} steps/s", flush=True)
    table = format_table(bare, driven, arguments)
    print(table)
    if arguments.out:
        write_page(arguments.out, table)


def do_nothing(number: int) -> int:
    """Return the number."""
    return number


def submit_bare(client: Client, n: int, n_workers: int) -> None:
    """Submit tasks one by one, as many at a time as the driver gives out."""
    ahead = IN_HAND * n_workers
    numbers = iter(range(n))

    def submit(number: int) -> object:
        return client.submit(do_nothing, number, pure=False, resources={"CPU": 1})

    queue = as_completed([submit(number) for number, _ in zip(numbers, range(ahead), strict=False)], with_results=True)
    for future, _ in queue:
        future.release()
        number = next(numbers, None)
        if number is not None:
            queue.add(submit(number))


def drive(client: Client, folder: Path, n_sessions: int, n_steps: int) -> None:
    """Run sessions of idle steps."""
    sessions = [folder / "Subjects" / "SW_001" / "2023-05-01" / f"{number:03}" for number in range(1, n_sessions + 1)]
    for session in sessions:
        session.mkdir(parents=True)
        (session / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    executable = f"{Idle.__module__}.{Idle.__qualname__}"
    specs = [TaskSpec("Idle", executable, {"label": "left", "n_steps": n_steps})]
    result = run(sessions, client=client, specs=specs, work_dir=folder / "work")
    if result.exit_code:
        raise RuntimeError(str(result.sessions[0].failures))


def timed(call: object) -> float:
    """Return how long a call takes, s."""
    clock = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - clock


def format_table(bare: list[float], driven: list[float], arguments: argparse.Namespace) -> str:
    """Return the medians and their ratio."""
    ratio = statistics.median(driven) / statistics.median(bare)
    return (
        "# Steps per second\n\n"
        f"`python benchmarks/steps_per_second.py`: {arguments.sessions} sessions of {arguments.steps} steps that do "
        f"nothing, {arguments.workers} workers, scheduler in its own process, {arguments.rounds} rounds in turn. "
        f"{machine()}.\n\n"
        "| | steps/s, median | all rounds |\n| --- | ---: | --- |\n"
        f"| bare loop of `client.submit` | {statistics.median(bare):,.0f} | {', '.join(f'{r:,.0f}' for r in bare)} |\n"
        f"| driver | {statistics.median(driven):,.0f} | {', '.join(f'{r:,.0f}' for r in driven)} |\n\n"
        f"Ratio {ratio:.2f}.\n"
    )


if __name__ == "__main__":
    main()
