"""Look-up of the datasets of a signature among a session's files."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.model.signature import Combined, Dataset, ExpectedDataset
from ibl_dask.store.alf import UUID, is_hidden

_DATASET = re.compile(rf"\.{UUID}(?=\.|$)")


@dataclass(frozen=True, slots=True)
class DatasetFiles:
    """Files of an expected dataset."""

    ok: bool
    """True if the expectation is met."""
    files: tuple[Path, ...] = ()
    """Its files, in order of their paths relative to the session."""
    missing: frozenset[str] = frozenset()
    """Patterns without a required file, or with an unwanted one."""


def find_files(
    roots: Sequence[Path], expected: ExpectedDataset, *, to_register: bool = False, with_content: bool = False
) -> DatasetFiles:
    """Find the files of an expected dataset.

    Parameters
    ----------
    roots : sequence of Path
        Folders of the session, searched in order: a file hides its namesakes in later folders.
    expected : ExpectedDataset
        The dataset, or a combination of datasets. An optional one is always ok.
    to_register : bool
        Find only datasets that are registered in a database.
    with_content : bool
        Ignore empty files.

    Returns
    -------
    DatasetFiles
        Patterns match paths relative to the session; copies of the session's folders in its subfolders do not count.

    Raises
    ------
    TypeError
        If `expected` is no expected dataset.
    """
    return _Look(tuple(roots), to_register, with_content).find(expected)


@dataclass(frozen=True, slots=True)
class _Look:
    roots: tuple[Path, ...]
    to_register: bool
    with_content: bool

    def find(self, expected: ExpectedDataset, *, strictly: bool = False) -> DatasetFiles:
        """Find the files of an expectation; strictly: as if all of it were required."""
        if isinstance(expected, Combined):
            found = self._combined(expected, strictly=strictly or expected.inverted)
            if expected.inverted:
                there = frozenset(expected.patterns) if found.ok else frozenset[str]()
                found = DatasetFiles(not found.ok, found.files, there)
        elif isinstance(expected, Dataset):
            if self.to_register and not expected.register:
                return DatasetFiles(True)
            found = self._dataset(expected)
        else:
            raise TypeError(f"not an expected dataset: {expected!r}")
        return found if strictly or expected.is_required else DatasetFiles(True, found.files, found.missing)

    def _dataset(self, dataset: Dataset) -> DatasetFiles:
        files = self._files(dataset.pattern)
        if not files and dataset.revision is None:
            files = self._files("/".join(part for part in (dataset.collection, "#*#", dataset.name) if part))
        ok = bool(files) != dataset.inverted
        return DatasetFiles(ok, files, frozenset() if ok else frozenset({dataset.pattern}))

    def _combined(self, expected: Combined, *, strictly: bool) -> DatasetFiles:
        left = self.find(expected.left, strictly=strictly)
        if expected.operator == "or" and left.ok:
            return DatasetFiles(True, left.files)
        right = self.find(expected.right, strictly=strictly)
        files = tuple(sorted({*left.files, *right.files}))
        missing = left.missing | right.missing
        if expected.operator == "or":
            return DatasetFiles(right.ok, right.files, left.missing if right.ok else missing)
        if expected.operator == "and":
            return DatasetFiles(left.ok and right.ok, files, missing)
        if left.ok != right.ok:
            return DatasetFiles(True, left.files if left.ok else right.files)
        return DatasetFiles(False, files, frozenset(expected.patterns) if left.ok else missing)

    def _files(self, pattern: str) -> tuple[Path, ...]:
        *folders, name = pattern.split("/")
        found: dict[str, Path] = {}
        for root in self.roots:
            for folder in _folders(root, folders):
                for path in _inside(folder, name):
                    if not (self.with_content and _is_empty(path)):
                        found.setdefault(path.relative_to(root).as_posix(), path)
        return tuple(found[place] for place in sorted(found))


def _folders(root: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Yield the folders that match, one pattern for each step down."""
    if not patterns:
        yield root
        return
    for folder in _inside(root, patterns[0]):
        if folder.is_dir():
            yield from _folders(folder, patterns[1:])


def _inside(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the entries of a folder whose name matches, with or without its dataset UUID; no dangling links."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if is_hidden(path.name, pattern):
            continue
        names = {path.name, _DATASET.sub("", path.name, count=1)}
        is_named = any(fnmatch.fnmatchcase(name, pattern) for name in names)
        if is_named and os.path.exists(path):  # noqa: PTH110  # `Path.exists` raises where it may not look
            yield path


def _is_empty(path: Path) -> bool:
    """Return whether a file or folder is empty."""
    return not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0
