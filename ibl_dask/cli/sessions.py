"""From what the user typed to session folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ibl_dask.errors import NotASession

_SESSION = re.compile(r"[^/]+/\d{4}-\d{2}-\d{2}/\d{1,3}$")


def find_sessions(arguments: Iterable[str]) -> list[Path]:
    """Return the session folders meant by some arguments, each once, in order.

    Parameters
    ----------
    arguments
        Session folders, folders that hold sessions, or text files with one of these a line (`#` begins a comment).
        A path that ends like a session is taken as one even where it does not exist, so that its error is reported
        with the others.

    Raises
    ------
    NotASession
        If an argument is none of these, or a folder holds no session.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument).expanduser().absolute()
        if _SESSION.search(path.as_posix()):
            found[path] = None
        elif path.is_dir():
            below = list(_sessions_below(path))
            if not below:
                raise NotASession(
                    "this folder holds no session",
                    where=str(path),
                    expected="a session folder, subject/YYYY-MM-DD/NNN, or a folder that holds some",
                    got="no folder of that form",
                    do="give the session's own folder, or the folder that holds the subjects",
                )
            found.update(dict.fromkeys(below))
        elif path.is_file():
            lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
            found.update(dict.fromkeys(find_sessions(line for line in lines if line)))
        else:
            raise NotASession(
                "this is no session",
                where=argument,
                expected="a session folder, a folder that holds sessions, or a text file of paths",
                got="nothing at this path" if "/" in argument else "no such file or folder",
                do="check the path; sessions are found by folder, not by name in a database",
            )
    return list(found)


def _sessions_below(folder: Path) -> Iterator[Path]:
    """Walk through folders and links to folders, into each place once."""
    been = set()
    for root, names, _ in os.walk(folder, followlinks=True):
        here = Path(root)
        place = os.path.realpath(here)
        names[:] = sorted(name for name in names if not name.startswith(".") and place not in been)
        if _SESSION.search(here.as_posix()) and place not in been:
            names.clear()
            yield here
        been.add(place)
