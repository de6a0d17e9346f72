"""Poses of a video: decoding and five networks in one pipeline, beside the same engines on frames in memory.

    python benchmarks/pose.py [--device cpu] [--frames 600] [--profile FILE] [--estimator dlc] [--repeat 3] [--out FILE]

All sides run in one process one after another on the same frames, and the table gives ratios, since absolute numbers
depend on the machine. By default five synthetic engines (centroids of bright discs, no network) look at windows of
IBL's sizes in a video of 1280x1024 px; with `--profile` the networks of a site do, on the device that is given.

decoding         the frames as RGB, and nothing else.
in memory        the engines on pictures that are made already: the limit of the engines.
pipeline         decoding in a thread, and all engines: what a chunk takes.
five pipelines   one decode per network, as iblvideo does.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.pose.engine import Engine, EngineSettings
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.host.warm_engines import open_engine, release_engines
from ibl_dask.pose.sequences import PoseSequence
from ibl_dask.synth.discs import disc_frames, disc_places
from ibl_dask.synth.movie import write_video
from ibl_dask.tasks.pose.estimation import estimate
from ibl_dask.video.colour import rgb_frames
from ibl_dask.video.container.index import FrameIndex, index_video

WIDTH, HEIGHT = 1280, 1024
WINDOWS = {
    "nose_tip": PictureMap(Region(400, 500, 500, 600)),
    "eye": PictureMap(Region(100, 200, 600, 700), gain=4.0),
    "paws": PictureMap(Region(0, HEIGHT, 0, WIDTH), size=(102, 128)),
    "tongue": PictureMap(Region(500, 660, 300, 460)),
    "tail_start": PictureMap(Region(200, 420, 900, 1120)),
}
Networks = dict[str, tuple[Engine, PictureMap]]


def timed(work: Callable[[], object], repeat: int) -> float:
    """Return the median duration of some calls, s."""
    durations = []
    for _ in range(repeat):
        clock = time.perf_counter()
        work()
        durations.append(time.perf_counter() - clock)
    return statistics.median(durations)


def in_memory(networks: Networks, n_frames: int, frames: list[np.ndarray]) -> Callable[[], None]:
    """Return a call that gives every engine its pictures, which are made before and used again and again."""
    pictures = {name: [pictures.picture(frame) for frame in frames] for name, (_, pictures) in networks.items()}

    def work() -> None:
        for name, (engine, _) in networks.items():
            sequence = PoseSequence(engine, Chunk(0, n_frames), n_frames, engine.info.batch_hint)
            for number in range(n_frames):
                sequence.add(number, pictures[name][number % len(frames)])
            sequence.result()

    return work


def measure(video: Path, index: FrameIndex, networks: Networks, repeat: int) -> list[str]:
    """Return the rows of the table."""
    n_frames = len(index)
    chunk = Chunk(0, n_frames)
    frames = [frame for _, frame in rgb_frames(video, index, 0, min(64, n_frames)) if frame is not None]
    decode_s = timed(lambda: sum(1 for _ in rgb_frames(video, index, 0, n_frames)), repeat)
    memory_s = timed(in_memory(networks, n_frames, frames), repeat)
    found = []
    pipeline_s = timed(lambda: found.append(estimate(video, index, chunk, networks)), repeat)
    five_s = timed(
        lambda: [estimate(video, index, chunk, {name: network}) for name, network in networks.items()], repeat
    )
    last = found[-1]
    slower = max(decode_s, memory_s)
    rows = [
        ("decoding to RGB alone", decode_s, ""),
        ("engines, frames in memory", memory_s, ""),
        ("pipeline, one decode", pipeline_s, f"{slower / pipeline_s:.2f} of the slower of the two above"),
        (f"pipelines, {len(networks)} decodes", five_s, f"{five_s / pipeline_s:.1f} times as long as one decode"),
    ]
    table = ["| | frames/s | |", "| --- | ---: | --- |"]
    table += [f"| {name} | {n_frames / seconds:,.0f} | {note} |" for name, seconds, note in rows]
    shares = (
        f"Shares of the pipeline's {pipeline_s:.1f} s: the decoding thread was busy for "
        f"{last.decode_s / pipeline_s:.0%}, the engines (transfer included) for {last.infer_s / pipeline_s:.0%}, and "
        f"waited for frames for {last.waited_s / pipeline_s:.0%}."
    )
    return [*table, "", shares]


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
        opened = {name: stack.enter_context(open_engine(each, given.device)) for name, each in settings.items()}
        asked = {name: (engine, windows[name]) for name, engine in opened.items()}
        builds = sorted({engine.info.build for engine in opened.values()})
        lines = [
            "# Poses of a video",
            "",
            f"{given.frames:,} frames of {WIDTH}x{HEIGHT} px on {given.device}; {', '.join(asked)}: "
            f"{', '.join(builds)}. Median of {given.repeat}; `python benchmarks/pose.py`.",
            "",
            *measure(video, index_video(video), asked, given.repeat),
        ]
    release_engines()
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
