"""Latency before the first decoded chunk, and cost of indexing.

    python benchmarks/overhead.py [--repeat 5] [--out benchmarks/results/overhead.md]

import         `import ibl_dask` in a new process, minus the time of an empty process.
help           `ibl-dask --help`, the whole process.
index          `index_video` of an MP4 of 270,000 frames (half an hour at 150 Hz), without its import.
first chunk    from the start of `ibl-dask run SESSION` to the first chunk being decoded: start of the command, start of
               the workers, and index of the video, on a session of 54,000 frames.
many           the same for a folder of 5,000 sessions of three small cameras each, until the first chunk has been
               decoded; the run is ended then.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from films import make_session, repeat
from machine import machine, write_page

from ibl_dask.synth.session import write_session
from ibl_dask.video.container.index import index_video

N_INDEXED = 270_000
N_RUN = 54_000
N_SESSIONS = 5000
COMMAND = str(Path(sys.executable).with_name("ibl-dask"))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        long = long_video(root)
        session, _ = make_session(root, "right", N_RUN)
        sides = {
            "import ibl_dask": lambda: started("import ibl_dask") - started("pass"),
            "ibl-dask --help": lambda: command("--help"),
            f"index of an MP4 of {N_INDEXED:,} frames": lambda: indexed(long),
            "first chunk decoding after the command": lambda: first_chunk(session, root),
        }
        rows = [(name, [side() for _ in range(options.repeat)]) for name, side in sides.items()]
        many = many_sessions(root / "many")
        rows.append((f"first chunk of {N_SESSIONS:,} sessions", [first_of_many(many) for _ in range(options.repeat)]))
    lines = [machine(), "", f"| | median of {options.repeat}, s | largest |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |" for name, seconds in rows]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        write_page(options.out, text)


def long_video(root: Path) -> Path:
    """Return an MP4 with the frames of half an hour of the right camera."""
    clip = root / "Subjects" / "SW_tiny" / "2023-05-01" / "001"
    write_session(clip, duration_s=1000 / 150, cameras=("right",), scale=0.25, b_frames=3)
    video = root / "long.mp4"
    repeat(clip / "raw_video_data" / "_iblrig_rightCamera.raw.mp4", video, N_INDEXED)
    return video


def started(statement: str) -> float:
    """Return the duration of a statement in a new process, s."""
    clock = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - clock


def command(*arguments: str) -> float:
    """Return the duration of a command, s."""
    clock = time.perf_counter()
    subprocess.run([COMMAND, *arguments], check=True, capture_output=True)
    return time.perf_counter() - clock


def indexed(video: Path) -> float:
    """Return how long the index of a video takes, s."""
    clock = time.perf_counter()
    if len(index_video(video)) != N_INDEXED:
        raise SystemExit("the index does not hold every frame")
    return time.perf_counter() - clock


def first_chunk(session: Path, root: Path) -> float:
    """Return how long after the command the first chunk is being decoded, s."""
    with tempfile.TemporaryDirectory(dir=root) as out:
        called = time.time()
        subprocess.run([COMMAND, "run", str(session), "--output-root", out], check=True, capture_output=True)
        (journal,) = Path(out).rglob("events-*.jsonl")
        events = [json.loads(line) for line in journal.read_text().splitlines()]
    records = [event["record"] for event in events if event["event"] == "StepFinished"]
    return min(r["started_s"] for r in records if r["key"][0].startswith("framepass")) - called


def many_sessions(root: Path) -> Path:
    """Write a session, and give it many names by links to its files."""
    first = root / "lab" / "Subjects" / "SW_0000" / "2023-05-01" / "001"
    write_session(first, duration_s=5, scale=0.125, gop=40)
    for number in range(1, N_SESSIONS):
        other = root / "lab" / "Subjects" / f"SW_{number // 10:04}" / "2023-05-01" / f"{number % 10 + 1:03}"
        shutil.copytree(first, other, copy_function=os.link)
    return root


def first_of_many(root: Path) -> float:
    """Return how long after the command the first chunk of many sessions has been decoded, s."""
    with tempfile.TemporaryDirectory(dir=root.parent) as out:
        called = time.time()
        process = subprocess.Popen(
            [COMMAND, "run", str(root), "--yes", "--output-root", out],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = None
        while seconds is None:
            if process.poll() is not None or time.time() > called + 120:
                raise SystemExit("no chunk was decoded")
            time.sleep(0.05)
            for journal in Path(out).rglob("events-*.jsonl"):
                if '"framepass' in journal.read_text():
                    seconds = time.time() - called
        process.terminate()
        process.wait()
    return seconds


if __name__ == "__main__":
    main()
