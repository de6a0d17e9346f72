"""Decode each chunk once, and put the chunks of a camera together."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput, DecodeFailed, FormatTooNew
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.frame_ranges import find_runs, format_runs
from ibl_dask.store import arrays
from ibl_dask.store.frames import Column, FramesStore, read_frames, write_frames
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.session_files import Facts, Records
from ibl_dask.tasks.video_sync.pulse_times import load_times, load_timing
from ibl_dask.video.container.index import FrameIndex
from ibl_dask.video.reducers.base import MotionEnergy, PassResult, Reducer

CHUNK_VERSION = 1


def pass_chunk(
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
    with staying_the_same(video, frame_index):
        result = run_pass(video, frame_index, chunk, missing)
    content = {
        name: values
        for name, values in content.items()
        if name.split("/")[0] in wanted.keys() - set(result.fingerprints)
    }
    content |= {**result.arrays, "decode_error": result.decode_error}
    fingerprints = {name: mark for name, mark in facts["fingerprints"].items() if name in wanted}
    _write_part(path, frame_index, chunk, content, fingerprints | result.fingerprints)
    return {
        "frames": len(chunk),
        "decoded": result.n_decoded,
        "errors": int(result.decode_error.sum()),
        "reducers": [r.name for r in missing],
    }


def write_part(workspace: Workspace, camera: str, frame_index: FrameIndex, result: PassResult) -> None:
    """Keep what a pass over a chunk said that was made elsewhere: while the video was compressed."""
    content = {**result.arrays, "decode_error": result.decode_error}
    _write_part(workspace.chunk_file(camera, result.chunk), frame_index, result.chunk, content, result.fingerprints)


def _write_part(
    path: Path,
    frame_index: FrameIndex,
    chunk: Chunk,
    content: Mapping[str, NDArray[Any]],
    fingerprints: Mapping[str, str],
) -> None:
    facts = {
        "fingerprints": dict(fingerprints),
        "video": frame_index.identity(),
        "start": chunk.start,
        "stop": chunk.stop,
    }
    arrays.write_arrays(path, "frame-pass", CHUNK_VERSION, content, facts)


@contextlib.contextmanager
def staying_the_same(video: Path, frame_index: FrameIndex) -> Iterator[None]:
    """Refuse what was decoded from a video that is still being copied, or was taken away."""
    frame_index.insist_on(video)
    try:
        yield
    finally:
        frame_index.insist_on(video)


def _chunk_content(path: Path, video: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a chunk's file; empty where there is none that can be used."""
    try:
        content, facts = arrays.read_arrays(path, "frame-pass", CHUNK_VERSION)
    except (FileNotFoundError, CorruptOutput, FormatTooNew):
        return {}, {"fingerprints": {}}
    return (content, facts) if facts["video"] == video else ({}, {"fingerprints": {}})


def chunk_is_done(workspace: Workspace, camera: str, chunk: Chunk, video: Facts, reducers: Sequence[Reducer]) -> bool:
    """Return whether a chunk's file holds every reducer's values."""
    _, facts = _chunk_content(workspace.chunk_file(camera, chunk), video)
    return all(facts["fingerprints"].get(r.name) == r.fingerprint() for r in reducers)


def merge_chunks(
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
    old = _old_store(store_path, everything_fresh=all(reducer.name in fresh for reducer in reducers))
    columns: dict[str, Column] = {}
    coordinates: dict[str, Column] = {}
    for reducer in reducers:
        if reducer.name not in fresh:
            _carry_over(reducer, old, columns, coordinates, store_path)
    errors = _errors_of(old, len(frame_index))
    if fresh:
        _check_tiling(chunks, len(frame_index), store_path)
        new = [reducer for reducer in reducers if reducer.name in fresh]
        errors = _join_chunks(workspace, camera, chunks, frame_index, new, columns, coordinates)
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
        "outputs": [str(store_path)],
        **_what_is_lost(errors, camera, records),
    }


def read_motion_energy(
    workspace: Workspace, camera: str, chunks: Sequence[Chunk], reducer: MotionEnergy, *, is_fresh: bool
) -> NDArray[np.float32]:
    """Return motion energies, from the chunks that bring them or from the per-frame store, before the merge.

    Returns
    -------
    ndarray
        NaN where a frame did not decode (frame,).
    """
    from ibl_dask.video.framepass import join_passes

    frame_index = load_index(workspace.index_file(camera))
    if is_fresh:
        parts = ((chunk, _read_part(workspace, camera, chunk, frame_index)) for chunk in chunks)
        return np.asarray(join_passes([reducer], parts)[f"{reducer.name}/{reducer.name}"], np.float32)
    columns: dict[str, Column] = {}
    path = workspace.frames_store(camera)
    _carry_over(reducer, read_frames(path), columns, {}, path)
    return np.asarray(columns[reducer.name].values, np.float32)


def _what_is_lost(errors: NDArray[np.uint8], camera: str, records: Records) -> Facts:
    """Say which frames do not decode, so that the task is Incomplete and whoever ran it is told."""
    if not errors.any():
        return {}
    video = next((str(r.value["video"]) for r in records.values() if "video" in r.value), "")
    lost = DecodeFailed(
        f"{int(errors.sum()):,} of {len(errors):,} frames of the {camera} camera do not decode",
        where=video,
        expected="every frame of the video",
        got=f"nothing exact for frames {format_runs(find_runs(errors))}",
        do="compare the file with the original on the acquisition computer, and copy it again if they differ; every "
        "frame has a time all the same, and what is measured of these frames is NaN (`decode_error` names them)",
    )
    return {"incomplete": str(lost)}


def _old_store(path: Path, *, everything_fresh: bool) -> FramesStore | None:
    """Read the store as it is; a damaged one stands in nobody's way where nothing of it is needed."""
    try:
        return read_frames(path)
    except CorruptOutput:
        if everything_fresh:
            return None
        raise


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


def _join_chunks(
    workspace: Workspace,
    camera: str,
    chunks: Sequence[Chunk],
    frame_index: FrameIndex,
    reducers: Sequence[Reducer],
    columns: dict[str, Column],
    coordinates: dict[str, Column],
) -> NDArray[np.uint8]:
    """Add the values of some reducers to the columns; return which frames do not decode."""
    from ibl_dask.video.framepass import join_passes

    errors: list[NDArray[np.bool_]] = []

    def parts() -> Iterator[tuple[Chunk, dict[str, NDArray[Any]]]]:
        for chunk in chunks:
            part = _read_part(workspace, camera, chunk, frame_index)
            errors.append(part["decode_error"])
            yield chunk, part

    values = join_passes(reducers, parts())
    for reducer in reducers:
        for variable in reducer.variables:
            attributes = {"units": variable.units, "long_name": variable.long_name}
            dims = (reducer.frame_dim, *variable.dims)
            columns[variable.name] = Column(dims, values[f"{reducer.name}/{variable.name}"], attributes)
        if reducer.frame_dim != "frame":
            numbers = np.concatenate([reducer.wanted(chunk) for chunk in chunks])
            attributes = {"units": "1", "long_name": f"frame numbers of {reducer.name}"}
            coordinates[reducer.frame_dim] = Column((reducer.frame_dim,), numbers, attributes)
    return np.concatenate(errors).astype(np.uint8)


def _add_times(
    workspace: Workspace,
    camera: str,
    n_frames: int,
    records: Records,
    columns: dict[str, Column],
    coordinates: dict[str, Column],
) -> None:
    timed = [r for r in records.values() if r.key[0].startswith("wheel-")]
    if not timed or not timed[0].is_ok:
        return
    values = load_times(workspace, camera)
    quality = load_timing(workspace.timing_file(camera))[0]["quality"]
    if values is None or len(values) != n_frames:
        return
    attributes = {"long_name": "frame time on the main clock, s from its start"}
    coordinates["time"] = Column(("frame",), values, attributes)
    columns["time_quality"] = Column(
        ("frame",),
        quality,
        {"units": "1", "long_name": "how the time was obtained: 0 measured, 1 interpolated, 2 extrapolated, 3 assumed"},
    )
