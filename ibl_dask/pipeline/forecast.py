"""What a run would cost, from indexes and a fixed table; nothing is written or decoded."""

from __future__ import annotations

from dataclasses import dataclass

from ibl_dask.errors import IblDaskError
from ibl_dask.model.description import Camera
from ibl_dask.model.step import Resources
from ibl_dask.pipeline.plan import Pipeline
from ibl_dask.store.frames import stored_fingerprints
from ibl_dask.tasks.compress import VideoCompress
from ibl_dask.tasks.steps.frames import chunk_is_done
from ibl_dask.tasks.steps.inputs import find_video
from ibl_dask.tasks.video import VideoSyncQc
from ibl_dask.video.index import index_video
from ibl_dask.video.plan import split_for_encoding

CORE_S_PER_PIXEL = 4.3e-9
"""Decoding H.264 and all reducers: 5.7 ms for a frame of 1280x1024; 640x512 takes about half of that a pixel
(benchmarks/results/frame_pass.md)."""
ENCODING_CORE_S_PER_PIXEL = 9.7e-8
"""Compressing with x264's preset slow, comparing and measuring the result: 127 ms for a frame of 1280x1024
(benchmarks/results/compress.md)."""


@dataclass(frozen=True, slots=True)
class CameraForecast:
    """What a run would do with one camera."""

    label: str
    """left, right, ..."""
    video: str = "none"
    """Name of the video."""
    n_frames: int = 0
    """Frames."""
    n_chunks: int = 0
    """Chunks of the whole video."""
    n_chunks_left: int = 0
    """Chunks that must be decoded."""
    core_s: float = 0.0
    """Expected time on one core, s."""
    why: str = ""
    """Why it would run, or not."""
    problem: str = ""
    """Why it cannot."""
    resources: Resources = Resources()
    """What the steps of a chunk ask for."""


def forecast(pipeline: Pipeline) -> list[CameraForecast]:
    """Say for each camera what a run would decode, and why."""
    tasks = pipeline.tasks.values()
    compressed = [
        _compression(task, camera) for task in tasks if isinstance(task, VideoCompress) for camera in task.described
    ]
    first = {found.label: found for found in compressed if found is not None}
    rest = [
        _camera(pipeline, task, label)
        for task in tasks
        if isinstance(task, VideoSyncQc)
        for label in task.cameras
        if label not in first
    ]
    return [*first.values(), *rest]


def _compression(task: VideoCompress, camera: Camera) -> CameraForecast | None:
    """Say what compressing a camera would take; None where there is nothing to compress."""
    raw = task.to_compress(camera)
    if raw is None:
        return None
    try:
        index = index_video(raw)
    except IblDaskError as error:
        return CameraForecast(camera.label, raw.name, problem=str(error), why="cannot run")
    chunks = split_for_encoding(index.keyframes, len(index), index.width, index.height, task.encode_pixels)
    left = [chunk for chunk in chunks if not task.workspace.segment_file(camera.label, chunk).exists()]
    core_s = sum(len(chunk) for chunk in left) * index.width * index.height * ENCODING_CORE_S_PER_PIXEL
    why = f"to compress ({task.profile.name}), and measured on the way"
    why += f", {len(chunks) - len(left)} chunks kept" if len(left) < len(chunks) else ""
    return CameraForecast(
        camera.label, raw.name, len(index), len(chunks), len(left), core_s, why, resources=task.resources
    )


def _camera(pipeline: Pipeline, task: VideoSyncQc, label: str) -> CameraForecast:
    camera = next(c for c in task.described if c.label == label)
    video = find_video(pipeline.workspace, camera)
    if video is None:
        return CameraForecast(label, problem=f"no video in {camera.collection}", why="cannot run")
    try:
        index = index_video(video)
    except IblDaskError as error:
        return CameraForecast(label, video.name, problem=str(error), why="cannot run")
    chunks = task.chunks(label, index)
    reducers = task.reducers(label, len(index), index.width, index.height)
    stored = stored_fingerprints(pipeline.workspace.frames_store(label), index.identity())
    fresh = [r for r in reducers if stored.get(r.name) != r.fingerprint()]
    if not fresh:
        return CameraForecast(label, video.name, len(index), len(chunks), why="measured already")
    left = [c for c in chunks if not chunk_is_done(pipeline.workspace, label, c, index.identity(), fresh)]
    pixels = sum(len(chunk) for chunk in left) * index.width * index.height
    names = "everything" if len(fresh) == len(reducers) else ", ".join(r.name for r in fresh)
    why = f"{names} to compute" + (f", {len(chunks) - len(left)} chunks kept" if len(left) < len(chunks) else "")
    core_s = pixels * CORE_S_PER_PIXEL
    return CameraForecast(label, video.name, len(index), len(chunks), len(left), core_s, why, resources=task.resources)
