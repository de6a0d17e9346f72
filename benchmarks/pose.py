"""Poses of a video: decoding and five networks in one pipeline, beside the same engines on frames in memory.

    python benchmarks/pose.py [--device cpu] [--frames 600] [--profile FILE] [--estimator dlc] [--repeat 3] [--out FILE]

All sides run in one process one after another on the same frames, and the table gives ratios, since absolute numbers
depend on the machine. By default five synthetic engines (centroids of bright discs, no network) look at windows of
IBL's sizes in a video of 1280x1024 px; with `--profile` the networks of a site do, on the device that is given.

decoding         the frames as RGB, or as one plane where all pixels are grey, and nothing else.
in memory        pictures of frames that are decoded already, and the engines: what the engines allow.
pipeline         decoding in a thread, pictures, and all engines: what a chunk takes.
five pipelines   one decode per network, as iblvideo does.
stand-in GPU     engines that take time and no core, as those on a GPU: how fast one decoder and several feed them.
NVDEC            the same, decoded on the GPU (`--device cuda`), once its pixels are those of the CPU.

Durations depend on how many cores are free, so each side is measured in core-seconds too, of this process and of the
host of the engines: what the pipeline takes beyond decoding and engines is its own cost.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from machine import machine, write_page

from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.cores import available_cores
from ibl_dask.model.region import Region
from ibl_dask.pose.engine import Engine, EngineInfo, EngineSettings
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.host.warm_engines import WarmEngines
from ibl_dask.pose.sequences import PoseSequence
from ibl_dask.synth.discs import disc_frames, disc_places
from ibl_dask.synth.movie import write_video
from ibl_dask.tasks.pose.estimation import estimate
from ibl_dask.video.colour import plain_frames
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.gpu_proof import refusal

WIDTH, HEIGHT = 1280, 1024
GPU_S = 0.001
"""Time that a frame takes on the stand-in for a GPU, all networks together, s."""
WINDOWS = {
    "nose_tip": PictureMap(Region(400, 500, 500, 600)),
    "eye": PictureMap(Region(100, 200, 600, 700), gain=4.0),
    "paws": PictureMap(Region(0, HEIGHT, 0, WIDTH), size=(102, 128)),
    "tongue": PictureMap(Region(500, 660, 300, 460)),
    "tail_start": PictureMap(Region(200, 420, 900, 1120)),
}
Networks = dict[str, tuple[Engine, PictureMap]]


@dataclass(frozen=True)
class Cost:
    """Median cost of a call."""

    seconds: float
    core_s: float
    """Processor time of this process and of the hosts, s."""


def cost(work: Callable[[], object], engines: WarmEngines, repeat: int) -> Cost:
    """Return the median duration and processor time of some calls."""
    costs = []
    for _ in range(repeat):
        clock, busy = time.perf_counter(), core_seconds(engines)
        work()
        costs.append((time.perf_counter() - clock, core_seconds(engines) - busy))
    return Cost(statistics.median(each[0] for each in costs), statistics.median(each[1] for each in costs))


def core_seconds(engines: WarmEngines) -> float:
    """Return the processor time of this process and of the hosts until now, s."""
    hosts = [psutil.Process(pid).cpu_times() for pid in engines.processes]
    return time.process_time() + sum(times.user + times.system for times in hosts)


def in_memory(networks: Networks, n_frames: int, frames: list[np.ndarray]) -> Callable[[], None]:
    """Return a call that gives every engine pictures of frames in memory, which are used again and again."""
    maps = tuple(dict.fromkeys(pictures for _, pictures in networks.values()))

    def work() -> None:
        sequences = {
            name: PoseSequence(engine, Chunk(0, n_frames), n_frames, engine.info.batch_hint)
            for name, (engine, _) in networks.items()
        }
        for number in range(n_frames):
            made = {each: each.picture(frames[number % len(frames)]) for each in maps}
            for name, sequence in sequences.items():
                sequence.add(number, made[networks[name][1]])
        for sequence in sequences.values():
            sequence.result()

    return work


class StandIn:
    """An engine that takes time and no core, as one on a GPU does; its keypoints are nowhere.

    Parameters
    ----------
    info : EngineInfo
        What it declares.
    seconds : float
        Time that a frame takes, s.
    """

    def __init__(self, info: EngineInfo, seconds: float) -> None:
        self.info, self._seconds = info, seconds

    def predict(self, frames: np.ndarray, before: int = 0, after: int = 0) -> np.ndarray:
        """Take the time of the frames between the halos."""
        n_rows = len(frames) - before - after
        time.sleep(n_rows * self._seconds)
        return np.zeros((n_rows, len(self.info.keypoints), 3), np.float32)


def measure(
    video: Path, index: FrameIndex, networks: Networks, engines: WarmEngines, repeat: int, device: str
) -> list[str]:
    """Return the rows of the table."""
    n_frames = len(index)
    chunk = Chunk(0, n_frames)
    frames = [frame for _, frame in plain_frames(video, index, 0, min(64, n_frames)) if frame is not None]
    decode = cost(lambda: sum(1 for _ in plain_frames(video, index, 0, n_frames)), engines, repeat)
    memory = cost(in_memory(networks, n_frames, frames), engines, repeat)
    found = []
    pipeline = cost(lambda: found.append(estimate(video, index, chunk, networks)), engines, repeat)
    five = cost(
        lambda: [estimate(video, index, chunk, {name: network}) for name, network in networks.items()], engines, repeat
    )
    on_device = {
        name: (StandIn(engine.info, GPU_S / len(networks)), pictures) for name, (engine, pictures) in networks.items()
    }
    feeding = {
        n: cost(lambda n=n: estimate(video, index, chunk, on_device, n_decoders=n), engines, repeat)
        for n in sorted({1, available_cores()})
    }
    refused = refusal(video, index, chunk) if device == "cuda" else "not asked for"
    on_gpu = {
        n: cost(lambda n=n: estimate(video, index, chunk, on_device, n_decoders=n, on_gpu=True), engines, repeat)
        for n in ((1, 2, 4, 6) if not refused else ())
    }
    if not refused and not estimate(video, index, chunk, on_device, on_gpu=True).on_gpu:
        raise SystemExit("NVDEC did not give all frames: its rows would be those of the CPU")
    last = found[-1]
    slower = max(decode.seconds, memory.seconds)
    rows = [
        ("decoding alone", decode, ""),
        ("pictures and engines, frames in memory", memory, ""),
        (
            "pipeline, one decode",
            pipeline,
            f"{(decode.core_s + memory.core_s) / pipeline.core_s:.2f} of the two above in core-seconds, "
            f"{slower / pipeline.seconds:.2f} of the slower of them in time",
        ),
        (
            f"pipelines, {len(networks)} decodes",
            five,
            f"{five.seconds / pipeline.seconds:.1f} times as long as one decode, "
            f"{five.core_s / pipeline.core_s:.1f} times the core-seconds",
        ),
    ]
    rows += [
        (
            f"stand-in GPU, {n} {'decoder' if n == 1 else 'decoders'}",
            each,
            f"{feeding[1].seconds / each.seconds:.2f} of one",
        )
        for n, each in feeding.items()
    ]
    rows += [
        (
            f"stand-in GPU, NVDEC, {n} at once",
            each,
            f"{feeding[1].seconds / each.seconds:.2f} of one decoder on the CPU",
        )
        for n, each in on_gpu.items()
    ]
    table = ["| | frames/s | core-ms a frame | |", "| --- | ---: | ---: | --- |"]
    table += [
        f"| {name} | {n_frames / each.seconds:,.0f} | {1000 * each.core_s / n_frames:.2f} | {note} |"
        for name, each, note in rows
    ]
    shares = (
        f"Shares of the last pipeline's {last.infer_s + last.waited_s:.1f} s: the decoding thread was busy for "
        f"{last.decode_s / (last.infer_s + last.waited_s):.0%}, the engines (transfer included) for "
        f"{last.infer_s / (last.infer_s + last.waited_s):.0%}, and waited for frames for "
        f"{last.waited_s / (last.infer_s + last.waited_s):.0%}."
    )
    return [*table, "", shares, *(["", f"NVDEC: {refused}."] if refused and device == "cuda" else [])]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--estimator", choices=("dlc", "lightning_pose"), default="dlc")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    windows, settings = WINDOWS, {name: EngineSettings(name, "synthetic") for name in WINDOWS}
    if given.profile is not None:
        site = read_profile(given.profile)
        networks = {n.name: n for n in site.networks[given.estimator].of_camera("left")}
        settings = {name: site.engines[network.engines[0]] for name, network in networks.items()}
        whole = PictureMap(Region(0, HEIGHT, 0, WIDTH))
        windows = {name: WINDOWS.get(name, whole) for name in networks}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        video = Path(folder) / "video.mp4"
        places = disc_places(given.frames, 8, WIDTH, HEIGHT)
        write_video(video, disc_frames(places, WIDTH, HEIGHT), WIDTH, HEIGHT, 60, gop=250)
        engines = WarmEngines()
        stack.callback(engines.release)
        opened = {name: stack.enter_context(engines.open(each, given.device)) for name, each in settings.items()}
        asked = {name: (engine, windows[name]) for name, engine in opened.items()}
        builds = sorted({engine.info.build for engine in opened.values()})
        lines = [
            "# Poses of a video",
            "",
            machine(),
            "",
            f"{given.frames:,} frames of {WIDTH}x{HEIGHT} px on {given.device}; {', '.join(asked)}: "
            f"{', '.join(builds)}. Median of {given.repeat}; `python benchmarks/pose.py`.",
            "",
            *measure(video, index_video(video), asked, engines, given.repeat, given.device),
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out is not None:
        write_page(given.out, text)


if __name__ == "__main__":
    main()
