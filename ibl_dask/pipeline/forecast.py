"""What a run would cost, from indexes and a fixed table; nothing is written or decoded."""

from __future__ import annotations

from dataclasses import dataclass

from ibl_dask.errors import IblDaskError
from ibl_dask.pipeline.plan import Pipeline
from ibl_dask.store.frames import stored_fingerprints
from ibl_dask.tasks.steps.frames import chunk_is_done
from ibl_dask.tasks.steps.inputs import find_video
from ibl_dask.tasks.video import VideoSyncQc
from ibl_dask.video.index import index_video

CORE_S_PER_PIXEL = 4.3e-9
"""Decoding H.264 and all reducers: 5.7 ms for a frame of 1280x1024; 640x512 takes about half of that a pixel
(benchmarks/results/frame_pass.md)."""


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


def forecast(pipeline: Pipeline) -> list[CameraForecast]:
    """Say for each camera what a run would decode, and why."""
    tasks = [task for task in pipeline.tasks.values() if isinstance(task, VideoSyncQc)]
    return [_camera(pipeline, task, label) for task in tasks for label in task.cameras]


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
    return CameraForecast(label, video.name, len(index), len(chunks), len(left), pixels * CORE_S_PER_PIXEL, why)
