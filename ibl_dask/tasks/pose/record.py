"""Record of a pose table: the video, networks, engines and windows that it was made with, beside its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.errors import MissingFile
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.places import below
from ibl_dask.store.alf import latest
from ibl_dask.store.atomic import write_text
from ibl_dask.store.workspace import Workspace

VERSION = 1


@dataclass(frozen=True, slots=True)
class PoseRecord:
    """How the published keypoints of a camera were made."""

    video: Mapping[str, object]
    """Identity of the video."""
    table: str
    """Path of the table relative to the session."""
    sha256: str
    """Hash of the table."""
    networks: Mapping[str, JsonObject]
    """Network -> fingerprint of its columns (`fingerprint`), its columns, window and engines; JSON."""
    frames: int
    """Rows of the table."""
    decode_errors: int
    """Frames that do not decode."""


def write_record(workspace: Workspace, camera: str, attribute: str, record: PoseRecord) -> Path:
    """Write the record of a table, and return its path."""
    path = workspace.pose_record(camera, attribute)
    content = {
        "version": VERSION,
        "video": dict(record.video),
        "table": record.table,
        "sha256": record.sha256,
        "frames": record.frames,
        "decode_errors": record.decode_errors,
        "networks": {name: dict(network) for name, network in record.networks.items()},
    }
    write_text(path, json.dumps(content, indent=1))
    return path


def read_record(
    workspace: Workspace, camera: str, attribute: str, video: Mapping[str, object], *, is_checked: bool = True
) -> PoseRecord | None:
    """Return the record of a table; None where there is none, or it is of another video or another table.

    Parameters
    ----------
    workspace : Workspace
        The session.
    camera, attribute : str
        Label, and attribute of the table.
    video : mapping
        Identity of the video as it is now.
    is_checked : bool
        Read the table and compare its hash; plans only look whether it is there.
    """
    try:
        content = json.loads(workspace.pose_record(camera, attribute).read_text())
        if content["version"] != VERSION:
            return None
        record = PoseRecord(
            content["video"],
            content["table"],
            content["sha256"],
            content["networks"],
            content["frames"],
            content["decode_errors"],
        )
        table = workspace.session.outputs / record.table
        is_there = hash_of(table) == record.sha256 if is_checked else table.exists()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if is_there and dict(record.video) == dict(video) else None


def published_table(workspace: Workspace, camera: str, attribute: str) -> Path:
    """Return the table of a camera: the one that its record names, else the newest revision.

    Raises
    ------
    MissingFile
        If there is none.
    """
    try:
        name = str(json.loads(workspace.pose_record(camera, attribute).read_text())["table"])
        table: Path | None = below(workspace.session.outputs, name)
    except (OSError, ValueError, KeyError, TypeError):
        table = None
    if table is None or not table.exists():
        table = latest(workspace.pose_table(camera, attribute))
    if table is None:
        raise MissingFile(
            "this camera has no table of keypoints",
            where=str(workspace.pose_table(camera, attribute)),
            expected="keypoints of every frame",
            got="no such file",
            do="run the task that estimates poses first",
        )
    return table


def stored_networks(workspace: Workspace, camera: str, attribute: str) -> Mapping[str, JsonObject]:
    """Return the networks of the latest table of a camera by the record of it; none without one."""
    try:
        networks: Mapping[str, JsonObject] = json.loads(workspace.pose_record(camera, attribute).read_text())[
            "networks"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return networks


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
