"""File of the verdicts on the keypoints of a session: `ibl_dask/verdicts.json`, all of them in order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ibl_dask.errors import DamagedRecord, FormatTooNew
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.text import read_text
from ibl_dask.model.verdict import Verdict
from ibl_dask.store.atomic import make_folder, write_text
from ibl_dask.store.file_lock import changing_records

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.model.session import Session

FILE_NAME = "verdicts.json"
VERSION = 1


def read_verdicts(session: Session) -> tuple[Verdict, ...]:
    """Return the verdicts on a session in order, from its results, else from the session folder; none without a file.

    Raises
    ------
    DamagedRecord
        If the file is damaged: an exclusion must not be forgotten.
    FormatTooNew
        If it has another layout.
    """
    for root in session.roots:
        path = root / OWN_FOLDER / FILE_NAME
        try:
            text = read_text(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnicodeDecodeError as error:
            raise _damaged(path, error) from error
        return _parse(text, path)
    return ()


def add_verdict(session: Session, verdict: Verdict) -> Path:
    """Add a verdict after all others, and return the file.

    Raises
    ------
    DamagedRecord, FormatTooNew
        If the file cannot be read; it stays as it is.
    NotWritable
        If the folder is not writable, or the disk is full.
    """
    make_folder(session.own)
    with changing_records(session.own):  # two people may judge two cameras at the same time
        verdicts = [*read_verdicts(session), verdict]
        content = {"version": VERSION, "verdicts": [each.to_json() for each in verdicts]}
        path = session.own / FILE_NAME
        write_text(path, json.dumps(content, indent=1))
    return path


def _parse(text: str, path: Path) -> tuple[Verdict, ...]:
    try:
        content = json.loads(text)
        version = content["version"]
        if version == VERSION:
            return tuple(Verdict.from_json(each) for each in content["verdicts"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from error
    raise FormatTooNew(
        "this file of verdicts has another layout",
        where=str(path),
        expected=f"version {VERSION}",
        got=f"version {version}",
        do="use the version of ibl_dask that wrote it",
    )


def _damaged(path: Path, error: Exception) -> DamagedRecord:
    return DamagedRecord(
        "this file of verdicts is damaged",
        where=str(path),
        expected="JSON with the verdicts on the keypoints of each camera",
        got=f"{type(error).__name__}: {error}",
        do="mend it, or move it away and give the verdicts again: ibl-dask verdict",
    )
