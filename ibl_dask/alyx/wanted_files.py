"""Choice of the files that tasks read, among those that Alyx lists; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ibl_dask.alyx.remote_files import RemoteFile
from ibl_dask.model.signature import Combined, Dataset, ExpectedDataset
from ibl_dask.store.alf import UUID

PLANNED_FROM = (
    "_ibl_experiment.description*.yaml",
    "raw_behavior_data/_iblrig_taskSettings.raw*.json",
    "*/*.ap*.meta",
    "*/*/*.ap*.meta",
)
"""Files from which a session is planned: the description, the settings that stand for one that is missing, and the
headers of probes."""
_DATASET = re.compile(rf"\.{UUID}(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Reader:
    """A task that is to run, and the files that it reads and makes."""

    name: str
    """Name of the task."""
    inputs: tuple[ExpectedDataset, ...] = ()
    """Datasets that it reads."""
    outputs: tuple[ExpectedDataset, ...] = ()
    """Datasets that it makes."""
    folders: tuple[str, ...] = ()
    """Folders of which it reads any file: those in the arguments of a task whose signature is not known here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to bring."""

    file: RemoteFile
    """The file."""
    task: str
    """The first task that reads it."""
    is_required: bool
    """The task fails without it."""


def fits(path: str, pattern: str) -> bool:
    """Return whether a path below a session fits a pattern, part by part; a UUID before the extension is ignored.

    >>> fits("alf/_ibl_leftCamera.times.npy", "alf/*.times.*")
    True
    """
    parts, patterns = path.split("/"), pattern.split("/")
    names = {parts[-1], _DATASET.sub("", parts[-1], count=1)}
    return (
        len(parts) == len(patterns)
        and all(map(fnmatchcase, parts[:-1], patterns[:-1]))
        and any(fnmatchcase(name, patterns[-1]) for name in names)
    )


def to_plan_from(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return the files that a session is planned from."""
    return [file for file in files if any(fits(file.path, pattern) for pattern in PLANNED_FROM)]


def choose(files: Sequence[RemoteFile], readers: Iterable[Reader]) -> list[Wanted]:
    """Return the files that tasks read and no earlier task makes, each once.

    A task without inputs lists what is there: it reads the files that it names as its outputs. A file that an earlier
    task makes is not brought: that task would find another one in its place.

    Parameters
    ----------
    files : sequence of RemoteFile
        Files of the session.
    readers : iterable of Reader
        Tasks, parents first.
    """
    by_path = {file.path: file for file in files}
    wanted: dict[str, Wanted] = {}
    made: list[str] = []
    for reader in readers:
        can_run = True
        for expected in reader.inputs or reader.outputs:
            found = _Look(tuple(by_path), tuple(made)).find(expected)
            can_run = can_run and found.ok
            for path, is_required in found.paths.items():
                is_needed = is_required and bool(reader.inputs)
                if path not in wanted or (is_needed and not wanted[path].is_required):
                    wanted[path] = Wanted(by_path[path], reader.name, is_needed)
        for path, file in by_path.items():
            if any(path.startswith(f"{folder}/") for folder in reader.folders):
                wanted.setdefault(path, Wanted(file, reader.name, False))
        if reader.inputs and can_run:
            made += [leaf.pattern for expected in reader.outputs for leaf in expected.leaves if not leaf.inverted]
    return list(wanted.values())


@dataclass(frozen=True, slots=True)
class _Found:
    ok: bool
    paths: Mapping[str, bool]
    """Path -> whether a task fails without it."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Look-up among paths, with the meaning that `ibl_dask.store.dataset_lookup` gives signatures."""

    paths: tuple[str, ...]
    made: tuple[str, ...]
    """Patterns of files that earlier tasks make."""

    def find(self, expected: ExpectedDataset) -> _Found:
        if isinstance(expected, Combined) and not expected.inverted:
            left, right = self.find(expected.left), self.find(expected.right)
            if expected.operator == "and":
                return _Found(left.ok and right.ok, {**left.paths, **right.paths})
            if left.ok and left.paths:  # of two alternatives, the first that is there
                return left
            return right if right.ok and right.paths else _Found(left.ok or right.ok, {**left.paths, **right.paths})
        if not isinstance(expected, Dataset) or expected.inverted:
            return _Found(True, {})
        pattern = expected.pattern
        found = [path for path in self.paths if fits(path, pattern)]
        if not found and expected.revision is None:
            of_revisions = "/".join(part for part in (expected.collection, "#*#", expected.name) if part)
            found = [path for path in self.paths if fits(path, of_revisions)]
        unmade = [path for path in found if not any(fits(path, made) for made in self.made)]
        is_made = bool(found) > bool(unmade) or any(_may_meet(pattern, made) for made in self.made)
        return _Found(bool(unmade) or is_made or not expected.required, dict.fromkeys(unmade, expected.required))


def _may_meet(pattern: str, made: str) -> bool:
    """Return whether a file of one pattern may fit another one."""
    return pattern == made or fits(made, pattern) or fits(pattern, made)
