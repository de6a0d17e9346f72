"""Writing so that a reader sees the old content or the new, and nothing between."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from ibl_dask.errors import IblDaskError, NotWritable
from ibl_dask.store.disk import explain_os_error, nearest_folder
from ibl_dask.store.processes import Process, state_of, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEMPORARY = re.compile(r"\..*\.(?P<mark>[^/]+-\d+)-[0-9a-f]{8}\.tmp")
"""Older versions named host and process number alone."""
_ABANDONED_S = 86_400.0


def require_writable(path: Path) -> None:
    """Check, without making anything, that a folder can be written to, or be made where there is none.

    Raises
    ------
    NotWritable
        If not.
    """
    place = nearest_folder(path)
    if not place.is_dir():
        raise _not_writable(path, "a link that leads nowhere" if place.is_symlink() else f"{place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise _not_writable(path, f"{place} is read-only, or belongs to somebody else")


def make_folder(path: Path) -> None:
    """Make a folder that results or scratch can be written to.

    Raises
    ------
    NotWritable
        If it cannot be made, or not be written to.
    """
    require_writable(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error


def _not_writable(path: Path, reason: str) -> NotWritable:
    return NotWritable(
        "results cannot be written here",
        where=str(path),
        expected="a folder that may be written to",
        got=reason,
        do="send results elsewhere with --output-root, and scratch and journals with --work-dir",
    )


def temporary_name(path: Path) -> Path:
    """Return a name beside a path that no other process uses and no ALF pattern matches."""
    return path.with_name(f".{path.name}.{this_process().mark}-{secrets.token_hex(4)}.tmp")


def sweep_temporaries(folder: Path) -> int:
    """Remove what killed writers left below a folder; return how many. Only for the one who holds the session.

    What belongs to a process that cannot be seen from here, of another host or container, goes after a day.
    """
    n_removed = 0
    for path in folder.rglob(".*.tmp"):
        named = _TEMPORARY.fullmatch(path.name)
        if named is None or not is_abandoned(path, Process.from_mark(named["mark"]), _ABANDONED_S):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        n_removed += 1
    return n_removed


def is_abandoned(path: Path, writer: Process | None, after_s: float) -> bool:
    """Return whether nobody writes a file any more: its writer is gone, or cannot be seen, and the file is old.

    Parameters
    ----------
    path : Path
        File or folder.
    writer : Process or None
        Whose it is; None where an older version did not say enough.
    after_s : float
        How old it must be where nothing is known of its writer, s.
    """
    state = "unknown" if writer is None else state_of(writer)
    if state == "unknown":
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime > after_s
        return False
    return state == "gone"


@contextlib.contextmanager
def writing(path: Path, n_bytes: int = 0) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only once it is whole and on disk.

    Parameters
    ----------
    path : Path
        Its name.
    n_bytes : int
        How large it will be, if known; for the message that there is no room for it.

    Raises
    ------
    NotWritable
        If the folder refuses, or the disk is full.
    """
    with writing_path(path, n_bytes) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def writing_path(path: Path, n_bytes: int = 0) -> Iterator[Path]:
    """Do what `writing` does for those who open a file by its name: yield the name that it has meanwhile."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _raise_os_error(error, path, n_bytes)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Give a file another name on the same disk, never one that is taken: at no moment is it without a name.

    A process that is killed within may leave it both names; moving it once more takes the old one away.

    Raises
    ------
    FileExistsError
        If another file has that name.
    """
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        if not is_one_file(path, target):
            raise
    except OSError:  # disks without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        path.rename(target)
        sync_folder(target.parent)
        return
    sync_folder(target.parent)
    path.unlink()


def is_one_file(path: Path, other: Path) -> bool:
    """Return whether two names stand for one file, neither being a link to the other."""
    return os.path.samestat(path.lstat(), other.lstat())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk, where that can be asked for."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one go."""
    content = text.encode()
    with writing(path, len(content)) as file:
        file.write(content)


@contextlib.contextmanager
def writing_folder(path: Path, n_bytes: int = 0) -> Iterator[Path]:
    """Fill a folder that appears under its name only once it is whole.

    An older folder of that name is set aside by a rename and removed after the new one is in place; a reader that
    comes between reads the one set aside (`readable_folder`), and the next writer clears up (`recover_folder`).
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _sync_folder(temporary)
        aside = _aside(path)
        if os.path.lexists(path):
            _remove(aside)
            path.rename(aside)
        temporary.rename(path)
        _remove(aside)
    except OSError as error:
        _raise_os_error(error, path, n_bytes)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            recover_folder(path)


def readable_folder(path: Path) -> Path | None:
    """Return where a folder can be read, also between the two renames of a swap; None where there is none."""
    return next((folder for folder in (path, _aside(path)) if folder.exists()), None)


def recover_folder(path: Path) -> bool:
    """Finish or undo a swap that was interrupted; return whether the folder is there now."""
    aside = _aside(path)
    if aside.exists():
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(path)
    return path.exists()


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _remove(folder: Path) -> None:
    """Remove a folder; of a link to one the link alone, never what it leads to."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _sync_folder(folder: Path) -> None:
    for name in sorted(folder.rglob("*")):
        if name.is_file():
            with name.open("rb") as file:
                os.fsync(file.fileno())


def _raise_os_error(error: OSError, path: Path, n_bytes: int = 0) -> NoReturn:
    told = explain_os_error(error, path, n_bytes)
    if told is None or isinstance(error, IblDaskError):
        raise error
    raise told from error
