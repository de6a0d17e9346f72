"""Steps that compress a camera's raw video chunk by chunk, verify the result, and put it in place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput, InputError, UnequalLengths, UnusableFile
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.result import Result, VideoIndexed, Work, WorkKind
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.store import alf
from ibl_dask.store.atomic import write_text, writing_path
from ibl_dask.store.identity import content_of, looks_like, sha256_of
from ibl_dask.store.results import ChunkLayout, ChunkResult, commit_chunk, find_chunk, require_chunk
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import describe_index, keep_index, load_index, video_content
from ibl_dask.tasks.session_files import labcams_pattern, read_camera, video_pattern
from ibl_dask.tasks.video_mp4.trash import set_aside
from ibl_dask.tasks.video_sync.frame_pass import commit_pass, staying_the_same
from ibl_dask.video.container.index import EMPTY_PLACES, FrameIndex, index_video
from ibl_dask.video.encoding.profiles import EncodingProfile
from ibl_dask.video.reducers.base import PassResult, Reducer

if TYPE_CHECKING:
    from ibl_dask.video.encoding.encode import Segment

SEGMENT = "segment"
"""The part of the file of a chunk: packets, fidelity and measurements, which are made together."""
LAYOUT = ChunkLayout(
    "segment", 1, "the compressed frames", "run again: only this chunk is compressed anew", only_part=SEGMENT
)
RECORD_VERSION = 2
CompressionRecord = Mapping[str, Any]
"""Content of the file that records a compression; JSON."""
_PASS = "pass/"
_ROWS_SHARE = 0.005
_ROWS_S = 1.0


# -- what a camera has ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RawVideo:
    """A camera's video files as they are found."""

    raw: Path | None
    """As recorded; the first where there are several."""
    compressed: Path | None
    """The MP4 where results go, or where one is."""
    is_proven: bool
    """Whether a record says that the compressed one was made from the raw one, as far as a look at both tells; before
    anything is removed, more is asked (`raw_video_removal.py`)."""
    others: tuple[Path, ...] = ()
    """More raw videos of the camera."""


def find_raw_video(workspace: Workspace, camera: Camera) -> RawVideo:
    """Return the video files of a camera."""
    names = (video_pattern(camera.label, "avi"), labcams_pattern(camera.label, "avi"))
    raws = [path for name in names for path in alf.find_all(workspace.session, camera.collection, name)]
    raw = next(iter(raws), None)
    copies = alf.find_each(workspace.session, camera.collection, video_pattern(camera.label, "mp4"))
    record = read_record(workspace, camera.label)
    recorded = (path for path in copies if record is not None and record["result"]["file"] == alf.identity(path))
    compressed = next(recorded, next(iter(copies), None))
    is_proven = (
        record is not None
        and compressed is not None
        and looks_like(compressed, record["result"]["file"])
        and (raw is None or looks_like(raw, record["source"]["file"]))
    )
    return RawVideo(raw, compressed, is_proven, tuple(raws[1:]))


def insist_on_one(found: Sequence[Path], kind: str) -> None:
    """Refuse to choose among several videos or logs of a camera."""
    if len(found) > 1:
        raise UnusableFile(
            f"this camera has more than one {kind}",
            where=str(found[0].parent),
            expected=f"one {kind}",
            got=", ".join(path.name for path in found),
            do="move all but one out of the folder; if labcams split the recording, join its parts first (ffmpeg -f "
            "concat -c copy), and check the number of frames",
        )


def read_record(workspace: Workspace, camera: str) -> CompressionRecord | None:
    """Return the record of a camera's compression; None without one.

    Version 1 identifies files by size and time of writing alone: enough to leave a video as it is, and no more.
    """
    try:
        content: CompressionRecord = json.loads(workspace.compression_file(camera).read_text())
        is_whole = content["version"] in (1, RECORD_VERSION) and all(
            part in content[side] for side in ("source", "result") for part in ("file", "index", "frames")
        )
        is_whole = is_whole and "sha256" in content["result"] and {"profile", "notes"} <= content.keys()
        return content if is_whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(
    workspace: Workspace,
    camera: Camera,
    video: Path,
    source: FrameIndex,
    unfinished: Path,
    index: FrameIndex,
    made: Mapping[str, object],
) -> CompressionRecord:
    """Write the record of a compressed video just before it gets its name, and return it.

    Parameters
    ----------
    video, source
        The raw video.
    unfinished, index
        The compressed one; to be renamed and not touched otherwise.
    made
        How it was made, and what there is to say: `profile`, `notes` and more.
    """
    digest = sha256_of(unfinished)
    named = {**(alf.identity(unfinished) or {}), "name": workspace.video_file(camera).name}
    record = {
        "version": RECORD_VERSION,
        "source": {"file": alf.identity(video), "index": source.identity(), "frames": len(source)},
        "result": {"file": named, "index": index.identity(), "frames": len(index), "sha256": digest},
        **made,
    }
    write_text(workspace.compression_file(camera.label), json.dumps(record, indent=1))
    return record


def is_recorded(record: CompressionRecord | None, video: Mapping[str, object]) -> bool:
    """Return True if a record is of the video with this identity, to the byte."""
    return record is not None and record["result"]["sha256"] == video.get("sha256")


def recorded_chunks(workspace: Workspace, camera: str, video: Mapping[str, object]) -> tuple[Chunk, ...]:
    """Return the chunks in which a video was compressed; none for a video without a record."""
    record = read_record(workspace, camera)
    if record is None or not is_recorded(record, video):
        return ()
    return tuple(Chunk(start, stop) for start, stop in pairwise(record.get("borders", ())))


# -- steps -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RawVideoStep(Step):
    """Step on a camera's raw video."""

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRaw(RawVideoStep):
    """Index the raw video, where its copy may be written."""

    kind: ClassVar[str] = "rawindex"

    video: Path
    """The raw video."""
    file: object
    """Its identity; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"camera": self.camera, "video": self.file}

    def run(self, upstream: Upstream) -> VideoIndexed:
        return index_raw(self.workspace, self.described, self.video)


def index_raw(workspace: Workspace, camera: Camera, video: Path) -> VideoIndexed:
    """Index a raw video and keep the index.

    Parameters
    ----------
    workspace, camera
        The session and the camera.
    video
        The raw video.

    Raises
    ------
    UnusableFile
        If there are several, or no faithful copy of it can be made.
    """
    workspace.insist_on_own(workspace.video_file(camera).parent)
    insist_on_one([video, *find_raw_video(workspace, camera).others], "video")
    found = index_video(video)
    keep_index(workspace.raw_index_file(camera.label), found)
    if found.n_empty:
        raise UnusableFile(
            "this raw video has empty places, and is left as it is: no faithful copy of it can be made",
            where=str(video),
            expected=f"a picture in each of {len(found):,} places",
            got="; ".join(found.notes),
            do=EMPTY_PLACES,
        )
    if found.n_absent:
        raise UnusableFile(
            "this raw video was cut short, and is left as it is",
            where=str(video),
            expected=f"{len(found) + found.n_absent:,} frames",
            got=f"{found.n_absent:,} of them are not in the file",
            do="copy the file again from the acquisition computer; if the original is the same, repair it with "
            "ffmpeg -i in.avi -c copy out.avi",
        )
    return describe_index(camera.label, video, found, is_raw=True)


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
        notes = [*compare_with_rows(workspace, camera, self.video, len(source)), *source.notes]
        target, before = workspace.video_file(camera), read_record(workspace, camera.label)
        read = _Segments(workspace, camera.label, source.identity(), self.compression)
        with writing_path(target, _expected_bytes(workspace, camera.label, self.chunks)) as unfinished:
            written = write_mp4(unfinished, read.each(self.chunks), source, self.profile)
            index = check_mp4(written, source)
            source.insist_on(self.video)
            made = {
                "profile": self.profile.settings(),
                "encoder": self.build,
                "mark": self.compression,
                "borders": [*(chunk.start for chunk in self.chunks), len(index)],
                **read.fidelity(),
                "notes": notes,
            }
            record = write_record(workspace, camera, self.video, source, unfinished, index, made)
            set_aside(workspace, target, before)
        index = replace(index, content=video_content(record["result"]["file"], record["result"]["sha256"]))
        for result in read.passes:
            commit_pass(workspace, camera.label, index, result)
        keep_index(workspace.index_file(camera.label), index)
        shutil.rmtree(workspace.segment_file(camera.label, self.chunks[0]).parent.parent, ignore_errors=True)
        return describe_record(record, (target, workspace.compression_file(camera.label)))


class _Segments:
    """Reads the segments of a compression one by one, and keeps what is small of each: fidelity and measurements."""

    def __init__(self, workspace: Workspace, camera: str, video: Mapping[str, object], compression: str) -> None:
        self._workspace, self._camera, self._video, self._compression = workspace, camera, video, compression
        self._psnr: list[NDArray[np.float64]] = []
        self._ssim: list[NDArray[np.float64]] = []
        self.passes: list[PassResult] = []

    def each(self, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Segment]]:
        """Yield each chunk with its segment."""
        from ibl_dask.video.encoding.encode import Segment

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
    _insist_on_recorded(workspace, camera, compressed, record)
    return replace(describe_record(record, (compressed,)), is_kept=True)


# -- parts -------------------------------------------------------------------------------------------------


def _insist_on_recorded(workspace: Workspace, camera: Camera, video: Path, record: CompressionRecord) -> None:
    content = content_of(video, workspace.content_note(camera.label, video))
    if content != record["result"]["sha256"]:
        raise CorruptOutput(
            "the compressed video is not the one that was proven any more",
            where=str(video),
            expected=f"SHA-256 {record['result']['sha256']}, as {workspace.compression_file(camera.label).name} says",
            got=content,
            do="where the raw video is still there, run again with --overwrite to make it anew; else bring back a copy "
            "of this file, and look for a failing disk",
        )


def describe_record(record: CompressionRecord, outputs: tuple[Path, ...] = ()) -> Result:
    """Return the result of a compression, with its notes."""
    return Result(facts=record_facts(record), notes=tuple(record["notes"]), outputs=outputs)


def record_facts(record: CompressionRecord) -> dict[str, object]:
    """Return the numbers of a record for report and journal: fidelity only where frames were encoded."""
    facts: dict[str, object] = {
        "frames": record["result"]["frames"],
        "sha256": record["result"]["sha256"],
        "bytes": record["result"]["file"]["size"],
        "raw_bytes": record["source"]["file"]["size"],
        "profile": record["profile"]["name"],
    }
    if "psnr_db" in record:
        facts |= {
            "median_psnr_db": record["psnr_db"]["median"],
            "lowest_psnr_db": record["psnr_db"]["lowest"],
            "median_ssim": record["ssim"]["median"],
        }
    return facts


def _expected_bytes(workspace: Workspace, camera: str, chunks: Sequence[Chunk]) -> int:
    paths = (workspace.segment_file(camera, chunk) for chunk in chunks)
    return sum(path.stat().st_size for path in paths if path.exists())


def compare_with_rows(workspace: Workspace, camera: Camera, video: Path, n_frames: int) -> list[str]:
    """Compare the number of frames with what the camera noted of each; return what there is to say.

    Raises
    ------
    UnequalLengths
        If they are too far apart to be of one recording.
    """
    try:
        files = read_camera(workspace, camera)
    except InputError as error:
        return [f"the camera's own files cannot be read, so its frames were not counted by them: {error.what}"]
    if files is None:
        return ["the camera left no file about its frames, so they were not counted by one"]
    if files.n_frames == n_frames:
        return []
    fps = 1 / files.period_s if files.period_s else 30.0
    most = max(round(_ROWS_S * fps), int(_ROWS_SHARE * n_frames))
    if abs(files.n_frames - n_frames) > most:
        raise UnequalLengths(
            "the raw video and the camera's own files are not of one recording, or one of them is not whole",
            where=f"{video} and {', '.join(files.sources)}",
            expected=f"numbers of frames within {most:,} of each other",
            got=f"{n_frames:,} frames in the video, {files.n_frames:,} in the files",
            do="copy both again from the acquisition computer; the raw video stays as it is",
        )
    return [f"the camera noted {files.n_frames:,} frames, the video has {n_frames:,}"]


def _compare_counts(compressed: Path, raw: Path) -> str:
    counts = []
    for path in (compressed, raw):
        try:
            counts.append(f"{path.name} with {len(index_video(path)):,} frames")
        except InputError as error:
            counts.append(f"{path.name}, of which {error.what}")
    return " and ".join(counts)
