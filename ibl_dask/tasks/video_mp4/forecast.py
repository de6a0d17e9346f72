"""Forecast of compressing or converting a camera's raw video."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ibl_dask.model.description import Camera
from ibl_dask.model.forecast import CameraForecast, PixelCost, Rates, Why
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.camera_forecast import (
    format_kept,
    measured_bytes,
    outline_or_problem,
    share_of_bytes,
    without_video,
)
from ibl_dask.tasks.video_mp4.convert_steps import is_wanted
from ibl_dask.tasks.video_mp4.raw_video import RawVideo, find_raw_video
from ibl_dask.video.chunking import split_for_encoding

ENCODING = PixelCost("encode", 9.7e-8)
"""Compressing with x264's preset slow, comparing and measuring the result: 127 ms for a frame of 1280x1024
(benchmarks/results/compress.md)."""
COMPRESSED_BYTES_PER_PIXEL: Mapping[str, float] = {"ibl": 0.015, "ibl_bpod": 0.0035, "short_gop": 0.02}
"""Size of compressed videos by encoding: the largest of drawn and real clips; left, of 1280x1024, takes half of it
(benchmarks/results/run_bytes.md, compress.md)."""
_LARGEST_BYTES_PER_PIXEL = max(COMPRESSED_BYTES_PER_PIXEL.values())
_INDEX_BYTES_PER_FRAME = 37
"""Indices of a raw video and its copy in the scratch folder (benchmarks/results/run_bytes.md)."""


def forecast_compression(
    workspace: Workspace,
    camera: Camera,
    rates: Rates,
    *,
    found: RawVideo,
    raw: Path | None,
    profile: str,
    encode_pixels: int | None,
) -> CameraForecast:
    """Forecast the compression of a camera's raw video.

    Parameters
    ----------
    workspace : Workspace
        Folders of the session.
    camera : Camera
        The camera.
    rates : Rates
        Durations measured in earlier runs.
    found : RawVideo
        Its video files.
    raw : Path or None
        Raw video to compress, as `VideoCompress.to_compress` decides; None if there is nothing to compress.
    profile : str
        Name of the encoding profile.
    encode_pixels : int or None
        Pixels per chunk; None for the table in `ibl_dask.video.chunking`.
    """
    if raw is None:
        return without_video(camera) if _is_absent(found) else _finished(camera, found, "compressed already")
    outline = outline_or_problem(raw)
    if isinstance(outline, str):
        return CameraForecast(camera.label, "no input", outline, raw.name)
    size = (outline.width, outline.height)
    chunks = split_for_encoding(outline.keyframes, outline.n_frames, *size, encode_pixels)
    kept = set() if workspace.overwrite else set(workspace.with_segment(camera.label, chunks))
    left = [chunk for chunk in chunks if chunk not in kept]
    n_frames_left = sum(len(chunk) for chunk in left)
    n_pixels = n_frames_left * outline.width * outline.height
    n_bytes = int(n_pixels * COMPRESSED_BYTES_PER_PIXEL.get(profile, _LARGEST_BYTES_PER_PIXEL))
    # Each segment holds its frames compressed and measured; the measurements are copied out of it for the merge.
    scratch = n_bytes + 2 * measured_bytes(n_frames_left) + _INDEX_BYTES_PER_FRAME * outline.n_frames
    return CameraForecast(
        camera.label,
        "missing output" if found.compressed is None else "forced",
        f"to compress ({profile}), and measured on the way" + format_kept(len(chunks), len(left)),
        raw.name,
        outline.n_frames,
        len(chunks),
        len(left),
        rates.core_s(ENCODING, n_pixels),
        share_of_bytes(raw, len(left), len(chunks)),
        n_bytes,
        scratch,
    )


def forecast_conversion(workspace: Workspace, camera: Camera) -> CameraForecast:
    """Forecast the copy of a camera's packets: reading and writing, with next to no decoding."""
    found = find_raw_video(workspace, camera)
    if _is_absent(found):
        return without_video(camera)
    if not is_wanted(workspace, camera):
        return _finished(camera, found, "converted already")
    if found.raw is None:
        return CameraForecast(camera.label, "missing output", "log to rename")
    why: Why = "missing output"
    if found.compressed is not None:
        why = "forced" if workspace.overwrite else "changed input"
    n_bytes = found.raw.stat().st_size
    # The copy is proven by reading it back.
    return CameraForecast(
        camera.label, why, "packets to copy", found.raw.name, read_bytes=2 * n_bytes, written_bytes=n_bytes
    )


def _is_absent(found: RawVideo) -> bool:
    return found.raw is None and found.compressed is None


def _finished(camera: Camera, found: RawVideo, detail: str) -> CameraForecast:
    name = (found.compressed or found.raw or Path("none")).name
    return CameraForecast(camera.label, "nothing to do", detail, name)
