"""Atomic writes: a reader sees the old content or the new content of a file or folder, and nothing in between.

New content is written beside its target, flushed to disk, and renamed: a rename within a folder is atomic, also on
network file systems. A process that is killed at any time leaves a whole file, or a temporary one to be swept.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TypeVar

from ibl_dask.errors import AlreadyThere, IblDaskError, NotWritable
from ibl_dask.store.disk import explain_os_error, nearest_folder
from ibl_dask.store.processes import Process, state_of, this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TEMPORARY = re.compile(r"\..*\.(?P<mark>[^/]+-\d+)-[0-9a-f]{8}\.tmp")
"""Name of a temporary file; the mark of older versions consists of host and process number alone."""
_ABANDONED_S = 86_400.0
"""Age from which a temporary file without a known writer is abandoned, s."""
T = TypeVar("T")


def require_writable(path: Path) -> None:
    """Require that a folder is writable, or can be created, without creating anything.

    Raises
    ------
    NotWritable
        If it is not writable.
    """
    place = nearest_folder(path)
    if not place.is_dir():
        raise _not_writable(path, "a link that leads nowhere" if place.is_symlink() else f"{place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise _not_writable(path, f"{place} is read-only, or belongs to another user")


def make_folder(path: Path) -> None:
    """Create a folder for results or scratch, if it does not exist.

    Raises
    ------
    NotWritable
        If it cannot be created, or is not writable.
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
    """Return a name in the folder of a path that no other process uses and no ALF pattern matches."""
    return path.with_name(f".{path.name}.{this_process().mark}-{secrets.token_hex(4)}.tmp")


def sweep_temporaries(folder: Path, pattern: str = ".*.tmp", *, below: bool = True) -> int:
    """Remove temporary files of killed writers below a folder; return their number. For the holder of the session.

    Files of a process that is not visible from here, of another host or container, are removed after a day.

    Parameters
    ----------
    folder : Path
        The folder.
    pattern : str
        Pattern of their names; all by default.
    below : bool
        Search the folders in it as well.
    """
    n_removed = 0
    for path, is_left in find_temporaries(folder, pattern, below=below):
        if not is_left:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        n_removed += 1
    return n_removed


def find_temporaries(folder: Path, pattern: str = ".*.tmp", *, below: bool = True) -> Iterator[tuple[Path, bool]]:
    """Yield temporary files and folders, each with whether its writer is gone; see `sweep_temporaries`.

    Parameters
    ----------
    folder : Path
        Folder to search.
    pattern : str
        Pattern of their names; all by default.
    below : bool
        Search the folders in it as well.
    """
    for place, folders, files in os.walk(folder):  # folders that vanish meanwhile are left out
        for name in fnmatch.filter([*folders, *files], pattern):
            match = _TEMPORARY.fullmatch(name)
            if match is not None:
                path = Path(place, name)
                yield path, is_abandoned(path, Process.from_mark(match["mark"]), _ABANDONED_S)
        if not below:
            return


def is_abandoned(path: Path, writer: Process | None, after_s: float) -> bool:
    """Return whether the writer of a file has ended, or is not visible from here and the file is old.

    Parameters
    ----------
    path : Path
        File or folder.
    writer : Process or None
        Its writer; None if the name, of an older version, does not identify it.
    after_s : float
        Age from which a file with an unknown writer counts as abandoned, s.
    """
    state = "unknown" if writer is None else state_of(writer)
    if state == "unknown":
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime > after_s
        return False
    return state == "gone"


@contextlib.contextmanager
def writing(path: Path, n_bytes: int = 0, *, is_new: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when it is complete and on disk.

    Parameters
    ----------
    path : Path
        Its name.
    n_bytes : int
        Its final size, if known; for the message about a full disk.
    is_new : bool
        Replace no file.

    Raises
    ------
    NotWritable
        If the folder is not writable, or the disk is full.
    AlreadyThere
        If a file of this name is there, and none is to be replaced.
    """
    with writing_path(path, n_bytes, is_new=is_new) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def writing_path(path: Path, n_bytes: int = 0, *, is_new: bool = False) -> Iterator[Path]:
    """Yield the temporary name of a file, for libraries that open files by name; otherwise like `writing`.

    Parameters
    ----------
    path : Path
        The final name.
    n_bytes : int
        The final size, if known.
    is_new : bool
        Replace no file.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        # Without the flush, a power failure after the rename could leave an empty file under the final name.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if is_new:
            move(temporary, path)
        else:
            temporary.replace(path)
    except OSError as error:
        if is_new and isinstance(error, FileExistsError) and os.path.lexists(path):
            raise _already_there(path) from error
        _raise_os_error(error, path, n_bytes)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _already_there(path: Path) -> AlreadyThere:
    return AlreadyThere(
        "something of this name is there, and stays as it is",
        where=str(path),
        expected="a new name",
        got="a folder" if path.is_dir() else "a file",
        do="give another name, or move away what is there",
    )


def move(path: Path, target: Path) -> None:
    """Rename a file on the same disk without replacing another one; it has a name at all times.

    A rename would replace the target silently, so the file is linked to its new name, and the old name is removed. A
    process that is killed in between leaves both names; a second move removes the old one.

    Raises
    ------
    FileExistsError
        If another file has the new name.
    """
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        if not is_one_file(path, target):
            raise
    except OSError:  # file systems without hard links, such as FAT and some network disks
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        path.rename(target)
        sync_folder(target.parent)
        return
    sync_folder(target.parent)
    path.unlink()


def is_one_file(path: Path, other: Path) -> bool:
    """Return whether two names are hard links of one file; symbolic links are not followed."""
    return os.path.samestat(path.lstat(), other.lstat())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if the file system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    content = text.encode()
    with writing(path, len(content)) as file:
        file.write(content)


@contextlib.contextmanager
def writing_folder(path: Path, n_bytes: int = 0, *, is_new: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that receives its final name when it is complete.

    A folder cannot be replaced by one rename. An older folder of the final name is set aside by a rename, and removed
    after the new one is in place. Between the two renames a reader uses the folder set aside (`readable_folder`); after
    an interruption the next writer restores or removes it (`recover_folder`).

    Parameters
    ----------
    path : Path
        The final name.
    n_bytes : int
        The final size, if known; for the message about a full disk.
    is_new : bool
        Replace nothing, apart from an empty folder.

    Raises
    ------
    NotWritable
        If the folder is not writable, or the disk is full.
    AlreadyThere
        If something of this name is there, and nothing is to be replaced.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _sync_folder(temporary)
        if is_new:
            _rename_new(temporary, path)
        else:
            _swap(temporary, path)
    except OSError as error:
        _raise_os_error(error, path, n_bytes)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not is_new:
            with contextlib.suppress(OSError):
                recover_folder(path)


def _rename_new(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        if os.path.lexists(path):
            raise _already_there(path) from error
        raise


def _swap(temporary: Path, path: Path) -> None:
    aside = _aside(path)
    if os.path.lexists(path):
        _remove(aside)
        path.rename(aside)
    temporary.rename(path)
    _remove(aside)


def readable_folder(path: Path) -> Path | None:
    """Return the path at which a folder can be read, also between the two renames of a swap; None if it is missing."""
    # Its own name twice: a swap may end between the first look at it and that at the other name.
    return next((folder for folder in (path, _aside(path), path) if folder.exists()), None)


def read_folder(path: Path, read: Callable[[Path], T]) -> T | None:
    """Return what a function reads in a folder, all of it in the same one; None if it is missing.

    Where a writer replaces the folder meanwhile, the new one is read instead.

    Parameters
    ----------
    path : Path
        The folder, written by `writing_folder`.
    read : callable
        Reads it; its error is raised where the folder was not replaced.
    """
    while (folder := readable_folder(path)) is not None:
        before = _folder_state(folder)
        try:
            found = read(folder)
        except Exception:
            if _is_in_place(path, folder, before):
                raise
        else:
            if _is_in_place(path, folder, before):
                return found
    return None


def _is_in_place(path: Path, folder: Path, state: tuple[int, ...] | None) -> bool:
    return state is not None and readable_folder(path) == folder and _folder_state(folder) == state


def _folder_state(folder: Path) -> tuple[int, ...] | None:
    """Return what tells a folder from another of the same name; None where there is none."""
    with contextlib.suppress(OSError):
        stat = folder.stat()
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns
    return None


def recover_folder(path: Path) -> bool:
    """Finish or undo an interrupted swap; return whether the folder exists now."""
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
    """Remove a folder; of a symbolic link only the link itself, never its target."""
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
    explained = explain_os_error(error, path, n_bytes)
    if explained is None or isinstance(error, IblDaskError):
        raise error
    raise explained from error
