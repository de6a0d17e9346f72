"""Content of a folder as a value: what two folders differ in, and what changed in one meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.errors import UnusableFile
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.store.disk import explain_os_error
from ibl_dask.transfer.session_lock import is_attempt, is_lock
from ibl_dask.transfer.still_files import FileState


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, link or folder of a session."""

    state: FileState
    """Its state; of a link that of the link."""
    target: str = ""
    """Target of a link, as written."""

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder."""
        return stat.S_ISDIR(self.state.mode)


Listing = Mapping[str, Entry]
"""Path within a folder -> entry, without the locks of a session; folders before their content."""


def list_folder(folder: Path) -> Listing:
    """List all files, links and folders below a folder; links are not followed.

    Raises
    ------
    UnusableFile
        If one is neither a file nor a link nor a folder.
    """
    found: dict[str, Entry] = {}
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = Path(place, name)
            within = path.relative_to(folder).as_posix()
            if is_lock(within) or is_attempt(within):
                continue
            try:
                state = FileState.of(path.lstat())
                target = str(path.readlink()) if state.is_link else ""
            except FileNotFoundError:
                continue  # removed since the folder was read: another listing differs, if it matters
            if not (state.is_plain or state.is_link or stat.S_ISDIR(state.mode)):
                raise UnusableFile(
                    "a session holds something that cannot be copied",
                    where=str(path),
                    expected="files, folders and links",
                    got="a pipe, socket or device",
                    do="remove it",
                )
            found[within] = Entry(state, target)
    if not any(within.startswith(f"{OWN_FOLDER}/") for within in found):
        found.pop(OWN_FOLDER, None)  # it holds the lock alone
    return found


def find_differences(original: Listing, copy: Listing) -> list[str]:
    """Return the differences of two listings in names, kinds, sizes and targets of links, as phrases."""
    found = [f"{within}: only in the {where}" for within, where in _only(original, copy)]
    for within in original.keys() & copy.keys():
        one, other = original[within], copy[within]
        if stat.S_IFMT(one.state.mode) != stat.S_IFMT(other.state.mode):
            found.append(f"{within}: another kind of file")
        elif one.state.is_plain and one.state.n_bytes != other.state.n_bytes:
            found.append(f"{within}: {one.state.n_bytes:,} bytes, and {other.state.n_bytes:,} in the copy")
        elif one.target != other.target:
            found.append(f"{within}: a link to {one.target}, and to {other.target} in the copy")
    return sorted(found)


def _only(original: Listing, copy: Listing) -> list[tuple[str, str]]:
    missing = [(within, "original") for within in original.keys() - copy.keys()]
    return missing + [(within, "copy") for within in copy.keys() - original.keys()]


def find_changes(before: Listing, after: Listing) -> list[str]:
    """Return the files and links that were added, removed or written to between two listings of one folder."""
    kept = {within: entry for within, entry in after.items() if not entry.is_folder}
    known = {within: entry for within, entry in before.items() if not entry.is_folder}
    return sorted(within for within in kept.keys() | known.keys() if kept.get(within) != known.get(within))


def _raise(error: OSError) -> None:
    raise explain_os_error(error) or error
