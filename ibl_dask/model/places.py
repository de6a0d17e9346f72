"""Containment of names and folders that come from outside: each must stay below the folder it belongs to.

Folders and labels of descriptions, files of tasks, planners and signatures of other packages, and the outputs that
tasks report, pass through here before they become part of a path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ibl_dask.errors import OutsideSession

WILD = "*?[]"
_LONGEST_NAME = 255
"""Longest name that a file system takes, bytes."""
FOLDERS = "collection"
"""Ending of the names of arguments that are folders of the session."""
NAMES = ("cameras", "pname", "protocol", "extractors", "recording", "sync_ext", "sync_namespace")
"""Arguments that become part of the name of a file."""


def complaint(text: object, *, is_name: bool = False, may_vary: bool = False) -> str | None:
    """Return the reason for which a text is no folder or file below another one; None if it is one.

    Parameters
    ----------
    text : object
        Name or folder from outside.
    is_name : bool
        Require one name, without folders above it.
    may_vary : bool
        Allow a pattern with `*`, `?` and `[...]`.

    Examples
    --------
    >>> complaint("raw_video_data/left")
    >>> complaint("../002/raw_video_data")
    'it leads out of its folder by `..`'
    """
    if not isinstance(text, str):
        return f"a text is needed, not a {type(text).__name__}"
    return _complaint(text, is_name, may_vary)


@lru_cache(maxsize=10_000)  # a plan of many sessions asks for the same few names
def _complaint(text: str, is_name: bool, may_vary: bool) -> str | None:
    if not all(letter.isprintable() for letter in text) or not _can_be_encoded(text):
        return "it holds a character that no name may hold"
    if "\\" in text or text[1:2] == ":":
        return "it is a path of Windows: `/` goes between folders, and no drive before them"
    if text.startswith("/"):
        return "it is an absolute path"
    parts = _parts(text)
    if ".." in parts:
        return "it leads out of its folder by `..`"
    if not parts:
        return "it names nothing below its folder"
    if is_name and "/" in text:
        return "one name is needed, without `/`"
    if not may_vary and any(letter in text for letter in WILD):
        return "it stands for more than one name: `*`, `?`, `[` or `]` is in it"
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        return f"a name in it is longer than {_LONGEST_NAME} bytes"
    return None


def require_inside(
    text: object, role: str, *, where: str | Path = "", is_name: bool = False, may_vary: bool = False
) -> str:
    """Return a folder or a name in its normal form, `a/b` for `a//b/.`, if it stays inside.

    Parameters
    ----------
    text : object
        Name or folder from outside.
    role : str
        Its role, for the message: `the collection of the left camera`.
    where : str or Path
        File that it was read from, or the folder it belongs to.
    is_name, may_vary
        See `complaint`.

    Raises
    ------
    OutsideSession
        If it does not stay inside.
    """
    why = complaint(text, is_name=is_name, may_vary=may_vary)
    if why is not None:
        raise OutsideSession(
            f"{role} does not stay inside its session: {why}",
            where=str(where),
            expected="one name" if is_name else "a relative path without `..`, such as raw_video_data",
            got=repr(text),
            do="mend it where it is written: in the experiment description, the file of tasks or the call",
        )
    return normal_form(str(text))


def below(root: Path, *texts: object, may_vary: bool = False) -> Path:
    """Return a path below a folder, by names from outside.

    Raises
    ------
    OutsideSession
        If it does not stay inside.
    """
    return root.joinpath(*(require_inside(text, "a path", where=root, may_vary=may_vary) for text in texts))


def first_fault(content: object, *, where: str = "", may_vary: bool = False) -> tuple[str, str] | None:
    """Return the first folder or label among some arguments that does not stay inside, and the reason; None if all do.

    Parameters
    ----------
    content : mapping, or anything else
        Arguments, or the entry of a device in a description. Nested mappings are searched, by the names of keys.
    where : str
        Its key, with dots between.
    may_vary : bool
        Folders may be patterns, as those of a microscope are (`raw_imaging_data*`).

    Returns
    -------
    tuple of str, or None
        The key, with dots between, and the fault.
    """
    if not isinstance(content, Mapping):
        return None
    for key, value in content.items():
        place = f"{where}.{key}" if where else str(key)
        is_name = key in NAMES
        if isinstance(value, Mapping):
            if (found := first_fault(value, where=place, may_vary=may_vary)) is not None:
                return found
        elif is_name or (isinstance(key, str) and key.endswith(FOLDERS)):
            for text in value if isinstance(value, list | tuple) else [value]:
                why = (
                    None
                    if text is None or text == ""
                    else complaint(text, is_name=is_name, may_vary=may_vary and not is_name)
                )
                if why is not None:
                    return place, format_fault(text, why)
    return None


def format_fault(text: object, why: str) -> str:
    """Return the fault of a folder or label that does not stay inside as text; `why` is that of `complaint`."""
    return f"{text!r} does not stay inside its session: {why}"


def normal_form(text: str) -> str:
    """Return a relative path without empty parts and `.`, as `require_inside` does.

    >>> normal_form("./alf//task_00/.")
    'alf/task_00'
    """
    return "/".join(_parts(text))


def is_inside(path: Path, roots: tuple[Path, ...]) -> bool:
    """Return whether a path is below one of some folders, as written or with its links resolved."""
    plain = Path(os.path.normpath(path))
    if ".." not in path.parts and any(plain.is_relative_to(root) for root in roots):
        return True
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(root)) for root in roots)


def _parts(text: str) -> list[str]:
    return [part for part in text.split("/") if part not in ("", ".")]


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
