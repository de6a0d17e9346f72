"""One video on one and on two GPU workers of the local Slurm, whose GPUs are fake.

    python benchmarks/pose_gpus.py [--frames 1200] [--ms-per-frame 20] [--repeat 3]
                                   [--out benchmarks/results/pose_gpus.md]

The engine takes a fixed time for each frame and leaves the cores alone meanwhile, as a GPU does. The table has the time
from the first chunk to the last, and the time between the ends of the workers' last chunks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import disc_sessions
from machine import machine, write_page
from slurm_machine import Slurm, running
from slurm_runs import GPU, pool, site

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.pipeline.run import run

CHUNK_PIXELS = 320 * 256 * 60
"""Chunks of 60 frames: those of a run, with its larger pictures, take as long."""
RESULTS = Path(__file__).parent / "results" / "pose_gpus.md"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1200)
    parser.add_argument("--ms-per-frame", type=float, default=20.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    disc_sessions.DURATION_S = options.frames / disc_sessions.RATES["left"]
    with tempfile.TemporaryDirectory() as folder, running() as slurm:
        root = Path(folder)
        session = root / "Subjects" / "SW_001" / "2023-05-01" / "001"
        disc_sessions.write_discs(session, ("left",))
        found: dict[int, list[tuple[float, float, int]]] = {1: [], 2: []}
        for number in range(options.repeat):
            for n_gpus, measured in found.items():
                measured.append(measure(slurm, root / f"{number}-{n_gpus}", session, n_gpus, options.ms_per_frame))
    text = table(found, options)
    print(text)
    write_page(options.out, text)


def measure(slurm: Slurm, root: Path, session: Path, n_gpus: int, ms_per_frame: float) -> tuple[float, float, int]:
    """Return the time from the first chunk to the last, s; that between the workers' last ones, s; and the chunks."""
    os.environ["SLURM_CONF"] = str(slurm.conf)
    options = disc_sessions.site(engines=(disc_sessions.toy(ms_per_frame=ms_per_frame),), device="cuda")
    profile = site(root, pool("cpu", max_jobs=1), pool("gpu", **GPU, min_jobs=n_gpus, max_jobs=n_gpus))
    with connect(profile) as client:
        client.wait_for_workers(n_gpus, timeout=120)
        request = {"tasks": ["DLC"], "chunk_pixels": CHUNK_PIXELS, **options}
        result = run([session], client=client, output_root=root / "out", **request)
    if result.exit_code:
        raise SystemExit([failure.message for failure in result.sessions[0].failures])
    chunks = [record for record in result.sessions[0].records.values() if record.key.name.startswith("pose-")]
    ends: dict[str, float] = {}
    for record in chunks:
        ends[record.worker] = max(ends.get(record.worker, 0.0), record.started_s + record.seconds)
    if len(ends) != n_gpus:
        raise SystemExit(f"{len(ends)} workers had chunks, {n_gpus} were to")
    last = ends.values()
    return max(last) - min(record.started_s for record in chunks), max(last) - min(last), len(chunks)


def table(found: dict[int, list[tuple[float, float, int]]], options: argparse.Namespace) -> str:
    """Return the medians."""
    seconds = {n: statistics.median(one[0] for one in measured) for n, measured in found.items()}
    apart = statistics.median(one[1] for one in found[2])
    return (
        f"{machine()}\n\n`python benchmarks/pose_gpus.py`: {options.frames:,} frames, {options.ms_per_frame:g} ms "
        f"each, in {found[2][0][2]} chunks; GPUs of the local Slurm, which are fake; median of {options.repeat}.\n\n"
        "| GPU workers | first chunk to last, s | |\n| ---: | ---: | --- |\n"
        f"| 1 | {seconds[1]:.1f} | |\n"
        f"| 2 | {seconds[2]:.1f} | {seconds[1] / seconds[2]:.2f} times as fast; the last chunks end {apart:.1f} s "
        "apart |\n"
    )


if __name__ == "__main__":
    main()
