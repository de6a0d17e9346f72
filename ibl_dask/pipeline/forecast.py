"""What a run would do and what it would cost: each task, whether it would run, and why. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ibl_dask.errors import IblDaskError
from ibl_dask.model.description import Camera
from ibl_dask.model.task import TIME_OUT_S, TaskSpec
from ibl_dask.pipeline.history import Rates
from ibl_dask.pipeline.plan import Pipeline
from ibl_dask.store.containment import contained
from ibl_dask.store.frames import read_stored
from ibl_dask.store.marker import marked_fingerprint
from ibl_dask.tasks.compress import VideoCompress
from ibl_dask.tasks.convert import VideoConvert
from ibl_dask.tasks.register import VideoRegisterRaw
from ibl_dask.tasks.steps import kept
from ibl_dask.tasks.steps.compress import find_raw_video, recorded_chunks
from ibl_dask.tasks.steps.convert import is_wanted
from ibl_dask.tasks.steps.frames import chunk_is_done
from ibl_dask.tasks.steps.inputs import find_video
from ibl_dask.tasks.steps.method import has_method
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video import VideoSyncQc
from ibl_dask.tasks.walk import describe
from ibl_dask.video.outline import VideoOutline, read_outline
from ibl_dask.video.plan import split_for_encoding, split_video

Why = Literal[kept.Why, "listed anew", "environment missing", "needs Alyx", "results elsewhere", "waits", "no input"]
"""Why a task would run, or not."""

RUNNING: tuple[Why, ...] = (*kept.WORKING, "listed anew")
"""Those of them for which it runs."""
_OBSTACLES: Mapping[str, Why] = {
    "MissingEnvironment": "environment missing",
    "MissingDatabase": "needs Alyx",
    "WritesInPlace": "results elsewhere",
}
_HOLDING: tuple[Why, ...] = (*_OBSTACLES.values(), "unusable", "waits")
"""What of a parent keeps its children from running."""
_WORST: tuple[Why, ...] = ("no input", *RUNNING, "waits", "nothing to do")
_COMPRESSED_BYTES_PER_PIXEL = 0.01
"""Size of compressed videos: 0.006 of 1280x1024, 0.015 of 640x512 (benchmarks/results/compress.md)."""
_STORED_BYTES_PER_FRAME = 60
"""Size of times and per-frame numbers, compressed."""


@dataclass(frozen=True, slots=True)
class CameraForecast:
    """What a run would do with one camera."""

    label: str
    """left, right, ..."""
    why: Why
    """Why it would be worked on, or not."""
    detail: str = ""
    """The same in words."""
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
    read_bytes: int = 0
    """Bytes of video to read."""
    written_bytes: int = 0
    """Bytes to write, roughly."""


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """What a run would do with one task."""

    task: str
    """Its name."""
    why: Why
    """Why it would run, or not."""
    detail: str = ""
    """The same in words."""
    cameras: tuple[CameraForecast, ...] = ()
    """Each camera, for tasks of this package."""
    core_s: float | None = 0.0
    """Expected time on one core, s; None where nothing is known of it."""
    gpu_s: float | None = 0.0
    """Expected time on a GPU, s; None where nothing is known of it."""
    step_s: float | None = None
    """How long its one step takes, s; None where nothing is known of it, or its steps are short."""
    step_source: str = ""
    """Where that comes from: `recorded` in earlier runs, or `declared` by the task (`time_out_secs`)."""

    @property
    def runs(self) -> bool:
        """Return whether it would run."""
        return self.why in RUNNING

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        fields = ("label", "why", "detail", "video", "n_frames", "n_chunks", "n_chunks_left", "core_s", "read_bytes")
        cameras = [{name: getattr(c, name) for name in (*fields, "written_bytes")} for c in self.cameras]
        said = {"task": self.task, "runs": self.runs, "why": self.why, "detail": self.detail}
        return {**said, "core_s": self.core_s, "gpu_s": self.gpu_s, "cameras": cameras}


def forecast(pipeline: Pipeline, rates: Rates | None = None) -> list[TaskForecast]:
    """Say for each task whether a run would do anything, why, and what it would cost.

    Parameters
    ----------
    pipeline : Pipeline
        The tasks.
    rates : Rates, optional
        How long work takes; see `read_rates`.
    """
    rates = Rates() if rates is None else rates
    found: dict[str, TaskForecast] = {}
    made: set[str] = set()
    for spec in pipeline.specs:
        task = pipeline.tasks[spec.name]
        if has_method(type(task)):  # a lab's own, whatever it builds on
            found[spec.name] = _other(spec, task, found, rates)
        elif isinstance(task, VideoRegisterRaw):
            is_there = task.workspace.registration_file.exists()
            why: Why = "listed anew" if is_there else "missing output"
            found[spec.name] = TaskForecast(spec.name, why, "lists what is there; takes no time")
        elif isinstance(task, VideoCompress):
            cameras = [_compression(task, camera, rates) for camera in task.described]
            made |= {camera.label for camera in cameras if camera.why in RUNNING}
            found[spec.name] = _sum(spec, cameras)
        elif isinstance(task, VideoConvert):
            cameras = [_conversion(task, camera) for camera in task.described]
            found[spec.name] = _sum(spec, cameras)
        elif isinstance(task, VideoSyncQc):
            found[spec.name] = _sum(
                spec, [_timed(task, camera, rates, camera.label in made) for camera in task.described]
            )
        else:
            found[spec.name] = _other(spec, task, found, rates)
    return list(found.values())


def _sum(spec: TaskSpec, cameras: Sequence[CameraForecast]) -> TaskForecast:
    """Put the cameras of a task together: it says the worst."""
    reasons: list[Why] = [camera.why for camera in cameras] or ["nothing to do"]
    why = min(reasons, key=_WORST.index)
    running = [camera for camera in cameras if camera.why in RUNNING]
    if running:
        why = min((camera.why for camera in running), key=_WORST.index)
    detail = "; ".join(f"{camera.label}: {camera.detail or camera.why}" for camera in cameras)
    return TaskForecast(spec.name, why, detail, tuple(cameras), sum(camera.core_s for camera in cameras))


def _other(spec: TaskSpec, task: Task, found: Mapping[str, TaskForecast], rates: Rates) -> TaskForecast:
    """Forecast a task that is not one of ours on cameras: what it waits for, what changed, how long it took before."""
    held = [name for name in spec.parents if name in found and found[name].why in _HOLDING]
    obstacle = task.obstacle()
    if obstacle is not None:
        return TaskForecast(spec.name, _OBSTACLES.get(obstacle.kind, "waits"), obstacle.message)
    if held:
        return TaskForecast(spec.name, "waits", f"for {', '.join(held)}")
    try:
        with contained(spec.name):
            review = task.review()
    except Exception as error:  # noqa: BLE001  # a lab's code; the run fails this task alone, for the same reason
        review = kept.Review("unusable", f"{spec.name}: {describe(error).message}")
    if review.why not in RUNNING:
        before = [name for name in spec.parents if name in found and found[name].runs]
        unless = f", unless {', '.join(before)} leaves something new" if before and review.facts is not None else ""
        return TaskForecast(spec.name, review.why, review.detail + unless)
    seconds = rates.tasks.get(spec.name)
    core_s = None if seconds is None else seconds * spec.resources.cpu
    gpu_s = seconds if spec.resources.gpu else 0.0
    # What every task is given that declares nothing is no word of this one.
    declared = None if task.time_out_secs == TIME_OUT_S else float(task.time_out_secs)
    step_s, source = (declared, "declared") if seconds is None else (seconds, "recorded")
    return TaskForecast(
        spec.name, review.why, review.detail, (), core_s, gpu_s, step_s, source if step_s is not None else ""
    )


def _compression(task: VideoCompress, camera: Camera, rates: Rates) -> CameraForecast:
    """Say what compressing a camera would take."""
    found = find_raw_video(task.workspace, camera)
    raw = task.to_compress(camera)
    if raw is None:
        if found.raw is None and found.compressed is None:
            return _absent(camera)
        name = (found.compressed or found.raw or Path("none")).name
        return CameraForecast(camera.label, "nothing to do", "compressed already", name)
    outline = _outline(raw)
    if isinstance(outline, str):
        return CameraForecast(camera.label, "no input", outline, raw.name)
    why: Why = "missing output"
    if found.compressed is not None:
        why = "changed parameters" if found.is_proven else "forced"
    size = (outline.width, outline.height)
    chunks = split_for_encoding(outline.keyframes, outline.n_frames, *size, task.encode_pixels)
    left = [chunk for chunk in chunks if not task.workspace.segment_file(camera.label, chunk).exists()]
    pixels = sum(len(chunk) for chunk in left) * outline.width * outline.height
    detail = f"to compress ({task.profile.name}), and measured on the way" + _kept(len(chunks), len(left))
    return CameraForecast(
        camera.label,
        why,
        detail,
        raw.name,
        outline.n_frames,
        len(chunks),
        len(left),
        pixels * rates.encode,
        _share(raw, len(left), len(chunks)),
        int(pixels * _COMPRESSED_BYTES_PER_PIXEL),
    )


def _conversion(task: VideoConvert, camera: Camera) -> CameraForecast:
    """Say what copying a camera's packets would take: reading and writing, no decoding to speak of."""
    found = find_raw_video(task.workspace, camera)
    if found.raw is None and found.compressed is None:
        return _absent(camera)
    if not is_wanted(task.workspace, camera):
        name = (found.compressed or found.raw or Path("none")).name
        return CameraForecast(camera.label, "nothing to do", "converted already", name)
    if found.raw is None:
        return CameraForecast(camera.label, "missing output", "log to rename")
    n_bytes = found.raw.stat().st_size
    why: Why = "missing output" if found.compressed is None else "changed input"
    detail = "packets to copy"
    return CameraForecast(camera.label, why, detail, found.raw.name, read_bytes=2 * n_bytes, written_bytes=n_bytes)


def _timed(task: VideoSyncQc, camera: Camera, rates: Rates, is_made: bool) -> CameraForecast:
    """Say what timing and measuring a camera would take."""
    label, workspace = camera.label, task.workspace
    video = find_video(workspace, camera)
    if video is None:
        return _absent(camera)
    outline = _outline(video)
    if isinstance(outline, str):
        return CameraForecast(label, "no input", outline, video.name)
    named = CameraForecast(label, "missing output", "", video.name, outline.n_frames)
    named = replace(named, written_bytes=_STORED_BYTES_PER_FRAME * outline.n_frames)
    if is_made:
        return replace(named, detail="to time; measured while it is compressed")
    stored = read_stored(workspace.frames_store(label))
    is_same = stored is not None and _is_of(stored[1], video)
    identity = stored[1] if stored is not None and is_same else {}
    reducers = task.reducers(label, outline.n_frames, outline.width, outline.height)
    fresh = [r for r in reducers if stored is None or not is_same or stored[0].get(r.name) != r.fingerprint()]
    chunks = _chunks(task, label, outline, identity)
    named = replace(named, n_chunks=len(chunks))
    if not fresh:
        return _only_times(task, camera, named, identity)
    left = [chunk for chunk in chunks if not chunk_is_done(workspace, label, chunk, _cached(task, label, video), fresh)]
    what = "everything" if len(fresh) == len(reducers) else ", ".join(r.name for r in fresh)
    why: Why = "missing output" if stored is None else "changed parameters" if is_same else "changed input"
    return replace(
        named,
        why=why,
        detail=f"{what} to compute" + _kept(len(chunks), len(left)),
        n_chunks_left=len(left),
        core_s=sum(len(chunk) for chunk in left) * outline.width * outline.height * rates.decode,
        read_bytes=_share(video, len(left), len(chunks)),
    )


def _only_times(
    task: VideoSyncQc, camera: Camera, named: CameraForecast, identity: Mapping[str, Any]
) -> CameraForecast:
    """Say whether the times of a camera that is measured would be made again."""
    workspace = task.workspace
    if workspace.published_times(camera.label) is None:
        return replace(named, detail="times to make; measured already")
    if marked_fingerprint(workspace.marker(f"times-{camera.label}")) != task.timing_mark(camera, identity):
        detail = "times to make, since files of the camera or the clock changed; measured already"
        return replace(named, why="changed input", detail=detail)
    return replace(named, why="nothing to do", detail="measured already", written_bytes=0)


def _chunks(task: VideoSyncQc, label: str, outline: VideoOutline, identity: Mapping[str, Any]) -> Sequence[Any]:
    known = recorded_chunks(task.workspace, label, identity) if task.chunk_pixels is None else ()
    size = (outline.width, outline.height)
    return known or split_video(outline.keyframes, outline.n_frames, *size, task.chunk_pixels)


def _cached(task: VideoSyncQc, label: str, video: Path) -> dict[str, Any]:
    """Return the identity of a video that a run which was stopped has indexed; empty where none did."""
    from ibl_dask.tasks.steps.index import load_index

    try:
        identity = load_index(task.workspace.index_file(label)).identity()
    except (IblDaskError, OSError):
        return {}
    return identity if _is_of(identity, video) else {}


def _is_of(identity: Mapping[str, Any], video: Path) -> bool:
    """Return whether an identity is that of a file as it is now."""
    stat = video.stat()
    return (identity.get("size"), identity.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)


def _outline(path: Path) -> VideoOutline | str:
    """Return what a video holds; its tables say, else an index is made. What is wrong with it where it has none."""
    try:
        found = read_outline(path)
        if found is not None:
            return found
        from ibl_dask.video.index import index_video

        index = index_video(path)
    except (IblDaskError, OSError) as error:
        return str(error)
    return VideoOutline(len(index), index.width, index.height, index.keyframes)


def _absent(camera: Camera) -> CameraForecast:
    return CameraForecast(camera.label, "no input", f"no video in {camera.collection}")


def _kept(n: int, n_left: int) -> str:
    return f", {n - n_left} chunks kept" if n_left < n else ""


def _share(path: Path, n: int, of: int) -> int:
    return int(path.stat().st_size * n / max(1, of))
