"""Folder beside that of a camera's videos, for those that are set aside but not removed."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from ibl_dask.errors import UnusableFile
from ibl_dask.store.atomic import move
from ibl_dask.store.compression_record import CompressionRecord
from ibl_dask.store.identity import sha256_of
from ibl_dask.store.workspace import Workspace


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


def _folder_beside(workspace: Workspace, video: Path) -> Path:
    folder = video.parent.with_name(f"{video.parent.name}.trash")
    workspace.require_own(folder)
    folder.mkdir(exist_ok=True)
    return folder
