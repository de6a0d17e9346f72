"""Memory that frames are handed over in: a mapped file in the memory of the system, or on a disk of the node."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHARED_MEMORY = Path("/dev/shm")  # memory of the system, as a folder
ROOM_LEFT = 2
"""Free room in a folder for each byte that is taken: it belongs to all processes of the node, in containers 64 MB."""
_PREFIX, _SUFFIX = "ibl_dask-", ".frames"
STALE_S = 600.0
"""Age from which on a file with a name is of a process that was killed, s: a name is there for milliseconds."""


class FrameMemory:
    """A mapped file that another process maps as well.

    Parameters
    ----------
    path : Path
        The file, until `forget_name`.
    content : mmap.mmap
        Its content.
    """

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path, self._content = path, content

    @property
    def size(self) -> int:
        """Return its size, bytes."""
        return len(self._content)

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Copy frames to the start."""
        view = np.frombuffer(self._content, np.uint8, frames.size).reshape(frames.shape)
        np.copyto(view, frames)

    def forget_name(self) -> None:
        """Remove the file's name: it is gone once both processes are, however they end."""
        self.path.unlink(missing_ok=True)


def shared_folders() -> tuple[Path, ...]:
    """Return folders for frames, the fastest first."""
    return (SHARED_MEMORY, Path(tempfile.gettempdir()))


def take_memory(n_bytes: int, folders: Sequence[Path]) -> FrameMemory | None:
    """Return memory in the first folder that has room for it; None if none has.

    The bytes are allocated at once: a full disk would otherwise end the process when it writes to the mapping (SIGBUS).
    """
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            room = os.statvfs(folder)
            if room.f_bavail * room.f_frsize < ROOM_LEFT * n_bytes:
                continue
            _remove_stale(folder)
            return _allocate(folder, n_bytes)
    return None


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            found = path.stat()
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > STALE_S:
                path.unlink()


def _allocate(folder: Path, n_bytes: int) -> FrameMemory:
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, n_bytes)
        else:
            with open(descriptor, "wb", closefd=False) as file:
                file.writelines(bytes(1 << 20) for _ in range(-(-n_bytes >> 20)))
        return FrameMemory(Path(name), mmap.mmap(descriptor, n_bytes))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
