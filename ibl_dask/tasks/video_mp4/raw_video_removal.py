"""Removal of raw videos: conditions that must hold at that moment. Nothing else in the package removes one.

A copy that was verified when it was made may have changed since: disks fail, and files are moved by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ibl_dask.errors import InputError, UnusableFile
from ibl_dask.model.description import Camera
from ibl_dask.model.result import Result
from ibl_dask.model.step import StepKey, Upstream
from ibl_dask.store import alf
from ibl_dask.store.atomic import sync_folder
from ibl_dask.store.compression_record import RECORD_VERSION, read_record
from ibl_dask.store.identity import sha256_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.video_mp4.raw_video import RawVideoStep, find_raw_video, require_one
from ibl_dask.tasks.video_mp4.trash import to_trash
from ibl_dask.video.container.index import index_video

RawPolicy = Literal["keep", "trash", "delete"]


@dataclass(frozen=True, slots=True)
class Proof:
    """A raw video whose copy was read whole a moment ago; made by `prove_copy` alone."""

    raw: Path
    """As recorded."""
    raw_before: Mapping[str, object]
    """Its identity when the copy was read."""
    copy: Path
    """The compressed video."""
    copy_before: Mapping[str, object]
    """Identity of the copy at that time."""
    sha256: str
    """Of the copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleRaw(RawVideoStep):
    """Move the raw video to the trash, or remove it, once its copy is verified in this run."""

    kind: ClassVar[str] = "raw"

    policy: RawPolicy
    """trash or delete."""
    copied: StepKey
    """Made the copy, or kept it."""

    def identity(self) -> Mapping[str, object]:
        return {"policy": self.policy, "parents": [self.copied.fingerprint]}

    def run(self, upstream: Upstream) -> Result:
        found = find_raw_video(self.workspace, self.described)
        if found.raw is None:
            return Result(is_kept=True)
        require_one([found.raw, *found.others], "video")
        self.workspace.require_own(found.raw.parent)
        return _part_with(self.workspace, prove_copy(self.workspace, self.described, found.raw), self.policy)


def prove_copy(workspace: Workspace, camera: Camera, raw: Path) -> Proof:
    """Read the copy of a raw video whole, and require that it is the one that was verified frame by frame.

    Its bytes are hashed and compared with the record, it is opened, and its frames are counted.

    Parameters
    ----------
    workspace
        The session.
    camera
        The camera as described.
    raw
        Its raw video.

    Raises
    ------
    UnusableFile
        If it is not, with the reason; the raw video stays.
    """
    copy, record = workspace.video_file(camera), read_record(workspace, camera.label)
    if record is None or not copy.is_file():
        raise _kept(raw, "no record proves its copy" if record is None else f"{copy.name} is no file")
    if record.version != RECORD_VERSION:
        raise _kept(raw, "its copy was recorded by an earlier version, which noted too little of the raw video")
    if record.notes:
        raise _kept(raw, "; ".join(record.notes))
    raw_before, copy_before = alf.identity(raw) or {}, alf.identity(copy) or {}
    if raw_before != record.source.file:
        raise _kept(raw, "it was changed or copied since its copy was made, so that may be one of another video")
    sha256 = sha256_of(copy)
    if sha256 != record.sha256:
        raise _kept(raw, f"{copy.name} is not what was proven any more: SHA-256 {sha256}", record.sha256)
    try:
        n_frames = len(index_video(copy))
    except InputError as error:
        raise _kept(raw, f"of {copy.name}, {error.what}") from error
    if not n_frames == record.result.frames == record.source.frames:
        text = f"{n_frames:,} frames, where {record.source.frames:,} were recorded of the raw video"
        raise _kept(raw, f"{copy.name} holds {text}")
    return Proof(raw, raw_before, copy, copy_before, sha256)


def _part_with(workspace: Workspace, proof: Proof, policy: RawPolicy) -> Result:
    """Move or remove a raw video whose copy is verified: the one place where that is done."""
    for folder in {proof.copy.parent, workspace.session.own}:
        sync_folder(folder)  # the names of copy and record, which a power cut would take
    if alf.identity(proof.raw) != proof.raw_before or alf.identity(proof.copy) != proof.copy_before:
        raise _kept(proof.raw, "one of the two changed while the copy was read")
    if policy == "trash":
        return Result(outputs=(to_trash(workspace, proof.raw),), facts={"proof": proof.sha256})
    proof.raw.unlink()
    return Result(facts={"removed": str(proof.raw), "proof": proof.sha256})


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
