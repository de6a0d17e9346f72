"""Readiness of a session: all files that its description declares are there, and no copy of them is under way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from ibl_dask.model.session import Session
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import camera_file_paths, video_paths

SETTLED_S = 60.0
"""Age of the last change of any raw file from which on a session counts as stable, s."""
PATIENCE_S = 24 * 3600.0
"""Age of the flag from which on a session is taken as it is, s: its tasks then report missing files."""
COPYING = ("transfer_me.flag", "_devices/*.status_pending")
"""Marks of the field's programs in a session that is still being copied."""


def lacking(session: Session) -> list[str]:
    """Return the files and folders that a session's description declares and its folder lacks.

    Parameters
    ----------
    session : Session
        The session; its description must be readable.
    """
    description = session.description
    workspace = Workspace(session, session.path)
    missing = []
    for camera in description.cameras:
        if not video_paths(workspace, camera):
            missing.append(f"a video of the {camera.label} camera")
        if not any(camera_file_paths(workspace, camera).values()):
            missing.append(f"times or pin states of the {camera.label} camera")
    folders = [protocol.collection for protocol in description.protocols]
    folders += [description.sync.collection if description.sync is not None else None]
    folders += [each.get("collection") for each in _entries(description.devices)]
    missing += [f"files in {name}" for name in dict.fromkeys(folders) if name and not _has_files(session.path / name)]
    return missing


def _entries(devices: object) -> Iterator[dict[str, str]]:
    """Yield the mappings of devices that name a folder."""
    if isinstance(devices, dict):
        if isinstance(devices.get("collection"), str):
            yield devices
        for value in devices.values():
            yield from _entries(value)


def _has_files(folder: Path) -> bool:
    return any(names for _, _, names in os.walk(folder))


def newest_change_s(session: Path) -> float:
    """Return the Unix time of the last change of a raw file of a session; 0 without one, and now if one goes away."""
    newest, now_s = 0.0, time.time()
    for folder, names, files in os.walk(session):
        if Path(folder) == session:
            names[:] = [name for name in names if name.startswith("raw_")]
            continue
        for name in files:
            try:
                found = os.stat(os.path.join(folder, name), follow_symlinks=False)  # noqa: PTH116, PTH118  # many files
            except FileNotFoundError:
                return now_s
            newest = max(newest, _changed_s(found, now_s), found.st_ctime)
    return newest


def _changed_s(found: os.stat_result, now_s: float) -> float:
    """Return the Unix time of a change of a file; where a clock ahead of ours set it, of its inode."""
    return found.st_mtime if found.st_mtime <= now_s else found.st_ctime


def reason_to_wait(
    session: Session, flag: Path, *, settled_s: float = SETTLED_S, patience_s: float = PATIENCE_S
) -> str:
    """Return why a session is not ready; empty where it is.

    Parameters
    ----------
    session : Session
        The session.
    flag : Path
        Its flag.
    settled_s, patience_s : float
        See `SETTLED_S` and `PATIENCE_S`.
    """
    now_s = time.time()
    try:
        is_old = now_s - _changed_s(flag.stat(), now_s) > patience_s
    except FileNotFoundError:
        return "its flag was taken away"
    age_s = now_s - newest_change_s(session.path)
    # A disk whose clock is ahead shows changes that are still to come, and must not keep a session for ever.
    if age_s < settled_s and not (is_old and age_s < 0):
        return f"a file changed {max(age_s, 0):.0f} s ago: it is still being copied"
    if is_old:
        return ""
    marks = [path.name for pattern in COPYING for path in sorted(session.path.glob(pattern))]
    if marks:
        return f"{', '.join(marks)}: it is still being copied"
    missing = lacking(session)
    return f"it lacks {', '.join(missing)}" if missing else ""
