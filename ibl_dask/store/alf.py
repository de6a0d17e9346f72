"""ALF files: finding inputs, which may carry a dataset UUID, and writing outputs."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime
from itertools import chain, count
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingFile
from ibl_dask.store.atomic import writing
from ibl_dask.store.identity import identity as identity

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.model.session import Session

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
        File name, `*` where it may vary. `name.<uuid>.ext` is found for `name.ext` where that is not there.
    """
    for root in session.roots:
        found = _matches(root / collection, pattern)
        if found:
            return found[0]
    return None


def find_all(session: Session, collection: str, pattern: str) -> list[Path]:
    """Return every file that `find` could return, those without a UUID first; one of the outputs hides its namesake."""
    found: dict[str, Path] = {}
    for root in session.roots:
        for path in _matches(root / collection, pattern):
            found.setdefault(path.name, path)
    return list(found.values())


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Return the files in a folder; a link that leads nowhere is no file."""
    regex = _regex(pattern)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if regex.fullmatch(path.name) and os.path.exists(path)]  # noqa: PTH110  # `Path.exists` raises where it may not look
    return sorted(found, key=lambda path: (re.search(rf"\.{UUID}", path.name) is not None, path.name))


def require(session: Session, collection: str, pattern: str, do: str) -> Path:
    """Return a file of the session.

    Raises
    ------
    MissingFile
        If there is none.
    """
    found = find(session, collection, pattern)
    if found is None:
        folder = session.path / collection
        got = "no such folder"
        if folder.is_dir():
            regex = _regex(pattern)
            links = (path for path in folder.iterdir() if regex.fullmatch(path.name) and path.is_symlink())
            if (link := next(links, None)) is not None:
                raise MissingFile(
                    "this file is a link that leads nowhere",
                    where=str(link),
                    expected="a link to a file that may be read",
                    got=f"{link.name} -> {link.readlink()}",
                    do=f"mount the disk that it leads to, or {do}",
                )
            names = sorted(path.name for path in folder.iterdir())
            got = (
                f"a folder with {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
                if names
                else "an empty folder"
            )
        where = " or ".join(str(root / collection / pattern) for root in reversed(session.roots))
        raise MissingFile("this file is not there", where=where, expected=pattern, got=got, do=do)
    return found


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
