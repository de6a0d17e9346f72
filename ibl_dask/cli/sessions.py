"""Session folders from the arguments of the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.errors import NotASession, UsageError
from ibl_dask.model.session import is_session_path, real_path
from ibl_dask.model.text import read_text

if TYPE_CHECKING:
    from ibl_dask.alyx.client import Alyx

_COMMENT = re.compile(r"(^|\s)#.*")
_BLANKS = " \t\r"
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def find_sessions(arguments: Iterable[str], elsewhere: list[str] | None = None) -> list[Path]:
    """Return the session folders of some arguments, each once, in order.

    Parameters
    ----------
    arguments
        Session folders, their identifiers in Alyx, folders that hold sessions, or text files with one of these a
        line. An identifier stands for the folder below those of `$IBL_DASK_SUBJECTS`. In such a file a `#` at the
        start of a line, or after white space, begins a comment. `..` is followed, and a link to a session is that
        session. A path that ends like a session is taken as one even where it does not exist, so that its error is
        reported with the others.
    elsewhere : list of str, optional
        Receives the identifiers of sessions that are not here, or were fetched; by default those are errors, and these
        stand for their folders.

    Raises
    ------
    NotASession
        If an argument is none of these, or a folder holds no session.
    UsageError
        If a list is no text, or names itself.
    """
    sessions: dict[str, Path] = {}
    for path in _expand(arguments, (), _Identifiers(elsewhere)):
        sessions.setdefault(os.path.realpath(path), path)
    return list(sessions.values())


def _expand(arguments: Iterable[str], lists: tuple[Path, ...], identifiers: _Identifiers) -> Iterator[Path]:
    """Yield the sessions of some arguments.

    Parameters
    ----------
    arguments : iterable of str
        Arguments, or lines of a list.
    lists : tuple of Path
        Lists that are being read, each named by the one before.
    identifiers : _Identifiers
        Finds the folders of identifiers.
    """
    for argument in arguments:
        found = identifiers.folder(argument) if _ID.fullmatch(argument) else argument
        if found is None:
            continue
        path = real_path(found)
        if is_session_path(path):
            yield path
        elif path.is_dir():
            below = list(_sessions_below(path))
            if not below:
                raise NotASession(
                    "this folder holds no session",
                    where=_place(str(path), lists),
                    expected="a session folder, subject/YYYY-MM-DD/NNN, or a folder that holds some",
                    got="no folder of that form",
                    do="give the session's own folder, or the folder that holds the subjects",
                )
            yield from below
        elif path.is_file():
            yield from _expand(_lines(path, lists), (*lists, path.resolve()), identifiers)
        else:
            raise NotASession(
                "this is no session",
                where=_place(argument, lists),
                expected="a session folder, a folder that holds sessions, or a text file of paths",
                got="nothing at this path" if "/" in argument else "no such file or folder",
                do="check the path; sessions are found by folder, or by their identifier in Alyx",
            )


class _Identifiers:
    """Folders of sessions by their identifiers in Alyx, of which all are asked through one client.

    Parameters
    ----------
    elsewhere : list of str, optional
        See `find_sessions`.
    """

    def __init__(self, elsewhere: list[str] | None) -> None:
        self._elsewhere = elsewhere

    @cached_property
    def _client(self) -> Alyx:
        from ibl_dask.alyx.access import client_of

        return client_of()

    def folder(self, eid: str) -> str | Path | None:
        """Return the folder of a session; a file of that name takes precedence.

        None for a session that is not here, or was fetched, where `elsewhere` takes these.
        """
        if os.path.lexists(eid):
            return eid
        from ibl_dask.alyx.fetched import FetchRecord
        from ibl_dask.alyx.folders import find_folder, subject_folders

        try:
            found = find_folder(eid, lambda: self._client, subject_folders())
        except NotASession:
            found = None
            if self._elsewhere is None:
                raise
        if self._elsewhere is not None and (found is None or FetchRecord.read(found) is not None):
            if eid.lower() not in self._elsewhere:
                self._elsewhere.append(eid.lower())
            return None
        return found


def _place(argument: str, lists: tuple[Path, ...]) -> str:
    return f"{argument}, in the list {lists[-1]}" if lists else argument


def _lines(path: Path, lists: tuple[Path, ...]) -> list[str]:
    """Return the paths in a list.

    Raises
    ------
    UsageError
        If it is no text in UTF-8, or one of the lists that name it.
    """
    if path.resolve() in lists:
        raise UsageError(
            "this list of sessions names itself",
            where=_place(str(path), lists),
            expected="paths of sessions, of folders that hold some, or of other lists",
            got=" -> ".join(each.name for each in (*lists, path)),
            do="take that line out",
        )
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise _no_list(path, str(error)) from error
    if "\0" in text:
        raise _no_list(path, "a binary file")
    # A line feed alone ends a line: any other mark may stand in the name of a folder. Names are the bytes of the list,
    # in whichever way the locale spells them.
    lines = (os.fsdecode(line.encode()).strip(_BLANKS) for line in text.split("\n"))
    return [named for line in lines if (named := _without_comment(line))]


def _without_comment(line: str) -> str:
    """Return the path in a line. A `#` is part of the path if a file of that name exists."""
    return line if "#" in line and os.path.lexists(line) else _COMMENT.sub("", line).strip(_BLANKS)


def _no_list(path: Path, got: str) -> UsageError:
    return UsageError(
        "this file is no list of sessions",
        where=str(path),
        expected="a text file in UTF-8 with one path a line",
        got=got,
        do="give the session's folder instead of a file in it, or save the list as UTF-8",
    )


def _sessions_below(folder: Path) -> Iterator[Path]:
    """Yield the sessions below a folder; links are followed, each folder once."""
    visited = set()
    for root, names, _ in os.walk(folder, followlinks=True):
        here = Path(root)
        place = os.path.realpath(here)
        names[:] = sorted(name for name in names if not name.startswith(".") and place not in visited)
        if is_session_path(here) and place not in visited:
            names.clear()
            yield real_path(here)
        visited.add(place)
