"""Frame times compared with the truth on any number of random sessions.

    python benchmarks/clocks.py [--clocks 100000] [--first 0] [--jobs 1] [--kind KIND ...] [--parts DIR]
                                [--out benchmarks/results/clocks.md]

Each clock is a session of one kind (`tests/helpers/random_clocks.py`), generated from its number. Kinds alternate, so
that `--first 100000 --clocks 100000` continues after `--clocks 100000`. Each block of numbers is stored in a file in
`--parts`; existing blocks are skipped, and the table is the sum of all blocks. Silently wrong clocks are printed, one
per line; `--show` prints those of other verdicts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

from clock_verdicts import SILENT, VERDICTS, judge
from random_clocks import KINDS, random_session

BLOCK = 900
LONGEST_S = 60.0


def main() -> None:
    """Run the requested clocks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clocks", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first clock")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--kind", nargs="*", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--parts", type=Path, help="folder that keeps the counts of every block")
    parser.add_argument("--out", type=Path, help="file for the table")
    parser.add_argument("--show", nargs="*", default=[SILENT], help="verdicts whose clocks are named")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = arguments.parts or Path(folder)
        parts.mkdir(parents=True, exist_ok=True)
        stop = arguments.first + arguments.clocks
        blocks = [range(first, min(first + BLOCK, stop)) for first in range(arguments.first, stop, BLOCK)]
        with ProcessPoolExecutor(arguments.jobs) as pool:
            started = time.perf_counter()
            work = [
                pool.submit(run_block, block, tuple(arguments.kind), parts, tuple(arguments.show)) for block in blocks
            ]
            for done in work:
                lines = done.result()
                print(lines, end="" if not lines else "\n", flush=True)
        seconds = time.perf_counter() - started
        table = write_table(parts)
    print(table)
    print(f"{arguments.clocks / seconds:,.0f} clocks a second with {arguments.jobs} processes, {seconds:,.0f} s in all")
    if arguments.out:
        arguments.out.write_text(table)


def run_block(block: range, kinds: tuple[str, ...], parts: Path, show: tuple[str, ...]) -> str:
    """Judge a block of clocks and store the counts; return the lines to print."""
    part = parts / f"{block.start:09d}-{block.stop:09d}.json"
    if part.exists():
        return ""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    lines, started = [], time.process_time()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for number in block:
            kind, seed = kinds[number % len(kinds)], number // len(kinds)
            judged = judge(random_session(kind, seed, LONGEST_S), Path(folder))
            counts[kind][judged.verdict] += 1
            if judged.verdict in show:
                notes = judged.error if judged.times is None else "; ".join(judged.times.notes)
                lines.append(f"{judged.verdict}: {kind!r} seed {seed}, {judged.worst_frames:.2f} frames: {notes[:600]}")
    content = {"counts": counts, "seconds": time.process_time() - started, "shown": lines}
    part.with_suffix(".tmp").write_text(json.dumps(content))
    part.with_suffix(".tmp").rename(part)
    return "\n".join(lines)


def write_table(parts: Path) -> str:
    """Return the sum of all blocks as a table."""
    total: dict[str, Counter[str]] = {}
    seconds = 0.0
    for part in sorted(parts.glob("*.json")):
        content = json.loads(part.read_text())
        seconds += content["seconds"]
        for kind, counts in content["counts"].items():
            total.setdefault(kind, Counter()).update(counts)
    every = sum(total.values(), Counter())
    n = every.total()
    rows = [("kind", "clocks", *VERDICTS), ("---", *["---:"] * (len(VERDICTS) + 1))]
    for kind, counts in [*total.items(), ("**all**", every)]:
        rows.append((kind, f"{counts.total():,}", *(f"{counts[verdict]:,}" for verdict in VERDICTS)))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    shares = ", ".join(f"{verdict} {every[verdict] / max(n, 1):.3%}" for verdict in VERDICTS)
    return (
        f"# {n:,} random clocks\n\n`python benchmarks/clocks.py --clocks {n}`: sessions of {LONGEST_S:g} s at most, "
        f"{1e3 * seconds / max(n, 1):.1f} ms each on one core.\n\n{table}\n\nIn all: {shares}.\n{LEGEND}"
    )


LEGEND = """
- *right*: every frame within half a frame of the truth, outcome PASS. *Flagged*: WARNING; *assumed*: FAIL, and times of
  quality 3.
- *wrong, assumed*: all frames that are half a frame off or more carry quality 3. *Wrong, flagged*: some do not, and the
  outcome is WARNING at least.
- *silently wrong*: half a frame off or more with outcome PASS and quality 0.
- *no trace*: the same, where a DAQ lost samples for a whole number of periods, to under 0.2 ms, and no two TTLs lie
  beyond: a recording without a loss leaves the same files.
- *refused*: an error with its reason: over a second of frames without pulses, mostly since more samples were lost.
"""


if __name__ == "__main__":
    main()
