"""Options of tasks: which there are, and which values they take. All doors ask here before anything starts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from ibl_dask.errors import UsageError
from ibl_dask.model.choices import advice, nearest, unknown_keyword
from ibl_dask.video.encoding.profiles import PROFILES
from ibl_dask.video.reducers.reference_frame import reference_folder

RAW_POLICIES = ("keep", "trash", "delete")
"""What may become of a raw video whose copy is proven."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    "encoding": tuple(PROFILES),
    "raw_video": RAW_POLICIES,
    "on_error": ("continue", "raise"),
    "pose": ("dlc", "lightning_pose"),
}
"""Option -> the values that it takes."""
_MISSPELT = 0.85
"""How like a known argument another one must be to be taken for it, in a class of somebody else."""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


_NUMBERS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "chunk_pixels": (_is_count, "a number of pixels, 1 or more"),
    "encode_pixels": (_is_count, "a number of pixels, 1 or more"),
    "longest_extrapolation_s": (_is_duration, "a number of seconds, 0 or more"),
}
"""Option -> whether a value makes sense, and which does."""


def check_value(name: str, value: object) -> None:
    """Insist that an option has a value that makes sense; None is its default.

    Raises
    ------
    UsageError
        If not; with what was probably meant.
    """
    if value is None:
        return
    if name in CHOICES:
        for each in [value] if isinstance(value, str) or not isinstance(value, Iterable) else value:
            if each not in CHOICES[name]:
                raise UsageError(
                    f"{_flag(name)} cannot be {each}",
                    expected=", ".join(CHOICES[name]),
                    got=str(each),
                    do=advice(str(each), CHOICES[name]),
                )
    elif name in _NUMBERS:
        makes_sense, expected = _NUMBERS[name]
        if not makes_sense(value):
            raise UsageError(
                f"{_flag(name)} cannot be {value!r}", expected=expected, got=repr(value), do="mend the value"
            )
    elif name == "reference_frames":
        reference_folder(value)  # type: ignore[arg-type]  # whatever was given


def check_options(owner: str, given: Mapping[str, Any], known: Iterable[str], output_root: object = None) -> None:
    """Insist that options are known, that their values make sense, and that they fit together.

    Parameters
    ----------
    owner : str
        What was called.
    given : mapping
        Option -> value.
    known : iterable of str
        Options that there are.
    output_root : path, optional
        Where results go, if not into the sessions.

    Raises
    ------
    UsageError
        If not.
    """
    known = set(known)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise unknown_keyword(owner, unknown, known)
    for name, value in given.items():
        check_value(name, value)
    policy = given.get("raw_video")
    if policy not in (None, "keep") and output_root is not None:
        raise UsageError(
            "raw videos stay untouched where results go elsewhere",
            where=str(output_root),
            expected="raw_video=keep with --output-root",
            got=f"raw_video={policy}",
            do="leave one of the two out",
        )


def check_keywords(cls: type, left: Mapping[str, object]) -> None:
    """Insist that what no constructor of a task took is meant for a lab's own class, and no misspelling.

    Parameters
    ----------
    cls : class
        The task's.
    left : mapping
        Keyword arguments that no constructor took.

    Raises
    ------
    UsageError
        If a class of ours takes no such argument; or one that is much like an argument of a lab's class.
    """
    known = keywords(cls)
    if cls.__module__.startswith("ibl_dask."):
        wrong = list(left)
    else:
        wrong = [name for name in left if name not in known and nearest(name, known, _MISSPELT) is not None]
    if wrong:
        declared = "" if cls.__module__.startswith("ibl_dask.") else "name it in __init__ where it is meant as it is"
        raise unknown_keyword(cls.__name__, wrong, known, declared)


def keywords(cls: type) -> tuple[str, ...]:
    """Return the keyword arguments that a task's constructors take, down to the first that takes no others."""
    return _keywords(cls)


@lru_cache(maxsize=256)
def _keywords(cls: type) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is object:
            continue
        named = list(inspect.signature(init).parameters.values())[1:]
        found |= {p.name: None for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if all(p.kind is not p.VAR_KEYWORD for p in named):
            break
    found.pop("session_path", None)
    return tuple(found)


def _flag(name: str) -> str:
    """Return an option as it is written at the command line, and in Python.

    >>> _flag("raw_video")
    '--raw-video (raw_video)'
    """
    return f"--{name.removesuffix('_s').replace('_', '-')} ({name})"
