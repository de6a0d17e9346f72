"""Registration of files: checked before they are sent, in calls of at most 50, protected datasets as new revisions."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.packages import require_packages
from ibl_dask.alyx.task_result import Output, TaskResult
from ibl_dask.errors import AlyxLoginFailed, AlyxRefused, AlyxUnreachable, NotWritable
from ibl_dask.model.places import below
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.store.atomic import make_folder, move
from ibl_dask.store.disk import explain_os_error
from ibl_dask.store.lock import LOCK_NAME, holding_unless_held

_log = logging.getLogger(__name__)

MOST_FILES = 50
"""Files per call: Alyx takes 40-65 ms for each, so that 50 take up to 3 s."""
_REVISION = re.compile(r"#([^#/]+)#")


@dataclass(frozen=True, slots=True)
class Registration:
    """Place at which files are registered."""

    repository: str
    """Name of the data repository that holds them."""
    labs: str = ""
    """Labs, separated by commas, whose servers get records of the files; by default that of the session."""
    exists: bool = False
    """The files are on the servers of the lab already; otherwise a nightly copy brings them."""
    server_only: bool = True
    """Passed on to Alyx, as the reference does on a server of a lab."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """Dataset types and file extensions that Alyx has."""

    types: tuple[tuple[str, str], ...]
    """(name, pattern of file names); where the pattern is empty, the name is that of object and attribute."""
    extensions: frozenset[str]
    """Extensions with their dot."""

    @classmethod
    def fetch(cls, alyx: Alyx) -> Kinds:
        """Fetch both lists, once per run."""
        types = tuple((str(row["name"]), str(row.get("filename_pattern") or "")) for row in alyx.rows("dataset-types"))
        extensions = frozenset(str(row.get("file_extension") or "") for row in alyx.rows("data-formats"))
        return cls(types, extensions)

    def fault(self, path: str) -> str | None:
        """Return the reason for which Alyx would not register a file; None if it would.

        Names are matched as `one.registration.get_dataset_type` does. That is only asked where the answer is not plain:
        it imports pandas.
        """
        name = path.rpartition("/")[2]
        kind = "." + name.rpartition(".")[2]
        if kind not in self.extensions:
            return f"Alyx has no data format of the extension {kind}"
        plain = name.casefold()
        n_hits = sum(fnmatch(plain, pattern.casefold()) for _, pattern in self.types if pattern.strip())
        if n_hits == 1 and not any(one in name for one, pattern in self.types if not pattern.strip()):
            return None
        require_packages("one")
        from one.registration import get_dataset_type

        try:
            get_dataset_type(name, [{"name": n, "filename_pattern": p} for n, p in self.types])
        except ValueError as error:
            return " ".join(str(error).split())
        return None


@dataclass(frozen=True, slots=True)
class Registered:
    """Outcome of the registration of a result's files."""

    ids: Mapping[str, str] = field(default_factory=dict)
    """Path -> id of the dataset."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Path -> reason for which it is not registered."""


class Registrar:
    """Registration of the files of results, one after the other.

    Parameters
    ----------
    alyx : Alyx
        The client.
    registration : Registration
        Repository and labs.
    """

    def __init__(self, alyx: Alyx, registration: Registration) -> None:
        self._alyx = alyx
        self._registration = registration
        self._kinds: Kinds | None = None

    def register(self, result: TaskResult, keep: Callable[[TaskResult], None]) -> Registered:
        """Register the outputs of a result; the same call again registers nothing twice.

        Parameters
        ----------
        result : TaskResult
            The result.
        keep : callable
            Writes the result to disk with the new path of a file, before that file is moved into a revision.

        Raises
        ------
        AlyxUnreachable, AlyxLoginFailed
            If Alyx gives no answer, or does not accept the token.
        """
        if result.moved:
            _finish_moves(result)
        outputs = [output for output in result.outputs if not is_own(output.path)]
        if not outputs:
            return Registered()
        if self._kinds is None:
            self._kinds = Kinds.fetch(self._alyx)
        refused = {o.path: why for o in outputs if (why := self._kinds.fault(o.path)) is not None}
        good = [output for output in outputs if output.path not in refused]
        ids: dict[str, str] = {}
        for first in range(0, len(good), MOST_FILES):
            part = good[first : first + MOST_FILES]
            found, part_refused, result = self._register_part(result, part, keep)
            ids.update(found)
            refused.update(part_refused)
        return Registered(ids, refused)

    def _register_part(
        self, result: TaskResult, outputs: Sequence[Output], keep: Callable[[TaskResult], None]
    ) -> tuple[dict[str, str], dict[str, str], TaskResult]:
        """Register some files; return path -> id, path -> reason of refusal, and the result with its present paths."""
        try:
            return self._post(result, outputs, is_checked=True), {}, result
        except AlyxLoginFailed:
            raise
        except AlyxRefused as error:
            if details := protected_revisions(error.body):
                return self._register_protected(result, outputs, details, keep)
            if len(outputs) == 1 or not _is_about_one_file(error):
                return {}, dict.fromkeys((output.path for output in outputs), str(error)), result
        ids: dict[str, str] = {}
        refused: dict[str, str] = {}
        for output in outputs:  # a bad file must not cost the others
            found, why, result = self._register_part(result, [output], keep)
            ids.update(found)
            refused.update(why)
        return ids, refused, result

    def _register_protected(
        self,
        result: TaskResult,
        outputs: Sequence[Output],
        details: Mapping[str, Sequence[tuple[str, bool]]],
        keep: Callable[[TaskResult], None],
    ) -> tuple[dict[str, str], dict[str, str], TaskResult]:
        """Register files of which some are protected: unchanged ones are left alone, others become revisions."""
        known: dict[str, str] = {}
        refused: dict[str, str] = {}
        moves: dict[str, str] = {}
        for output in outputs:
            if output.path not in details:
                continue
            if (dataset := self._same_dataset(result, output)) is not None:
                known[output.path] = dataset
                continue
            target = revision_path(output.path, details[output.path], f"{datetime.now(UTC):%Y-%m-%d}")
            if target == output.path:
                continue
            if not output.path.startswith("alf/"):
                refused[output.path] = "it is protected in Alyx, where its content is another; raw data do not change"
            elif not (result.folder and below(Path(result.folder), output.path).is_file()):
                refused[output.path] = "it is protected in Alyx, and is not here to be moved into a revision"
            else:
                moves[output.path] = target
        if moves:
            result = move_outputs(result, moves, keep)
        left = [output for output in outputs if output.path not in known and output.path not in refused]
        left = [replace(output, path=moves.get(output.path, output.path)) for output in left]
        if not left:
            return known, refused, result
        # Not checked again: what is protected is in a revision of its own now, and Alyx changes no other.
        return {**known, **self._post(result, left, is_checked=False)}, refused, result

    def _post(self, result: TaskResult, outputs: Sequence[Output], *, is_checked: bool) -> dict[str, str]:
        """Register some files in one call; return path -> id."""
        place = self._registration
        body = {
            "created_by": self._alyx.user,
            "path": result.session,
            "filenames": [output.path for output in outputs],
            "hashes": [output.md5 for output in outputs],
            "filesizes": [output.size for output in outputs],
            "versions": [result.version or None for _ in outputs],
            "name": place.repository,
            "exists": place.exists,
            "server_only": place.server_only,
            "default": True,
            "check_protected": is_checked,
            **({"labs": place.labs} if place.labs else {}),
        }
        answers = self._alyx.request("POST", "/register-file", body=body)
        if not isinstance(answers, list) or len(answers) != len(outputs):
            n_answers = len(answers) if isinstance(answers, list) else 0
            raise AlyxUnreachable(
                "Alyx registered fewer files than it was asked to",
                where=f"{result.session}, task {result.task}",
                expected=f"{len(outputs)} datasets",
                got=f"status 201 with {n_answers}",
                do="this is tried again; report it to the administrator of Alyx if it happens each time",
            )
        return {output.path: str(row["id"]) for output, row in zip(outputs, answers, strict=True)}

    def _same_dataset(self, result: TaskResult, output: Output) -> str | None:
        """Return the id of a registered dataset of the same name and content, which needs no registration.

        That of the same revision, or the default one: an older revision of that content does not count.
        """
        if output.md5 is None or not result.session_id:
            return None
        own = _revision_of(output.path)
        collection, name = plain_path(output.path).rpartition("/")[::2]
        for row in self._alyx.rows("datasets", name=name, session=result.session_id):
            counts = row.get("revision") == own or row.get("default_dataset")
            if counts and row.get("collection") == collection and row.get("hash") == output.md5:
                return str(row.get("url", "")).rpartition("/")[2]
        return None


def is_own(path: str) -> bool:
    """Return whether a file is in a format of this package, which the database of the field does not know."""
    return path.split("/")[0] == OWN_FOLDER


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


def _revision_of(path: str) -> str:
    return next((match[1] for part in path.split("/") if (match := _REVISION.fullmatch(part))), "")


def revision_path(path: str, revisions: Sequence[tuple[str, bool]], today: str) -> str:
    """Return the path at which a protected file can be registered: in a revision that is not protected.

    That of the file itself, else the latest one, else a new one of today.

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
    if _revision_of(path) not in protected:
        return path
    letters = ("".join(word) for n in count(1) for word in product(ascii_lowercase, repeat=n))
    names = [today, *(today + next(letters) for _ in range(len(protected)))]
    # A later file must have a later revision, or readers would take the older one.
    latest = max(protected)
    free = next(name for name in [*names, *(latest + letter for letter in ascii_lowercase)] if name > latest)
    folder, name = plain_path(path).rpartition("/")[::2]
    return "/".join(filter(None, (folder, f"#{free}#", name)))


def move_outputs(result: TaskResult, moves: Mapping[str, str], keep: Callable[[TaskResult], None]) -> TaskResult:
    """Move files of a session into revisions and return the result with the new paths.

    The result is written first, so that a process that is killed in between finishes the move the next time.

    Raises
    ------
    SessionLocked
        If a run holds the session.
    NotWritable
        If a file cannot be moved.
    """
    outputs = tuple(replace(output, path=moves.get(output.path, output.path)) for output in result.outputs)
    changed = replace(result, outputs=outputs, moved={new: old for old, new in moves.items()})
    lock = below(Path(result.folder), OWN_FOLDER) / LOCK_NAME
    make_folder(lock.parent)
    with holding_unless_held(lock):
        keep(changed)
        _finish_moves(changed)
    return changed


def _finish_moves(result: TaskResult) -> None:
    root = Path(result.folder)
    for new, old in result.moved.items():
        source, target = below(root, old), below(root, new)
        if target.exists() or not source.exists():
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
        _log.info("%s: %s is protected in Alyx; the file is now %s", result.session, old, new)


def _is_about_one_file(error: AlyxRefused) -> bool:
    """Return whether one of several files may be the reason of a refusal."""
    return any(text in error.got for text in ("Dataset", "dataset", "data type", "DataFormat"))
