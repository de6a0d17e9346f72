"""Reader of `qc.json`, the checks of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager

from ibl_dask.errors import DamagedRecord, FormatTooNew, IblDaskError, MissingFile
from ibl_dask.model.qc_record import CameraRecord, SessionRecord
from ibl_dask.qc.record import READABLE_VERSIONS, TRACKERS, read_session_record, session_record, with_verdicts
from ibl_dask.store.atomic import write_text
from ibl_dask.store.file_lock import changing_records
from ibl_dask.store.json_files import read_object
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.store.workspace import Workspace


def changing_qc(workspace: Workspace) -> AbstractContextManager[None]:
    """Return a context for reading, changing and writing `qc.json`: tasks of one session may end at the same time."""
    return changing_records(workspace.session.own)


def judged(workspace: Workspace, pose: Mapping[str, CameraRecord]) -> dict[str, CameraRecord]:
    """Return the records of keypoints with the latest verdicts; with those that they have where none can be read."""
    try:
        return _judged(workspace, pose)
    except IblDaskError:  # the tasks of keypoints fail with it
        return dict(pose)


def _judged(workspace: Workspace, pose: Mapping[str, CameraRecord]) -> dict[str, CameraRecord]:
    verdicts = read_verdicts(workspace.session)
    pairs = {(verdict.camera, tracker) for verdict in verdicts for tracker in TRACKERS}
    records = {pair: read_object(workspace.pose_record(*pair)) for pair in pairs}
    tables = {pair: str(record["sha256"]) for pair, record in records.items() if "sha256" in record}
    return with_verdicts(pose, verdicts, tables)


def require_qc(workspace: Workspace) -> SessionRecord:
    """Return the checks of a session.

    Raises
    ------
    MissingFile
        If it was not checked yet.
    DamagedRecord, FormatTooNew
        See `read_qc`.
    """
    found = read_qc(workspace)
    if found is None:
        raise MissingFile(
            "this session was not checked yet",
            where=str(workspace.qc_file),
            expected="a record of checks",
            got="nothing",
            do=f"run: ibl-dask run {workspace.session.path}",
        )
    return found


def read_qc(workspace: Workspace) -> SessionRecord | None:
    """Return the checks of a session; None where it was not checked yet.

    Raises
    ------
    DamagedRecord
        If the record is damaged.
    FormatTooNew
        If it has another layout.
    """
    try:
        content = json.loads(workspace.qc_file.read_text())
        known = read_session_record(content) if content["version"] in READABLE_VERSIONS else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedRecord(
            "this record of checks is damaged",
            where=str(workspace.qc_file),
            expected="JSON with the checks of each camera",
            got=f"{type(error).__name__}: {error}",
            do=f"run again, it is made anew: ibl-dask run {workspace.session.path}",
        ) from error
    if known is None:
        raise FormatTooNew(
            "this record of checks has another layout",
            where=str(workspace.qc_file),
            expected="version " + " or ".join(map(str, READABLE_VERSIONS)),
            got=f"version {content['version']}",
            do="use the version of ibl_dask that wrote it; or move it away and run again, it is made anew",
        )
    return known


def update_verdicts(workspace: Workspace) -> bool:
    """Write the latest verdicts into `qc.json`; return False where the session was not checked yet.

    Raises
    ------
    DamagedRecord, FormatTooNew
        If the record or the verdicts cannot be read.
    """
    with changing_qc(workspace):
        known = read_qc(workspace)
        if known is None:
            return False
        pose = _judged(workspace, known.get("pose", {}))
        content = session_record(known["session"], known["cameras"], pose)
        write_text(workspace.qc_file, json.dumps(content, indent=1))
    return True
