"""Revisions of protected datasets: new content goes to a folder `#YYYY-MM-DD#`, in Alyx and on disk."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase

from ibl_dask.alyx.task_result import Output, TaskResult
from ibl_dask.errors import NotWritable
from ibl_dask.model.places import below
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.store.atomic import make_folder, move
from ibl_dask.store.disk import explain_os_error
from ibl_dask.store.identity import md5_of
from ibl_dask.store.lock import LOCK_NAME, holding_unless_held

_log = logging.getLogger(__name__)

_REVISION = re.compile(r"#([^#/]+)#")


def protected_revisions(body: object) -> dict[str, list[tuple[str, bool]]]:
    """Return file -> [(revision, is protected)], latest first, from a refusal; empty for another refusal.

    >>> protected_revisions({"details": [{"alf/a.b.npy": [{"": True}]}], "error": "One or more datasets is protected"})
    {'alf/a.b.npy': [('', True)]}
    """
    details = body.get("details") if isinstance(body, Mapping) else None
    if not isinstance(details, list) or "protected" not in str(body.get("error") if isinstance(body, Mapping) else ""):
        return {}
    found: dict[str, list[tuple[str, bool]]] = {}
    for row in details:
        for path, revisions in row.items() if isinstance(row, Mapping) else ():
            each_one = revisions if isinstance(revisions, list) else []
            pairs = (pair for each in each_one if isinstance(each, Mapping) for pair in each.items())
            found[str(path)] = [(str(name), bool(is_protected)) for name, is_protected in pairs]
    return found


def plain_path(path: str) -> str:
    """Return a path without its revision.

    >>> plain_path("alf/#2026-11-21#/_ibl_leftCamera.times.npy")
    'alf/_ibl_leftCamera.times.npy'
    """
    return "/".join(part for part in path.split("/") if not _REVISION.fullmatch(part))


def revision_of(path: str) -> str:
    """Return the revision in a path; empty for none."""
    return next((match[1] for part in path.split("/") if (match := _REVISION.fullmatch(part))), "")


def revision_path(path: str, revisions: Sequence[tuple[str, bool]], today: str) -> str:
    """Return the path at which a protected file can be registered: in a revision that is not protected.

    That of the file itself, else a new one: of today, or after the latest protected one where that is later.

    Parameters
    ----------
    path : str
        Path below the session.
    revisions : sequence of (str, bool)
        Revisions of the file in Alyx, latest first, and whether each is protected.
    today : str
        Date, YYYY-MM-DD.

    >>> revision_path("alf/a.b.npy", [("2026-11-21", True), ("", True)], "2026-11-21")
    'alf/#2026-11-21a#/a.b.npy'
    """
    protected = {name for name, is_protected in revisions if is_protected}
    if revision_of(path) not in protected:
        return path
    letters = ("".join(word) for n in count(1) for word in product(ascii_lowercase, repeat=n))
    names = [today, *(today + next(letters) for _ in range(len(protected)))]
    # A later file must have a later revision, or readers would take the older one.
    latest = max(protected)
    free = next(name for name in [*names, *(latest + letter for letter in ascii_lowercase)] if name > latest)
    folder, name = plain_path(path).rpartition("/")[::2]
    return "/".join(filter(None, (folder, f"#{free}#", name)))


def move_outputs(
    result: TaskResult, moves: Mapping[str, tuple[Output, str]], keep: Callable[[TaskResult], None]
) -> TaskResult:
    """Move files of a session into revisions and return the result with the new paths.

    The result is written first, so that a process that is killed in between finishes the move the next time. A file
    that a later run has replaced stays where it is.

    Parameters
    ----------
    result : TaskResult
        The result.
    moves : mapping
        Path -> file that is to be there, and its new path.
    keep : callable
        Writes the result to disk.

    Raises
    ------
    SessionLocked
        If a run holds the session.
    NotWritable
        If a file cannot be moved.
    """
    with _holding_session(result):
        root = Path(result.folder)
        paths = {
            old: new
            for old, (output, new) in moves.items()
            if _is_file_of(below(root, old), output) or _is_file_of(below(root, new), output)
        }
        if not paths:
            return result
        outputs = tuple(replace(output, path=paths.get(output.path, output.path)) for output in result.outputs)
        changed = replace(result, outputs=outputs, moved={new: old for old, new in paths.items()})
        keep(changed)
        finish_moves(changed)
    return changed


def finish_moves(result: TaskResult) -> None:
    """Move the files of a result into the revisions that it names, unless they are there; see `replaced_before`.

    Raises
    ------
    SessionLocked
        If a run holds the session.
    NotWritable
        If a file cannot be moved.
    """
    if not _outstanding(result):
        return
    with _holding_session(result):
        _finish_moves(result)


def replaced_before(result: TaskResult) -> list[str]:
    """Return the new paths of files that a later run has replaced before they were moved."""
    return [new for new, _, _ in _outstanding(result)]


def _outstanding(result: TaskResult) -> list[tuple[str, Path, Path]]:
    """Return new path, place, and new place of each file that is not moved yet."""
    root = Path(result.folder)
    places = ((new, below(root, old), below(root, new)) for new, old in result.moved.items())
    return [(new, source, target) for new, source, target in places if source.exists() and not target.exists()]


@contextlib.contextmanager
def _holding_session(result: TaskResult) -> Iterator[None]:
    lock = below(Path(result.folder), OWN_FOLDER) / LOCK_NAME
    make_folder(lock.parent)
    with holding_unless_held(lock):
        yield


def _is_file_of(path: Path, output: Output) -> bool:
    """Return whether a file is the one that a result names, as far as its size and, where it is known, MD5 tell."""
    try:
        return path.stat().st_size == output.size and output.md5 in (None, md5_of(path))
    except OSError:
        return False


def _finish_moves(result: TaskResult) -> None:
    root = Path(result.folder)
    outputs = {output.path: output for output in result.outputs}
    for new, source, target in _outstanding(result):
        if new in outputs and not _is_file_of(source, outputs[new]):
            continue
        make_folder(target.parent)
        if target.parent.resolve() != below(root.resolve(), new).parent:
            raise NotWritable(
                "the folder of a revision is a link",
                where=str(target.parent),
                expected="a folder of the session",
                got=str(target.parent.resolve()),
                do="replace the link by a folder",
            )
        try:
            move(source, target)
        except OSError as error:
            raise explain_os_error(error, target) or error from error
        _log.info("%s: a file is protected in Alyx, and is a revision now: %s", result.session, new)
