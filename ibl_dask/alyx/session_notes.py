"""Notes on a session, each once: a key in the note itself shows whether it was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.figures import as_png, media_type
from ibl_dask.alyx.task_result import Note, TaskResult, is_uuid
from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.places import below

KEY_FIELD = "ibl_dask_key"
"""Field of a note's `json` that holds its key."""
FIGURE_TAG = "## report ##"
"""Tag of the figures of a session, by which Alyx shows them in its gallery."""
LARGEST_IMAGE_BYTES = 32 << 20


def note_key(session_id: str, task: str, note: Note, image: bytes) -> str:
    """Return the key of a note: the same for the same session, task, text and image."""
    content = json.dumps([session_id, task, note.text, hashlib.sha256(image).hexdigest()])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_notes(alyx: Alyx, result: TaskResult, present: dict[str, str]) -> None:
    """Write the notes of a result that Alyx does not have yet.

    Parameters
    ----------
    alyx : Alyx
        The client.
    result : TaskResult
        The result, with the id of its session.
    present : dict
        Key -> id of the notes of the session; new ones are added.

    Raises
    ------
    MissingFile, UnusableFile
        If an image is missing, or too large.
    """
    for note in result.notes:
        image = _read_image(result, note)
        key = note_key(result.session_id, result.task, note, image)
        if key in present:
            continue
        body: dict[str, object] = {
            "user": alyx.user,
            "content_type": "session",
            "object_id": result.session_id,
            "text": note.text,
            "json": {KEY_FIELD: key, "name": note.text, "task": result.task, **_of_figure(note, result)},
        }
        files = {"image": _sent(result, note, image)} if note.image else None
        if files is not None and note.function:
            body["width"] = "orig"  # photographs are made smaller by Alyx, as in the reference

        def find(key: str = key) -> JsonObject | None:
            found = find_notes(alyx, result.session_id)
            return {"id": found[key]} if key in found else None

        row = alyx.create("notes", body, files=files, find=find)
        present[key] = str(row["id"])


def find_notes(alyx: Alyx, session_id: str) -> dict[str, str]:
    """Return key -> id of the notes of a session that this package wrote.

    Parameters
    ----------
    alyx : Alyx
        The client.
    session_id : str
        Id of the session.

    Raises
    ------
    UnusableFile
        If the id is no UUID: Alyx evaluates texts of this filter.
    """
    if not is_uuid(session_id):
        raise UnusableFile("this is no id of a session", expected="a UUID", got=repr(session_id), do="report it")
    found = {}
    for row in alyx.rows("notes", django=f"object_id,{session_id}"):
        content = row.get("json")
        if isinstance(content, dict) and content.get(KEY_FIELD):
            found[str(content[KEY_FIELD])] = str(row["id"])
    return found


def _of_figure(note: Note, result: TaskResult) -> dict[str, str]:
    """Return the entries by which the field shows the figures of a session."""
    if not note.function:
        return {}
    return {"tag": FIGURE_TAG, "version": result.version, "function": note.function}


def _sent(result: TaskResult, note: Note, image: bytes) -> tuple[str, bytes, str]:
    """Return name, content and media type of an image as it is sent."""
    path = Path(note.image)
    kind = media_type(image)
    if kind:
        return path.name, image, kind
    try:
        return f"{path.stem}.png", as_png(image), "image/png"
    except ValueError as error:
        raise UnusableFile(
            "the image of a note is none",
            where=str(Path(result.folder) / note.image),
            expected="PNG, JPEG, GIF, or another format that Pillow reads",
            got=str(error),
            do="remove it from the folder of snapshots, or convert it",
        ) from error


def _read_image(result: TaskResult, note: Note) -> bytes:
    if not note.image:
        return b""
    path = below(Path(result.folder), note.image)
    wanted = {"where": str(path), "expected": f"an image of at most {LARGEST_IMAGE_BYTES >> 20} MiB"}
    try:
        if path.stat().st_size > LARGEST_IMAGE_BYTES:
            raise UnusableFile("the image of a note is too large", **wanted, got="more", do="make it smaller")
        return path.read_bytes()
    except OSError as error:
        got = error.strerror or type(error).__name__
        do = "run the task again, or remove the note from the result"
        raise MissingFile("the image of a note cannot be read", **wanted, got=got, do=do) from error
