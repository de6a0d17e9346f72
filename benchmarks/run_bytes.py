"""Bytes that a run writes: results, scratch at its largest, and journal; the constants of forecasts come from here.

Sessions of the synthesiser, drawn and with real clips (`$IBL_DASK_TEST_DATA`, default ../shared/data), are compressed
with each encoding, or only measured. Results are what is in the session afterwards and was not before; scratch is
weighed ten times a second, since each step removes what it needs no more.

    python benchmarks/run_bytes.py [--rows 8] [--out benchmarks/results/run_bytes.md]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from machine import machine, write_page
from numpy.typing import NDArray

from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import read_journal
from ibl_dask.store.work_folder import WORK_FOLDER
from ibl_dask.synth.session import write_session

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("IBL_DASK_TEST_DATA", ROOT.parent / "shared" / "data")) / "video"
PLACE = Path("Subjects") / "SW_001" / "2023-05-01" / "001"
PARTS = ("-segments/", "-chunks/", "index.npz", "")
"""Parts of scratch, by what their paths hold; the last is all of it."""
FPS = {"left": 60, "right": 150, "body": 30}


def weigh(folder: Path) -> dict[str, int]:
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[str(path.relative_to(folder))] = path.stat().st_size
    return found


@contextlib.contextmanager
def weighing(folder: Path) -> Iterator[dict[str, int]]:
    """Weigh a folder while this block runs; yield the largest size of each of its `PARTS`, bytes."""
    heaviest = dict.fromkeys(PARTS, 0)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            with contextlib.suppress(FileNotFoundError):
                content = weigh(folder)
                for part in PARTS:
                    heaviest[part] = max(heaviest[part], total(content, part))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield heaviest
    finally:
        stop.set()
        thread.join()


def total(content: dict[str, int], *parts: str) -> int:
    return sum(size for key, size in content.items() if any(part in key for part in parts))


def looped(path: Path, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a clip, cut to a size, again and again."""
    while True:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield np.ascontiguousarray(frame.to_ndarray(format="gray")[:height, :width])


def measure(name: str, **settings: Any) -> str:
    """Run a session once; return a row of the table."""
    options = {key: settings.pop(key) for key in ("encoding",) if key in settings}
    with tempfile.TemporaryDirectory() as folder:
        session = Path(folder) / PLACE
        truth = write_session(session, **settings)
        before = weigh(session)
        with weighing(Path(folder) / "Subjects" / WORK_FOLDER / "scratch") as heaviest:
            result = run([session], **options)
        if result.exit_code:
            raise SystemExit(str(result.sessions[0].failures))
        made = {key: n for key, n in weigh(session).items() if before.get(key) != n}
        journal = sum(path.stat().st_size for path in result.journal.glob("events-*"))
        n_steps = sum(event["event"] == "StepFinished" for event in read_journal(result.journal))
        areas = {}
        for video in session.rglob("*.mp4"):
            with av.open(str(video)) as container:
                areas[video.name] = container.streams.video[0].width * container.streams.video[0].height
    frames = {label: camera.n_frames for label, camera in truth.cameras.items()}
    pixels = sum(frames[label] * areas[f"_iblrig_{label}Camera.raw.mp4"] for label in frames)
    n, n_cameras = sum(frames.values()), len(frames)

    mp4, thumbnails = total(made, ".mp4"), total(made, "thumbnail/")
    per_frame = total(made, "frames.zarr", ".times.npy", "-timing.npz", "-pulse_times.npz") - thumbnails
    rest = sum(made.values()) - mp4 - thumbnails - per_frame
    segments, chunks, index, scratch = (heaviest[part] for part in PARTS)
    cells = (
        name, f"{n:,}", f"{mp4 / pixels:.4f}", f"{per_frame / n:.0f}", f"{thumbnails / n_cameras / 1e3:,.0f}",
        f"{rest / 1e3:,.0f}", f"{segments / pixels:.4f}", f"{chunks / n:.0f}", f"{index / n:.0f}",
        f"{scratch / 1e6:.2f}", f"{journal / n_steps:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8, help="sessions from the first")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    columns = (
        "session", "frames", "mp4, bytes/pixel", "per frame, bytes", "thumbnails, kB/camera", "other results, kB",
        "segments, bytes/pixel", "chunks, bytes/frame", "indices, bytes/frame", "scratch, MB", "journal, bytes/step",
    )  # fmt: skip
    lines = [f"{machine()}\n", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for line in lines:
        print(line)
    for row in itertools.islice(rows(), options.rows):
        print(row, flush=True)
        lines.append(row)
    if options.out is not None:
        write_page(options.out, "\n".join(lines) + "\n")


def rows() -> Iterator[str]:
    """Measure each session and yield its row."""
    for seconds in (20, 80):
        yield measure(f"measured only, {seconds} s, drawn at half size", duration_s=seconds, scale=0.5)
    for encoding in ("ibl", "ibl_bpod", "short_gop"):
        yield measure(f"{encoding}, drawn", duration_s=4, raw_avi=True, encoding=encoding)
        if DATA.is_dir():
            clips = {"left": ("openfield_mouse", 640, 480), "right": ("mirror_mouse", 384, 400)}
            footage = {label: looped(DATA / f"{clip}.mp4", *size) for label, (clip, *size) in clips.items()}
            footage = {label: itertools.islice(frames, 6 * FPS[label] + 20) for label, frames in footage.items()}
            yield measure(
                f"{encoding}, real clips", duration_s=6, raw_avi=True, encoding=encoding, cameras=("left", "right"),
                footage=footage, burn=False,
            )  # fmt: skip


if __name__ == "__main__":
    main()
