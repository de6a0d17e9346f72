"""What must hold at this moment before a raw video is moved or removed. Nothing else in the package removes one.

That a copy was proven when it was made says nothing about the bytes that are there now: disks fail, and people tidy up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ibl_dask.errors import InputError, UnusableFile
from ibl_dask.model.description import Camera
from ibl_dask.store import alf
from ibl_dask.store.atomic import sync_folder
from ibl_dask.store.identity import sha256_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import Facts, Records
from ibl_dask.tasks.video_mp4.compress_steps import RECORD_VERSION, find_raw_video, insist_on_one, read_record
from ibl_dask.tasks.video_mp4.trash import to_trash
from ibl_dask.video.container.index import index_video

RawPolicy = Literal["keep", "trash", "delete"]


@dataclass(frozen=True, slots=True)
class Proof:
    """A raw video whose copy was read whole a moment ago; made by `prove_copy` alone."""

    raw: Path
    """As recorded."""
    raw_before: Mapping[str, Any]
    """What it was when the copy was looked at."""
    copy: Path
    """What stands for it."""
    copy_before: Mapping[str, Any]
    """What that was."""
    sha256: str
    """Of the copy."""


def settle_raw(*, records: Records, workspace: Workspace, camera: Camera, policy: RawPolicy) -> Facts:
    """Move the raw video to the trash, or remove it, once its copy is proven in this run."""
    found = find_raw_video(workspace, camera)
    if found.raw is None:
        return {"kept": True}
    insist_on_one([found.raw, *found.others], "video")
    workspace.require_own(found.raw.parent)
    return _part_with(workspace, prove_copy(workspace, camera, found.raw), policy)


def prove_copy(workspace: Workspace, camera: Camera, raw: Path) -> Proof:
    """Read the copy of a raw video whole, and insist that it is what was proven to show every frame of this one.

    Its bytes are hashed and compared with the record, it is opened, and its frames are counted.

    Raises
    ------
    UnusableFile
        If it is not, with what stands against it; the raw video stays.
    """
    copy, record = workspace.video_file(camera), read_record(workspace, camera.label)
    if record is None or not copy.is_file():
        raise _kept(raw, "no record proves its copy" if record is None else f"{copy.name} is no file")
    if record["version"] != RECORD_VERSION:
        raise _kept(raw, "its copy was recorded by an earlier version, which noted too little of the raw video")
    if record["notes"]:
        raise _kept(raw, "; ".join(map(str, record["notes"])))
    raw_before, copy_before = alf.identity(raw) or {}, alf.identity(copy) or {}
    if raw_before != record["source"]["file"]:
        raise _kept(raw, "it was changed or copied since its copy was made, so that may be one of another video")
    sha256 = sha256_of(copy)
    if sha256 != record["result"]["sha256"]:
        raise _kept(raw, f"{copy.name} is not what was proven any more: SHA-256 {sha256}", record["result"]["sha256"])
    try:
        n_frames = len(index_video(copy))
    except InputError as error:
        raise _kept(raw, f"of {copy.name}, {error.what}") from error
    if not n_frames == record["result"]["frames"] == record["source"]["frames"]:
        told = f"{n_frames:,} frames, where {record['source']['frames']:,} were recorded of the raw video"
        raise _kept(raw, f"{copy.name} holds {told}")
    return Proof(raw, raw_before, copy, copy_before, sha256)


def _part_with(workspace: Workspace, proof: Proof, policy: RawPolicy) -> Facts:
    """Move or remove a raw video whose copy is proven: the one place where that is done."""
    for folder in {proof.copy.parent, workspace.session.own}:
        sync_folder(folder)  # the names of copy and record, which a power cut would take
    if alf.identity(proof.raw) != proof.raw_before or alf.identity(proof.copy) != proof.copy_before:
        raise _kept(proof.raw, "one of the two changed while the copy was read")
    if policy == "trash":
        return {"outputs": [str(to_trash(workspace, proof.raw))], "proof": proof.sha256}
    proof.raw.unlink()
    return {"removed": str(proof.raw), "proof": proof.sha256}


def _kept(raw: Path, got: str, sha256: str = "") -> UnusableFile:
    return UnusableFile(
        "the raw video is kept, though it should go",
        where=str(raw),
        expected="a compressed video that is recorded and whole, and as many camera records as frames"
        + (f": SHA-256 {sha256}" if sha256 else ""),
        got=got,
        do="see to the camera's files, or run again with --overwrite to make the copy anew; or remove the raw video by "
        "hand",
    )
