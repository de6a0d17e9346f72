"""What a session recorded with its cameras, as a list: files, and snapshots with their notes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ibl_dask.model.description import Camera
from ibl_dask.model.places import below
from ibl_dask.store import alf
from ibl_dask.store.atomic import write_text
from ibl_dask.store.identity import content_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import (
    CAMERA_FILES,
    Facts,
    Records,
    camera_file_paths,
    labcams_pattern,
    video_paths,
    video_pattern,
)
from ibl_dask.tasks.video_mp4.compress_steps import read_record

REGISTRATION_VERSION = 1
SNAPSHOT_FOLDER = "snapshots"
SNAPSHOT_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif")
_VIDEO_EXTENSIONS = ("avi", "mp4", "mkv", "mov")
WORKFLOWS = "_iblrig_videoCodeFiles.raw*.*"
"""The programs that recorded the videos."""
_ENCODINGS = ("utf-8-sig", "cp1252")


def register_camera(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """List a camera's raw files, and insist on a clock of its own."""
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
    return {
        "files": [alf.identity(path) for path in files],
        "notes": [] if video else [f"camera {camera.label} has no video"],
    }


def camera_files(workspace: Workspace, camera: Camera) -> list[Path]:
    """Return every raw file of a camera: videos in whichever form, and what it noted about its frames."""
    names = [
        *(f"_iblrig_{camera.label}Camera.{part}" for part in CAMERA_FILES.values()),
        *(video_pattern(camera.label, extension) for extension in _VIDEO_EXTENSIONS),
        *(labcams_pattern(camera.label, extension) for extension in ("camlog", *_VIDEO_EXTENSIONS)),
    ]
    return [path for name in names for path in alf.find_all(workspace.session, camera.collection, name)]


def write_registration(*, records: Records, workspace: Workspace, cameras: Sequence[Camera]) -> Facts:
    """Write what there is to register: files of all cameras, and snapshots.

    Paths are relative to the session; links are read through, and those that lead nowhere named in the notes. The MP4
    that a record tells of has a sum: that of the bytes which are there now. Where it is another than the record says,
    the notes say so.
    """
    notes = [note for record in records.values() for note in record.value.get("notes", ())]
    notes += [record.failure.message for record in records.values() if record.failure is not None]
    collections = list(dict.fromkeys(camera.collection for camera in cameras))
    files = [
        {"camera": camera.label, **_entry(workspace, path), **_sum_of_made(workspace, camera, path, notes)}
        for camera in cameras
        for path in camera_files(workspace, camera)
    ]
    for collection in collections:
        files += [_entry(workspace, path) for path in alf.find_all(workspace.session, collection, WORKFLOWS)]
        notes += [note for folder in _folders(workspace, collection) for note in _dangling(workspace, folder)]
    snapshots = [snapshot for collection in collections for snapshot in _snapshots(workspace, collection, notes)]
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
    return {
        "kept": not is_new,
        "outputs": [str(path)],
        "files": len(files),
        "snapshots": len(snapshots),
        "notes": notes,
    }


# -- parts -------------------------------------------------------------------------------------------------


def _snapshots(workspace: Workspace, collection: str, notes: list[str]) -> list[dict[str, Any]]:
    """Return the snapshots of a collection; add to the notes what cannot be read."""
    found: dict[str, dict[str, Any]] = {}
    for folder in _folders(workspace, collection):
        place = folder / SNAPSHOT_FOLDER
        if not place.is_dir():
            continue
        notes += _dangling(workspace, place)
        inside = sorted(path for path in place.iterdir() if not path.name.startswith("."))
        texts = {path.stem: path for path in inside if path.suffix.lower() == ".txt" and path.is_file()}
        for path in inside:
            if path.suffix.lower() in SNAPSHOT_SUFFIXES and path.is_file():
                text = _read_note(texts[path.stem]) if path.stem in texts else ""
                found.setdefault(_relative(workspace, path), {**_entry(workspace, path), "text": text})
    return list(found.values())


def _read_note(path: Path) -> str:
    """Return a note as text, however the computer that it was typed on encodes letters."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace").strip()
    for encoding in _ENCODINGS:
        try:
            return content.decode(encoding).strip()
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1").strip()


def _folders(workspace: Workspace, collection: str) -> list[Path]:
    places = (below(root, collection) for root in workspace.session.roots)
    return [place for place in places if place.is_dir()]


def _dangling(workspace: Workspace, folder: Path) -> Iterator[str]:
    """Yield a note for each link in a folder that leads nowhere."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not os.path.exists(path):  # noqa: PTH110  # `Path.exists` raises for a link in a circle
            yield f"{_relative(workspace, path)} is a link that leads nowhere: {path.readlink()}"


def _entry(workspace: Workspace, path: Path) -> dict[str, Any]:
    """Return where a file is and what tells it from another version; of a link what it leads to."""
    stat = path.stat()
    link = {"link": str(path.readlink())} if path.is_symlink() else {}
    return {"path": _relative(workspace, path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, **link}


def _sum_of_made(workspace: Workspace, camera: Camera, path: Path, notes: list[str]) -> dict[str, str]:
    """Return the sum of an MP4 that was made here, as it is now; add to the notes where it is not what was made."""
    record = read_record(workspace, camera.label)
    if record is None or path.name != record["result"]["file"]["name"]:
        return {}
    found, made = content_of(path, workspace.content_note(camera.label, path)), record["result"]["sha256"]
    if found != made:
        notes.append(f"{_relative(workspace, path)} is not what was made here any more: SHA-256 {found}, was {made}")
    return {"sha256": found}


def _relative(workspace: Workspace, path: Path) -> str:
    root = next(root for root in workspace.session.roots if path.is_relative_to(root))
    return path.relative_to(root).as_posix()
