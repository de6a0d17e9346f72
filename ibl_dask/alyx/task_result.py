"""Result of a task as Alyx will get it: a plain value, which a worker returns and the spool keeps."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ibl_dask.errors import UnusableFile
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.places import complaint
from ibl_dask.model.status import Status

RESULT_VERSION = 1
"""Version of the layout."""
LONGEST_VERSION = 64
"""Longest text of a version that Alyx takes, characters."""
LONGEST_LOG = 200_000
"""Longest log that is sent, characters: its end."""
_OF_THE_WAY = ("made_s", "folder", "moved", "repository")
"""Fields that do not count for the key of a result."""
_SESSION = re.compile(r"(?!\.{1,2}/)[^/\\\x00-\x1f]+/\d{4}-\d{2}-\d{2}/\d{1,3}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MD5 = re.compile(r"[0-9a-f]{32,64}")
_NAME = re.compile(r"[^\x00-\x1f]{1,64}")


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a task made, or found made."""

    path: str
    """Path below the folder of the session, with `/`."""
    size: int
    """Size, bytes."""
    md5: str | None = None
    """MD5 of the content, hexadecimal; None for large files whose hash nobody computed."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note on the session, with or without an image."""

    text: str
    """Its text."""
    image: str = ""
    """Path of an image below the folder of the session; empty for none."""
    function: str = ""
    """What drew the image; a note with it is shown among the figures of the session."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """Result of one attempt at one task."""

    session: str
    """subject/date/number."""
    task: str
    """Name of the task."""
    status: str
    """Name of a `Status`."""
    task_id: str = ""
    """Id of the task in Alyx; empty where it is found by name."""
    session_id: str = ""
    """Id of the session in Alyx; empty where it is found by subject, date and number."""
    folder: str = ""
    """Folder of the session that holds the outputs."""
    log: str = ""
    """Log of the task."""
    version: str = ""
    """Version of the package that ran it."""
    seconds: float | None = None
    """Duration, s."""
    outputs: tuple[Output, ...] = ()
    """Files to register."""
    qc: Mapping[str, object] = field(default_factory=dict)
    """Keys of the session's `extended_qc`."""
    outcome: str = ""
    """Outcome of the session's checks, the name of an `Outcome`; empty for none."""
    notes: tuple[Note, ...] = ()
    """Notes on the session."""
    made_s: float = 0.0
    """Unix time of the result, s."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """New path -> old path of outputs that move into a revision, since the datasets at the old paths are protected."""
    repository: str = ""
    """Data repository that holds the files; empty for that of the writer."""

    @property
    def key(self) -> str:
        """Return 16 hexadecimal digits of this very result; the same for the same content, whenever it was made."""
        content = {name: value for name, value in self.to_json().items() if name not in _OF_THE_WAY}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def subject(self) -> str:
        """Return the nickname of the subject."""
        return self.session.split("/")[0]

    @property
    def date(self) -> str:
        """Return the date, YYYY-MM-DD."""
        return self.session.split("/")[1]

    @property
    def number(self) -> int:
        """Return the number of the session on its day."""
        return int(self.session.split("/")[2])

    def to_json(self) -> dict[str, Any]:
        """Return it as an object of JSON."""
        return {"v": RESULT_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: JsonObject, where: str = "") -> TaskResult:
        """Read the output of `to_json`, which another process wrote.

        Raises
        ------
        UnusableFile
            If it is no such object, or a name in it leaves the session.
        """
        try:
            if content.get("v") != RESULT_VERSION:
                raise ValueError(f"version {content.get('v')}")
            values = {name: value for name, value in content.items() if name != "v"}
            values["outputs"] = tuple(Output(**row) for row in content["outputs"])
            values["notes"] = tuple(Note(**row) for row in content["notes"])
            found = cls(**values)
            require_usable(found, where)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            if isinstance(error, UnusableFile):
                raise
            raise _unusable(where, f"{type(error).__name__}: {error}") from error
        return found


def is_uuid(text: str) -> bool:
    """Return whether a text is an id of Alyx, and nothing else."""
    return _UUID.fullmatch(text) is not None


def require_usable(result: TaskResult, where: str = "") -> None:
    """Require that names, ids and files of a result are such.

    Raises
    ------
    UnusableFile
        If not.
    """
    faults = [
        (not _SESSION.fullmatch(result.session), f"session {result.session!r}"),
        (not _NAME.fullmatch(result.task), f"task {result.task!r}"),
        (result.status not in set(Status), f"status {result.status!r}"),
        (bool(result.task_id) and not is_uuid(result.task_id), f"task id {result.task_id!r}"),
        (bool(result.session_id) and not is_uuid(result.session_id), f"session id {result.session_id!r}"),
        (bool(result.outcome) and result.outcome not in Outcome.__members__, f"outcome {result.outcome!r}"),
        (not isinstance(result.qc, Mapping), "QC that is no object"),
    ]
    for output in result.outputs:
        why = complaint(output.path)
        faults.append((why is not None, f"output {output.path!r}: {why}"))
        faults.append((not isinstance(output.size, int) or output.size < 0, f"size of {output.path!r}"))
        faults.append((output.md5 is not None and not _MD5.fullmatch(output.md5), f"hash of {output.path!r}"))
    moved = (*result.moved.keys(), *result.moved.values())
    faults.extend((complaint(path) is not None, f"path {path!r}") for path in moved)
    for note in result.notes:
        no_image = complaint(note.image) if note.image else None
        faults.append((no_image is not None, f"image {note.image!r}: {no_image}"))
    wrong = [text for is_wrong, text in faults if is_wrong]
    if wrong:
        raise _unusable(where, "; ".join(wrong))


def fit_for_alyx(result: TaskResult) -> TaskResult:
    """Return a result with texts and numbers that Alyx takes.

    No NUL in logs, their end alone if they are long, versions of at most 64 characters, None for NaN and infinities.
    """
    log = _plain_text(result.log)
    if len(log) > LONGEST_LOG:
        log = f"[the first {len(log) - LONGEST_LOG:,} characters are left out]\n{log[-LONGEST_LOG:]}"
    seconds = result.seconds if result.seconds is not None and math.isfinite(result.seconds) else None
    return replace(
        result,
        log=log,
        version=_plain_text(result.version)[:LONGEST_VERSION],
        seconds=seconds,
        qc=_finite(dict(result.qc)),
        notes=tuple(replace(note, text=_plain_text(note.text)) for note in result.notes),
        made_s=result.made_s or time.time(),
    )


def _plain_text(text: str) -> str:
    """Return a text without the characters that PostgreSQL stores nowhere: NUL, and halves of pairs of UTF-16."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _finite(value: Any) -> Any:  # JSON
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain_text(str(name)): _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def _unusable(where: str, got: str) -> UnusableFile:
    return UnusableFile(
        "this is no result of a task",
        where=where,
        expected=f"a result in the layout of version {RESULT_VERSION}, whose files are below the session",
        got=got,
        do="look at the file: it was damaged, or another version or program wrote it; remove it, and register the "
        "session with ibl-dask alyx sync SESSION",
    )
