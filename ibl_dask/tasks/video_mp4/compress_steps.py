"""Steps that compress a camera's raw video chunk by chunk, verify the result, and put it in place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput, InputError, UnusableFile
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.result import Result, Work, WorkKind
from ibl_dask.model.step import StepKey, Upstream
from ibl_dask.store import alf
from ibl_dask.store.atomic import writing_path
from ibl_dask.store.compression_record import CompressionRecord, RecordedVideo, read_record, write_record
from ibl_dask.store.identity import content_of, sha256_of
from ibl_dask.store.results import ChunkLayout, ChunkResult, commit_chunk, find_chunk, require_chunk
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import keep_index, load_index, video_content
from ibl_dask.tasks.video_mp4.raw_video import RawVideoStep, compare_with_rows, find_raw_video
from ibl_dask.tasks.video_mp4.trash import set_aside
from ibl_dask.tasks.video_sync.frame_pass import commit_pass, staying_the_same
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.encoding.profiles import EncodingProfile
from ibl_dask.video.reducers.protocol import PassResult, Reducer

if TYPE_CHECKING:
    from ibl_dask.video.encoding.segment import Segment

SEGMENT = "segment"
"""The part of the file of a chunk: packets, fidelity and measurements, which are made together."""
LAYOUT = ChunkLayout(
    "segment", 1, "the compressed frames", "run again: only this chunk is compressed anew", only_part=SEGMENT
)
_PASS = "pass/"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeChunk(RawVideoStep):
    """Compress one chunk, and compare the result with its source; keep both as one file."""

    kind: ClassVar[str] = "encode"
    chunk_work: ClassVar[WorkKind | None] = "encode"

    video: Path
    """The raw video."""
    frames: Chunk
    """Frames of the chunk."""
    profile: EncodingProfile
    """How frames are compressed."""
    reducers: tuple[Reducer, ...]
    """Measurements of the compressed frames."""
    compression: str
    """Fingerprint of the compression of the whole video: video, profile, encoder, chunks and reducers."""
    index: StepKey
    """Indexes the raw video."""

    def identity(self) -> Mapping[str, object]:
        return {"mark": self.compression, "chunk": [self.frames.start, self.frames.stop]}

    def run(self, upstream: Upstream) -> Result:
        from ibl_dask.video.encoding import encode

        path, chunk = self.workspace.segment_file(self.camera, self.frames), self.frames
        source = load_index(self.workspace.raw_index_file(self.camera))
        work = Work("encode", len(chunk), len(chunk) * source.width * source.height)
        before = find_chunk(path, LAYOUT, source.identity(), chunk)
        if not before.missing({SEGMENT: self.compression}):
            return Result(is_kept=True, work=work, facts={"frames": len(chunk)})
        with staying_the_same(self.video, source):
            encoded = encode.encode_chunk(self.video, source, chunk, self.profile, self.reducers)
        _require_faithful(encoded.fidelity.complaint(chunk.start, self.profile.psnr_floor_db), self)
        content, facts = encoded.segment.to_arrays()
        content |= {"psnr_db": encoded.fidelity.psnr_db, "ssim": encoded.fidelity.ssim}
        content |= {f"{_PASS}{name}": values for name, values in encoded.result.arrays.items()}
        facts |= {"mark": self.compression, "reducers": encoded.result.fingerprints}
        result = ChunkResult({SEGMENT: self.compression}, content, facts)
        commit_chunk(path, LAYOUT, source.identity(), chunk, result)
        return Result(
            work=work,
            facts={
                "frames": len(chunk),
                "bytes": int(encoded.segment.sizes.sum()),
                "median_psnr_db": round(float(np.median(encoded.fidelity.psnr_db)), 3),
            },
        )


def _require_faithful(complaint: str, step: EncodeChunk) -> None:
    if complaint:
        raise CorruptOutput(
            f"frames {step.frames.start:,} to {step.frames.stop - 1:,} are not faithful once compressed",
            where=str(step.video),
            expected=f"a median PSNR of {step.profile.psnr_floor_db:g} dB or more, each frame as encoded, in its place",
            got=complaint,
            do="look at these frames; a profile with a lower crf keeps more of them. The raw video stays as it is",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PutInPlace(RawVideoStep):
    """Join the segments, verify the file, record it, and give it its name.

    The record is written before the name is given: a video without a record would count as one of unknown origin.
    """

    kind: ClassVar[str] = "compress"

    video: Path
    """The raw video."""
    chunks: tuple[Chunk, ...]
    """Chunks of the video, in order."""
    profile: EncodingProfile
    """How frames were compressed."""
    build: str
    """Build of the encoder."""
    compression: str
    """See `EncodeChunk`."""
    index: StepKey
    """Indexes the raw video."""
    segments: tuple[StepKey, ...]
    """Compress the chunks."""

    def identity(self) -> Mapping[str, object]:
        return {"mark": self.compression}

    def run(self, upstream: Upstream) -> Result:
        from ibl_dask.video.encoding.join import check_mp4, write_mp4

        workspace, camera = self.workspace, self.described
        source = load_index(workspace.raw_index_file(camera.label))
        if self._is_done(source):
            return keep_compressed(workspace, camera)
        notes = [*compare_with_rows(workspace, camera, self.video, len(source)), *source.notes]
        target, before = workspace.video_file(camera), read_record(workspace, camera.label)
        read = _Segments(workspace, camera.label, source.identity(), self.compression)
        with writing_path(target, _expected_bytes(workspace, camera.label, self.chunks)) as unfinished:
            written = write_mp4(unfinished, read.each(self.chunks), source, self.profile)
            index = check_mp4(written, source)
            source.require_unchanged(self.video)
            made = {
                "profile": self.profile.settings(),
                "encoder": self.build,
                "mark": self.compression,
                "borders": [*(chunk.start for chunk in self.chunks), len(index)],
                **read.fidelity(),
                "notes": notes,
            }
            record = record_video(workspace, camera, (self.video, source), (unfinished, index), made)
            set_aside(workspace, target, before)
        index = replace(index, content=video_content(record.result.file, record.sha256))
        for result in read.passes:
            commit_pass(workspace, camera.label, index, result)
        keep_index(workspace.index_file(camera.label), index)
        shutil.rmtree(workspace.segment_file(camera.label, self.chunks[0]).parent.parent, ignore_errors=True)
        return recorded_result(record, (target, workspace.compression_file(camera.label)))

    def _is_done(self, source: FrameIndex) -> bool:
        """Return whether an attempt whose result was lost got as far as removing the segments, which it does last."""
        label = self.described.label
        record = read_record(self.workspace, label)
        if record is None or (record.source.index, record.made.get("mark")) != (source.identity(), self.compression):
            return False
        return len(self.workspace.with_segment(label, self.chunks)) < len(self.chunks)


class _Segments:
    """Reads the segments of a compression one by one, and collects fidelity and measurements."""

    def __init__(self, workspace: Workspace, camera: str, video: Mapping[str, object], compression: str) -> None:
        self._workspace, self._camera, self._video, self._compression = workspace, camera, video, compression
        self._psnr: list[NDArray[np.float64]] = []
        self._ssim: list[NDArray[np.float64]] = []
        self.passes: list[PassResult] = []

    def each(self, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Segment]]:
        """Yield each chunk with its segment."""
        from ibl_dask.video.encoding.segment import Segment

        for chunk in chunks:
            path = self._workspace.segment_file(self._camera, chunk)
            found = require_chunk(path, LAYOUT, self._video, chunk, {SEGMENT: self._compression})
            self._psnr.append(found.arrays["psnr_db"])
            self._ssim.append(found.arrays["ssim"])
            passed = {name.removeprefix(_PASS): v for name, v in found.arrays.items() if name.startswith(_PASS)}
            errors = np.zeros(len(chunk), np.bool_)
            self.passes.append(PassResult(chunk, passed, errors, len(chunk), found.facts["reducers"]))
            yield chunk, Segment.from_arrays(found.arrays, found.facts)

    def fidelity(self) -> dict[str, object]:
        """Return the summary of PSNR and SSIM over all frames; JSON."""
        psnr, ssim = np.concatenate(self._psnr), np.concatenate(self._ssim)
        return {
            "psnr_db": {"median": float(np.median(psnr)), "lowest": float(psnr.min()), "mean": float(psnr.mean())},
            "ssim": {"median": float(np.nanmedian(ssim)), "lowest": float(np.nanmin(ssim))},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCompressed(RawVideoStep):
    """Report on a compressed video that stays, or on the obstacle against it."""

    kind: ClassVar[str] = "compress"

    raw: object
    """Identity of the raw video; JSON."""
    compressed: object
    """Identity of the compressed one; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"keep": True, "raw": self.raw, "compressed": self.compressed}

    def run(self, upstream: Upstream) -> Result:
        return keep_compressed(self.workspace, self.described)


def keep_compressed(workspace: Workspace, camera: Camera) -> Result:
    """Return the result for a compressed video that stays.

    Raises
    ------
    MissingFile
        If there is none.
    UnusableFile
        If a raw video is beside it that it was not made from, as far as is recorded.
    CorruptOutput
        If it is not the one that was verified.
    """
    compressed = alf.require(
        workspace.session,
        camera.collection,
        f"_iblrig_{camera.label}Camera.raw.mp4",
        "copy the video from the acquisition computer, or take the camera out of the experiment description",
    )
    found = find_raw_video(workspace, camera)
    if found.raw is not None and not found.is_proven:
        raise UnusableFile(
            "a compressed video is there that was not made from the raw one beside it, as far as is recorded",
            where=str(compressed),
            expected=f"none, or one that {workspace.compression_file(camera.label).name} tells of",
            got=_compare_counts(compressed, found.raw),
            do="move one of them away; or run again with --overwrite to make it anew from the raw video, which "
            "replaces it only once the new one is proven",
        )
    record = read_record(workspace, camera.label) if found.is_proven else None
    if record is None:
        return Result(is_kept=True, outputs=(compressed,))
    _require_recorded(workspace, camera, compressed, record)
    return replace(recorded_result(record, (compressed,)), is_kept=True)


def _require_recorded(workspace: Workspace, camera: Camera, video: Path, record: CompressionRecord) -> None:
    content = content_of(video, workspace.content_note(camera.label, video))
    if content != record.sha256:
        raise CorruptOutput(
            "the compressed video is not the one that was proven any more",
            where=str(video),
            expected=f"SHA-256 {record.sha256}, as {workspace.compression_file(camera.label).name} says",
            got=content,
            do="where the raw video is still there, run again with --overwrite to make it anew; else bring back a copy "
            "of this file, and look for a failing disk",
        )


def recorded_result(record: CompressionRecord, outputs: tuple[Path, ...]) -> Result:
    """Return the result of a step that made or kept a recorded video."""
    return Result(facts=record.summary, notes=record.notes, outputs=outputs)


def record_video(
    workspace: Workspace,
    camera: Camera,
    source: tuple[Path, FrameIndex],
    unfinished: tuple[Path, FrameIndex],
    made: Mapping[str, object],
) -> CompressionRecord:
    """Write the record of a compressed video just before it gets its name, and return it.

    Parameters
    ----------
    workspace, camera
        The session and the camera.
    source
        The raw video and its index.
    unfinished
        The compressed one and its index; the file is renamed afterwards, and not changed otherwise.
    made
        `profile`, `notes`, and details of the encoder or of the packets; JSON.
    """
    (raw, raw_index), (path, index) = source, unfinished
    named = {**(alf.identity(path) or {}), "name": workspace.video_file(camera).name}
    record = CompressionRecord(
        RecordedVideo(alf.identity(raw) or {}, raw_index.identity(), len(raw_index)),
        RecordedVideo(named, index.identity(), len(index)),
        sha256_of(path),
        made,
    )
    write_record(workspace, camera.label, record)
    return record


def _expected_bytes(workspace: Workspace, camera: str, chunks: Sequence[Chunk]) -> int:
    paths = (workspace.segment_file(camera, chunk) for chunk in chunks)
    return sum(path.stat().st_size for path in paths if path.exists())


def _compare_counts(compressed: Path, raw: Path) -> str:
    counts = []
    for path in (compressed, raw):
        try:
            counts.append(f"{path.name} with {len(index_video(path)):,} frames")
        except InputError as error:
            counts.append(f"{path.name}, of which {error.what}")
    return " and ".join(counts)
