"""ALF files: look-up of inputs, whose names may contain a dataset UUID, and publication of outputs."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, count
from string import ascii_lowercase
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, NotWritable, UnusableFile
from ibl_dask.model.places import below
from ibl_dask.store.atomic import writing
from ibl_dask.store.identity import identity as identity
from ibl_dask.store.identity import is_settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.model.session import Session

_PIECE = 1 << 20
"""Bytes compared at a time."""
UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def find(session: Session, collection: str, pattern: str) -> Path | None:
    """Return a file of the session, looked up among the outputs first; None if it is missing.

    Parameters
    ----------
    session : Session
        The session.
    collection : str
        Folder relative to the session; its subfolders are not searched.
    pattern : str
        File name, with `*` for variable parts. `name.ext` also finds `name.<uuid>.ext`. Names that begin with a dot
        belong to file systems and editors, never to data.

    Raises
    ------
    UnusableFile
        If several files match, and differ; see `only_one`.
    """
    return only_one(find_each(session, collection, pattern))


def find_each(session: Session, collection: str, pattern: str) -> list[Path]:
    """Return all matches in the first folder that has any, those without a UUID first.

    Plans use all of them, so that a camera with two differing files is refused in its own step, and alone.

    Parameters
    ----------
    session : Session
        The session.
    collection : str
        Folder relative to the session.
    pattern : str
        File name; see `find`.
    """
    matches = (_matches(_folder(root, collection), pattern) for root in session.roots)
    return next((files for files in matches if files), [])


def only_one(found: Sequence[Path]) -> Path | None:
    """Return the first of several interchangeable files, whose bytes are equal; None for an empty sequence.

    Raises
    ------
    UnusableFile
        If the files differ, so that the choice is ambiguous.
    """
    for other in found[1:]:
        if not _are_equal(found[0], other):
            raise UnusableFile(
                "there are several files of one kind, and they differ",
                where=str(found[0].parent),
                expected="one of them, or copies of equal bytes",
                got=", ".join(f"{path.name} ({path.stat().st_size:,} bytes)" for path in found),
                do="compare them with the one on the acquisition computer, and move the others out of the folder",
            )
    return found[0] if found else None


def find_all(session: Session, collection: str, pattern: str) -> list[Path]:
    """Return every file that matches, those without a UUID first; files of the outputs hide their namesakes.

    Parameters
    ----------
    session : Session
        The session.
    collection : str
        Folder relative to the session.
    pattern : str
        File name; see `find`.
    """
    found: dict[str, Path] = {}
    for root in session.roots:
        for path in _matches(_folder(root, collection), pattern):
            found.setdefault(path.name, path)
    return list(found.values())


def _folder(root: Path, collection: str) -> Path:
    return below(root, collection) if collection else root


def without_uuid(name: str) -> str:
    """Return the name of a file without the dataset UUID before its extension."""
    return re.sub(rf"\.{UUID}(?=\.[^.]+$)", "", name)


def is_hidden(name: str, pattern: str = "") -> bool:
    """Return whether a name is hidden (`._name` of a Mac, `.name.swp`), and the pattern is not for hidden names."""
    return name.startswith(".") and not pattern.startswith(".")


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Return the files in a folder, without dangling links."""
    regex = _regex(pattern)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _is_named(path, regex, pattern) and os.path.exists(path)]  # noqa: PTH110  # `Path.exists` raises where it may not look
    return sorted(found, key=lambda path: (re.search(rf"\.{UUID}", path.name) is not None, path.name))


def _is_named(path: Path, regex: re.Pattern[str], pattern: str) -> bool:
    return regex.fullmatch(path.name) is not None and not is_hidden(path.name, pattern)


def _are_equal(first: Path, second: Path) -> bool:
    """Return whether two files hold the same bytes; the result is cached until one of them changes."""
    states = [path.stat() for path in (first, second)]
    if states[0].st_size != states[1].st_size or first.samefile(second):
        return states[0].st_size == states[1].st_size
    compare = _compare_bytes if all(map(is_settled, states)) else _compare_bytes.__wrapped__
    return compare(first, second, *((s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in states))


@lru_cache(maxsize=1024)
def _compare_bytes(first: Path, second: Path, *states: tuple[int, ...]) -> bool:
    """Compare two files; the states are part of the cache's key only."""
    with first.open("rb") as one, second.open("rb") as other:
        while piece := one.read(_PIECE):
            if piece != other.read(_PIECE):
                return False
    return True


def require(session: Session, collection: str, pattern: str, do: str) -> Path:
    """Return a file of the session, looked up as by `find`.

    Parameters
    ----------
    session : Session
        The session.
    collection : str
        Folder relative to the session.
    pattern : str
        File name; see `find`.
    do : str
        Advice in the error if the file is missing.

    Raises
    ------
    MissingFile
        If the file is missing.
    UnusableFile
        If several files match, and differ.
    """
    found = find(session, collection, pattern)
    if found is None:
        folder = session.path / collection
        got = "no such folder"
        if folder.is_dir():
            regex = _regex(pattern)
            links = (path for path in folder.iterdir() if _is_named(path, regex, pattern) and path.is_symlink())
            if (link := next(links, None)) is not None:
                raise MissingFile(
                    "this file is a link that leads nowhere",
                    where=str(link),
                    expected="a link to a file that may be read",
                    got=f"{link.name} -> {link.readlink()}",
                    do=f"mount the disk that it leads to, or {do}",
                )
            names = sorted(path.name for path in folder.iterdir() if not is_hidden(path.name))
            got = (
                f"a folder with {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
                if names
                else "an empty folder"
            )
        where = " or ".join(str(root / collection / pattern) for root in reversed(session.roots))
        raise MissingFile("this file is not there", where=where, expected=pattern, got=got, do=do)
    return found


def identities(paths: Sequence[Path]) -> dict[str, object] | list[dict[str, object] | None] | None:
    """Return the identities of interchangeable files, for fingerprints: of one file its identity, None for none."""
    return identity(paths[0] if paths else None) if len(paths) < 2 else [identity(path) for path in paths]


def latest(path: Path) -> Path | None:
    """Return the newest revision of an ALF file, else the file itself, None if neither exists."""
    revisions = sorted(folder / path.name for folder in path.parent.glob("#*#") if (folder / path.name).exists())
    if revisions:
        return revisions[-1]
    return path if path.exists() else None


def publish_npy(path: Path, array: NDArray[np.generic], overwrite: bool = False) -> Path:
    """Write an ALF `.npy` file without destroying one that an earlier run, or another program, published.

    Parameters
    ----------
    path : Path
        The file, without a revision.
    array : ndarray
        Its content.
    overwrite : bool
        Replace the newest revision instead of adding another.

    Returns
    -------
    Path
        The file that holds the array: `path` if there was none; the existing one if its bytes are equal, or a truncated
        copy of the new ones; else a new one in a revision folder `#YYYY-MM-DD#`.

    Raises
    ------
    NotWritable
        If the revision folder is a link, the folder is not writable, or the disk is full.
    """
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return publish(path, content.getvalue(), overwrite)


def publish(path: Path, content: bytes, overwrite: bool = False) -> Path:
    """Write an ALF file without destroying one that an earlier run, or another program, published.

    Parameters
    ----------
    path : Path
        The file, without a revision.
    content : bytes
        Its content.
    overwrite : bool
        Replace the newest revision instead of adding another.

    Returns
    -------
    Path
        The file that holds the content; see `publish_npy`.

    Raises
    ------
    NotWritable
        If the revision folder is a link, the folder is not writable, or the disk is full.
    """
    present = latest(path)
    if present is not None and present.read_bytes() == content:
        return present
    if present is None:
        target = path
    elif overwrite or content.startswith(present.read_bytes()):
        target = present  # a truncated copy of this file, for instance of a full disk
    else:
        target = _new_revision(path)
    if target.parent != path.parent and target.parent.is_symlink():
        raise NotWritable(
            "results would be written through a link",
            where=str(target.parent),
            expected="a folder",
            got=f"a link to {target.parent.readlink()}",
            do="replace the link by a folder, or send results elsewhere with --output-root",
        )
    with writing(target, len(content)) as file:
        file.write(content)
    return target


def _new_revision(path: Path) -> Path:
    today = datetime.now(UTC).date().isoformat()
    letters = (f"{'z' * (n // 26)}{ascii_lowercase[n % 26]}" for n in count())  # a..z, za..zz: sorted by age
    names = (f"#{today}{letter}#" for letter in chain([""], letters))
    return next(target for name in names if not (target := path.parent / name / path.name).exists())


def _regex(pattern: str) -> re.Pattern[str]:
    stem, dot, extension = pattern.rpartition(".")
    parts = (re.escape(part).replace(r"\*", ".*") for part in (stem, extension))
    head, tail = parts
    return re.compile(f"{head}(\\.{UUID})?{re.escape(dot)}{tail}")
