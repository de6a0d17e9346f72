"""Folders of sessions that Alyx names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ibl_dask.alyx.client import Alyx, status_of
from ibl_dask.errors import AlyxRefused, NotASession
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.shell_names import require_plain
from ibl_dask.store.work_folder import nearest_work_folder

VARIABLE = "IBL_DASK_SUBJECTS"
"""Variable that names the folders of subjects, with `:` between them."""
FETCH_VARIABLE = "IBL_DASK_FETCH_TO"
"""Variable that names the folder into which sessions are fetched."""


def subject_folders() -> list[Path]:
    """Return the folders in which sessions are looked for: of the variable, else the one beside the work folder.

    The one that sessions are fetched into comes last, if a variable names it.
    """
    named = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    found = [Path(part).expanduser().absolute() for part in named] or [nearest_work_folder().absolute().parent]
    fetched = os.environ.get(FETCH_VARIABLE)
    return [*found, Path(fetched).expanduser().absolute()] if fetched else found


def find_folder(eid: str, client: Callable[[], Alyx], folders: Iterable[Path]) -> Path:
    """Return the folder of a session here, by its identifier in Alyx.

    Parameters
    ----------
    eid : str
        The identifier.
    client : callable
        Returns the database.
    folders : iterable of Path
        Folders of subjects, or of labs, in the order in which they are looked into.

    Raises
    ------
    NotASession
        If Alyx does not have it, or it is in none of the folders.
    """
    folders = list(folders)
    row = session_row(client(), eid)
    places = [folder_of(row, folder) for folder in folders]
    for path in places:
        if path.is_dir():
            return path
    raise NotASession(
        "this session is not here",
        where=eid,
        expected=" or ".join(map(str, places)),
        got="no such folder",
        do=f"name the folder of the subjects in ${VARIABLE}; `ibl-dask run` with the identifier fetches it",
    )


def session_row(alyx: Alyx, eid: str) -> JsonObject:
    """Return the row of a session.

    Raises
    ------
    NotASession
        If Alyx does not have it.
    """
    try:
        row: JsonObject = alyx.read("sessions", eid)
    except AlyxRefused as error:
        if status_of(error) != 404:
            raise
        raise NotASession(
            "Alyx has no session of this identifier",
            where=eid,
            expected="the identifier of a session",
            got=error.got,
            do="check it; identifiers of tasks and datasets look alike",
        ) from error
    return row


def folder_of(row: Mapping[str, object], subjects: Path) -> Path:
    """Return the folder of a session from its row in Alyx.

    Parameters
    ----------
    row : mapping
        Row of the session.
    subjects : Path
        Folder of the subjects, or of labs.

    Raises
    ------
    OutsideSession
        If the row leads elsewhere.
    UnsafeName
        If it holds names that a shell would interpret.
    """
    where = f"session {row.get('id')} in Alyx"
    subject = require_plain(row.get("subject"), "the subject of a session", where=where, is_name=True)
    date = require_plain(str(row.get("start_time"))[:10], "the date of a session", where=where, is_name=True)
    number = require_plain(str(row.get("number")).zfill(3), "the number of a session", where=where, is_name=True)
    plain = subjects / subject / date / number
    lab = row.get("lab")
    if not plain.is_dir() and isinstance(lab, str):
        inner = subjects / require_plain(lab, "the lab of a session", where=where, is_name=True) / "Subjects"
        if (inner / subject / date / number).is_dir():
            return inner / subject / date / number
    return plain
