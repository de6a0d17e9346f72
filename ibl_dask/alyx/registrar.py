"""Registration of files: checked before they are sent, in calls of at most 50, protected datasets as new revisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.dataset_kinds import Kinds
from ibl_dask.alyx.revisions import (
    finish_moves,
    move_outputs,
    plain_path,
    protected_revisions,
    revision_of,
    revision_path,
)
from ibl_dask.alyx.task_result import Output, TaskResult
from ibl_dask.errors import AlyxLoginFailed, AlyxRefused, AlyxUnreachable
from ibl_dask.model.places import below
from ibl_dask.model.session import OWN_FOLDER

MOST_FILES = 50
"""Files per call: Alyx takes 40-65 ms for each, so that 50 take up to 3 s."""


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
            finish_moves(result)
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
        # Not checked again: protected files are in revisions of their own now, and Alyx changes no others.
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
        own = revision_of(output.path)
        collection, name = plain_path(output.path).rpartition("/")[::2]
        for row in self._alyx.rows("datasets", name=name, session=result.session_id):
            counts = row.get("revision") == own or row.get("default_dataset")
            if counts and row.get("collection") == collection and row.get("hash") == output.md5:
                return str(row.get("url", "")).rpartition("/")[2]
        return None


def is_own(path: str) -> bool:
    """Return whether a file is in a format of this package, which the database of the field does not know."""
    return path.split("/")[0] == OWN_FOLDER


def _is_about_one_file(error: AlyxRefused) -> bool:
    """Return whether one of several files may be the reason of a refusal."""
    return any(text in error.got for text in ("Dataset", "dataset", "data type", "DataFormat"))
