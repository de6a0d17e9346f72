"""What a run would do and what it would cost: each task, whether it would run, and why. Nothing is written."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ibl_dask.errors import IblDaskError, InputError
from ibl_dask.model.description import Camera
from ibl_dask.model.task import TIME_OUT_S, TaskSpec
from ibl_dask.pipeline.plan import Pipeline
from ibl_dask.pipeline.rates import Rates
from ibl_dask.pipeline.selection import class_of
from ibl_dask.store import alf
from ibl_dask.store import task_record as kept
from ibl_dask.store.compression_record import recorded_chunks
from ibl_dask.store.containment import contained
from ibl_dask.store.frames import read_stored
from ibl_dask.store.identity import noted_content
from ibl_dask.store.marker import marked_fingerprint
from ibl_dask.tasks.run_method import has_method
from ibl_dask.tasks.run_step import describe
from ibl_dask.tasks.session_files import find_video
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video_mp4.compress_task import VideoCompress
from ibl_dask.tasks.video_mp4.convert_steps import is_wanted
from ibl_dask.tasks.video_mp4.convert_task import VideoConvert
from ibl_dask.tasks.video_mp4.raw_video import find_raw_video
from ibl_dask.tasks.video_register.task import VideoRegisterRaw
from ibl_dask.tasks.video_sync.frame_pass import chunk_is_done
from ibl_dask.tasks.video_sync.task import VideoSyncQc
from ibl_dask.video.chunking import split_for_encoding, split_video
from ibl_dask.video.container.summary import VideoOutline, read_outline
from ibl_dask.video.decoder import may_be_here
from ibl_dask.video.reducers.base import Reducer

Why = Literal[kept.Why, "listed anew", "environment missing", "needs Alyx", "results elsewhere", "waits", "no input"]
"""Why a task would run, or not."""

RUNNING: tuple[Why, ...] = (*kept.WORKING, "listed anew")
"""Those of them for which it runs."""
_OBSTACLES: Mapping[str, Why] = {
    "MissingEnvironment": "environment missing",
    "MissingDatabase": "needs Alyx",
    "WritesInPlace": "results elsewhere",
}
_WAITING: tuple[Why, ...] = (*_OBSTACLES.values(), "waits")
_FAILING: tuple[Why, ...] = ("unusable", "no input")
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

    @property
    def waits(self) -> bool:
        """Return whether it would not start, for what it needs is not there."""
        return self.why in _WAITING

    @property
    def fails(self) -> bool:
        """Return whether it is known to fail, whole or for one of its cameras."""
        return self.why in _FAILING or any(camera.why in _FAILING for camera in self.cameras)

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
    specs = {spec.name: spec for spec in pipeline.specs}
    for spec in pipeline.specs:
        task = pipeline.tasks[spec.name]
        held = [name for name, by in _parents(spec, found) if by.waits or by.fails]
        held = [name for name in held if class_of(specs[name]) not in task.copes_without]
        try:
            with contained(spec.name):
                found[spec.name] = _held(spec, task, held) or _work(spec, task, found, made, rates)
        except Exception as error:  # noqa: BLE001  # of a lab's code, or a session without sense: the run fails this task
            found[spec.name] = TaskForecast(spec.name, "unusable", f"{spec.name}: {describe(error).message}")
        made |= {
            camera.label
            for camera in found[spec.name].cameras
            if camera.why in RUNNING and isinstance(task, VideoCompress)
        }
    return list(found.values())


def _parents(spec: TaskSpec, found: Mapping[str, TaskForecast]) -> list[tuple[str, TaskForecast]]:
    return [(name, found[name]) for name in spec.parents if name in found]


def _held(spec: TaskSpec, task: Task, by: Sequence[str]) -> TaskForecast | None:
    """Say what a task waits for; None where it may start."""
    obstacle = task.obstacle()
    if obstacle is not None:
        return TaskForecast(spec.name, _OBSTACLES.get(obstacle.kind, "waits"), obstacle.message)
    return TaskForecast(spec.name, "waits", f"for {', '.join(by)}") if by else None


def _work(
    spec: TaskSpec, task: Task, found: Mapping[str, TaskForecast], made: Container[str], rates: Rates
) -> TaskForecast:
    """Say what a task that may start would do; `made` are the cameras whose video is compressed before."""
    if has_method(type(task)):  # a lab's own, whatever it builds on
        return _other(spec, task, found, rates)
    if isinstance(task, VideoRegisterRaw):
        _ = task.described  # cameras that the session does not have are an error of the run, too
        why: Why = "listed anew" if task.workspace.registration_file.exists() else "missing output"
        return TaskForecast(spec.name, why, "lists what is there; takes no time")
    if isinstance(task, VideoCompress):
        return _sum(spec, [_compression(task, camera, rates) for camera in task.described])
    if isinstance(task, VideoConvert):
        return _sum(spec, [_conversion(task, camera) for camera in task.described])
    if isinstance(task, VideoSyncQc):
        return _sum(spec, [_timed(task, camera, rates, camera.label in made) for camera in task.described])
    return _other(spec, task, found, rates)


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
    """Forecast a task that is not one of ours on cameras: what changed, how long it took before."""
    review = task.review()
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
        why = "forced"
    size = (outline.width, outline.height)
    chunks = split_for_encoding(outline.keyframes, outline.n_frames, *size, task.encode_pixels)
    is_kept = {chunk: task.workspace.segment_file(camera.label, chunk).exists() for chunk in chunks}
    left = [chunk for chunk in chunks if task.workspace.overwrite or not is_kept[chunk]]
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
    why: Why = "missing output"
    if found.compressed is not None:
        why = "forced" if task.workspace.overwrite else "changed input"
    detail = "packets to copy"
    return CameraForecast(camera.label, why, detail, found.raw.name, read_bytes=2 * n_bytes, written_bytes=n_bytes)


def _timed(task: VideoSyncQc, camera: Camera, rates: Rates, is_made: bool) -> CameraForecast:
    """Say what timing and measuring a camera would take."""
    label, workspace = camera.label, task.workspace
    try:
        video = find_video(workspace, camera)
    except InputError as error:
        return CameraForecast(label, "no input", str(error))
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
    is_same = stored is not None and _is_of(stored[1], video, workspace.content_note(label, video))
    identity = stored[1] if stored is not None and is_same else {}
    reducers = task.reducers(label, outline.n_frames, outline.width, outline.height)
    is_forced = workspace.overwrite
    known = stored[0] if stored is not None and is_same and not is_forced else {}
    fresh = [r for r in reducers if known.get(r.name) != r.fingerprint()]
    chunks = _chunks(task, label, outline, identity)
    named = replace(named, n_chunks=len(chunks))
    if not fresh:
        return _only_times(task, camera, named, identity, reducers)
    cached = {} if is_forced else _cached(task, label, video)
    left = [chunk for chunk in chunks if not chunk_is_done(workspace, label, chunk, cached, fresh)]
    what = "everything" if len(fresh) == len(reducers) else ", ".join(r.name for r in fresh)
    why: Why = "missing output" if stored is None else "changed parameters" if is_same else "changed input"
    if is_forced and stored is not None:
        why = "forced"
    return replace(
        named,
        why=why,
        detail=f"{what} to compute" + _kept(len(chunks), len(left)),
        n_chunks_left=len(left),
        core_s=sum(len(chunk) for chunk in left) * outline.width * outline.height * rates.decode,
        read_bytes=_share(video, len(left), len(chunks)),
    )


def _only_times(
    task: VideoSyncQc,
    camera: Camera,
    named: CameraForecast,
    identity: Mapping[str, Any],
    reducers: Sequence[Reducer],
) -> CameraForecast:
    """Say whether the times of a camera that is measured would be made again."""
    workspace = task.workspace
    if workspace.published_times(camera.label) is None:
        return replace(named, detail="times to make; measured already")
    for name, mark in task.marker_fingerprints(camera, identity, reducers).items():
        if marked_fingerprint(workspace.marker(name), task.session.outputs) != mark:
            return replace(named, why="changed input", detail=f"{_STEPS[name.split('-')[0]]}; measured already")
    if not workspace.qc_file.exists():
        return replace(named, detail="checks to make; measured already")
    return replace(named, why="nothing to do", detail="measured already", written_bytes=0)


_STEPS = {
    "times": "times to make, since files of the camera or the clock changed",
    "wheel": "times to compare with the wheel, since that changed or what was made of it is gone",
    "frames": "times and numbers to put together again",
}
"""Step of a measured camera -> what is to be done where it was not done for what is there now."""


def _chunks(task: VideoSyncQc, label: str, outline: VideoOutline, identity: Mapping[str, Any]) -> Sequence[Any]:
    known = recorded_chunks(task.workspace, label, identity) if task.chunk_pixels is None else ()
    size = (outline.width, outline.height)
    return known or split_video(outline.keyframes, outline.n_frames, *size, task.chunk_pixels)


def _cached(task: VideoSyncQc, label: str, video: Path) -> dict[str, Any]:
    """Return the identity of a video that a run which was stopped has indexed; empty where none did."""
    from ibl_dask.tasks.index_video import load_index

    try:
        identity = load_index(task.workspace.index_file(label)).identity()
    except (IblDaskError, OSError):
        return {}
    return identity if _is_of(identity, video, task.workspace.content_note(label, video)) else {}


def _is_of(identity: Mapping[str, Any], video: Path, note: Path) -> bool:
    """Return whether an identity is that of a file as it is now, and of what decodes it here, as far as a look tells.

    A large file that was copied or written to since, and looks the same, is taken for the same: a run reads it whole.
    """
    now = alf.identity(video) or {}
    looks = (identity.get("size"), identity.get("sample")) == (now["size"], now["content"])
    if not looks or not may_be_here(str(identity.get("decoder"))):
        return False
    return noted_content(video, note) in (None, identity.get("sha256"))


def _outline(path: Path) -> VideoOutline | str:
    """Return what a video holds; its tables say, else an index is made. What is wrong with it where it has none."""
    try:
        found = read_outline(path)
        if found is not None:
            return found
        from ibl_dask.video.container.index import index_video

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
