r"""SHA-256 of the weights of a network: of its file, or of all files of its folder with their names.

The digest of a folder is that of the list of its files, which a shell computes as well ::

    cd FOLDER && find . -xtype f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ibl_dask.errors import WrongWeights

BLOCK_BYTES = 1 << 20
"""Bytes that are read at once."""
MOST_FILES = 1000
"""Largest number of files in the folder of a network: more are a project with its pictures and videos."""


def file_blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file."""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def weights_digest(path: Path, blocks: Callable[[Path], Iterable[bytes]] = file_blocks) -> str:
    """Return the SHA-256 of a file or of a folder, hexadecimal.

    Parameters
    ----------
    path : Path
        File or folder.
    blocks : callable, optional
        Yields the content of a file.

    Raises
    ------
    OSError
        If it cannot be read.
    WrongWeights
        If the folder is no folder of a network.
    """
    if not path.is_dir():
        return _digest(blocks(path))
    listed = hashlib.sha256()
    for name in folder_files(path):
        listed.update(_digest(blocks(path / name)).encode() + b"  " + os.fsencode(name) + b"\n")
    return listed.hexdigest()


def folder_files(path: Path) -> list[str]:
    """Return the files below a folder, relative, in the order of their bytes. Linked folders are left out.

    Raises
    ------
    WrongWeights
        If there is none, or there are too many for one network.
    """
    names: list[str] = []
    for root, _, files in os.walk(path):
        below = Path(root).relative_to(path)
        names += [(below / name).as_posix() for name in files if (Path(root) / name).is_file()]
        if len(names) > MOST_FILES:
            break
    if not 0 < len(names) <= MOST_FILES:
        raise WrongWeights(
            "this is no folder of a network",
            where=str(path),
            expected=f"1 to {MOST_FILES:,} files",
            got=f"more than {MOST_FILES:,}" if names else "none",
            do="copy the files of the network alone into a folder, and name that",
        )
    return sorted(names, key=os.fsencode)


def folder_state(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return number, size (bytes) and time of change (ns) of each file of a folder: another process may write to it.

    Raises
    ------
    OSError, WrongWeights
        If a file is gone, or there is none.
    """
    found = {name: (path / name).stat() for name in folder_files(path)}
    return {name: (status.st_ino, status.st_size, status.st_mtime_ns) for name, status in found.items()}


def _digest(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
