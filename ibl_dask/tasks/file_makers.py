"""Makers of a session's files: task, step, run, inputs and versions, as the records beside the results hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ibl_dask.errors import FormatTooNew
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.store.compression_record import CompressionRecord, read_record
from ibl_dask.store.json_files import read_object
from ibl_dask.store.marker import MARKER_VERSION
from ibl_dask.store.task_record import TaskRecord, read_task_record
from ibl_dask.tasks.file_places import Place
from ibl_dask.tasks.provenance import read_provenance

Origin = Literal["made", "found", "scratch", "record", "log", "unknown"]
"""made: by a task here; found: a task found it there and kept it; record: of a run or session; unknown: nobody here."""

_OWN: tuple[tuple[str, str, Origin], ...] = (
    (r"(?P<camera>.+)Camera[-.]timing\.npz", "wheel", "made"),
    (r"(?P<camera>.+)Camera[-.]pulse_times\.npz", "times", "made"),
    (r"(?P<camera>.+)Camera[-.]frames\.zarr", "frames", "made"),
    (r"(?P<camera>.+)Camera[-.]compression\.json", "compress", "made"),
    (r"sync[-.]fronts\.npz", "sync", "made"),
    (r"qc\.json", "publish", "made"),
    (r"registration\.json", "registration", "made"),
    (r"(?:report\.html|provenance\.json)", "report", "record"),
    (r"(?:lock|last_run|quarantine).*\.json", "", "record"),
    (r"done/task-(?P<task>.+)\.json", "", "record"),
    (r"done/content-(?P<camera>.+)-\w+\.json", "index", "record"),
    (r"done/(?P<step>[^/]+)\.json", "", "record"),
    (r"logs/(?P<log>.+)", "", "log"),
)
"""Names of the package's own files, below its folder in the session -> kind of the step that leaves them."""
_SCRATCH: tuple[tuple[str, str, Origin], ...] = (
    (r"(?P<camera>.+)-raw-index\.npz", "rawindex", "scratch"),
    (r"(?P<camera>.+)-index\.npz", "index", "scratch"),
    (r"(?P<camera>[^/]+)-chunks/.+", "framepass", "scratch"),
    (r"(?P<camera>[^/]+)-segments/.+", "encode", "scratch"),
    (r"(?P<camera>.+)-qc\.json", "qc", "scratch"),
)
_CLASS_OF_STEP = {
    **dict.fromkeys(("times", "wheel", "frames", "framepass", "index", "sync", "qc", "publish"), "VideoSyncQc"),
    **dict.fromkeys(("rawindex", "encode", "compress", "raw"), "VideoCompress"),
    "convert": "VideoConvert",
    **dict.fromkeys(("register", "registration"), "VideoRegisterRaw"),
}
"""Kind of a step -> start of the name of its task's class, for records of versions that did not note it."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Maker of a file, as far as is recorded."""

    origin: Origin
    """How the file came to be."""
    task: str = ""
    """Name of the task."""
    executable: str = ""
    """Class of the task."""
    step: str = ""
    """Name of the step, `kind-camera`."""
    camera: str = ""
    """Camera; empty for a file of the whole session."""
    run: str = ""
    """Name of the run."""
    host: str = ""
    """`host:pid` of the process, or the host of the driver."""
    ended_s: float | None = None
    """Unix time at which the step ended."""
    seconds: float | None = None
    """Duration of all steps of the task, s; None if unknown."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the task and options of the run."""
    inputs: Sequence[JsonObject] = ()
    """Files that the task read, each with `path`, `size` and `content` (a hash), as far as is recorded."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of packages."""
    fingerprint: str = ""
    """Fingerprint of the step."""
    identity: JsonObject = field(default_factory=dict)
    """Identity of the file when it was made."""
    digest: str = ""
    """Digest of the file in the done-marker of the step."""
    compression: CompressionRecord | None = None
    """Record of the compression, for a compressed video."""
    record: TaskRecord | None = None
    """Completion record of a single-step task."""


def find_maker(place: Place, classes: Mapping[str, str] | None = None) -> Maker:
    """Return the maker of a file.

    Sources are, in order: provenance, done-markers, completion records of tasks, the record of the compression, and the
    name of the file.

    Parameters
    ----------
    place : Place
        The file.
    classes : mapping, optional
        Task of the session -> dotted path of its class, for records that lack it.
    """
    try:
        known = read_provenance(place.workspace)
    except FormatTooNew:
        known = {}
    named = _by_name(place)
    row: JsonObject = {} if place.is_scratch else (known.get("files") or {}).get(place.name) or {}
    digest, marked = ("", "") if place.is_scratch else _marked(place)
    compression = _compression(place, named)
    task, record = _task_record(place)
    step = str(row.get("step") or marked or (named and named.step) or "")
    if compression is not None and not step:
        step = f"compress-{_camera_of_video(place)}"
    camera = step.partition("-")[2] or (named.camera if named is not None else "")
    task = task or (named.task if named is not None else "") or _task_of(step, known, classes or {})
    if named is not None and named.origin == "log":
        task = _task_of_log(named.step, known, classes or {})
        step = ""
    request: JsonObject = (known.get("requests") or {}).get(task) or {}
    ran: JsonObject = ((known.get("ran") or {}).get("steps") or {}).get(step) or {}
    run = str(row.get("run") or ran.get("run") or request.get("run") or "")
    summary: JsonObject = next((each for each in known.get("runs") or () if each.get("run") == run), {})
    is_known = bool(row or marked or record is not None or compression is not None)
    origin: Origin = named.origin if named is not None else "made" if is_known else "unknown"
    if row.get("status") == "kept" and compression is None and not digest and record is None:
        origin = "found"
    started, seconds = row.get("started_s"), row.get("seconds")
    return Maker(
        origin=origin,
        task=task,
        executable=str(request.get("executable") or (classes or {}).get(task, "")),
        step=step,
        camera=camera,
        run=run,
        host=str(row.get("worker") or ", ".join(ran.get("workers") or ()) or summary.get("host") or ""),
        ended_s=started + seconds if isinstance(started, float) and isinstance(seconds, int | float) else None,
        seconds=_seconds(known, request, step),
        parameters={**(request.get("arguments") or {}), **(request.get("options") or {})},
        inputs=_inputs(known, request, camera, record) if compression is None else [compression.source.file],
        versions=_versions(known, summary, camera),
        fingerprint=str(row.get("fingerprint") or ""),
        identity=row.get("identity") or {},
        digest=digest,
        compression=compression,
        record=record,
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """What the name of a file tells of its maker."""

    step: str
    """Name of the step; of a log, the name of the log."""
    camera: str
    task: str
    origin: Origin


def _by_name(place: Place) -> _Named | None:
    prefix = "" if place.is_scratch else f"{OWN_FOLDER}/"
    if not place.name.startswith(prefix):
        return None
    for pattern, kind, origin in _SCRATCH if place.is_scratch else _OWN:
        found = re.fullmatch(pattern, place.name.removeprefix(prefix))
        if found is not None:
            parts = found.groupdict()
            camera = parts.get("camera") or ""
            step = parts.get("step") or parts.get("log") or (f"{kind}-{camera}" if camera else kind)
            return _Named(step, camera, parts.get("task") or "", origin)
    return None


def _marked(place: Place) -> tuple[str, str]:
    """Return digest and step of the done-marker that lists a file; empty where none does."""
    for path in sorted(place.workspace.marker("x").parent.glob("*.json")):
        content = read_object(path)
        if content.get("version") == MARKER_VERSION and place.name in (content.get("outputs") or {}):
            return str(content["outputs"][place.name]), path.stem
    return "", ""


def _task_record(place: Place) -> tuple[str, TaskRecord | None]:
    """Return the task whose completion record lists a file, and the record."""
    for path in sorted(place.workspace.marker("x").parent.glob("task-*.json")):
        record = read_task_record(path)
        if record is not None and str(place.path) in record.outputs:
            return path.stem.removeprefix("task-"), record
    return "", None


def _camera_of_video(place: Place) -> str:
    found = re.fullmatch(r"_iblrig_(.+)Camera\.raw\.mp4", place.path.name)
    return "" if found is None else found[1]


def _compression(place: Place, named: _Named | None) -> CompressionRecord | None:
    """Return the record of the compression of a file, if that is a compressed video or the record itself."""
    is_record = named is not None and named.step.startswith("compress-")
    label = named.camera if named is not None and is_record else _camera_of_video(place)
    return None if place.is_scratch or not label else read_record(place.workspace, label)


def _task_of(step: str, known: JsonObject, classes: Mapping[str, str]) -> str:
    """Return the task that a step belongs to; empty if unknown."""
    for name, request in (known.get("requests") or {}).items():
        if step and step in (request.get("steps") or ()):
            return str(name)
    start = _CLASS_OF_STEP.get(step.partition("-")[0])
    return next((name for name, path in classes.items() if start and path.rpartition(".")[2].startswith(start)), "")


def _task_of_log(log: str, known: JsonObject, classes: Mapping[str, str]) -> str:
    """Return the task that wrote a log: the longest name that the name of the log begins with."""
    names = {*(known.get("requests") or {}), *((known.get("ran") or {}).get("tasks") or {}), *classes}
    fitting = [name for name in names if log.startswith(name.replace(".", "-"))]
    return max(fitting, key=len, default="")


def _versions(known: JsonObject, summary: JsonObject, camera: str) -> dict[str, str]:
    """Return the versions that a run computed with, and the build of the decoder, FFmpeg's libraries included."""
    found = {name: str(text) for name, text in (summary.get("made") or {}).items() if name != "time"}
    videos = (known.get("ran") or {}).get("videos") or {}
    of_camera = [videos[camera]] if camera in videos else [] if camera else list(videos.values())
    builds = [build for video in of_camera if (build := (video.get("identity") or {}).get("decoder"))]
    return {**found, **({"decoder": str(builds[0])} if builds else {})}


def _seconds(known: JsonObject, request: JsonObject, step: str) -> float | None:
    """Return the duration of all steps of a task, or of one step where these are unknown, s."""
    rows = (known.get("ran") or {}).get("steps") or {}
    names = request.get("steps") or [step]
    found = [float(rows[name]["seconds"]) for name in names if name in rows and "seconds" in rows[name]]
    return sum(found) if found else None


def _inputs(known: JsonObject, request: JsonObject, camera: str, record: TaskRecord | None) -> list[JsonObject]:
    """Return the recorded inputs: those of the task, those of the camera, or those of a completion record."""
    if record is not None:
        return [{"path": path, **content} for path, content in record.inputs.items()]
    inputs: list[JsonObject] = list(request.get("inputs") or ())
    if camera:
        others = re.compile(r"_iblrig_(?P<label>.+)Camera\.|(?P<labcams>.+)_cam")
        inputs = [each for each in inputs if _is_of_camera(str(each.get("path")), camera, others)]
    if not inputs:
        inputs = [each for each in (known.get("inputs") or {}).get(camera) or () if "name" in each]
    return inputs


def _is_of_camera(name: str, camera: str, others: re.Pattern[str]) -> bool:
    found = others.match(name.rpartition("/")[2])
    return found is None or camera in (found["label"], found["labcams"])
