"""Frame times compared with the truth on any number of random sessions.

    python benchmarks/clocks.py [--clocks 100000] [--first 0] [--jobs 1] [--kind KIND ...] [--parts DIR]
                                [--out benchmarks/results/clocks.md] [--kept benchmarks/results/clocks.json]

Each clock is a session of one kind (`tests/helpers/random_clocks.py`), generated from its number. Kinds alternate, so
that `--first 100000 --clocks 100000` continues after `--clocks 100000`. Each block of numbers is stored in a file in
`--parts`; existing blocks are skipped, and the table is the sum of all blocks. `--kept` is a file with the sum of
earlier runs, on whatever machine, of the same code: blocks that it holds are skipped, and it receives the new ones.
Silently wrong clocks are printed, one per line; `--show` prints those of other verdicts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

from clock_verdicts import SILENT, VERDICTS, judge
from machine import machine, write_page
from random_clocks import KINDS, random_session

BLOCK = 900


class Kept(TypedDict):
    """Sum of earlier runs."""

    code: str
    """See `code_digest`."""
    ranges: list[tuple[int, int]]
    """Numbers of the clocks: first, and one past the last; each begins a block."""
    counts: dict[str, dict[str, int]]
    """Kind -> verdict -> clocks."""
    seconds: float
    """Time on one core, s."""


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
    parser.add_argument("--kept", type=Path, help="file with the sum of earlier runs of the same code")
    parser.add_argument("--show", nargs="*", default=[SILENT], help="verdicts whose clocks are named")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = arguments.parts or Path(folder)
        parts.mkdir(parents=True, exist_ok=True)
        stop = arguments.first + arguments.clocks
        kept = read_kept(arguments.kept)
        known = {number for first, end in kept["ranges"] for number in range(first, end, BLOCK)}
        starts = (first for first in range(arguments.first, stop, BLOCK) if first not in known)
        blocks = [range(first, min(first + BLOCK, stop)) for first in starts]
        with ProcessPoolExecutor(arguments.jobs) as pool:
            started = time.perf_counter()
            work = [
                pool.submit(run_block, block, tuple(arguments.kind), parts, tuple(arguments.show)) for block in blocks
            ]
            for done in work:
                lines = done.result()
                print(lines, end="" if not lines else "\n", flush=True)
        seconds = time.perf_counter() - started
        table = write_table(parts, kept)
        if arguments.kept:
            arguments.kept.write_text(json.dumps(with_parts(kept, parts), indent=1) + "\n")
    print(table)
    print(f"{arguments.clocks / seconds:,.0f} clocks a second with {arguments.jobs} processes, {seconds:,.0f} s in all")
    if arguments.out:
        write_page(arguments.out, table)


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


def code_digest() -> str:
    """Return a digest of the code on which verdicts depend: timing, the random sessions and the judge."""
    root = Path(__file__).parents[1]
    helpers = [root / "tests" / "helpers" / name for name in ("random_clocks.py", "clock_verdicts.py")]
    digest = hashlib.sha256(repr(LONGEST_S).encode())
    for path in sorted([*(root / "ibl_dask" / "timing").rglob("*.py"), *helpers]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read_kept(path: Path | None) -> Kept:
    """Return the sum of earlier runs; an empty one where there is none, or one of other code."""
    empty: Kept = {"code": code_digest(), "ranges": [], "counts": {}, "seconds": 0.0}
    if path is None or not path.exists():
        return empty
    kept: Kept = json.loads(path.read_text())
    if kept["code"] != empty["code"]:
        print(f"{path} is of other code, and is begun anew")
        return empty
    return kept


def with_parts(kept: Kept, parts: Path) -> Kept:
    """Return the sum of earlier runs and of all blocks in a folder."""
    total = {kind: Counter(counts) for kind, counts in kept["counts"].items()}
    seconds, ranges = kept["seconds"], [tuple(each) for each in kept["ranges"]]
    for part in sorted(parts.glob("*.json")):
        first, stop = map(int, part.stem.split("-"))
        if any(begin <= first < end for begin, end in kept["ranges"]):
            continue
        content = json.loads(part.read_text())
        seconds += content["seconds"]
        ranges.append((first, stop))
        for kind, counts in content["counts"].items():
            total.setdefault(kind, Counter()).update(counts)
    joined: list[tuple[int, int]] = []
    for first, stop in sorted(ranges):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((first, stop))
    counts = {kind: dict(counter) for kind, counter in total.items()}
    return {"code": kept["code"], "ranges": joined, "counts": counts, "seconds": round(seconds, 1)}


def write_table(parts: Path, kept: Kept) -> str:
    """Return the sum of earlier runs and of all blocks as a table."""
    summed = with_parts(kept, parts)
    total = {kind: Counter(counts) for kind, counts in summed["counts"].items()}
    seconds = summed["seconds"]
    every = sum(total.values(), Counter())
    n = every.total()
    rows = [("kind", "clocks", *VERDICTS), ("---", *["---:"] * (len(VERDICTS) + 1))]
    for kind, counts in [*total.items(), ("**all**", every)]:
        rows.append((kind, f"{counts.total():,}", *(f"{counts[verdict]:,}" for verdict in VERDICTS)))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    shares = ", ".join(f"{verdict} {every[verdict] / max(n, 1):.3%}" for verdict in VERDICTS)
    return (
        f"# {n:,} random clocks\n\n`python benchmarks/clocks.py --clocks {n}`: sessions of {LONGEST_S:g} s at most, "
        f"{1e3 * seconds / max(n, 1):.1f} ms each on one core. {machine()}.\n\n{table}\n\nIn all: {shares}.\n{LEGEND}"
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
