"""Frame pass of a camera: each chunk is decoded once for all reducers, and the chunks are joined into one store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.result import Result, VideoIndexed, Work, WorkKind
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.store.arrays import Array
from ibl_dask.store.frames import Attribute, Column, FramesStore, read_frames, write_frames
from ibl_dask.store.results import ABSENT, ChunkLayout, ChunkResult, commit_chunk, find_chunk, require_chunk
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.lost_frames import lost_frames
from ibl_dask.tasks.video_sync.pulse_times import load_times, load_timing
from ibl_dask.timing.alignment.camera_times import Quality
from ibl_dask.video.container.index import FrameIndex
from ibl_dask.video.reducers.motion_energy import MotionEnergy
from ibl_dask.video.reducers.protocol import PassResult, Reducer

LAYOUT = ChunkLayout("frame-pass", 1, "the measurements", "run again: only this chunk is decoded")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPassed(Result):
    """A chunk whose frames were decoded and measured."""

    frames: int
    """Frames of the chunk."""
    decoded: int
    """Frames that came out of the decoder in this run; 0 where the result was kept."""
    errors: int
    """Frames that do not decode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassChunk(Step):
    """Decode a chunk once for every reducer whose values are not on disk yet."""

    kind: ClassVar[str] = "framepass"
    chunk_work: ClassVar[WorkKind | None] = "decode"

    workspace: Workspace
    """The session."""
    video: Path
    """The video."""
    video_identity: Mapping[str, object]
    """Its identity."""
    frames: Chunk
    """Frames of the chunk."""
    reducers: tuple[Reducer, ...]
    """Those whose values the per-frame store lacks."""
    reducer_fingerprints: Mapping[str, str]
    """Fingerprints of all reducers of the camera."""
    index: StepKey
    """Indexes the video."""

    def identity(self) -> Mapping[str, object]:
        chunk = [self.frames.start, self.frames.stop]
        return {"video": self.video_identity, "chunk": chunk, "reducers": self.reducer_fingerprints}

    def run(self, upstream: Upstream) -> ChunkPassed:
        from ibl_dask.video.framepass import run_pass

        frame_index = load_index(self.workspace.index_file(self.camera))
        path = self.workspace.chunk_file(self.camera, self.frames)
        wanted = {reducer.name: reducer.fingerprint() for reducer in self.reducers}
        before = find_chunk(path, LAYOUT, frame_index.identity(), self.frames)
        missing = before.missing(wanted)
        work = Work("decode", len(self.frames), len(self.frames) * frame_index.width * frame_index.height)
        if not missing:
            errors = int(before.arrays["decode_error"].sum())
            return ChunkPassed(is_kept=True, frames=len(self.frames), decoded=0, errors=errors, work=work)
        with staying_the_same(self.video, frame_index):
            result = run_pass(self.video, frame_index, self.frames, [r for r in self.reducers if r.name in missing])
        kept = before.only(wanted.keys() - set(missing))
        commit_pass(self.workspace, self.camera, frame_index, result, kept)
        return ChunkPassed(
            frames=len(self.frames),
            decoded=result.n_decoded,
            errors=int(result.decode_error.sum()),
            work=work,
            facts={"reducers": missing},
        )


def commit_pass(
    workspace: Workspace,
    camera: str,
    frame_index: FrameIndex,
    result: PassResult,
    kept: ChunkResult = ABSENT,
) -> None:
    """Write the result of a pass over a chunk; compression commits passes of the new video as well.

    Parameters
    ----------
    workspace : Workspace
        The session.
    camera : str
        Label.
    frame_index : FrameIndex
        Index of the video.
    result : PassResult
        Values of the reducers.
    kept : ChunkResult
        Values of other reducers that are valid still.
    """
    content = ChunkResult(
        {**kept.fingerprints, **result.fingerprints},
        {**kept.arrays, **result.arrays, "decode_error": result.decode_error},
    )
    path = workspace.chunk_file(camera, result.chunk)
    commit_chunk(path, LAYOUT, frame_index.identity(), result.chunk, content)


@contextlib.contextmanager
def staying_the_same(video: Path, frame_index: FrameIndex) -> Iterator[None]:
    """Refuse results of a video that changes while it is decoded: one that is being copied, or was removed.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the file is not the one that was indexed, before or after the block.
    """
    frame_index.require_unchanged(video)
    try:
        yield
    finally:
        frame_index.require_unchanged(video)


def measured_chunks(
    workspace: Workspace,
    camera: str,
    chunks: Sequence[Chunk],
    video: Mapping[str, object],
    reducers: Sequence[Reducer],
) -> set[Chunk]:
    """Return the chunks whose files hold the values of every reducer.

    Parameters
    ----------
    workspace : Workspace
        The session.
    camera : str
        Label.
    chunks : sequence of Chunk
        Chunks of the video.
    video : mapping
        Identity of the video.
    reducers : sequence of Reducer
        The reducers.
    """
    wanted = {reducer.name: reducer.fingerprint() for reducer in reducers}
    begun = {chunk: workspace.chunk_file(camera, chunk) for chunk in workspace.with_pass(camera, chunks)}
    return {chunk for chunk, path in begun.items() if not find_chunk(path, LAYOUT, video, chunk).missing(wanted)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeChunks(Step):
    """Join the chunks of a camera, check that they tile the video, and write its per-frame store."""

    kind: ClassVar[str] = "frames"
    version: ClassVar[int] = 2
    allow_failed: ClassVar[tuple[str, ...]] = ("wheel",)

    workspace: Workspace
    """The session."""
    video_identity: Mapping[str, object]
    """Identity of the video."""
    chunks: tuple[Chunk, ...]
    """Chunks of the video, in order."""
    reducers: tuple[Reducer, ...]
    """All reducers of the camera."""
    reducer_fingerprints: Mapping[str, str]
    """Their fingerprints, by name."""
    fresh: tuple[str, ...]
    """Names of the reducers whose values the chunks hold; those of the others are in the store already."""
    index: StepKey
    """Indexes the video."""
    wheel: StepKey
    """Publishes the times."""
    passes: tuple[StepKey, ...] = ()
    """Measure the chunks; none where the store holds the values of every reducer."""

    def identity(self) -> Mapping[str, object]:
        parents = [self.wheel.fingerprint]
        return {"video": self.video_identity, "reducers": self.reducer_fingerprints, "parents": parents}

    def run(self, upstream: Upstream) -> Result:
        workspace, camera = self.workspace, self.camera
        frame_index = load_index(workspace.index_file(camera))
        n_frames, store_path = len(frame_index), workspace.frames_store(camera)
        old = _old_store(store_path, everything_fresh=all(reducer.name in self.fresh for reducer in self.reducers))
        columns: dict[str, Column] = {}
        coordinates: dict[str, Column] = {}
        for reducer in self.reducers:
            if reducer.name not in self.fresh:
                _carry_over(reducer, old, columns, coordinates, store_path)
        errors = _errors_of(old, n_frames)
        if self.fresh:
            _check_tiling(self.chunks, n_frames, store_path)
            new = [reducer for reducer in self.reducers if reducer.name in self.fresh]
            errors = _join_chunks(workspace, camera, self.chunks, frame_index, new, columns, coordinates)
        columns["decode_error"] = Column(
            ("frame",), errors, flags("whether the frame does not decode", {"decoded": 0, "not_decoded": 1})
        )
        coordinates["frame"] = Column(
            ("frame",), np.arange(n_frames), {"units": "1", "long_name": "frame number, presentation order"}
        )
        if upstream[self.wheel].is_ok:
            _add_times(workspace, camera, n_frames, columns, coordinates)
        fingerprints = {reducer.name: reducer.fingerprint() for reducer in self.reducers}
        content = FramesStore(columns, coordinates, fingerprints, frame_index.identity())
        write_frames(store_path, content, workspace.session.reference, camera)
        lost = lost_frames(
            errors,
            camera,
            upstream.result(self.index, VideoIndexed).video,
            lack="do not decode",
            consequence="every frame has a time all the same, and what is measured of these frames is NaN "
            "(`decode_error` names them)",
        )
        return Result(
            outputs=(store_path,),
            spent=(workspace.chunk_file(camera, self.chunks[0]).parent.parent,),
            facts={"frames": n_frames, **self._pass_facts(upstream), "decode_errors": int(errors.sum())},
            disposition="incomplete" if lost else "complete",
            reason=lost or "",
        )

    def _pass_facts(self, upstream: Upstream) -> dict[str, object]:
        passes = [upstream[key] for key in self.passes]
        return {
            "chunks": len(passes),
            "chunks_kept": sum(record.status == "kept" for record in passes),
            "decoded": sum(upstream.result(key, ChunkPassed).decoded for key in self.passes),
            "pass_seconds": round(sum(record.seconds for record in passes), 3),
            "workers": sorted({record.worker for record in passes if record.status == "done"}),
            "reducers": list(self.fresh),
        }


def read_motion_energy(
    workspace: Workspace, camera: str, chunks: Sequence[Chunk], reducer: MotionEnergy, *, is_fresh: bool
) -> NDArray[np.float32]:
    """Return motion energies before the merge: of the chunks, or of the per-frame store.

    Parameters
    ----------
    workspace : Workspace
        The session.
    camera : str
        Label.
    chunks : sequence of Chunk
        Chunks of the video, in order.
    reducer : MotionEnergy
        The measurement.
    is_fresh : bool
        True where the chunks hold it, False where the store does.

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


def _old_store(path: Path, *, everything_fresh: bool) -> FramesStore | None:
    """Read the store; a damaged one counts as absent where every value is computed anew."""
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


def _read_part(workspace: Workspace, camera: str, chunk: Chunk, frame_index: FrameIndex) -> Mapping[str, Array]:
    return require_chunk(workspace.chunk_file(camera, chunk), LAYOUT, frame_index.identity(), chunk).arrays


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

    def parts() -> Iterator[tuple[Chunk, Mapping[str, Array]]]:
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


def flags(long_name: str, meanings: Mapping[str, int]) -> dict[str, Attribute]:
    """Return the attributes of an array of codes, by section 3.5 of the CF conventions.

    Parameters
    ----------
    long_name : str
        Description of the codes.
    meanings : mapping of str to int
        Meaning in one word -> code.
    """
    return {
        "units": "1",
        "long_name": long_name,
        "flag_values": list(meanings.values()),
        "flag_meanings": " ".join(meanings),
    }


def _add_times(
    workspace: Workspace,
    camera: str,
    n_frames: int,
    columns: dict[str, Column],
    coordinates: dict[str, Column],
) -> None:
    """Add the published times and their quality, if they are of this video."""
    values = load_times(workspace, camera)
    quality = load_timing(workspace.timing_file(camera))[0]["quality"]
    if values is None or len(values) != n_frames:
        return
    attributes = {"units": "s", "long_name": "frame time on the main clock, from its start"}
    coordinates["time"] = Column(("frame",), values, attributes)
    columns["time_quality"] = Column(
        ("frame",),
        quality,
        flags("origin of the frame time", {quality.name.lower(): int(quality) for quality in Quality}),
    )
