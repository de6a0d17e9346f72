"""A folder beside that of a camera's videos, for those that shall not be in the way and are not removed either."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ibl_dask.errors import UnusableFile
from ibl_dask.store.atomic import move
from ibl_dask.store.identity import sha256_of
from ibl_dask.store.workspace import Workspace


def to_trash(workspace: Workspace, video: Path) -> Path:
    """Move a video there, under the name that it has; return where it is.

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


def set_aside(workspace: Workspace, video: Path, record: Mapping[str, Any] | None) -> None:
    """Move a video out of the way of one that takes its place, unless it is the very one that a record tells of.

    Nobody knows what it was made from, nor whether that is still there.

    Parameters
    ----------
    workspace
        The session.
    video
        Where the new one goes; maybe nothing is there.
    record
        What was known of the one before.
    """
    if not video.exists() or (record is not None and sha256_of(video) == record["result"]["sha256"]):
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
