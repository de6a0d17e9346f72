"""A pose tool as its users run it, and the same network, video and device behind `ibl_dask`, in one run.

    python benchmarks/pose_tools.py --tool deeplabcut [--frames 400] [--rounds 3] [--device cpu] [--batch 8]
                                    [--video VIDEO] [--backbone test_resnet 96] [--out benchmarks/results/pose_tools.md]

Sides take turns, and the table has medians over the rounds and their ratio, since absolute numbers depend on the
machine.

analyze_videos   `deeplabcut.analyze_videos` in the environment of IBL_DASK_DEEPLABCUT_PYTHON, with one thread for the
                 network, as there is beside a thread of its own that decodes and prepares frames. The import is
                 excluded; loading the network and writing the tables are included.
N workers        index, chunks, decoding, the engine behind its host, one thread for each network, rows joined. Starting
                 the hosts is excluded: they stay warm between chunks and videos.

The network is small and random; its rows are compared, which shows that both sides did the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from first_frames import write_first_frames
from machine import machine
from needs import DATA, DEEPLABCUT

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.pose.engine import Engine, EngineSettings
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.host.warm_engines import WarmEngines
from ibl_dask.pose.weights_digest import weights_digest
from ibl_dask.tasks.pose.estimation import estimate
from ibl_dask.video.container.index import index_video

HELPERS = Path(__file__).resolve().parents[1] / "tests" / "helpers"
CHUNK_FRAMES = 100
"""Frames of a chunk: as many for both workers, of a video that is short."""


class DeepLabCut:
    """A project with a random network, and a process that analyses a video with it on request."""

    name = "deeplabcut.analyze_videos"

    def __init__(self, folder: Path, video: Path, options: argparse.Namespace) -> None:
        program = [DEEPLABCUT, str(HELPERS / "deeplabcut_project.py")]
        project, self._out = folder / "project", folder / "rows.npy"
        made = [*program, "make", str(project), *options.backbone]
        subprocess.run(made, check=True, stdout=sys.stderr)
        (network,) = (project / "dlc-models-pytorch").glob("*/*/train")
        engine = {"batch": options.batch, "threads": 1}
        self.settings = EngineSettings(
            "openfield", "deeplabcut", DEEPLABCUT, network, weights_digest(network), options=engine
        )
        served = [*program, "serve", str(project), str(video), str(self._out), str(options.batch), options.device]
        self._process = subprocess.Popen(
            served,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def seconds(self) -> float:
        """Analyse the video, and return the seconds that it took."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"{self.name} ended with {self._process.wait()}")

    def rows(self) -> NDArray[np.float32]:
        """Return its latest rows. (frame, keypoint, 3)"""
        return np.load(self._out)

    def end(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.wait()


TOOLS = {"deeplabcut": DeepLabCut}


@contextmanager
def workers(settings: EngineSettings, device: str, n_workers: int) -> Iterator[list[Engine]]:
    """Open the engine in as many hosts."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        hosts = [WarmEngines(weights_folder=Path(folder)) for _ in range(n_workers)]
        yield [stack.enter_context(host.open(settings, device)) for host in hosts]
        stack.close()
        for host in hosts:
            host.release()


def predicted(video: Path, engines: Sequence[Engine]) -> NDArray[np.float32]:
    """Return the rows of a video, whose chunks are taken by whichever engine is free. (frame, keypoint, 3)"""
    index = index_video(video)
    whole = PictureMap(Region(0, index.height, 0, index.width))
    borders = [*range(0, len(index), CHUNK_FRAMES), len(index)]
    free = list(engines)

    def work(chunk: Chunk) -> NDArray[np.float32]:
        engine = free.pop()
        try:
            return estimate(video, index, chunk, {"whole": (engine, whole)}).values["whole"]
        finally:
            free.append(engine)

    with ThreadPoolExecutor(len(engines)) as pool:
        return np.concatenate(list(pool.map(work, [Chunk(start, stop) for start, stop in pairwise(borders)])))


def measure(video: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the lines of the result."""
    tool = TOOLS[options.tool](folder, video, options)
    found: dict[str, list[float]] = {tool.name: []}
    differences = []
    try:
        with ExitStack() as stack:
            sides = {n: stack.enter_context(workers(tool.settings, options.device, n)) for n in options.workers}
            build = next(iter(sides.values()))[0].info.build
            for _ in range(options.rounds):
                found[tool.name].append(tool.seconds())
                for n_workers, engines in sides.items():
                    clock = time.perf_counter()
                    rows = predicted(video, engines)
                    name = f"ibl_dask, {n_workers} worker{'s' * (n_workers > 1)}"
                    found.setdefault(name, []).append(time.perf_counter() - clock)
                    differences.append(float(np.abs(rows - tool.rows()).max()))
    finally:
        tool.end()
    n_frames, first_s = len(tool.rows()), statistics.median(found[tool.name])
    lines = ["| | frames/s | seconds, each round | times as fast |", "| --- | ---: | --- | ---: |"]
    for name, seconds in found.items():
        median_s = statistics.median(seconds)
        each = ", ".join(f"{value:.1f}" for value in seconds)
        lines.append(f"| {name} | {n_frames / median_s:.1f} | {each} | {first_s / median_s:.2f} |")
    return [
        f"{n_frames:,} frames of {video.name}; {build}; batches of {options.batch}; network {options.backbone[0]}.",
        "",
        *lines,
        "",
        f"Largest difference of a row from `{tool.name}`: {max(differences):g} (px or likelihood).",
    ]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", choices=TOOLS, required=True)
    parser.add_argument("--video", type=Path, default=DATA / "video" / "openfield_mouse.mp4")
    parser.add_argument("--frames", type=int, default=400, help="frames from the start of the video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--backbone", nargs=2, default=["test_resnet", "96"], metavar=("NAME", "CHANNELS"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = write_first_frames(options.video, Path(folder) / options.video.name, options.frames)
        command = f"python benchmarks/pose_tools.py --tool {options.tool} --frames {options.frames}"
        lines = [
            f"{machine()}; {options.device}; {os.getloadavg()[0]:.1f} other programs ran at its start",
            "",
            f"`{command} --rounds {options.rounds}`: medians of {options.rounds}, sides taking turns.",
            "",
            *measure(video, Path(folder), options),
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
