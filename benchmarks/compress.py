"""Chunk-parallel compression with verification, compared with one pass of the FFmpeg program.

    python benchmarks/compress.py [--frames 3000] [--repeat 3] [--cameras left,right] [--codecs mpeg4,mjpeg]

Both sides compress the same raw AVI in the same run, one after another, with libx264, preset slow, CRF 17; the tables
give ratios. The raw videos are real clips of mice, played forwards and backwards, with a number drawn into every frame.
The start of the cluster is excluded.

ffmpeg           `ffmpeg -threads 2 -i RAW -c:v libx264 -preset slow -crf 17 -threads 2 OUT`.
encode alone     the same chunks as below on two processes, without comparison.
ibl_dask.run     VideoCompress on two Dask workers: index, chunks, decoding and comparing every frame of the result, the
                 frame pass of the result with all reducers, join, check of the joined file, record.
one worker       the same on one.

More workers are simulated: chunks of an hour of video, with the measured time per frame, are assigned to free workers;
the join follows, with its measured time per frame.
"""

from __future__ import annotations

import argparse
import heapq
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from machine import machine, write_page

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.cluster.local_workers import WORKER_ENVIRONMENT
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.model.chunk import Chunk
from ibl_dask.pipeline.run import run
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.synth.movie import loop_clip
from ibl_dask.synth.session import write_session
from ibl_dask.video.chunking import split_for_encoding
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.encoding import x264
from ibl_dask.video.encoding.fidelity import error_energy, psnr_db
from ibl_dask.video.encoding.profiles import PROFILES, EncodingProfile
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader

CAMERAS = {"left": (1280, 1024, 60, "openfield_mouse.mp4"), "right": (640, 512, 150, "mirror_mouse.mp4")}
DATA = Path(os.environ.get("IBL_DASK_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CLIP_FRAMES = 250
PROFILE = PROFILES["ibl"]
HOUR_S = 3600
WORKERS = (1, 2, 8, 32, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cameras", default=",".join(CAMERAS))
    parser.add_argument("--codecs", default="mpeg4,mjpeg")
    parser.add_argument("--without-one-worker", action="store_true", help="leave the longest side out")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = f"{machine()}, {x264.encoder_build()}\n"
    with tempfile.TemporaryDirectory() as folder:
        for label in arguments.cameras.split(","):
            for codec in arguments.codecs.split(","):
                text += measure(
                    Path(folder) / codec,
                    label,
                    codec,
                    arguments.frames,
                    arguments.repeat,
                    with_one=not arguments.without_one_worker,
                )
    print(text)
    if arguments.out:
        write_page(arguments.out, text)


def make_session(root: Path, label: str, codec: str, n_frames: int) -> tuple[Path, Path]:
    """Write a session with one camera of real footage, in the rig's format."""
    width, height, fps, clip = CAMERAS[label]
    with FrameReader(DATA / "video" / clip) as reader:
        frames = reader.read(0, min(CLIP_FRAMES, len(reader.index)))
    session = root / "Subjects" / f"SW_{label}" / "2023-05-01" / "001"
    footage = {label: loop_clip(frames, n_frames, width, height)}
    write_session(
        session, duration_s=n_frames / fps, cameras=(label,), raw_avi=True, codec=codec, gop=12, footage=footage
    )
    return session, session / "raw_video_data" / f"_iblrig_{label}Camera.raw.avi"


def by_ffmpeg(video: Path, target: Path, profile: EncodingProfile) -> float:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-threads", "2", "-i", str(video)]
    command += ["-c:v", "libx264", "-preset", profile.preset, "-crf", str(profile.crf), "-threads", "2", str(target)]
    clock = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - clock


def encode_alone(work: tuple[Path, FrameIndex, Chunk, EncodingProfile]) -> int:
    path, index, chunk, profile = work
    encoder = None
    with FrameReader(path, index) as reader:
        for number, frame in reader.frames_while_sound(chunk.start, chunk.stop):
            encoder = encoder or x264.Encoder(reader, frame, profile)
            encoder.add(number, frame)
    if encoder is None:
        raise SystemExit(f"{path} has no frames")
    encoder.flush()
    return int(encoder.segment("").sizes.sum())


def alone(video: Path, profile: EncodingProfile, pool: ProcessPoolExecutor) -> float:
    clock = time.perf_counter()
    index = index_video(video)
    chunks = split_for_encoding(index.keyframes, len(index), index.width, index.height)
    list(pool.map(encode_alone, [(video, index, chunk, profile) for chunk in chunks]))
    return time.perf_counter() - clock


def by_us(session: Path, out: Path, client: Any) -> tuple[float, Any]:
    shutil.rmtree(out, ignore_errors=True)
    clock = time.perf_counter()
    result = run([session], client=client, tasks=["VideoCompress"], output_root=out, work_dir=out / "work")
    seconds = time.perf_counter() - clock
    if result.exit_code:
        raise SystemExit(result.sessions[0].failures)
    return seconds, result.sessions[0].records


def look_at(path: Path, raw: Path) -> tuple[int, float, bool]:
    """Return size, mean PSNR, and True if all frame numbers are present in order."""
    values, numbers = [], []
    with FrameReader(path) as result, FrameReader(raw) as source:
        n = len(result.index)
        for (number, one), (_, other) in zip(result.frames(0, n), source.frames(0, n), strict=True):
            if one is None or other is None:
                raise SystemExit(f"frame {number} of {path} or {raw} does not decode")
            plane = luma(one)
            values.append(psnr_db(error_energy(plane, luma(other)), plane.size))
            numbers.append(read_frame_number(plane) == number)
        in_order = n == len(source.index) and all(numbers)
    return path.stat().st_size, float(np.mean(values)), in_order


def measure(root: Path, label: str, codec: str, n_frames: int, repeat: int, *, with_one: bool) -> str:
    session, video = make_session(root, label, codec, n_frames)
    index = index_video(video)
    target, out = root / "one_pass.mp4", root / "out"
    times: dict[str, list[float]] = {"ffmpeg": [], "alone": [], "two": [], "one": []}
    records: Any = {}
    os.environ.update(WORKER_ENVIRONMENT)
    with (
        connect(this_machine(2, dashboard_port=0)) as two,
        ProcessPoolExecutor(2) as pool,
    ):
        list(pool.map(abs, range(8)))
        for _ in range(repeat):
            times["ffmpeg"].append(by_ffmpeg(video, target, PROFILE))
            times["alone"].append(alone(video, PROFILE, pool))
            seconds, records = by_us(session, out, two)
            times["two"].append(seconds)
    if with_one:
        with connect(this_machine(1, dashboard_port=0)) as client:
            times["one"].append(by_us(session, out, client)[0])
    ours = out / session.relative_to(root) / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
    if not ours.exists():
        ours = next(out.rglob("*.raw.mp4"))
    sizes, psnrs, orders = zip(*(look_at(path, video) for path in (target, ours)), strict=True)
    return write_table(label, codec, index, times, sizes, psnrs, orders, records)


def write_table(
    label: str,
    codec: str,
    index: FrameIndex,
    times: dict[str, list[float]],
    sizes: Sequence[int],
    psnrs: Sequence[float],
    orders: Sequence[bool],
    records: Any,
) -> str:
    n = len(index)
    median = {name: statistics.median(values) for name, values in times.items() if values}
    ratios = {
        name: statistics.median(a / b for a, b in zip(times[name], times["ffmpeg"], strict=False))
        for name in ("alone", "two")
    }
    chunks = [r for r in records.values() if r.key[0].startswith("encode-")]
    (join,) = [r for r in records.values() if r.key[0].startswith("compress-")]
    per_frame = sum(r.seconds for r in chunks) / n
    lines = [
        f"\n### {label}: {index.width}x{index.height}, {n:,} frames, {codec} in AVI\n",
        "| | frames/s | wall time of ffmpeg's |",
        "| --- | ---: | ---: |",
        f"| ffmpeg -threads 2 | {n / median['ffmpeg']:.1f} | 1 |",
        f"| encode alone, 2 processes | {n / median['alone']:.1f} | {ratios['alone']:.2f} |",
        f"| ibl_dask.run with verification and frame pass, 2 workers | {n / median['two']:.1f} | {ratios['two']:.2f} |",
    ]
    if "one" in median:
        lines.append(f"| the same, 1 worker | {n / median['one']:.1f} | {median['one'] / median['ffmpeg']:.2f} |")
    lines += [
        "",
        f"Size {sizes[1]:,} bytes, {sizes[1] / sizes[0] - 1:+.2%} of one pass; mean PSNR {psnrs[1]:.2f} dB, "
        f"{psnrs[1] - psnrs[0]:+.3f} dB; burnt-in numbers {'all there, in order' if all(orders) else 'WRONG'}. "
        f"{len(chunks)} chunks of {per_frame * 1000:.1f} ms a frame, join and check {join.seconds:.1f} s.",
        "",
        f"An hour of this camera, simulated: {simulate(label, per_frame, join.seconds / n)}",
    ]
    return "\n".join(lines) + "\n"


def simulate(label: str, frame_s: float, join_s: float) -> str:
    width, height, fps, _ = CAMERAS[label]
    n = fps * HOUR_S
    chunks = split_for_encoding(np.arange(0, n, 12), n, width, height)
    hours = []
    for workers in WORKERS:
        free = [0.0] * workers
        for chunk in chunks:
            heapq.heappush(free, heapq.heappop(free) + len(chunk) * frame_s)
        hours.append(f"{workers} worker{'s' * (workers > 1)} {(max(free) + n * join_s) / 60:.1f} min")
    return ", ".join(hours) + "."


if __name__ == "__main__":
    main()
