"""Folder beside that of a camera's videos, for those that are set aside but not removed."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ibl_dask.errors import UnusableFile
from ibl_dask.store.atomic import move
from ibl_dask.store.compression_record import CompressionRecord, read_record
from ibl_dask.store.identity import looks_like, sha256_of
from ibl_dask.store.workspace import Workspace

_VIDEOS = ("_iblrig_{label}Camera.raw*.avi", "_iblrig_{label}Camera.raw*.mp4", "{label}_cam*.avi")
"""Names of videos that are moved to the trash."""


def to_trash(workspace: Workspace, video: Path) -> Path:
    """Move a video to the trash under its own name, and return its new path.

    Raises
    ------
    UnusableFile
        If another one of that name is there.
    """
    target = _folder_beside(workspace, video) / video.name
    try:
        move(video, target)
    except FileExistsError as error:
        raise UnusableFile(
            "the trash holds a raw video of this name already, and this one stays where it is",
            where=str(target),
            expected="no such file",
            got=f"{target.stat().st_size:,} bytes",
            do="see which of them is wanted, and remove the other",
        ) from error
    return target


def set_aside(workspace: Workspace, video: Path, record: CompressionRecord | None) -> None:
    """Move a video aside for one that takes its name, unless it is the recorded one.

    The source of a video without a record is unknown, and may be lost.

    Parameters
    ----------
    workspace
        The session.
    video
        Path of the new video; there may be no file yet.
    record
        Record of the earlier one; None without.
    """
    if not video.exists() or (record is not None and sha256_of(video) == record.sha256):
        return
    folder = _folder_beside(workspace, video)
    names = (video.name if n == 1 else f"{video.stem}.{n}{video.suffix}" for n in count(1))
    for name in names:
        try:
            move(video, folder / name)
        except FileExistsError:
            continue
        return


@dataclass(frozen=True, slots=True)
class Trashed:
    """Video in the trash of a session."""

    path: Path
    """The file."""
    n_bytes: int
    """Size, bytes."""
    since_s: float
    """Unix time at which it was moved there: that of its last change of any kind, which may be later."""
    camera: str
    """Label of its camera."""
    is_raw: bool
    """True for the raw video that was compressed; False for a video that another one replaced."""
    fault: str
    """Reason for which it must stay; empty where the video in its place looks as it should."""


def find_trashed(workspace: Workspace) -> list[Trashed]:
    """Return the videos in the trash of a session; files of other names there are not ours, and left out.

    Raises
    ------
    NotASession, DescriptionError
        If there is no such session, or no description of it.
    """
    found = []
    for camera in workspace.session.description.cameras:
        video = workspace.video_file(camera)
        folder = _trash_of(video)
        if not folder.is_dir() or not workspace.is_own(folder):
            continue
        record = read_record(workspace, camera.label)
        for path in sorted(folder.iterdir()):
            is_video = any(fnmatch.fnmatchcase(path.name, name.format(label=camera.label)) for name in _VIDEOS)
            if is_video and path.is_file() and not path.is_symlink():
                stat = path.stat()
                is_raw = record is not None and looks_like(path, record.source.file)
                fault = _fault(path, video, record, is_raw)
                found.append(Trashed(path, stat.st_size, stat.st_ctime, camera.label, is_raw, fault))
    return found


def _fault(path: Path, video: Path, record: CompressionRecord | None, is_raw: bool) -> str:
    """Return the reason for which a video in the trash must stay."""
    if record is None:
        return f"no record proves {video.name}"
    if not video.is_file():
        return f"{video.name} is gone"
    if video.stat().st_size != record.result.size:
        return f"{video.name} is not the one that was recorded"
    if path.suffix.lower() != ".mp4" and not is_raw:
        return f"{video.name} was not made of it"
    return ""


def require_replaced(workspace: Workspace, trashed: Trashed) -> None:
    """Require that the video in the place of one in the trash is the recorded one, by reading it whole.

    Raises
    ------
    UnusableFile
        If it is not; the one in the trash must stay.
    """
    video = workspace.video_file(workspace.session.description.camera(trashed.camera))
    record = read_record(workspace, trashed.camera)
    sha256 = sha256_of(video) if record is not None and video.is_file() else ""
    if record is None or sha256 != record.sha256:
        raise UnusableFile(
            "a video stays in the trash, since the one in its place is not the recorded one",
            where=str(trashed.path),
            expected=f"{video} with SHA-256 {'' if record is None else record.sha256}".rstrip(),
            got=sha256 or "no such file, or no record of it",
            do="see which of them is wanted; the trash may hold the only good one",
        )


def _trash_of(video: Path) -> Path:
    return video.parent.with_name(f"{video.parent.name}.trash")


def _folder_beside(workspace: Workspace, video: Path) -> Path:
    folder = _trash_of(video)
    workspace.require_own(folder)
    folder.mkdir(exist_ok=True)
    return folder
