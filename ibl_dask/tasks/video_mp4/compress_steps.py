"""Compress a camera's raw video chunk by chunk, prove the result, put it in place, and only then touch the raw file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ibl_dask.errors import CorruptOutput, FormatTooNew, InputError, UnequalLengths, UnusableFile
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.store import alf, arrays
from ibl_dask.store.atomic import write_text, writing_path
from ibl_dask.store.identity import content_of, looks_like, sha256_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import keep_index, load_index, video_content
from ibl_dask.tasks.session_files import Facts, Records, labcams_pattern, read_camera, video_pattern
from ibl_dask.tasks.video_mp4.trash import set_aside
from ibl_dask.tasks.video_sync.frame_pass import staying_the_same, write_part
from ibl_dask.timing.tolerance import tolerated_frames
from ibl_dask.video.container.index import EMPTY_PLACES, FrameIndex, index_video
from ibl_dask.video.encoding.profiles import EncodingProfile
from ibl_dask.video.reducers.protocol import PassResult, Reducer

SEGMENT_VERSION = 1
RECORD_VERSION = 2


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


def read_record(workspace: Workspace, camera: str) -> dict[str, Any] | None:
    """Return what is known of how a camera's video was compressed; None where nothing is.

    One of version 1 knows files by size and time of writing alone: enough to leave a video as it is, and no more.
    """
    try:
        content = json.loads(workspace.compression_file(camera).read_text())
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
    made: Mapping[str, Any],
) -> dict[str, Any]:
    """Write what is known of a compressed video, just before it gets its name; return that.

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


def is_told_of(record: Mapping[str, Any] | None, video: Mapping[str, Any]) -> bool:
    """Return whether a record tells of a video, by its identity: to the byte."""
    return record is not None and record["result"]["sha256"] == video.get("sha256")


def recorded_chunks(workspace: Workspace, camera: str, video: Mapping[str, Any]) -> tuple[Chunk, ...]:
    """Return the chunks that a video was compressed in; none where it is not one that a record tells of."""
    record = read_record(workspace, camera)
    if record is None or not is_told_of(record, video):
        return ()
    return tuple(Chunk(start, stop) for start, stop in pairwise(record.get("borders", ())))


# -- steps -------------------------------------------------------------------------------------------------


def index_raw(*, records: Records, workspace: Workspace, camera: Camera, video: Path) -> Facts:
    """Index the raw video, where its copy may be written."""
    workspace.require_own(workspace.video_file(camera).parent)
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
    size = {"width": found.width, "height": found.height}
    return {"video": str(video), "frames": len(found), "identity": found.identity(), "codec": found.codec, **size}


def encode_chunk(
    *,
    records: Records,
    workspace: Workspace,
    camera: str,
    video: Path,
    chunk: Chunk,
    profile: EncodingProfile,
    reducers: Sequence[Reducer],
    mark: str,
) -> Facts:
    """Compress one chunk and compare the result with its source; keep both as one file."""
    from ibl_dask.video.encoding import encode

    path = workspace.segment_file(camera, chunk)
    if _is_done(path, mark):
        return {"kept": True, "frames": len(chunk)}
    source = load_index(workspace.raw_index_file(camera))
    with staying_the_same(video, source):
        encoded = encode.encode_chunk(video, source, chunk, profile, reducers)
    complaint = encoded.fidelity.complaint(chunk.start, profile.psnr_floor_db)
    if complaint:
        raise CorruptOutput(
            f"frames {chunk.start:,} to {chunk.stop - 1:,} are not faithful once compressed",
            where=str(video),
            expected=f"a median PSNR of {profile.psnr_floor_db:g} dB or more, each frame as encoded, in its place",
            got=complaint,
            do="look at these frames; a profile with a lower crf keeps more of them. The raw video stays as it is",
        )
    content, facts = encoded.segment.to_arrays()
    content |= {"psnr_db": encoded.fidelity.psnr_db, "ssim": encoded.fidelity.ssim}
    content |= {f"pass/{name}": values for name, values in encoded.result.arrays.items()}
    facts |= {"mark": mark, "reducers": encoded.result.fingerprints}
    arrays.write_arrays(path, "segment", SEGMENT_VERSION, content, facts)
    return {
        "frames": len(chunk),
        "bytes": int(encoded.segment.sizes.sum()),
        "median_psnr_db": round(float(np.median(encoded.fidelity.psnr_db)), 3),
    }


def put_in_place(
    *,
    records: Records,
    workspace: Workspace,
    camera: Camera,
    video: Path,
    chunks: Sequence[Chunk],
    profile: EncodingProfile,
    build: str,
    mark: str,
) -> Facts:
    """Join the segments, prove the file, record it, and give it its name.

    The record is written before the name is given: a name without a record would look like somebody else's file.
    """
    from ibl_dask.video.encoding.join import check_mp4, write_mp4
    from ibl_dask.video.encoding.segment import Segment

    source = load_index(workspace.raw_index_file(camera.label))
    notes = [*compare_with_rows(workspace, camera, video, len(source)), *source.notes]
    target, before = workspace.video_file(camera), read_record(workspace, camera.label)
    fidelity: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    results: list[PassResult] = []

    def segments() -> Any:
        for chunk in chunks:
            content, facts = _read_segment(workspace, camera.label, chunk, mark)
            fidelity.append((content["psnr_db"], content["ssim"]))
            passed = {name.removeprefix("pass/"): v for name, v in content.items() if name.startswith("pass/")}
            results.append(PassResult(chunk, passed, np.zeros(len(chunk), np.bool_), len(chunk), facts["reducers"]))
            yield chunk, Segment.from_arrays(content, facts)

    with writing_path(target, _expected_bytes(workspace, camera.label, chunks)) as unfinished:
        written = write_mp4(unfinished, segments(), source, profile)
        index = check_mp4(written, source)
        source.require_unchanged(video)
        psnr, ssim = (np.concatenate(parts) for parts in zip(*fidelity, strict=True))
        made = {
            "profile": profile.settings(),
            "encoder": build,
            "mark": mark,
            "borders": [*(chunk.start for chunk in chunks), len(index)],
            "psnr_db": {"median": float(np.median(psnr)), "lowest": float(psnr.min()), "mean": float(psnr.mean())},
            "ssim": {"median": float(np.nanmedian(ssim)), "lowest": float(np.nanmin(ssim))},
            "notes": notes,
        }
        record = write_record(workspace, camera, video, source, unfinished, index, made)
        set_aside(workspace, target, before)
    index = replace(index, content=video_content(record["result"]["file"], record["result"]["sha256"]))
    for result in results:
        write_part(workspace, camera.label, index, result)
    keep_index(workspace.index_file(camera.label), index)
    shutil.rmtree(workspace.segment_file(camera.label, chunks[0]).parent.parent, ignore_errors=True)
    return {"outputs": [str(target), str(workspace.compression_file(camera.label))], **told(record)}


def keep_compressed(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """Say what is known of a compressed video that stays as it is, or what stands against it."""
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
    if record is not None:
        _insist_on_recorded(workspace, camera, compressed, record)
    return {"kept": True, "outputs": [str(compressed)], **({} if record is None else told(record))}


# -- parts -------------------------------------------------------------------------------------------------


def _insist_on_recorded(workspace: Workspace, camera: Camera, video: Path, record: Mapping[str, Any]) -> None:
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


def told(record: Mapping[str, Any]) -> Facts:
    """Return what a step tells of a record: numbers of pixels only where it was compressed anew."""
    facts = {
        "frames": record["result"]["frames"],
        "sha256": record["result"]["sha256"],
        "bytes": record["result"]["file"]["size"],
        "raw_bytes": record["source"]["file"]["size"],
        "profile": record["profile"]["name"],
        "notes": record["notes"],
    }
    if "psnr_db" in record:
        facts |= {
            "median_psnr_db": record["psnr_db"]["median"],
            "lowest_psnr_db": record["psnr_db"]["lowest"],
            "median_ssim": record["ssim"]["median"],
        }
    return facts


def _is_done(path: Path, mark: str) -> bool:
    try:
        _, facts = arrays.read_arrays(path, "segment", SEGMENT_VERSION)
    except (FileNotFoundError, CorruptOutput, FormatTooNew):
        return False
    return bool(facts["mark"] == mark)


def _read_segment(workspace: Workspace, camera: str, chunk: Chunk, mark: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = workspace.segment_file(camera, chunk)
    try:
        content, facts = arrays.read_arrays(path, "segment", SEGMENT_VERSION)
    except FileNotFoundError:
        content, facts = {}, {"mark": ""}
    if facts["mark"] != mark:
        raise CorruptOutput(
            "the compressed frames of a chunk are gone",
            where=str(path),
            expected=f"frames {chunk.start:,} to {chunk.stop - 1:,} as this run compressed them",
            got="others" if content else "no such file",
            do="run again: only this chunk is compressed anew",
        )
    return content, facts


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
    most = tolerated_frames(n_frames, files.period_s or 1 / 30)
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
