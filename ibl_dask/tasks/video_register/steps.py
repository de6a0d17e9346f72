"""Steps that list the recordings of a session's cameras: files, and snapshots with their notes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ibl_dask.model.description import Camera
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.store import alf
from ibl_dask.store.atomic import write_text
from ibl_dask.store.compression_record import read_record
from ibl_dask.store.identity import content_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import (
    CAMERA_FILES,
    camera_file_paths,
    labcams_pattern,
    video_paths,
    video_pattern,
)
from ibl_dask.tasks.session_snapshots import dangling_in, entry_of, folders_of, relative, snapshots_in

REGISTRATION_VERSION = 1
_VIDEO_EXTENSIONS = ("avi", "mp4", "mkv", "mov")
WORKFLOWS = "_iblrig_videoCodeFiles.raw*.*"
"""The programs that recorded the videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCamera(Step):
    """List a camera's raw files, and require a clock of its own."""

    kind: ClassVar[str] = "register"
    version: ClassVar[int] = 2

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""
    files: Sequence[object]
    """Identities of its raw files; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"camera": self.camera, "files": self.files}

    def run(self, upstream: Upstream) -> Result:
        return register_camera(self.workspace, self.described)


def register_camera(workspace: Workspace, camera: Camera) -> Result:
    """Return the identities of a camera's raw files.

    Raises
    ------
    MissingFile
        If the camera left no clock of its own.
    """
    found = {key for key, paths in camera_file_paths(workspace, camera).items() if paths}
    if not found & {"frame_data", "timestamps", "camlog"}:
        name, others = ("raw.camlog", "") if camera.compressed else ("frameData.bin", " (or timestamps.ssv)")
        alf.require(
            workspace.session,
            camera.collection,
            f"_iblrig_{camera.label}Camera.{name}",
            f"copy {name}{others} of this camera from the acquisition computer",
        )
    video = video_paths(workspace, camera)
    files = camera_files(workspace, camera)
    notes = () if video else (f"camera {camera.label} has no video",)
    return Result(facts={"files": [alf.identity(path) for path in files]}, notes=notes)


def camera_files(workspace: Workspace, camera: Camera) -> list[Path]:
    """Return every raw file of a camera: videos of any format, and its own files about its frames."""
    names = [
        *(f"_iblrig_{camera.label}Camera.{part}" for part in CAMERA_FILES.values()),
        *(video_pattern(camera.label, extension) for extension in _VIDEO_EXTENSIONS),
        *(labcams_pattern(camera.label, extension) for extension in ("camlog", *_VIDEO_EXTENSIONS)),
    ]
    return [path for name in names for path in alf.find_all(workspace.session, camera.collection, name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRegistration(Step):
    """Write the list of files and snapshots to register; see `write_registration`."""

    kind: ClassVar[str] = "registration"
    allow_failed: ClassVar[tuple[str, ...]] = ("registered",)

    workspace: Workspace
    """The session."""
    cameras: tuple[Camera, ...]
    """Cameras as described."""
    registered: tuple[StepKey, ...]
    """List the files of each camera."""

    def identity(self) -> Mapping[str, object]:
        return {"parents": [key.fingerprint for key in self.registered]}

    def run(self, upstream: Upstream) -> Result:
        records = [upstream[key] for key in self.registered]
        notes = [note for record in records for note in record.result.notes]
        notes += [record.failure.message for record in records if record.failure is not None]
        return write_registration(self.workspace, self.cameras, notes)


def write_registration(workspace: Workspace, cameras: Sequence[Camera], notes: list[str]) -> Result:
    """Write the list of files of all cameras, and of snapshots.

    Paths are relative to the session; links are followed, and broken ones named in the notes. An MP4 with a compression
    record has a checksum: that of its present bytes. One that differs from the record is named in the notes.

    Parameters
    ----------
    workspace
        The session.
    cameras
        Cameras as described.
    notes
        Remarks so far; more are added.
    """
    collections = list(dict.fromkeys(camera.collection for camera in cameras))
    files = [
        {"camera": camera.label, **entry_of(workspace, path), **_sum_of_made(workspace, camera, path, notes)}
        for camera in cameras
        for path in camera_files(workspace, camera)
    ]
    for collection in collections:
        files += [entry_of(workspace, path) for path in alf.find_all(workspace.session, collection, WORKFLOWS)]
        notes += [note for folder in folders_of(workspace, collection) for note in dangling_in(workspace, folder)]
    snapshots = [snapshot for collection in collections for snapshot in snapshots_in(workspace, collection, notes)]
    content = {
        "version": REGISTRATION_VERSION,
        "session": workspace.session.reference,
        "files": sorted(files, key=lambda entry: str(entry["path"])),
        "snapshots": sorted(snapshots, key=lambda entry: str(entry["path"])),
        "notes": notes,
    }
    text = json.dumps(content, indent=1) + "\n"
    path = workspace.registration_file
    is_new = not path.exists() or path.read_bytes() != text.encode()
    if is_new:
        write_text(path, text)
    facts = {"files": len(files), "snapshots": len(snapshots)}
    return Result(is_kept=not is_new, outputs=(path,), notes=tuple(notes), facts=facts)


# -- parts -------------------------------------------------------------------------------------------------


def _sum_of_made(workspace: Workspace, camera: Camera, path: Path, notes: list[str]) -> dict[str, str]:
    """Return the checksum of a recorded MP4 as it is now; a difference from the record is added to the notes."""
    record = read_record(workspace, camera.label)
    if record is None or path.name != record.result.file["name"]:
        return {}
    found, made = content_of(path, workspace.content_note(camera.label, path)), record.sha256
    if found != made:
        notes.append(f"{relative(workspace, path)} is not what was made here any more: SHA-256 {found}, was {made}")
    return {"sha256": found}
