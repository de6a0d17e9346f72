"""Run all benchmarks, one after another, and write one table of them.

    python benchmarks/run_all.py [--results build/benchmarks] [--only NAME ...] [--quick]

Each writes a page of its own; `README.md` beside them is the table, with both sides of each comparison. It takes some
hours of an idle machine; `--quick` runs each on little, in some minutes, to see that it works, and writes no table. A
benchmark whose other side is not installed is named with what it needs, and the rest go on. Pages that are published
lie in `benchmarks/results`; what a person noted there after a line `---` is kept. After they are replaced,
`benchmarks/figures.py --write` repeats their figures in the documents.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import FiguresError, table, values_of

HERE = Path(__file__).resolve().parent
CLIPS = Path(os.environ.get("IBL_DASK_TEST_DATA", HERE.parents[1] / "shared" / "data")) / "video"
PEER, READERS = "IBL_DASK_PEER_PYTHON", "IBL_DASK_READERS_PYTHON"
DEEPLABCUT, LIGHTNING_POSE = "IBL_DASK_DEEPLABCUT_PYTHON", "IBL_DASK_LIGHTNING_POSE_PYTHON"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A program in this folder, and how to run it."""

    name: str
    options: Sequence[str] = ()
    quick: Sequence[str] = ()
    """Options of a run that only shows that it works."""
    variables: Sequence[str] = ()
    """Environment variables that name the Python of another side."""
    programs: Sequence[str] = ()
    clips: bool = False
    """True if it reads the real clips."""

    def missing(self) -> list[str]:
        """Return what the machine lacks for it."""
        lacking = [f"${name} is not set" for name in self.variables if not os.environ.get(name)]
        lacking += [f"no program {name}" for name in self.programs if not shutil.which(name)]
        return lacking + ([f"no clips in {CLIPS}"] if self.clips and not CLIPS.is_dir() else [])

    def command(self, out: Path, *, is_quick: bool) -> list[str]:
        """Return the command that writes its page."""
        options = self.quick if is_quick else self.options
        return [sys.executable, str(HERE / f"{self.name}.py"), *options, "--out", str(out)]


BENCHMARKS = (
    Benchmark("frame_pass", quick=("--minutes", "0.1", "--repeat", "1", "--cameras", "right"), variables=(PEER,)),
    Benchmark(
        "compress",
        quick=("--frames", "200", "--repeat", "1", "--cameras", "right", "--codecs", "mpeg4", "--without-one-worker"),
        clips=True,
    ),
    Benchmark("readers", quick=("--frames", "1000", "--seeks", "10", "--repeat", "1"), variables=(READERS,)),
    Benchmark("timing", quick=("--sessions", "20", "--repeat", "1"), variables=(PEER,)),
    Benchmark("camera_qc", quick=("--minutes", "1", "--repeat", "1"), variables=(PEER,)),
    Benchmark("wheel_alignment", quick=("--repeat", "1", "--every", "1200"), variables=(PEER,)),
    Benchmark("pose_features", quick=("--minutes", "2", "--reference-minutes", "0.2"), variables=(PEER,)),
    Benchmark("pose", quick=("--frames", "60", "--repeat", "1")),
    Benchmark(
        "pose_tools",
        quick=("--frames", "40", "--rounds", "1"),
        variables=(DEEPLABCUT, LIGHTNING_POSE),
        clips=True,
    ),
    Benchmark("pose_gpus", quick=("--frames", "120", "--repeat", "1"), programs=("slurmctld",)),
    Benchmark(
        "scaling",
        quick=("--frames", "3000", "--encoded", "200", "--workers", "1,2", "--repeat", "1"),
        programs=("slurmctld",),
    ),
    Benchmark("steps_per_second", quick=("--sessions", "1", "--rounds", "1")),
    Benchmark("driver_memory", options=("--workers", "1"), quick=("--sessions", "8", "--workers", "1")),
    Benchmark("plan", quick=("--sessions", "50")),
    Benchmark("overhead", quick=("--repeat", "1")),
    Benchmark("status", quick=("--sessions", "20", "--steps", "50")),
    Benchmark("run_bytes", quick=("--rows", "1")),
    Benchmark("clocks", options=("--clocks", "1000000", "--jobs", "2"), quick=("--clocks", "360")),
)


def main() -> int:
    """Run the benchmarks and write the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE.parent / "build" / "benchmarks")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in BENCHMARKS], metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    failed = []
    for each in BENCHMARKS:
        if options.only and each.name not in options.only:
            continue
        if lacking := each.missing():
            print(f"{each.name}: not run, {', '.join(lacking)}", flush=True)
            continue
        clock = time.perf_counter()
        done = subprocess.run(
            each.command(options.results / f"{each.name}.md", is_quick=options.quick),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"{each.name}: exit code {done.returncode} after {time.perf_counter() - clock:.0f} s", flush=True)
        if done.returncode:
            failed.append(each.name)
            print(done.stdout, flush=True)
    if not options.quick:
        try:
            text = table(values_of(options.results), options.results)
        except (FiguresError, OSError) as error:
            print(f"no table: {error}")
        else:
            (options.results / "README.md").write_text(text, encoding="utf-8")
            print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
