"""Files of this package that nobody needs any more: what they are, how large and how old; links are never followed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Literal

from ibl_dask.store.atomic import find_temporaries
from ibl_dask.store.json_files import read_object
from ibl_dask.store.workspace import SCRATCH_NOTE, scratch_name

LeftoverKind = Literal["scratch", "temporary", "log", "trash", "journal", "job log"]
_CHUNK = re.compile(r"(\d{9})-(\d{9})\.npz")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that may be removed, or must stay."""

    kind: LeftoverKind
    """What it is."""
    path: Path
    """File or folder."""
    n_bytes: int
    """Size, bytes; of a folder, that of all files in it."""
    age_s: float
    """Time since its last change, s."""
    why: str
    """Reason for which it may be removed."""
    keep: str = ""
    """Reason for which it stays; empty where it may be removed."""
    session: str = ""
    """Session that it belongs to; empty where it belongs to a work folder."""

    def to_json(self) -> dict[str, object]:
        """Return the leftover as plain values."""
        return {
            "kind": self.kind,
            "path": str(self.path),
            "bytes": self.n_bytes,
            "age_s": round(self.age_s, 1),
            "why": self.why,
            "keep": self.keep,
            "session": self.session,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """Size and age of a file, or of a folder with all that is in it."""

    n_bytes: int
    """Size of all files, bytes."""
    newest_s: float
    """Unix time of the last change of a file; of a folder without any, that of the folders."""
    n_chunks: int
    """Files of results of chunks."""
    n_frames: int
    """Frames of these chunks."""

    @property
    def age_s(self) -> float:
        """Return the time since the last change, s."""
        return time.time() - self.newest_s


def measure(path: Path) -> Measured:
    """Measure a file or folder; what vanishes meanwhile counts as nothing."""
    n_bytes = n_chunks = n_frames = 0
    newest_s = folders_s = 0.0
    for each, stat in _entries(path):
        if S_ISDIR(stat.st_mode):  # its time changes with each look at a heartbeat in it
            folders_s = max(folders_s, stat.st_mtime)
            continue
        newest_s = max(newest_s, stat.st_mtime)
        n_bytes += stat.st_size
        if (chunk := _CHUNK.fullmatch(each.name)) is not None:
            n_chunks += 1
            n_frames += int(chunk[2]) - int(chunk[1])
    return Measured(n_bytes, newest_s or folders_s, n_chunks, n_frames)


def _entries(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(OSError):
        yield path, path.lstat()
    if path.is_symlink() or not path.is_dir():
        return
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            with contextlib.suppress(OSError):
                place = Path(folder, name)
                yield place, place.lstat()


def is_plain_folder(path: Path) -> bool:
    """Return whether a path is a folder, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def is_plain_file(path: Path) -> bool:
    """Return whether a path is a file, and no link to one."""
    return path.is_file() and not path.is_symlink()


def scratch_owner(scratch: Path) -> tuple[Path, Path] | None:
    """Return session folder and folder of results that a scratch folder belongs to, by its note.

    None without a note, or with one that does not fit the name of the folder: then it is not proven to be ours.
    """
    content = read_object(scratch / SCRATCH_NOTE)
    path, outputs = content.get("session"), content.get("outputs")
    if not isinstance(path, str) or not isinstance(outputs, str):
        return None
    return (Path(path), Path(outputs)) if scratch_name(Path(path), Path(outputs)) == scratch.name else None


def abandoned_temporaries(folder: Path, session: str = "", *, below: bool = True) -> Iterator[Leftover]:
    """Yield the temporary files of writers that are gone.

    Parameters
    ----------
    folder
        Folder to search; one that is a link is left out.
    session
        Session that it belongs to.
    below
        Search the folders in it as well.
    """
    if not is_plain_folder(folder):
        return
    for path, is_left in find_temporaries(folder, below=below):
        if is_left:
            found = measure(path)
            yield Leftover("temporary", path, found.n_bytes, found.age_s, "its writer was killed", session=session)


def has_live_writer(folder: Path) -> bool:
    """Return whether a process writes a temporary file below a folder, or may do so."""
    return any(not is_left for _, is_left in find_temporaries(folder))


def old_logs(folder: Path, older_s: float, kind: LeftoverKind = "log", session: str = "") -> Iterator[Leftover]:
    """Yield the logs below a folder that were not written to for some time.

    Parameters
    ----------
    folder
        Folder to search; one that is a link is left out.
    older_s
        Least age, s.
    kind, session
        See `Leftover`.
    """
    if not is_plain_folder(folder):
        return
    for path, _ in _entries(folder):
        if path.suffix == ".log" and is_plain_file(path):
            found = measure(path)
            if found.age_s >= older_s:
                yield Leftover(kind, path, found.n_bytes, found.age_s, "old", session=session)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; of a link only the link itself.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)
