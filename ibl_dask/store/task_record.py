"""Completion record of a single-step task: parameters, inputs and outputs, and a check that they are unchanged.

Tasks of other packages, and lab tasks of one method, do not declare which of their results come from which files. Such
a task is therefore repeated as a whole once a parameter, an input or an output has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.review import Review
from ibl_dask.store.atomic import write_text
from ibl_dask.store.identity import WHOLE_BYTES, identity

RECORD_VERSION = 3

Identities = Mapping[str, JsonObject]
"""Path -> identity of the file: size, times of writing and of any change, and in records of small ones the content, see
`ibl_dask.store.identity`."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """Completion record of a task."""

    fingerprint: str
    """Fingerprint of its parameters; see `parameters_fingerprint`."""
    inputs: Identities
    """Files that it read."""
    outputs: Identities
    """Files that it made."""
    facts: JsonObject  # JSON
    """Its result; see `Result.to_json`."""
    patterns: Sequence[str] = ()
    """Names of its inputs, where only the task itself knows them."""
    version: int = RECORD_VERSION
    """Layout of the file."""

    def review(self, fingerprint: str, inputs: Identities) -> Review:
        """Compare the record with the present state.

        Parameters
        ----------
        fingerprint
            Fingerprint of the present parameters.
        inputs
            Files that the task would read.
        """
        if self.fingerprint != fingerprint:
            return Review("changed parameters", "it was done with other arguments, or by another version")
        changed = sorted(path for path in {*self.inputs, *inputs} if not _is_same(path, self.inputs, inputs))
        if changed:
            return Review("changed input", f"since it was done, other files are there: {_names(changed)}")
        left = identities(self.outputs)
        gone = [path for path in self.outputs if path not in left]
        if gone:
            return Review("missing output", f"it made what is gone: {_names(gone)}")
        other = [path for path in self.outputs if not _is_same(path, self.outputs, left)]
        if other:
            return Review("changed output", f"another program changed what it made: {_names(other)}")
        return Review("nothing to do", "done already", self.facts)


def parameters_fingerprint(*parts: object) -> str:
    """Return 16 hexadecimal digits that change with any of some plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def identities(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """Return size and times of each file, by path; paths that are no files are left out.

    No content is read, since plans ask for many files; that of small ones is compared later, see `with_content`.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted({str(path) for path in paths}):
        with contextlib.suppress(OSError):
            stat = os.stat(path)  # noqa: PTH116  # one call for each, since plans ask for very many
            if S_ISREG(stat.st_mode):
                found[path] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}
    return found


def with_content(found: Identities) -> dict[str, dict[str, Any]]:
    """Return identities with the content of each small file, for records."""
    return {path: {**known, **_small_content(path)} for path, known in found.items()}


def _small_content(path: str) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        known = identity(Path(path)) or {}
        return {"content": known["content"]} if known["size"] <= WHOLE_BYTES else {}
    return {}


def _is_same(path: str, noted: Identities, now: Identities) -> bool:
    """Return True if a file is untouched, or is small and has the same content.

    A large one that was touched counts as changed: only parts of its content are read.
    """
    if path not in noted or path not in now:
        return False
    before, after = noted[path], now[path]
    if all(before.get(name) == after[name] for name in ("size", "mtime_ns", "ctime_ns")):
        return True
    return "content" in before and before["content"] == _small_content(path).get("content")


def read_task_record(path: Path) -> TaskRecord | None:
    """Return the record of a task; None without one, or for one of another layout."""
    try:
        content = json.loads(path.read_text())
        fingerprint = content.pop("mark")
        return TaskRecord(fingerprint, **content) if content["version"] == RECORD_VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_task_record(path: Path, record: TaskRecord, started_ns: int, before: Identities) -> None:
    """Write the record of a task, unless its inputs changed since it started.

    Parameters
    ----------
    path
        File to write.
    record
        The record, with inputs and outputs as they are now.
    started_ns
        Start of the task, ns of the clock of the files.
    before
        Files as they were then, the inputs among them: one that another program put in the place of an input, with a
        time of its own, is not what the task read.
    """
    read = {name: found for name, found in record.inputs.items() if name not in record.outputs}
    if not any(_came_after(name, found, started_ns, before) for name, found in read.items()):
        whole = asdict(replace(record, inputs=with_content(record.inputs), outputs=with_content(record.outputs)))
        content = {"mark": whole.pop("fingerprint"), **whole}  # the key that earlier versions gave it
        write_text(path, json.dumps(content, indent=1))


def _came_after(name: str, found: JsonObject, started_ns: int, before: Identities) -> bool:
    """Return whether a file was written, replaced or put there after a task had looked for its inputs."""
    if found["mtime_ns"] >= started_ns:
        return True
    # Not the time of change: a task may rename its inputs, which sets it.
    content = (found["size"], found["mtime_ns"])
    known = [before[name]] if name in before else before.values()
    return all((each["size"], each["mtime_ns"]) != content for each in known)


def _names(paths: Sequence[str], most: int = 3) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(Path(path).name for path in paths[:most]) + more
