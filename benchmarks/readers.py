"""Frames of a video by number: speed, and whether they are the right ones, beside other libraries.

    python benchmarks/readers.py [--frames 1500] [--seeks 200] [--repeat 3] [--out benchmarks/results/readers.md]

Two videos of a right camera, 640x512, with their number burnt into every frame: H.264 with B-frames as the reference
compresses it, and the MPEG-4 AVI of the rig. Each side opens the video and reads all frames in order, then random ones
from an open video; the numbers in their pixels are compared with those that were asked for. Sides take turns.

ibl_dask      `FrameReader`: index, then luma of every frame.
OpenCV        `VideoCapture`, `CAP_PROP_POS_FRAMES`, conversion to gray, as the reference reads frames.
torchcodec    `VideoDecoder` with its exact mode of seeking; colour.
dask-image    `dask_image.imread.imread`, which opens the video anew for each frame; colour. A fiftieth of the random
              frames, and as many in order.

The others run in the environment of IBL_DASK_READERS_PYTHON: `pip install opencv-python-headless dask-image pims av
torch torchcodec==0.13.0`; torchcodec needs the shared libraries of an FFmpeg as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from films import AS_COMPRESSED
from machine import machine, write_page
from numpy.typing import NDArray

from ibl_dask.errors import UnusableFile
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.synth.session import write_session
from ibl_dask.video.reader import FrameReader

FPS = 150
SLOW = "dask-image"
"""Side that reads a fiftieth of the frames."""

OTHERS = """
import importlib.metadata, json, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
name, video, out = sys.argv[1:4]
numbers, n = json.loads(sys.argv[4]), int(sys.argv[5])

class OpenCV:
    package = "opencv-python-headless"
    def __init__(self):
        import cv2
        self.cv2, self.video = cv2, cv2.VideoCapture(video)
    def _gray(self):
        ok, frame = self.video.read()
        return self.cv2.cvtColor(frame, self.cv2.COLOR_BGR2GRAY) if ok else None
    def in_order(self):
        while self._gray() is not None:
            yield 1
    def frame(self, number):
        self.video.set(self.cv2.CAP_PROP_POS_FRAMES, number)
        return self._gray()

class TorchCodec:
    package = "torchcodec"
    def __init__(self):
        import torch
        from torchcodec.decoders import VideoDecoder
        self.video = VideoDecoder(video, seek_mode="exact", num_ffmpeg_threads=1)
    def in_order(self):
        for frame in self.video:
            yield 1
    def frame(self, number):
        return self.video[number].numpy()[0]

class DaskImage:
    package = "dask-image"
    def __init__(self):
        from dask_image.imread import imread
        self.video = imread(video)
    def in_order(self):
        for number in range(n):
            yield len(np.asarray(self.video[number].compute(scheduler="synchronous")))
    def frame(self, number):
        return np.asarray(self.video[number].compute(scheduler="synchronous"))[..., 0]

side = {"OpenCV": OpenCV, "torchcodec": TorchCodec, "dask-image": DaskImage}[name]
side()  # imports
clock = time.perf_counter()
count = sum(1 for _ in side().in_order())
in_order = time.perf_counter() - clock
reader, frames = side(), []
clock = time.perf_counter()
for number in numbers:
    try:
        frame = reader.frame(number)
    except Exception as error:
        print(name, number, repr(error), file=sys.stderr)
        frame = None
    frames.append(frame)
seeking = time.perf_counter() - clock
shape = next(frame.shape for frame in frames if frame is not None)
np.save(out, np.stack([np.zeros(shape, np.uint8) if frame is None else frame for frame in frames]))
version = importlib.metadata.version(side.package)
print(json.dumps([count, in_order, seeking, version]))
"""


@dataclass(slots=True)
class Side:
    """What one library did with one video."""

    version: str = ""
    count: int = 0
    """Frames that it read in order."""
    fps: list[float] = field(default_factory=list)
    """Frames in order, 1/s."""
    seek_ms: list[float] = field(default_factory=list)
    """One random frame, ms."""
    right: int = 0
    asked: int = 0


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--seeks", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    python = os.environ.get("IBL_DASK_READERS_PYTHON", "")
    if not python:
        raise SystemExit("IBL_DASK_READERS_PYTHON is not set: see the head of this file")
    text = machine() + "\n"
    with tempfile.TemporaryDirectory() as folder:
        for title, video in write_videos(Path(folder), options.frames).items():
            numbers = np.random.default_rng(0).integers(options.frames, size=options.seeks).tolist()
            sides = compare(video, numbers, options.frames, options.repeat, python)
            text += f"\n### {title}, {options.frames:,} frames, median of {options.repeat}\n\n"
            text += table(sides, options.frames)
    print(text)
    if options.out is not None:
        write_page(options.out, text)


def write_videos(root: Path, n_frames: int) -> dict[str, Path]:
    """Write both videos."""
    made = {}
    for name, title, settings in (
        ("compressed", "H.264 with B-frames, MP4", {"video_options": AS_COMPRESSED, "b_frames": 3}),
        ("raw", "MPEG-4, AVI", {"raw_avi": True, "codec": "mpeg4", "gop": 12}),
    ):
        session = root / name / "Subjects" / "SW_001" / "2023-05-01" / "001"
        write_session(session, duration_s=n_frames / FPS, cameras=("right",), **settings)  # type: ignore[arg-type]
        (made[title],) = (session / "raw_video_data").glob("*rightCamera.raw.*")
    return made


def compare(video: Path, numbers: Sequence[int], n: int, repeat: int, python: str) -> Mapping[str, Side]:
    """Read a video with every side, in turn."""
    sides = {name: Side() for name in ("ibl_dask", "OpenCV", "torchcodec", SLOW)}
    for _ in range(repeat):
        for name, side in sides.items():
            if name == "ibl_dask":
                read_here(video, numbers, side)
            else:
                some = max(2, len(numbers) // 50) if name == SLOW else len(numbers)
                read_there(python, name, video, numbers[:some], some if name == SLOW else n, side)
    return sides


def read_here(video: Path, numbers: Sequence[int], side: Side) -> None:
    """Read a video with `FrameReader`."""
    clock = time.perf_counter()
    with FrameReader(video) as reader:
        side.count = sum(luma is not None for _, luma in reader.frames(0, len(reader.index)))
    side.fps.append(side.count / (time.perf_counter() - clock))
    with FrameReader(video) as reader:
        clock = time.perf_counter()
        frames = np.concatenate([reader.read(number, number + 1) for number in numbers])
        side.seek_ms.append(1e3 * (time.perf_counter() - clock) / len(numbers))
    side.right, side.asked = n_right(frames, numbers), len(numbers)


def read_there(python: str, name: str, video: Path, numbers: Sequence[int], n: int, side: Side) -> None:
    """Read a video with another library in its environment."""
    out = video.with_suffix(".npy")
    command = [python, "-", name, str(video), str(out), json.dumps(list(numbers)), str(n)]
    done = subprocess.run(command, input=OTHERS, stdout=subprocess.PIPE, text=True, check=True)
    side.count, in_order, seeking, side.version = json.loads(done.stdout.splitlines()[-1])
    side.fps.append(side.count / in_order)
    side.seek_ms.append(1e3 * seeking / len(numbers))
    side.right, side.asked = n_right(np.load(out), numbers), len(numbers)


def n_right(frames: NDArray[np.uint8], numbers: Sequence[int]) -> int:
    """Return how many frames bear the number that was asked for."""
    right = 0
    for frame, number in zip(frames, numbers, strict=True):
        try:
            right += read_frame_number(np.ascontiguousarray(frame)) == number
        except UnusableFile:
            continue
    return right


def table(sides: Mapping[str, Side], n: int) -> str:
    """Return the table of one video."""
    lines = [
        "| | frames in order, 1/s | of ours | frames in all | a random frame, ms | of ours | right |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    ours = sides["ibl_dask"]
    fps, seek = statistics.median(ours.fps), statistics.median(ours.seek_ms)
    for name, side in sides.items():
        its_fps, its_seek = statistics.median(side.fps), statistics.median(side.seek_ms)
        count = "" if name == SLOW else f"{side.count:,} of {n:,}"
        lines.append(
            f"| {name} {side.version} | {its_fps:,.0f} | {its_fps / fps:.2f} | {count} | {its_seek:.1f} | "
            f"{its_seek / seek:.2f} | {side.right} of {side.asked} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
