"""Reading files that must not change meanwhile, below folders that must not be links.

Folders are opened name by name, without following a link, and files are looked up and removed in the open folder: a
path that is exchanged meanwhile leads nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.store.atomic import temporary_name

SETTLED_S = 2.0
"""Age of the last change below which a further change may leave size and times as they are, s."""


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file, which changes with any change of it."""

    device: int
    """Number of its file system."""
    inode: int
    """Number of the file there."""
    mode: int
    """Kind and permissions."""
    n_bytes: int
    """Size, bytes."""
    written_ns: int
    """Time of writing, ns."""
    changed_ns: int
    """Time of the last change, which no program can set, ns."""

    @classmethod
    def of(cls, found: os.stat_result) -> FileState:
        """Return the state from the system's answer."""
        return cls(found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    @property
    def is_plain(self) -> bool:
        """Return whether it is a file, and no link, folder or device."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Return whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_settled(self) -> bool:
        """Return whether any further change would show."""
        return time.time() - max(self.written_ns, self.changed_ns) / 1e9 >= SETTLED_S

    def is_same_file(self, other: FileState) -> bool:
        """Return whether two names lead to one file."""
        return (self.device, self.inode) == (other.device, other.inode)


@contextlib.contextmanager
def open_folder(root: Path, folder: Path) -> Iterator[int]:
    """Open a folder below a root and yield its descriptor; no link below the root is followed.

    Parameters
    ----------
    root : Path
        An existing folder.
    folder : Path
        The folder, `root` or below it.

    Raises
    ------
    FileNotFoundError
        If a folder is missing.
    NotADirectoryError
        If a link, or a file, stands in its place.
    """
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in folder.relative_to(root).parts:
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from error
                raise
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def look(folder: int, name: str) -> FileState | None:
    """Return the state of a file in an open folder, of a link the link's own; None if it is missing."""
    try:
        return FileState.of(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return None


def read_sha256(folder: int, name: str, state: FileState) -> str | None:
    """Return the SHA-256 of a whole file as it is on disk; None if it is not, or does not stay, in a state.

    The page cache is bypassed if possible: after a write it may hold content that a failing disk has lost.

    Parameters
    ----------
    folder : int
        Descriptor of its folder.
    name : str
        Its name.
    state : FileState
        Its state as seen before.
    """
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        if FileState.of(os.fstat(handle)) != state:
            return None
        with contextlib.suppress(OSError, AttributeError):
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest if look(folder, name) == state else None


def are_one_folder(folder: int, other: int) -> bool:
    """Return whether what is written to a folder appears in another one, as through two mounts of one disk.

    Parameters
    ----------
    folder : int
        Descriptor of a folder that may be written to; a file is made in it, and removed.
    other : int
        Descriptor of the other one.
    """
    name = temporary_name(Path("seen")).name
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=folder))
    try:
        return look(other, name) is not None
    finally:
        os.unlink(name, dir_fd=folder)
