"""Proof that a raw file arrived: its copy has the same name, place, size and SHA-256, both read whole just now."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ibl_dask.transfer.still_files import FileState, are_one_folder, look, open_folder, read_sha256
from ibl_dask.transfer.verdict import FileVerdict, Reason


@dataclass(frozen=True, slots=True)
class Pair:
    """A raw file of an acquisition computer, and the place of its copy at the destination."""

    local_root: Path
    """Existing folder above the file; links may lead to it, but none below it is followed."""
    session: Path
    """Folder of its session."""
    path: Path
    """The file."""
    remote_root: Path
    """Existing folder above the copy, likewise."""
    remote_session: Path
    """Folder of the session there."""

    @property
    def copy(self) -> Path:
        """Return the path of the copy."""
        return self.remote_session / self.path.relative_to(self.session)

    def verdict(self, reason: Reason, detail: str = "", n_bytes: int = 0, sha256: str = "") -> FileVerdict:
        """Return a verdict on the file."""
        return FileVerdict(self.path, self.session, reason, detail, n_bytes, sha256)


@dataclass(frozen=True, slots=True)
class _Side:
    """A file in an open folder, as it was when it was looked at."""

    folder: int
    name: str
    state: FileState

    def sha256(self) -> str | None:
        """Return the SHA-256 of the whole file; None if it changed."""
        return read_sha256(self.folder, self.name, self.state)

    @property
    def is_unchanged(self) -> bool:
        return look(self.folder, self.name) == self.state


def compare(pair: Pair, *, removes: bool) -> FileVerdict:
    """Return the verdict on a file; remove it if its copy is proven and that is wanted.

    Right before the removal both files are looked at once more: unless both are in the state in which they were read,
    the file stays.

    Parameters
    ----------
    pair : Pair
        The file and the place of its copy.
    removes : bool
        Remove the file if it may go.
    """
    try:
        with open_folder(pair.local_root, pair.path.parent) as folder:
            state = look(folder, pair.path.name)
            if state is None:
                return pair.verdict("changing", "it is gone meanwhile")
            if not state.is_plain:
                return pair.verdict("link", "a link" if state.is_link else "no file")
            return _compare(pair, _Side(folder, pair.path.name, state), removes)
    except NotADirectoryError:
        return pair.verdict("link", "a folder above it is a link")
    except OSError as error:
        return pair.verdict("not readable", str(error))


def _compare(pair: Pair, here: _Side, removes: bool) -> FileVerdict:
    n_bytes, copy = here.state.n_bytes, pair.copy
    try:
        with open_folder(pair.remote_root, copy.parent) as folder:
            found = look(folder, copy.name)
            if found is None:
                return pair.verdict("no such file at the destination", str(copy), n_bytes)
            there = _Side(folder, copy.name, found)
            verdict = _compare_contents(pair, here, there)
            return _remove(verdict, here, there) if removes and verdict.may_go else verdict
    except FileNotFoundError:
        return pair.verdict("no such file at the destination", str(copy), n_bytes)
    except NotADirectoryError:
        return pair.verdict("link", f"a folder above {copy} is a link", n_bytes)
    except OSError as error:
        return pair.verdict("not readable", str(error), n_bytes)


def _compare_contents(pair: Pair, here: _Side, there: _Side) -> FileVerdict:
    n_bytes, n_there = here.state.n_bytes, there.state.n_bytes
    if not there.state.is_plain:
        return pair.verdict("link", "at the destination it is a link, or no file", n_bytes)
    if there.state.is_same_file(here.state):
        return pair.verdict("same file", "at the destination it is this very file", n_bytes)
    if n_bytes != n_there:
        return pair.verdict("other size", f"{n_bytes:,} bytes here, {n_there:,} there", n_bytes)
    if not (here.state.is_settled and there.state.is_settled):
        return pair.verdict("changing", "it was written to just now, here or there", n_bytes)
    ours, theirs = here.sha256(), there.sha256()
    if ours is None or theirs is None:
        return pair.verdict("changing", "it changed while it was read, here or there", n_bytes)
    if ours != theirs:
        return pair.verdict("other content", f"SHA-256 {ours} here, {theirs} there", n_bytes, ours)
    return replace(pair.verdict("arrived", "", n_bytes, ours), copy=pair.copy)


def _remove(proven: FileVerdict, here: _Side, there: _Side) -> FileVerdict:
    """Remove a file whose copy was read a moment ago: the one place where that is done."""
    kept = replace(proven, copy=None)
    try:
        if are_one_folder(here.folder, there.folder):
            detail = "both folders are one, through another mount or link"
            return replace(kept, reason="same file", detail=detail)
        if not (here.is_unchanged and there.is_unchanged):
            return replace(kept, reason="changing", detail="it changed after it was read, here or there")
        os.unlink(here.name, dir_fd=here.folder)
    except OSError as error:
        return replace(kept, reason="not removable", detail=f"{error.strerror or error}")
    return replace(proven, is_removed=True)
