"""Registration of files: checked before they are sent, in calls of at most 50, protected datasets as new revisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ibl_dask.alyx.client import Alyx, is_answered
from ibl_dask.alyx.dataset_kinds import Kinds
from ibl_dask.alyx.register_calls import CallNote, Quiet, RegisterCalls, is_of
from ibl_dask.alyx.revisions import (
    finish_moves,
    move_outputs,
    plain_path,
    protected_revisions,
    replaced_before,
    revision_path,
)
from ibl_dask.alyx.task_result import Output, TaskResult
from ibl_dask.errors import AlyxLoginFailed, AlyxRefused, AlyxUnreachable, IblDaskError
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.places import below
from ibl_dask.model.session import OWN_FOLDER

MOST_FILES = 50
"""Files per call: Alyx takes 40-65 ms for each, so that 50 take up to 3 s."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Place at which files are registered."""

    repository: str
    """Data repository that holds them, of results that name none; empty for none, as Alyx allows."""
    labs: str = ""
    """Labs, separated by commas, whose servers get records of the files; by default that of the session."""
    exists: bool = False
    """The files are on the servers of the lab already; otherwise a nightly copy brings them."""
    server_only: bool = True
    """Passed on to Alyx, as the reference does on a server of a lab."""
    quiet: Quiet = Quiet()
    """Wait after a call whose answer did not come."""


@dataclass(slots=True)
class Parcel:
    """The files of one result on their way to Alyx, and what became of them."""

    result: TaskResult
    """The result; its paths change where files move into revisions."""
    keep: Callable[[TaskResult], None]
    """Writes the result to disk with the new path of a file, before that file is moved."""
    datasets: dict[str, JsonObject] = field(default_factory=dict)
    """Path -> record of the dataset, with its `id`."""
    refused: dict[str, str] = field(default_factory=dict)
    """Path -> reason for which it is not registered."""
    error: IblDaskError | None = None
    """Error for which its files are not registered now."""


@dataclass(slots=True)
class _File:
    """A file to be registered, of one result, or of several attempts at a task."""

    output: Output
    owners: list[Parcel]
    """Results that name it, the latest last."""

    @property
    def path(self) -> str:
        return self.output.path

    @property
    def result(self) -> TaskResult:
        return self.owners[-1].result

    def note(self, dataset: JsonObject) -> None:
        """Note its dataset."""
        for owner in self.owners:
            owner.datasets[self.path] = dataset

    def refuse(self, why: str) -> None:
        """Note why it is not registered."""
        for owner in self.owners:
            owner.refused[self.path] = why

    def fail(self, error: IblDaskError) -> None:
        """Note an error of all of its results."""
        for owner in self.owners:
            owner.error = error


class Registrar:
    """Registration of the files of results, one session after the other.

    Parameters
    ----------
    alyx : Alyx
        The client.
    registration : Registration
        Repository and labs.
    note : CallNote
        Note of the call that is under way.
    """

    def __init__(self, alyx: Alyx, registration: Registration, note: CallNote) -> None:
        self._alyx = alyx
        self._registration = registration
        self._calls = RegisterCalls(alyx, note, registration.quiet)
        self._kinds: Kinds | None = None

    def register(self, parcels: Sequence[Parcel]) -> None:
        """Register the outputs of results of one session together; the same call again registers nothing twice.

        Parameters
        ----------
        parcels : sequence of Parcel
            Results with the id of their session, oldest first; what becomes of each is noted in it.

        Raises
        ------
        AlyxUnreachable, AlyxLoginFailed
            If Alyx gives no answer at all, or does not accept the token.
        """
        for parcel in parcels:
            try:
                finish_moves(parcel.result)
            except IblDaskError as error:
                parcel.error = error
        for parcel in parcels:
            if parcel.error is None:
                why = "a later run replaced the file before it was moved there"
                parcel.refused |= dict.fromkeys(replaced_before(parcel.result), why)
        groups: dict[str, dict[str, _File]] = {}
        for parcel in parcels:
            if parcel.error is None:
                files = groups.setdefault(parcel.result.repository or self._registration.repository, {})
                self._add(parcel, files)
        listed = [file for files in groups.values() for file in files.values()]
        if not listed:
            return
        rows = [(file.output, file.result.version) for file in listed]
        made = self._calls.made_before(listed[0].result.session_id, rows)
        for file in listed:
            if file.path in made:
                file.note(made[file.path])
        for repository, files in groups.items():
            listed = [file for file in files.values() if file.path not in made]
            for first in range(0, len(listed), MOST_FILES):
                self._register_apart(listed[first : first + MOST_FILES], repository)

    def _add(self, parcel: Parcel, files: dict[str, _File]) -> None:
        """Add the files of a result to those of its session; a later result of a file replaces an earlier one."""
        for output in parcel.result.outputs:
            if is_own(output.path) or output.path in parcel.refused:
                continue
            if self._kinds is None:
                self._kinds = Kinds.fetch(self._alyx)
            if (why := self._kinds.fault(output.path)) is not None:
                parcel.refused[output.path] = why
            elif output.path in files:
                files[output.path].output = output
                files[output.path].owners.append(parcel)
            else:
                files[output.path] = _File(output, [parcel])

    def _register_apart(self, files: Sequence[_File], repository: str) -> None:
        """Register files; where the server fails with them, those of each result alone."""
        try:
            self._register(files, repository, is_checked=True)
        except AlyxUnreachable as error:
            if not is_answered(error):
                raise
            parcels = {id(file.owners[-1]): file.owners[-1] for file in files}
            if len(parcels) == 1:
                for file in files:
                    file.fail(error)
                return
            for parcel in parcels.values():
                self._register_apart([file for file in files if file.owners[-1] is parcel], repository)

    def _register(self, files: Sequence[_File], repository: str, *, is_checked: bool) -> None:
        try:
            self._send(files, repository, is_checked=is_checked)
            return
        except AlyxLoginFailed:
            raise
        except AlyxRefused as error:
            details = protected_revisions(error.body) if is_checked else {}
            if not details and (len(files) == 1 or not _is_about_one_file(error)):
                for file in files:
                    file.refuse(str(error))
                return
        if details:
            self._register_protected(files, repository, details)
            return
        half = len(files) // 2
        for part in (files[:half], files[half:]):  # a bad file must not cost the others
            self._register(part, repository, is_checked=is_checked)

    def _register_protected(
        self, files: Sequence[_File], repository: str, details: Mapping[str, Sequence[tuple[str, bool]]]
    ) -> None:
        """Register files of which some are protected: unchanged ones are left alone, others become revisions."""
        present = self._calls.datasets(files[0].result.session_id)
        left: list[_File] = []
        moves: list[tuple[_File, str]] = []
        for file in files:
            revisions = details.get(file.path, ())
            target = revision_path(file.path, revisions, f"{datetime.now(UTC):%Y-%m-%d}")
            if not any(is_protected for _, is_protected in revisions):
                left.append(file)
            elif (dataset := _same(present, file.output)) is not None:
                file.note(dataset)
            elif target == file.path:
                left.append(file)
            elif not file.path.startswith("alf/"):
                file.refuse("it is protected in Alyx, where its content is another; raw data do not change")
            elif not (file.result.folder and below(Path(file.result.folder), file.path).is_file()):
                file.refuse("it is protected in Alyx, and is not here to be moved into a revision")
            else:
                moves.append((file, target))
        left += _move(moves)
        if left:
            # Not checked again: protected files are in revisions of their own now, and Alyx changes no others.
            self._register(left, repository, is_checked=False)

    def _send(self, files: Sequence[_File], repository: str, *, is_checked: bool) -> None:
        """Register some files in one call."""
        place, result = self._registration, files[0].result
        common = {
            "created_by": self._alyx.user,
            "path": result.session,
            **({"name": repository} if repository else {}),
            "exists": place.exists,
            "server_only": place.server_only,
            "default": True,
            "check_protected": is_checked,
            **({"labs": place.labs} if place.labs else {}),
        }
        found = self._calls.send(result.session_id, common, [(file.output, file.result.version) for file in files])
        for file in files:
            file.note(found[file.path])


def _move(moves: Sequence[tuple[_File, str]]) -> list[_File]:
    """Move files into revisions, and return those that are there; the others wait with their results."""
    owners = {id(owner): owner for file, _ in moves for owner in file.owners}
    for owner in owners.values():
        targets = {file.path: (file.output, target) for file, target in moves if owner in file.owners}
        try:
            owner.result = move_outputs(owner.result, targets, owner.keep)
        except IblDaskError as error:
            owner.error = error
    moved = []
    for file, target in moves:
        failed = next((owner.error for owner in file.owners if owner.error is not None), None)
        if failed is not None:
            file.fail(failed)
            continue
        if target not in file.result.moved:
            file.refuse("it is protected in Alyx, and another run replaced it here before it was moved into a revision")
            continue
        file.output = replace(file.output, path=target)
        moved.append(file)
    return moved


def _same(present: Iterable[JsonObject], output: Output) -> JsonObject | None:
    """Return the dataset of a file's name and content, which needs no registration.

    That of the same revision, or the default one: an older revision of that content does not count.
    """
    if output.md5 is None:
        return None
    for row in present:
        is_default = row.get("default_dataset") and is_of({**row, "revision": ""}, plain_path(output.path))
        if row.get("hash") == output.md5 and (is_default or is_of(row, output.path)):
            return row
    return None


def is_own(path: str) -> bool:
    """Return whether a file is in a format of this package, which the database of the field does not know."""
    return path.split("/")[0] == OWN_FOLDER


def _is_about_one_file(error: AlyxRefused) -> bool:
    """Return whether one of several files may be the reason of a refusal."""
    return any(text in error.got for text in ("Dataset", "dataset", "data type", "DataFormat"))
