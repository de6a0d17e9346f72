"""Options of tasks, declared once: their values, their form on the command line, and checks of what is given."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ibl_dask.errors import UsageError
from ibl_dask.model.choices import advice, nearest, unknown_keyword
from ibl_dask.video.encoding.profiles import PROFILES

_MISSPELT = 0.85
"""Likeness to a known argument from which on another one counts as misspelt, for classes of other packages."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of tasks.

    The constructors of tasks take it as a keyword argument; a pipeline and a run hand it on to the tasks that have one
    of its name. With a `help`, `ibl-dask run` and `plan` have it as well.
    """

    name: str
    """Name in Python. Without the unit it is that on the command line."""
    choices: tuple[str, ...] = ()
    """Values that it takes; empty for values of another kind."""
    check: Callable[[object], object] | None = None
    """Return False, or raise a UsageError, for a value that makes no sense."""
    expected: str = ""
    """Values that make sense, for messages; by default the choices."""
    kind: type[str | float | Path] = str
    """Type of a value on the command line."""
    is_list: bool = False
    """Take several values: with commas between on the command line, where `none` stands for an empty list."""
    help: str = ""
    """Line of help; empty for an option that the command line does not have."""

    @property
    def flag(self) -> str:
        """Return the option as written on the command line.

        >>> Option("longest_extrapolation_s").flag
        '--longest-extrapolation'
        """
        return f"--{self.name.removesuffix('_s').replace('_', '-')}"

    @property
    def label(self) -> str:
        """Return the names of the option for messages: on the command line, if it is there, and in Python."""
        return f"{self.flag} ({self.name})" if self.help else self.name

    def require(self, value: object) -> None:
        """Raise a UsageError unless a value makes sense, with the value that was probably meant."""
        if self.choices:
            for each in [value] if isinstance(value, str) or not isinstance(value, Iterable) else value:
                if each not in self.choices:
                    raise UsageError(
                        f"{self.label} cannot be {each}",
                        expected=", ".join(self.choices),
                        got=str(each),
                        do=advice(str(each), self.choices),
                    )
        if self.check is not None and self.check(value) is False:
            raise UsageError(
                f"{self.label} cannot be {value!r}", expected=self.expected, got=repr(value), do="mend the value"
            )

    def read(self, given: object) -> object:
        """Return the value in Python of one that the command line gives."""
        if not self.is_list:
            return given
        return [word for each in str(given).split(",") if (word := each.strip()) not in ("", "none")]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _require_reference_folder(value: object) -> None:
    from ibl_dask.video.reducers.reference_frame import reference_folder  # loads NumPy, which help does without

    reference_folder(value)  # type: ignore[arg-type]  # a value of any type is refused there


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        option.name: option
        for option in (
            Option(
                "pose",
                choices=("dlc", "lightning_pose"),
                is_list=True,
                help="Pose estimators: dlc, lightning_pose, both, or none [by description].",
            ),
            Option("collection", help="Folder of the protocol whose Bpod times the camera."),
            Option(
                "longest_extrapolation_s",
                check=_is_duration,
                expected="a number of seconds, 0 or more",
                kind=float,
                help="Frames that may lie outside a Bpod's trials, s [60].",
            ),
            Option(
                "reference_frames",
                check=_require_reference_folder,
                kind=Path,
                help="Folder with frames_LABEL.npy of well-placed cameras [ibllib's].",
            ),
            Option(
                "encoding",
                choices=tuple(PROFILES),
                help=f"How raw videos are compressed: {', '.join(PROFILES)} [by the rig].",
            ),
            Option(
                "raw_video",
                choices=("keep", "trash", "delete"),
                help="What becomes of a raw video whose copy is proven: keep, trash, delete [keep].",
            ),
            Option("chunk_pixels", check=_is_count, expected="a number of pixels, 1 or more"),
            Option("encode_pixels", check=_is_count, expected="a number of pixels, 1 or more"),
            Option("on_error", choices=("continue", "raise")),
        )
    }
)
"""Name -> option. An argument of a task that is not listed takes any value."""


def check_value(name: str, value: object) -> None:
    """Raise unless an option has a value that makes sense; None is its default.

    Raises
    ------
    UsageError
        If it has not, with the value that was probably meant.
    """
    if value is not None and name in OPTIONS:
        OPTIONS[name].require(value)


def check_options(owner: str, given: Mapping[str, object], known: Iterable[str], output_root: object = None) -> None:
    """Raise unless options are known, their values make sense, and they fit together.

    Parameters
    ----------
    owner : str
        Function that was called, for messages.
    given : mapping
        Option -> value.
    known : iterable of str
        Names of all options.
    output_root : path, optional
        Folder of the results, if they do not go into the sessions.

    Raises
    ------
    UsageError
        For the first fault, with the name or value that was probably meant.
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
    """Raise if a keyword argument that no constructor of a task took is misspelt.

    Parameters
    ----------
    cls : class
        Class of the task.
    left : mapping
        Keyword arguments that are left.

    Raises
    ------
    UsageError
        For any, if the class is one of this package; for one that is much like a known argument, if it is a lab's.
    """
    known = keywords(cls)
    is_native = cls.__module__.startswith("ibl_dask.")
    if is_native:
        wrong = list(left)
    else:
        wrong = [name for name in left if name not in known and nearest(name, known, _MISSPELT) is not None]
    if wrong:
        do = "" if is_native else "name it in __init__ where it is meant as it is"
        raise unknown_keyword(cls.__name__, wrong, known, do)


def keywords(cls: type) -> tuple[str, ...]:
    """Return the keyword arguments of a task's constructors, down to the first that takes no others."""
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
