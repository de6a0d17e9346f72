"""Names that a shell takes as they are: programs of the field put folders and arguments into commands, unquoted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ibl_dask.errors import UnsafeName
from ibl_dask.model.places import FOLDERS, NAMES, WILD, require_inside

PLAIN = "letters, digits and . _ - + = @ % : , # ~ in every name, and none that begins with -"
"""What a name may hold, for messages."""
_TAKEN_BY_SHELL = re.compile(r"[^\w@%+=:,./#~-]")
"""Characters with a meaning in a shell: all but those that `shlex.quote` leaves as they are, letters of any language,
and `#` and `~`, which have one at the start of a word alone."""
_PATHS = (FOLDERS, "folder", "path")
"""Endings of the names of arguments that are folders of the session, or of anywhere else."""


def shell_fault(text: str, *, allowed: str = "") -> str | None:
    """Return the reason for which a shell may take a text for more than one plain word; None if it does not.

    Parameters
    ----------
    text : str
        Name or path.
    allowed : str
        Characters that are allowed all the same.

    Examples
    --------
    >>> shell_fault("alf/#2021-05-01#/wheel.position.npy")
    >>> shell_fault("SW_001; ls")
    "';' is in it"
    """
    for letter in _TAKEN_BY_SHELL.findall(text):
        if letter not in allowed:
            return f"{letter!r} is in it"
    if text[:1] in ("#", "~"):
        return f"it begins with {text[0]!r}"
    if any(part.startswith("-") for part in text.split("/")):
        return "a name in it begins with '-'"
    return None


def unsafe_argument(arguments: Mapping[str, object]) -> tuple[str, str, str] | None:
    """Return the first text among some arguments that a shell would interpret; None if there is none.

    Patterns with `*`, `?` and `[...]` are allowed, since folders of some devices are; and blanks in texts that are
    neither folders nor names.

    Parameters
    ----------
    arguments : mapping
        Arguments of a task; JSON.

    Returns
    -------
    tuple of str, or None
        Its key, with dots between, the text, and the reason; see `shell_fault`.
    """
    for keys, text in _texts_in(arguments, ()):
        is_path = any(key in NAMES or key.endswith(_PATHS) for key in keys)
        why = shell_fault(text, allowed=WILD if is_path else f"{WILD} ")
        if why is not None:
            return ".".join(keys), text, why
    return None


def _texts_in(content: object, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield all texts among some arguments with their keys; names of nested arguments are texts as well."""
    if isinstance(content, str):
        yield keys, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _texts_in(value, (*keys, str(key)))
            if keys:
                yield keys, str(key)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts_in(value, keys)


def require_plain(text: object, role: str, *, where: str | Path = "", is_name: bool = False) -> str:
    """Return a folder or a name that a database named in its normal form, if it stays inside and is safe in a shell.

    Parameters
    ----------
    text, role, where, is_name
        See `require_inside`.

    Raises
    ------
    OutsideSession
        If it does not stay inside.
    UnsafeName
        If it holds characters that a shell interprets.
    """
    plain = require_inside(text, role, where=where, is_name=is_name)
    why = shell_fault(plain)
    if why is not None:
        raise UnsafeName(
            f"{role} cannot be part of a path here: {why}",
            where=str(where),
            expected=PLAIN,
            got=repr(text),
            do="correct the name in Alyx: programs of the field give such paths to a shell",
        )
    return plain


def require_shell_safe(name: str, session: Path, arguments: Mapping[str, object]) -> None:
    """Require that a shell takes the folder of a session and the texts in arguments as they are.

    Tasks of the field run commands with both in them, unquoted (`ibllib.io.ffmpeg`, `ibllib.pipes.video_tasks`,
    `ibllib.pipes.ephys_tasks` and others of ibllib 4.1.0): a blank breaks these, and `;` begins another command.

    Parameters
    ----------
    name : str
        Name of the task.
    session : Path
        Folder of the session.
    arguments : mapping
        Arguments of the task; JSON. See `unsafe_argument` for what is allowed in them.

    Raises
    ------
    UnsafeName
        If not.
    """
    for place in (str(session), os.path.realpath(session)):
        if (why := shell_fault(place)) is not None:
            raise _unsafe(name, "the folder of the session", place, why)
    if (found := unsafe_argument(arguments)) is not None:
        raise _unsafe(name, f"argument {found[0]}", *found[1:])


def _unsafe(name: str, where: str, text: str, why: str) -> UnsafeName:
    return UnsafeName(
        f"{name} cannot be given a name that a shell interprets: {why}",
        where=where,
        expected=PLAIN,
        got=repr(text),
        do="rename it: programs of the field break at such a name, or run parts of it; tasks of this package take it",
    )
