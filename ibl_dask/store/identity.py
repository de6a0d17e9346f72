"""Identity of files by their content, independent of path and time of writing.

Size and time of writing do not identify a file: `cp -p` sets them. A small file is hashed whole. Of a large one a few
blocks are hashed, and its change time (ctime), which no program can set, represents the rest: such a file counts as
another one once it was written to, replaced, or copied. Files that must be identified with certainty (a video that is
decoded for hours, a copy whose original will be removed) are hashed whole, see `sha256_of` and `content_of`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from functools import lru_cache, partial
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from ibl_dask.store.marker import read_marker, write_marker

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE_BYTES = 1 << 20
"""Largest size of files that are hashed whole."""
_N_BLOCKS = 5
_BLOCK_BYTES = 1 << 14
_SETTLED_NS = 2_000_000_000
"""Age of the last change below which a further change may have the same time, given the clock ticks of its disk."""


def identity(path: Path | None) -> dict[str, Any] | None:  # JSON
    """Return the identity of a file, for fingerprints; JSON, None for None.

    Name, size and a hash of the content; of a large file also the times of writing and of the last change.
    """
    if path is None:
        return None
    stat = path.stat()
    known = {"name": path.name, "size": stat.st_size, "content": _content_of(path, stat)}
    return known if stat.st_size <= WHOLE_BYTES else {**known, **_times(stat)}


def looks_like(path: Path, recorded: Mapping[str, object]) -> bool:
    """Return whether a file has the name, size and content of an identity, even if it is a copy.

    For an identity of an earlier version, which has no hash, the time of writing is compared instead.
    """
    now = identity(path) or {}
    names = ("name", "size", "content") if "content" in recorded else ("name", "size", "mtime_ns")
    now = {**now, "mtime_ns": path.stat().st_mtime_ns}
    return all(now[name] == recorded.get(name) for name in names)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as it is on disk, bypassing the page cache if possible.

    After a write the cache may hold content that a failing disk has lost.
    """
    with path.open("rb") as file:
        with contextlib.suppress(OSError, AttributeError):
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(path: Path) -> str:
    """Return the MD5 of a whole file, by which databases of the field compare copies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def content_of(path: Path, note: Path) -> str:
    """Return the SHA-256 of a file, from a note if the file is unchanged since, else by reading it whole.

    Parameters
    ----------
    path : Path
        The file.
    note : Path
        File of the note. It is valid as long as size, times of writing and of change, and the hashed blocks of the file
        are unchanged.
    """
    settled, before = is_settled(path.stat()), _state(path)
    known = noted_content(path, note)
    if known is not None:
        return known
    digest = sha256_of(path)
    if settled and _state(path) == before:
        write_marker(note, before, note.parent, (), {"file": path.name, "sha256": digest})
    return digest


def noted_content(path: Path, note: Path) -> str | None:
    """Return the SHA-256 of a file from its note; None if there is none, or the file has changed since."""
    known = read_marker(note, _state(path), note.parent)
    return None if known is None else str(known["sha256"])


def _state(path: Path) -> str:
    """Return a digest of name, size, times and hashed blocks, which changes with any change of a file."""
    stat = path.stat()
    parts = (path.name, stat.st_size, *_times(stat).values(), _content_of(path, stat))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _times(stat: os.stat_result) -> dict[str, int]:
    return {"mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}


def is_settled(stat: os.stat_result) -> bool:
    """Return whether a file has not changed for some time: one that has may change again without a new time."""
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS


def _content_of(path: Path, stat: os.stat_result) -> str:
    """Return the hash of a small file, or of some blocks of a large one; empty if it is unreadable."""
    if not S_ISREG(stat.st_mode):
        return ""
    read = _cached_hash if is_settled(stat) else _cached_hash.__wrapped__
    try:
        return read(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=4096)
def _cached_hash(path: str, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Hash a file, or blocks at equal distances from its start to its end; cached until its state changes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        if size <= WHOLE_BYTES:
            digest.update(file.read())
        else:
            for block in range(_N_BLOCKS):
                file.seek((size - _BLOCK_BYTES) * block // (_N_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()[:16]
