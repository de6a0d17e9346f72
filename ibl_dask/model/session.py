"""Session folder, and the folders of its results."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ibl_dask.errors import DescriptionError, NotASession
from ibl_dask.model import legacy_protocols as legacy
from ibl_dask.model.description import ExperimentDescription
from ibl_dask.model.description_reader import read_content, understand

_TAIL = re.compile(r"[^/]+/[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9]{1,3}")
_DESCRIPTION = re.compile(r"_ibl_experiment\.description(\.[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?\.yaml")
OWN_FOLDER = "ibl_dask"
"""Folder of our own files inside a session."""


def is_session_path(path: Path) -> bool:
    """Return whether a path ends in subject/YYYY-MM-DD/NNN."""
    return _TAIL.fullmatch("/".join(path.parts[-3:])) is not None


def real_path(path: str | Path) -> Path:
    """Return an absolute path, with every `..` resolved and a link to a session replaced by that session.

    Links above the subject are kept: on a cluster their targets may differ from node to node. A link to a folder that
    is not named like a session is kept, too.
    """
    whole = _without_dots(path)
    links = (place for place in (whole, *whole.parents[:2]) if os.path.islink(place))  # noqa: PTH114  # `Path.is_symlink` raises where it may not look
    if is_session_path(whole) and next(links, None) is None:
        return whole
    real = Path(os.path.realpath(whole))
    return real if is_session_path(real) and real.is_dir() else whole


def _without_dots(path: str | Path) -> Path:
    """Return an absolute path with every `..` resolved."""
    whole = Path(path).expanduser().absolute()
    if ".." not in whole.parts:
        return whole
    last = max(place for place, part in enumerate(whole.parts) if part == "..")
    return Path(os.path.realpath(Path(*whole.parts[: last + 1]))).joinpath(*whole.parts[last + 1 :])


@dataclass(frozen=True)
class Session:
    """One recording of one subject.

    Parameters
    ----------
    path : Path
        Any folder that ends in `subject/YYYY-MM-DD/NNN`.
    output_root : Path, optional
        Folder of the results, which go to `lab/Subjects/subject/date/NNN` below it; by default the session itself.

    Raises
    ------
    NotASession
        If the path does not end that way, or is not UTF-8. The folder itself is checked when it is used, see `look`.
    """

    path: Path
    output_root: Path | None = None

    def __post_init__(self) -> None:
        path = real_path(self.path)
        object.__setattr__(self, "path", path)
        if self.output_root is not None:
            object.__setattr__(self, "output_root", _without_dots(self.output_root))
        if not is_session_path(path):
            raise NotASession(
                "this is not a session folder",
                where=str(path),
                expected="a folder that ends in subject/YYYY-MM-DD/NNN, for instance SW_001/2023-05-01/001",
                got="/".join(path.parts[-3:]),
                do="give the session's own folder, or a folder that holds sessions",
            )
        printable = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        if printable != str(path):
            raise NotASession(
                "the path of this session is not UTF-8",
                where=printable,
                expected="names that JSON, HTML and databases can hold",
                got="bytes that are no text in UTF-8",
                do="rename the folder; `convmv -f latin1 -t utf8` does it for many",
            )

    def look(self) -> None:
        """Raise if the folder does not exist.

        Raises
        ------
        NotASession
            If there is no such folder.
        """
        path = self.path
        if not path.is_dir():
            raise NotASession(
                "this session folder does not exist",
                where=str(path),
                expected="an existing folder",
                got="a link that leads nowhere"
                if path.is_symlink()
                else "a file"
                if path.exists()
                else "nothing at this path",
                do="check the path for typing errors, and that the disk is mounted",
            )

    @property
    def subject(self) -> str:
        """Return the nickname of the subject."""
        return self.path.parts[-3]

    @property
    def date(self) -> str:
        """Return the date, YYYY-MM-DD."""
        return self.path.parts[-2]

    @property
    def number(self) -> str:
        """Return the number of the session on its day, as in the folder name."""
        return self.path.parts[-1]

    @property
    def reference(self) -> str:
        """Return `subject/date/number`."""
        return f"{self.subject}/{self.date}/{self.number}"

    @property
    def relative(self) -> Path:
        """Return the path below the folder that holds labs or subjects."""
        parts = self.path.parts
        if len(parts) >= 6 and parts[-4] == "Subjects":
            return Path(*parts[-5:])
        return Path(*parts[-3:])

    @property
    def outputs(self) -> Path:
        """Return the folder that receives results."""
        return self.path if self.output_root is None else self.output_root / self.relative

    @property
    def own(self) -> Path:
        """Return the folder of files in formats of this package."""
        return self.outputs / OWN_FOLDER

    @property
    def roots(self) -> tuple[Path, ...]:
        """Return the folders that inputs are searched in, in order."""
        return (self.path,) if self.outputs == self.path else (self.outputs, self.path)

    @cached_property
    def description(self) -> ExperimentDescription:
        """Read the experiment description; without one, infer it from the protocol of the session.

        Raises
        ------
        NotASession
            If there is no such folder.
        DescriptionError
            If there is none, or it cannot be understood.
        """
        self.look()
        for root in self.roots:
            found = find_description(root)
            if found is not None:
                content = read_content(found)
                if content or legacy.read_protocol(self.path) is None:
                    return understand(content)
        for root in self.roots:
            protocol = legacy.read_protocol(root)
            if protocol is not None:
                return understand(legacy.legacy_content(protocol), origin="protocol")
        raise DescriptionError(
            "this session has no experiment description",
            where=str(self.path),
            expected="a file _ibl_experiment.description.yaml in the session folder, "
            f"or the settings of a task in {legacy.TASK_FOLDER}",
            got="neither",
            do="copy the session again from the acquisition computer, or write the file by hand: "
            "it names the cameras, the sync and the tasks",
        )


def find_description(root: Path) -> Path | None:
    """Return the description file of a session: of the exact name, else of a longer one.

    Raises
    ------
    DescriptionError
        If there are several that differ.
    """
    found = sorted(root.glob("_ibl_experiment.description*.yaml"))
    named = [path for path in found if _DESCRIPTION.fullmatch(path.name)] or found
    if len(named) > 1 and len({path.read_bytes() for path in named}) > 1:
        raise DescriptionError(
            "this session has several descriptions, and they differ",
            where=str(root),
            expected="one _ibl_experiment.description.yaml, or copies of equal bytes",
            got=", ".join(path.name for path in named),
            do="compare them with the one on the acquisition computer, and move the others out of the folder",
        )
    return named[0] if named else None
