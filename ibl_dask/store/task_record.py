"""What a task that is one step left behind, and whether that still holds.

Tasks of another package, and a lab's own of one method, do not say from which files which of their results come. So one
of them is done again as a whole, as soon as anything changed that it read, made or was given.
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

from ibl_dask.model.review import Review
from ibl_dask.store.atomic import write_text
from ibl_dask.store.identity import WHOLE_BYTES, identity

KEPT_VERSION = 3

Identities = Mapping[str, Mapping[str, Any]]
"""Path -> what tells a file from another version of it: size, when it was last written and last changed in any way, and
of a small one that is noted its content, see `ibl_dask.store.identity`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A task that was done."""

    mark: str
    """Changes with all that it was given; see `mark_of`."""
    inputs: Identities
    """What it read."""
    outputs: Identities
    """What it made."""
    facts: Mapping[str, Any]
    """What it returned."""
    patterns: Sequence[str] = ()
    """What its inputs are called, where it alone can tell."""
    version: int = KEPT_VERSION
    """Layout of the file."""

    def review(self, mark: str, inputs: Identities) -> Review:
        """Compare it with how things are now.

        Parameters
        ----------
        mark
            What it would be given.
        inputs
            What it would read.
        """
        if self.mark != mark:
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


def mark_of(*parts: object) -> str:
    """Return what changes with any of some plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def identities(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """Return what `ls` shows of each file, by path; what is no file is left out.

    Nothing is read, since plans ask for very many. Where a file was touched, its content is compared; see `noted`.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted({str(path) for path in paths}):
        with contextlib.suppress(OSError):
            stat = os.stat(path)  # noqa: PTH116  # one call for each, since plans ask for very many
            if S_ISREG(stat.st_mode):
                found[path] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}
    return found


def noted(found: Identities) -> dict[str, dict[str, Any]]:
    """Return the same with the content of each small file, for what is noted to be compared later."""
    return {path: {**known, **_small_content(path)} for path, known in found.items()}


def _small_content(path: str) -> dict[str, Any]:
    with contextlib.suppress(OSError):
        known = identity(Path(path)) or {}
        return {"content": known["content"]} if known["size"] <= WHOLE_BYTES else {}
    return {}


def _is_same(path: str, noted: Identities, now: Identities) -> bool:
    """Return whether a file is what was noted: nothing touched it, or it is small and holds the same.

    A large one that was touched counts as another: what it holds where nobody looks may differ.
    """
    if path not in noted or path not in now:
        return False
    before, after = noted[path], now[path]
    if all(before.get(name) == after[name] for name in ("size", "mtime_ns", "ctime_ns")):
        return True
    return "content" in before and before["content"] == _small_content(path).get("content")


def read_kept(path: Path) -> Kept | None:
    """Return what was noted of a task; None where nothing was, or by a version that wrote another layout."""
    try:
        content = json.loads(path.read_text())
        return Kept(**content) if content["version"] == KEPT_VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(path: Path, kept: Kept, started_ns: int) -> None:
    """Note that a task is done, unless what it read changed since it started.

    Parameters
    ----------
    path
        Where.
    kept
        What it read and made, as it is now.
    started_ns
        When it started, ns of the clock of the files.
    """
    # Not the time of change: a task may rename what it read, which sets that.
    read = (found for name, found in kept.inputs.items() if name not in kept.outputs)
    if not any(found["mtime_ns"] >= started_ns for found in read):
        whole = replace(kept, inputs=noted(kept.inputs), outputs=noted(kept.outputs))
        write_text(path, json.dumps(asdict(whole), indent=1))


def _names(paths: Sequence[str], most: int = 3) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(Path(path).name for path in paths[:most]) + more
