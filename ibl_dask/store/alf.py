"""ALF files: finding inputs, which may carry a dataset UUID, and writing outputs."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, count
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingFile, NotWritable, UnusableFile
from ibl_dask.model.places import below
from ibl_dask.store.atomic import writing
from ibl_dask.store.identity import identity as identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.model.session import Session

_PIECE = 1 << 20
"""Bytes that are compared at once."""
UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def find(session: Session, collection: str, pattern: str) -> Path | None:
    """Return a file of the session, looked up among the outputs first; None where there is none.

    Parameters
    ----------
    session : Session
        Where to look.
    collection : str
        Folder relative to the session; not looked into below its first level.
    pattern : str
        File name, `*` where it may vary. `name.<uuid>.ext` is found for `name.ext`. Names that begin with a dot are
        those of file systems and editors, never of data.

    Raises
    ------
    UnusableFile
        If there are several that differ; see `only_one`.
    """
    return only_one(find_each(session, collection, pattern))


def find_each(session: Session, collection: str, pattern: str) -> list[Path]:
    """Return the files that stand for one another, those without a UUID first: all of the first folder that has any.

    What plans looks at all of them, so that a camera with two of a kind is refused when its turn comes, and alone.
    """
    places = (_matches(_folder(root, collection), pattern) for root in session.roots)
    return next((found for found in places if found), [])


def only_one(found: Sequence[Path]) -> Path | None:
    """Return the one file among some that stand for one another: any, where their bytes are equal; None for none.

    Raises
    ------
    UnusableFile
        If they differ: nothing tells which of them is meant.
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
    """Return every file that matches, those without a UUID first; one of the outputs hides its namesake."""
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
    """Return whether a name is none of a data file: `._name` of a Mac, `.name.swp`; unless it is asked for."""
    return name.startswith(".") and not pattern.startswith(".")


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Return the files in a folder; a link that leads nowhere is no file."""
    regex = _regex(pattern)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _is_named(path, regex, pattern) and os.path.exists(path)]  # noqa: PTH110  # `Path.exists` raises where it may not look
    return sorted(found, key=lambda path: (re.search(rf"\.{UUID}", path.name) is not None, path.name))


def _is_named(path: Path, regex: re.Pattern[str], pattern: str) -> bool:
    return regex.fullmatch(path.name) is not None and not is_hidden(path.name, pattern)


def _are_equal(first: Path, second: Path) -> bool:
    """Return whether two files hold the same bytes; one comparison for as long as neither changes."""
    states = [path.stat() for path in (first, second)]
    if states[0].st_size != states[1].st_size or first.samefile(second):
        return states[0].st_size == states[1].st_size
    return _hold_the_same(first, second, *((s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in states))


@lru_cache(maxsize=1024)
def _hold_the_same(first: Path, second: Path, *states: tuple[int, ...]) -> bool:
    with first.open("rb") as one, second.open("rb") as other:
        while piece := one.read(_PIECE):
            if piece != other.read(_PIECE):
                return False
    return True


def require(session: Session, collection: str, pattern: str, do: str) -> Path:
    """Return a file of the session.

    Raises
    ------
    MissingFile
        If there is none.
    UnusableFile
        If there are several that differ.
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


def identities(paths: Sequence[Path]) -> Any:  # JSON
    """Return what tells the files that stand for one another from others: of one its identity, None for none."""
    return identity(paths[0] if paths else None) if len(paths) < 2 else [identity(path) for path in paths]


def latest(path: Path) -> Path | None:
    """Return the newest revision of an ALF file, the file itself where it has none, None where neither exists."""
    revisions = sorted(folder / path.name for folder in path.parent.glob("#*#") if (folder / path.name).exists())
    if revisions:
        return revisions[-1]
    return path if path.exists() else None


def publish_npy(path: Path, array: NDArray[Any], overwrite: bool = False) -> Path:
    """Write an ALF `.npy` file without destroying what an earlier run, or another program, published.

    Parameters
    ----------
    path : Path
        Where it belongs.
    array : ndarray
        Its content.
    overwrite : bool
        Replace the newest revision instead of making another.

    Returns
    -------
    Path
        Where it is: at `path` if nothing was there, in a new revision folder `#YYYY-MM-DD#` if something else was, and
        where it was if it was there already, or the first part of it.
    """
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    present = latest(path)
    if present is not None and present.read_bytes() == content.getvalue():
        return present
    if present is None:
        target = path
    elif overwrite or content.getvalue().startswith(present.read_bytes()):
        target = present  # what is there is this very file cut short
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
    with writing(target, len(content.getvalue())) as file:
        file.write(content.getvalue())
    return target


def _new_revision(path: Path) -> Path:
    today = datetime.now(UTC).date().isoformat()
    letters = (f"{'z' * (n // 26)}{ascii_lowercase[n % 26]}" for n in count())  # they sort in the order of counting
    names = (f"#{today}{letter}#" for letter in chain([""], letters))
    return next(target for name in names if not (target := path.parent / name / path.name).exists())


def _regex(pattern: str) -> re.Pattern[str]:
    stem, dot, extension = pattern.rpartition(".")
    parts = (re.escape(part).replace(r"\*", ".*") for part in (stem, extension))
    head, tail = parts
    return re.compile(f"{head}(\\.{UUID})?{re.escape(dot)}{tail}")
