"""What tells a file from another version of it: its bytes, wherever it stands and whatever it says of its age.

Neither size nor time of writing tell that: `cp -p` sets them. A small file is read whole. Of a large one a few places
are read, and its change time (ctime), which nobody can set, stands for what was not read: such a file is another one
once it was written to, replaced, or copied elsewhere. What must not be in doubt (a video that is decoded for hours, a
copy whose original shall go) is known by all its bytes, see `sha256_of` and `content_of`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from ibl_dask.store.marker import read_marker, write_marker

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE_BYTES = 1 << 20
"""Files up to this size are hashed whole."""
_PLACES = 5
_PLACE_BYTES = 1 << 14
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this ago may change once more within one tick of the clock of its disk."""


def identity(path: Path | None) -> dict[str, Any] | None:
    """Return what tells a file from another version of it, for fingerprints; JSON, None for None.

    Name, size and a hash of what was read of it; of a large file also when it was written and when it was last changed
    in any way.
    """
    if path is None:
        return None
    stat = path.stat()
    known = {"name": path.name, "size": stat.st_size, "content": _content_of(path, stat)}
    return known if stat.st_size <= WHOLE_BYTES else {**known, **_times(stat)}


def looks_like(path: Path, recorded: Mapping[str, Any]) -> bool:
    """Return whether a file has the name, size and content of an identity, though it may have been copied since.

    An identity of an earlier version says nothing of the content: then the time of writing counts.
    """
    now = identity(path) or {}
    names = ("name", "size", "content") if "content" in recorded else ("name", "size", "mtime_ns")
    now = {**now, "mtime_ns": path.stat().st_mtime_ns}
    return all(now[name] == recorded.get(name) for name in names)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as it is on the disk now: read whole, and past the memory of the system if possible.

    What is in memory may look better than what a failing disk kept of it.
    """
    with path.open("rb") as file:
        with contextlib.suppress(OSError, AttributeError):
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_of(path: Path, note: Path) -> str:
    """Return the SHA-256 of a file: read whole, unless a note says it of this very file.

    Parameters
    ----------
    path
        The file.
    note
        Where it is noted. It counts as long as nothing touched the file: size, times of writing and of change, and the
        places that are always read.
    """
    is_settled, before = _is_settled(path.stat()), _seen(path)
    known = noted_content(path, note)
    if known is not None:
        return known
    found = sha256_of(path)
    if is_settled and _seen(path) == before:
        write_marker(note, before, note.parent, (), {"file": path.name, "sha256": found})
    return found


def noted_content(path: Path, note: Path) -> str | None:
    """Return the SHA-256 of a file where it is noted of this very file; None where it would have to be read."""
    known = read_marker(note, _seen(path), note.parent)
    return None if known is None else str(known["sha256"])


def _seen(path: Path) -> str:
    """Return what changes with anything that happens to a file."""
    stat = path.stat()
    parts = (path.name, stat.st_size, *_times(stat).values(), _content_of(path, stat))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _times(stat: os.stat_result) -> dict[str, int]:
    return {"mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}


def _is_settled(stat: os.stat_result) -> bool:
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS


def _content_of(path: Path, stat: os.stat_result) -> str:
    """Return a hash of all of a small file, and of some places of a large one; what cannot be read has none."""
    if not S_ISREG(stat.st_mode):
        return ""
    read = _remembered if _is_settled(stat) else _remembered.__wrapped__
    try:
        return read(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=4096)
def _remembered(path: str, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """Read the places of a file, once in a process for as long as nothing touches it."""
    found = hashlib.sha256()
    with Path(path).open("rb") as file:
        if size <= WHOLE_BYTES:
            found.update(file.read())
        else:
            for place in range(_PLACES):
                file.seek((size - _PLACE_BYTES) * place // (_PLACES - 1))
                found.update(file.read(_PLACE_BYTES))
    return found.hexdigest()[:16]
