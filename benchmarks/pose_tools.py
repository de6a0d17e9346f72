"""A pose tool as its users run it, and the same network, video and device behind `ibl_dask`, in one run.

    python benchmarks/pose_tools.py --tools deeplabcut lightning_pose lightning_pose_context [--frames 397]
                                    [--rounds 3] [--device cpu] [--batch 8] [--video VIDEO] [--out FILE]

Sides take turns, and the table has medians over the rounds and their ratio, since absolute numbers depend on the
machine.

analyze_videos         `deeplabcut.analyze_videos` in the environment of IBL_DASK_DEEPLABCUT_PYTHON, with one thread for
                       the network, as there is beside a thread of its own that decodes and prepares frames. The import
                       is excluded; loading the network and writing the tables are included.
predict_on_video_file  the same of Lightning Pose, in the environment of IBL_DASK_LIGHTNING_POSE_PYTHON; its reader
                       `opencv` decodes between the batches.
N workers              index, chunks, decoding, the engine behind its host, one thread for each network, rows joined.
                       Starting the hosts is excluded: they stay warm between chunks and videos.
in ONNX                the same with the network as `ibl-dask pose export` writes it.

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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from first_frames import write_first_frames
from machine import machine, write_page
from needs import DATA, DEEPLABCUT, LIGHTNING_POSE

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.pose.engine import Engine, EngineSettings
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.host.exporting import export_onnx
from ibl_dask.pose.host.warm_engines import WarmEngines
from ibl_dask.pose.weights_digest import weights_digest
from ibl_dask.tasks.pose.estimation import estimate
from ibl_dask.video.container.index import index_video

HELPERS = Path(__file__).resolve().parents[1] / "tests" / "helpers"
FRAMES = 397
"""At half of all numbers of frames Lightning Pose gives the last rows of a network with context its first row."""
CHUNK_FRAMES = 100
"""Frames of a chunk: as many for both workers, of a video that is short."""


class Tool:
    """A process in the environment of a tool that predicts a video with it on request.

    Parameters
    ----------
    name : str
        Function of the tool.
    program : sequence of str
        Command of the process.
    settings : EngineSettings
        The same network behind this package.
    rows : Path
        File that receives the rows (frame, keypoint, 3).
    """

    def __init__(self, name: str, program: Sequence[str], settings: EngineSettings, rows: Path) -> None:
        self.name, self.settings, self._out = name, settings, rows
        self._process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def seconds(self) -> float:
        """Predict the video, and return the seconds that it took."""
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


def deeplabcut(folder: Path, video: Path, options: argparse.Namespace) -> Tool:
    """Make a project with a random network, and start `deeplabcut.analyze_videos`."""
    program = [DEEPLABCUT, str(HELPERS / "deeplabcut_project.py")]
    project, out = folder / "project", folder / "rows.npy"
    subprocess.run([*program, "make", str(project)], check=True, stdout=sys.stderr)
    (network,) = (project / "dlc-models-pytorch").glob("*/*/train")
    settings = _settings("deeplabcut", DEEPLABCUT, network, weights_digest(network), options)
    served = [*program, "serve", str(project), str(video), str(out), str(options.batch), options.device]
    return Tool("deeplabcut.analyze_videos", served, settings, out)


def lightning_pose(kind: str, folder: Path, video: Path, options: argparse.Namespace) -> Tool:
    """Make a random network of a kind, and start `Model.predict_on_video_file`."""
    program = [LIGHTNING_POSE, str(HELPERS / "lightning_networks.py")]
    subprocess.run([*program, "make", str(folder), kind, "resnet18", "256"], check=True, stdout=sys.stderr)
    network, out = folder / "net.zip", folder / "rows.npy"
    settings = _settings("lightning_pose", LIGHTNING_POSE, network, weights_digest(network), options)
    served = [*program, "serve", str(folder), str(video), str(out), str(options.batch)]
    return Tool(f"Model.predict_on_video_file, {kind}", served, settings, out)


def _settings(kind: str, python: str, weights: Path, digest: str, options: argparse.Namespace) -> EngineSettings:
    return EngineSettings("net", kind, python, weights, digest, options={"batch": options.batch, "threads": 1})


TOOLS: dict[str, Callable[[Path, Path, argparse.Namespace], Tool]] = {
    "deeplabcut": deeplabcut,
    "lightning_pose": partial(lightning_pose, "heatmap"),
    "lightning_pose_context": partial(lightning_pose, "heatmap_mhcrnn"),
}


def in_onnx(settings: EngineSettings, folder: Path, options: argparse.Namespace) -> EngineSettings:
    """Return the network of an engine as one in ONNX, in the same environment."""
    path = folder / "exported.onnx"
    path.write_bytes(export_onnx(settings))
    return _settings("onnx", settings.python, path, weights_digest(path), options)


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


def measure(name: str, video: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the lines of the result of a tool."""
    tool = TOOLS[name](folder, video, options)
    found: dict[str, list[float]] = {tool.name: []}
    differences: dict[str, NDArray[np.float32]] = {}
    try:
        with ExitStack() as stack:
            kinds = {"": tool.settings, " in ONNX": in_onnx(tool.settings, folder, options)}
            sides = {
                f"ibl_dask{how}, {n} worker{'s' * (n > 1)}": stack.enter_context(workers(settings, options.device, n))
                for how, settings in kinds.items()
                for n in options.workers
            }
            builds = list(dict.fromkeys(engines[0].info.build for engines in sides.values()))
            for _ in range(options.rounds):
                found[tool.name].append(tool.seconds())
                for name, engines in sides.items():
                    clock = time.perf_counter()
                    rows = predicted(video, engines)
                    found.setdefault(name, []).append(time.perf_counter() - clock)
                    apart = np.abs(rows - tool.rows()).max(axis=(0, 1))
                    differences[name] = np.maximum(differences.get(name, 0.0), apart)
    finally:
        tool.end()
    n_frames, first_s = len(tool.rows()), statistics.median(found[tool.name])
    lines = ["| | frames/s | seconds, each round | times as fast | largest difference, px; likelihood |"]
    lines.append("| --- | ---: | --- | ---: | --- |")
    for name, seconds in found.items():
        median_s = statistics.median(seconds)
        each = ", ".join(f"{value:.1f}" for value in seconds)
        apart = differences.get(name)
        shown = "" if apart is None else f"{apart[:2].max():.2g}; {apart[2]:.2g}"
        lines.append(f"| {name} | {n_frames / median_s:.1f} | {each} | {first_s / median_s:.2f} | {shown} |")
    return [f"## {tool.name}", "", f"{'; '.join(builds)}.", "", *lines, ""]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--video", type=Path, help="by default a mouse in an open field")
    parser.add_argument("--frames", type=int, default=FRAMES, help="frames from the start of the video, or a few more")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = options.video or DATA / "video" / "openfield_mouse.mp4"
        video = write_first_frames(whole, Path(folder) / whole.name, options.frames)
        lines = [
            "# Pose tools",
            "",
            f"{machine()}; {options.device}; {os.getloadavg()[0]:.1f} other programs ran at its start",
            "",
            f"`python benchmarks/pose_tools.py --frames {options.frames} --rounds {options.rounds}`: "
            f"{len(index_video(video)):,} frames of {video.name}, batches of {options.batch}; medians, sides taking "
            "turns.",
            "",
        ]
        for name in options.tools:
            place = Path(folder) / name
            place.mkdir()
            lines += measure(name, video, place, options)
    text = "\n".join(lines)
    print(text)
    if options.out is not None:
        write_page(options.out, text)


if __name__ == "__main__":
    main()
