"""The steps of the camera tasks: each connects rooms that do not know each other, and returns a small record.

Frames never leave these functions; what they return is counts and short facts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import CorruptOutput
from ibl_dask.store import alf, arrays
from ibl_dask.store.atomic import write_text
from ibl_dask.store.frames import Column, FramesStore, read_frames, write_frames
from ibl_dask.video.index import INDEX_VERSION, FrameIndex, index_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.model.description import Camera
    from ibl_dask.model.step import Key, StepRecord
    from ibl_dask.store.workspace import Workspace
    from ibl_dask.video.reducers import Reducer

Records = Mapping["Key", "StepRecord"]
Facts = Mapping[str, Any]

CHUNK_VERSION = 1
TIMING_VERSION = 1
COPY_VIDEO = "copy the video from the acquisition computer, or take the camera out of the experiment description"


@dataclass(frozen=True, slots=True)
class SyncFiles:
    """Where the main clock's fronts of a session are."""

    collection: str
    """Folder relative to the session."""
    namespace: str
    """spikeglx or timeline: the first part of the file names."""


def video_pattern(label: str, extension: str) -> str:
    """Return the name of a camera's raw video."""
    return f"_iblrig_{label}Camera.raw.{extension}"


def find_video(workspace: Workspace, camera: Camera) -> Path | None:
    """Return a camera's video: compressed where there is one, else as recorded."""
    for extension in ("mp4", "avi"):
        found = alf.find(workspace.session, camera.collection, video_pattern(camera.label, extension))
        if found is not None:
            return found
    return None


# --- index ---------------------------------------------------------------------------------------------------------


def index(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """Index a camera's video and keep the index for the other steps."""
    video = find_video(workspace, camera)
    if video is None:
        video = alf.require(workspace.session, camera.collection, video_pattern(camera.label, "mp4"), COPY_VIDEO)
    cached = workspace.index_file(camera.label)
    found = _cached_index(cached, video)
    if found is None:
        found = index_video(video)
        content, facts = found.to_arrays()
        arrays.write_arrays(cached, "frame-index", INDEX_VERSION, content, facts)
    return {
        "video": str(video),
        "frames": len(found),
        "hidden": found.n_hidden,
        "keyframes": len(found.keyframes),
        "codec": found.codec,
        "width": found.width,
        "height": found.height,
        "fps": found.fps,
        "identity": found.identity(),
    }


def load_index(path: Path) -> FrameIndex:
    """Read a cached index."""
    return FrameIndex.from_arrays(*arrays.read_arrays(path, "frame-index", INDEX_VERSION))


def _cached_index(path: Path, video: Path) -> FrameIndex | None:
    try:
        found = load_index(path)
    except (FileNotFoundError, CorruptOutput):
        return None
    stat = video.stat()
    return found if (found.size_bytes, found.mtime_ns) == (stat.st_size, stat.st_mtime_ns) else None


# --- frame times ---------------------------------------------------------------------------------------------------


def camera_file_paths(workspace: Workspace, camera: Camera) -> dict[str, Path | None]:
    """Return the camera's own files, by what they hold."""
    names = {
        "frame_data": "frameData.bin",
        "timestamps": "timestamps.ssv",
        "gpio": "GPIO.bin",
        "counter": "frame_counter.bin",
    }
    return {
        key: alf.find(workspace.session, camera.collection, f"_iblrig_{camera.label}Camera.{name}")
        for key, name in names.items()
    }


def sync_paths(workspace: Workspace, sync: SyncFiles) -> dict[str, Path | None]:
    """Return the files of the main clock's fronts, by what they hold."""
    names = {part: f"_{sync.namespace}_sync.{part}.npy" for part in ("times", "channels", "polarities")}
    names["wiring"] = f"_{sync.namespace}_*.wiring.json"
    return {part: alf.find(workspace.session, sync.collection, name) for part, name in names.items()}


def times(*, records: Records, workspace: Workspace, camera: Camera, sync: SyncFiles) -> Facts:
    """Give every frame a time on the main clock, and say how it was obtained."""
    from ibl_dask.timing.align import frame_times
    from ibl_dask.timing.camera_files import read_camera_files
    from ibl_dask.timing.nidq import channel_map, read_sync

    n_frames = next(int(r.value["frames"]) for r in records.values() if "frames" in r.value)
    where = f"{camera.label} camera of {workspace.session.reference}"
    triplet = []
    for part in ("times", "channels", "polarities"):
        do = "extract the sync pulses first (SyncPulses), or copy raw_ephys_data from the acquisition computer"
        triplet.append(alf.require(workspace.session, sync.collection, f"_{sync.namespace}_sync.{part}.npy", do))
    fronts = read_sync(*triplet)
    channels = channel_map(sync_paths(workspace, sync)["wiring"])
    pulses = fronts.fronts(channels[f"{camera.label}_camera"])
    ttl_channel = channels.get(camera.sync_label or "")
    ttl = None if ttl_channel is None else fronts.fronts(ttl_channel)
    found = camera_file_paths(workspace, camera)
    files = read_camera_files(**found) if any(found.values()) else None
    result = frame_times(n_frames, pulses, ttl, files, where=where, fronts_per_channel=fronts.counts())
    facts: dict[str, Any] = {
        "method": result.method,
        "start": result.start,
        "n_pulses": result.n_pulses,
        "n_surplus_start": result.n_surplus_start,
        "n_surplus_end": result.n_surplus_end,
        "n_missing_start": result.n_missing_start,
        "n_missing_end": result.n_missing_end,
        "n_dropped": result.n_dropped,
        "n_not_measured": int((result.quality != 0).sum()),
        "period_s": result.period_s,
        "drift_ppm": result.drift_ppm,
        "notes": list(result.notes),
        "flagged": bool(result.flagged),
        "n_ttl_rises": None if ttl is None else len(ttl.rises_s),
    }
    arrays.write_arrays(
        workspace.timing_file(camera.label),
        "camera-timing",
        TIMING_VERSION,
        {
            "quality": result.quality,
            "residual_frames": result.residual_frames,
            "residuals_s": result.residuals_s,
        },
        facts,
    )
    alf.write_npy(workspace.times_file(camera.label), result.times_s)
    return {"frames": n_frames, **facts}


def load_timing(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read how the times of a camera were obtained."""
    return arrays.read_arrays(path, "camera-timing", TIMING_VERSION)


# --- frame pass ----------------------------------------------------------------------------------------------------


def frame_pass(
    *, records: Records, workspace: Workspace, camera: str, video: Path, chunk: Chunk, reducers: Sequence[Reducer]
) -> Facts:
    """Decode a chunk once for every reducer whose values are not on disk yet."""
    from ibl_dask.video.framepass import run_pass

    frame_index = load_index(workspace.index_file(camera))
    path = workspace.chunk_file(camera, chunk)
    wanted = {reducer.name: reducer.fingerprint() for reducer in reducers}
    content, facts = _chunk_content(path, frame_index.identity())
    missing = [r for r in reducers if facts["fingerprints"].get(r.name) != wanted[r.name]]
    if not missing:
        return {"kept": True, "frames": len(chunk), "decoded": 0, "errors": int(content["decode_error"].sum())}
    result = run_pass(video, frame_index, chunk, missing)
    content = {
        name: values
        for name, values in content.items()
        if name.split("/")[0] in wanted.keys() - set(result.fingerprints)
    }
    content |= {**result.arrays, "decode_error": result.decode_error}
    fingerprints = {name: mark for name, mark in facts["fingerprints"].items() if name in wanted}
    arrays.write_arrays(
        path,
        "frame-pass",
        CHUNK_VERSION,
        content,
        {
            "fingerprints": fingerprints | result.fingerprints,
            "video": frame_index.identity(),
            "start": chunk.start,
            "stop": chunk.stop,
        },
    )
    return {
        "frames": len(chunk),
        "decoded": result.n_decoded,
        "errors": int(result.decode_error.sum()),
        "reducers": [r.name for r in missing],
    }


def _chunk_content(path: Path, video: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a chunk's file; empty where there is none that can be used."""
    try:
        content, facts = arrays.read_arrays(path, "frame-pass", CHUNK_VERSION)
    except (FileNotFoundError, CorruptOutput):
        return {}, {"fingerprints": {}}
    return (content, facts) if facts["video"] == video else ({}, {"fingerprints": {}})


def chunk_is_done(workspace: Workspace, camera: str, chunk: Chunk, video: Facts, reducers: Sequence[Reducer]) -> bool:
    """Return whether a chunk's file holds every reducer's values."""
    _, facts = _chunk_content(workspace.chunk_file(camera, chunk), video)
    return all(facts["fingerprints"].get(r.name) == r.fingerprint() for r in reducers)


# --- per-frame store -----------------------------------------------------------------------------------------------


def frames(
    *,
    records: Records,
    workspace: Workspace,
    camera: str,
    chunks: Sequence[Chunk],
    reducers: Sequence[Reducer],
    fresh: Sequence[str],
) -> Facts:
    """Put the chunks of a camera together, check that they tile the video, and write its per-frame store.

    Parameters
    ----------
    fresh : sequence of str
        Reducers that the chunks bring; the others stand in the store already.
    """
    frame_index = load_index(workspace.index_file(camera))
    store_path = workspace.frames_store(camera)
    old = read_frames(store_path)
    columns: dict[str, Column] = {}
    coordinates: dict[str, Column] = {}
    for reducer in reducers:
        if reducer.name not in fresh:
            _carry_over(reducer, old, columns, coordinates, store_path)
    errors = _errors_of(old, len(frame_index))
    if fresh:
        parts = [_read_part(workspace, camera, chunk, frame_index) for chunk in chunks]
        _check_tiling(chunks, len(frame_index), store_path)
        for reducer in reducers:
            if reducer.name in fresh:
                _join(reducer, chunks, parts, columns, coordinates)
        errors = np.concatenate([part["decode_error"] for part in parts]).astype(np.uint8)
    columns["decode_error"] = Column(
        ("frame",), errors, {"units": "1", "long_name": "1 where the frame does not decode"}
    )
    coordinates["frame"] = Column(
        ("frame",), np.arange(len(frame_index)), {"units": "1", "long_name": "frame number, presentation order"}
    )
    _add_times(workspace, camera, len(frame_index), records, columns, coordinates)
    content = FramesStore(columns, coordinates, {r.name: r.fingerprint() for r in reducers}, frame_index.identity())
    write_frames(store_path, content, workspace.session.reference, camera)
    passes = [r for r in records.values() if r.key[0].startswith("framepass")]
    shutil.rmtree(workspace.chunk_file(camera, chunks[0]).parent.parent, ignore_errors=True)
    return {
        "frames": len(frame_index),
        "chunks": len(passes),
        "chunks_kept": sum(r.status == "kept" for r in passes),
        "decoded": sum(int(r.value.get("decoded", 0)) for r in passes),
        "decode_errors": int(errors.sum()),
        "pass_seconds": round(sum(r.seconds for r in passes), 3),
        "workers": sorted({r.worker for r in passes if r.status == "done"}),
        "reducers": list(fresh),
    }


def _carry_over(
    reducer: Reducer,
    old: FramesStore | None,
    columns: dict[str, Column],
    coordinates: dict[str, Column],
    path: Path,
) -> None:
    names = [variable.name for variable in reducer.variables]
    if old is None or any(name not in old.columns for name in names):
        raise CorruptOutput(
            f"the per-frame store lost its {reducer.name} values while the run went on",
            where=str(path),
            expected=", ".join(names),
            got="no such arrays",
            do="run again: they are computed anew",
        )
    for name in names:
        columns[name] = old.columns[name]
    if reducer.frame_dim != "frame":
        coordinates[reducer.frame_dim] = old.coordinates[reducer.frame_dim]


def _errors_of(old: FramesStore | None, n_frames: int) -> NDArray[np.uint8]:
    if old is not None and "decode_error" in old.columns:
        return old.columns["decode_error"].values.astype(np.uint8)
    return np.zeros(n_frames, np.uint8)


def _read_part(workspace: Workspace, camera: str, chunk: Chunk, frame_index: FrameIndex) -> dict[str, NDArray[Any]]:
    path = workspace.chunk_file(camera, chunk)
    content, facts = _chunk_content(path, frame_index.identity())
    if not content or (facts["start"], facts["stop"]) != (chunk.start, chunk.stop):
        raise CorruptOutput(
            "the result of a chunk is gone",
            where=str(path),
            expected=f"frames {chunk.start:,} to {chunk.stop - 1:,} of this video",
            got=f"frames {facts['start']:,} to {facts['stop'] - 1:,}" if content else "nothing that can be read",
            do="run again: only this chunk is decoded",
        )
    return content


def _check_tiling(chunks: Sequence[Chunk], n_frames: int, path: Path) -> None:
    borders = [0, *(chunk.stop for chunk in chunks)]
    if [chunk.start for chunk in chunks] != borders[:-1] or borders[-1] != n_frames:
        raise CorruptOutput(
            "the chunks do not tile the video",
            where=str(path),
            expected=f"frames 0 to {n_frames - 1:,} once each",
            got=", ".join(f"[{c.start}, {c.stop})" for c in chunks),
            do="report this: the chunk plan is wrong",
        )


def _join(
    reducer: Reducer,
    chunks: Sequence[Chunk],
    parts: Sequence[Mapping[str, NDArray[Any]]],
    columns: dict[str, Column],
    coordinates: dict[str, Column],
) -> None:
    for variable in reducer.variables:
        values = np.concatenate([part[f"{reducer.name}/{variable.name}"] for part in parts])
        attributes = {"units": variable.units, "long_name": variable.long_name}
        columns[variable.name] = Column((reducer.frame_dim, *variable.dims), values, attributes)
    if reducer.frame_dim != "frame":
        numbers = np.concatenate([reducer.wanted(chunk) for chunk in chunks])
        attributes = {"units": "1", "long_name": f"frame numbers of {reducer.name}"}
        coordinates[reducer.frame_dim] = Column((reducer.frame_dim,), numbers, attributes)


def _add_times(
    workspace: Workspace,
    camera: str,
    n_frames: int,
    records: Records,
    columns: dict[str, Column],
    coordinates: dict[str, Column],
) -> None:
    timed = [r for r in records.values() if r.key[0].startswith("times-")]
    if not timed or not timed[0].is_ok:
        return
    values = np.load(workspace.times_file(camera))
    quality = load_timing(workspace.timing_file(camera))[0]["quality"]
    if len(values) != n_frames:
        return
    attributes = {"long_name": "frame time on the main clock, s from its start"}
    coordinates["time"] = Column(("frame",), values, attributes)
    columns["time_quality"] = Column(
        ("frame",),
        quality,
        {"units": "1", "long_name": "how the time was obtained: 0 measured, 1 interpolated, 2 extrapolated"},
    )


# --- checks --------------------------------------------------------------------------------------------------------


def check(*, records: Records, workspace: Workspace, camera: Camera, sync: SyncFiles) -> Facts:
    """Judge one camera and keep the outcome for the session's record."""
    from ibl_dask.qc.record import camera_record, failed_camera_record
    from ibl_dask.qc.registry import run_checks

    indexed = next(r for r in records.values() if r.key[0].startswith("index-"))
    if indexed.is_ok:
        results = run_checks(_evidence(records, workspace, camera))
        record = camera_record(results)
    else:
        record = failed_camera_record(indexed.failure.message if indexed.failure else "its video cannot be indexed")
    write_text(workspace.qc_part(camera.label), json.dumps(record))
    outcomes = {name: content["outcome"] for name, content in record["checks"].items()}
    return {"outcome": record["outcome"], "checks": outcomes}


def _evidence(records: Records, workspace: Workspace, camera: Camera) -> Any:  # imported late, so not named here
    from ibl_dask.errors import InputError
    from ibl_dask.qc.evidence import CameraEvidence
    from ibl_dask.timing.camera_files import read_camera_files

    frame_index = load_index(workspace.index_file(camera.label))
    timed = next(r for r in records.values() if r.key[0].startswith("times-"))
    found = camera_file_paths(workspace, camera)
    try:
        files = read_camera_files(**found) if any(found.values()) else None
    except InputError:
        files = None
    stored = next((r for r in records.values() if r.key[0].startswith("frames-")), None)
    store = read_frames(workspace.frames_store(camera.label)) if stored is not None and stored.is_ok else None
    samples = _samples(store, len(frame_index))
    return CameraEvidence(
        camera=camera,
        n_frames=len(frame_index),
        width=frame_index.width,
        height=frame_index.height,
        header_fps=frame_index.fps,
        times_s=np.load(workspace.times_file(camera.label)) if timed.is_ok else None,
        no_times=timed.failure.message if timed.failure else "",
        n_not_measured=int(timed.value.get("n_not_measured", 0)),
        timing_notes=tuple(timed.value.get("notes", ())),
        n_camera_times=None if files is None else files.n_frames,
        count=None if files is None else files.count,
        pin_state=None if files is None or files.pins is None else files.pins[:, -1],
        n_ttl_rises=timed.value.get("n_ttl_rises"),
        n_decode_errors=0 if store is None else int(store.columns["decode_error"].values.sum()),
        **samples,
    )


def _samples(store: FramesStore | None, n_frames: int) -> dict[str, NDArray[np.float64]]:
    """Return the values at the sampled frames, as often as the reference samples each."""
    from ibl_dask.video.reducers import focus_samples, sample_frames

    if store is None or "sample_brightness" not in store.columns:
        return {}
    wanted = sample_frames(n_frames)
    place = np.searchsorted(store.coordinates["sample_frame"].values, wanted)
    focus = place[focus_samples(len(wanted))]
    return {
        "sample_brightness": store.columns["sample_brightness"].values[place],
        "sample_laplacian": store.columns["sample_laplacian"].values[focus],
        "sample_high_frequency": store.columns["sample_high_frequency"].values[focus],
    }


# --- the session ---------------------------------------------------------------------------------------------------


def publish_qc(*, records: Records, workspace: Workspace, cameras: Sequence[str]) -> Facts:
    """Write the checks of all cameras as one record."""
    from ibl_dask.qc.record import failed_camera_record, session_record

    parts = {}
    for label in cameras:
        record = next(r for r in records.values() if r.key[0] == f"qc-{label}")
        if record.is_ok:
            parts[label] = json.loads(workspace.qc_part(label).read_text())
        else:
            parts[label] = failed_camera_record(record.failure.message if record.failure else "not checked")
    content = session_record(workspace.session.reference, parts)
    write_text(workspace.qc_file, json.dumps(content, indent=1))
    return {"outcome": content["outcome"], "cameras": {label: part["outcome"] for label, part in parts.items()}}


def register(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """List a camera's raw files, and insist on a clock of its own."""
    found = {key: path for key, path in camera_file_paths(workspace, camera).items() if path is not None}
    if "frame_data" not in found and "timestamps" not in found:
        alf.require(
            workspace.session,
            camera.collection,
            f"_iblrig_{camera.label}Camera.frameData.bin",
            "copy frameData.bin (or timestamps.ssv) of this camera from the acquisition computer",
        )
    video = find_video(workspace, camera)
    files = [*found.values(), *([video] if video is not None else [])]
    return {"files": [alf.identity(path) for path in files]}
