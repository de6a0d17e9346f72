"""Proof that a raw file arrived: its copy has the same name, place, size and SHA-256, both read whole just now."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ibl_dask.errors import IblDaskError
from ibl_dask.model.session import Session
from ibl_dask.store.compression_record import RECORD_VERSION, CompressionRecord, read_record
from ibl_dask.store.workspace import Workspace
from ibl_dask.transfer.still_files import FileState, are_one_folder, look, open_folder, read_sha256
from ibl_dask.transfer.verdict import FileVerdict, Reason, format_size

_RAW_VIDEO = re.compile(r"_iblrig_(?P<camera>\w+)Camera\.raw\.avi")


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


def compare(pair: Pair, *, removes: bool, may_be_compressed: bool = False) -> FileVerdict:
    """Return the verdict on a file; remove it if its copy is proven and that is wanted.

    Right before the removal both files are looked at once more: unless both are in the state in which they were read,
    the file stays.

    Parameters
    ----------
    pair : Pair
        The file and the place of its copy.
    removes : bool
        Remove the file if it may go.
    may_be_compressed : bool
        Accept a compressed copy of a raw video: the one of a compression record of this package, to the byte, that was
        made of this very video, to the byte, with as many frames and without a remark.
    """
    try:
        with open_folder(pair.local_root, pair.path.parent) as folder:
            state = look(folder, pair.path.name)
            if state is None:
                return pair.verdict("changing", "it is gone meanwhile")
            if not state.is_plain:
                return pair.verdict("link", "a link" if state.is_link else "no file")
            return _compare(pair, _Side(folder, pair.path.name, state), removes, may_be_compressed)
    except NotADirectoryError:
        return pair.verdict("link", "a folder above it is a link")
    except (OSError, IblDaskError) as error:
        return pair.verdict("not readable", str(error))


def _compare(pair: Pair, here: _Side, removes: bool, may_be_compressed: bool) -> FileVerdict:
    n_bytes, copy = here.state.n_bytes, pair.copy
    try:
        with open_folder(pair.remote_root, copy.parent) as folder:
            found = look(folder, copy.name)
            if found is not None:
                there = _Side(folder, copy.name, found)
                verdict = _compare_copy(pair, here, there)
            else:
                record = _record_of(pair) if may_be_compressed else None
                name = copy.with_suffix(".mp4").name
                found = None if record is None else look(folder, name)
                if record is None or found is None:
                    return pair.verdict("no such file at the destination", str(copy), n_bytes)
                copy, there = copy.with_name(name), _Side(folder, name, found)
                verdict = _compare_compressed(pair, here, there, record)
            if not verdict.may_go:
                return verdict
            verdict = replace(verdict, copy=copy)
            return _remove(verdict, here, there) if removes else verdict
    except FileNotFoundError:
        return pair.verdict("no such file at the destination", str(copy), n_bytes)
    except NotADirectoryError:
        return pair.verdict("link", f"a folder above {copy} is a link", n_bytes)
    except OSError as error:
        return pair.verdict("not readable", str(error), n_bytes)


def _obstacle(pair: Pair, here: _Side, there: _Side) -> FileVerdict | None:
    """Return the reason for which two files need not be read; None without one."""
    n_bytes = here.state.n_bytes
    if not there.state.is_plain:
        return pair.verdict("link", f"{there.name} at the destination is a link, or no file", n_bytes)
    if there.state.is_same_file(here.state):
        return pair.verdict("same file", "at the destination it is this very file", n_bytes)
    if not (here.state.is_settled and there.state.is_settled):
        return pair.verdict("changing", "it was written to just now, here or there", n_bytes)
    return None


def _compare_copy(pair: Pair, here: _Side, there: _Side) -> FileVerdict:
    n_bytes, n_there = here.state.n_bytes, there.state.n_bytes
    obstacle = _obstacle(pair, here, there)
    if obstacle is not None:
        return obstacle
    if n_bytes != n_there:
        return pair.verdict("other size", f"{n_bytes:,} bytes here, {n_there:,} there", n_bytes)
    ours, theirs = here.sha256(), there.sha256()
    if ours is None or theirs is None:
        return pair.verdict("changing", "it changed while it was read, here or there", n_bytes)
    if ours != theirs:
        return pair.verdict("other content", f"SHA-256 {ours} here, {theirs} there", n_bytes, ours)
    return pair.verdict("arrived", "", n_bytes, ours)


def _record_of(pair: Pair) -> CompressionRecord | None:
    """Return the record of the compression of a raw video at the destination; None if that holds none."""
    match = _RAW_VIDEO.fullmatch(pair.path.name)
    if match is None:
        return None
    session = Session(pair.remote_session)
    return read_record(Workspace(session, session.path), match["camera"])


def _compare_compressed(pair: Pair, here: _Side, there: _Side, record: CompressionRecord) -> FileVerdict:
    n_bytes = here.state.n_bytes
    obstacle = _obstacle(pair, here, there)
    if obstacle is not None:
        return obstacle
    if record.version != RECORD_VERSION or record.notes or record.source.frames != record.result.frames:
        return pair.verdict("other content", f"the record of {there.name} proves too little", n_bytes)
    ours, theirs = here.sha256(), there.sha256()
    if ours is None or theirs is None:
        return pair.verdict("changing", "it changed while it was read, here or there", n_bytes)
    if (ours, theirs) != (record.source.index.get("sha256"), record.sha256):
        return pair.verdict("other content", f"{there.name} was made of another video, or changed", n_bytes, ours)
    detail = f"as {there.name}, {format_size(there.state.n_bytes)}"
    return pair.verdict("compressed copy arrived", detail, n_bytes, ours)


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
