"""Sessions that have arrived become sessions and tasks of Alyx."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ibl_dask.alyx.client import Alyx, is_duplicate, status_of
from ibl_dask.alyx.deck import read_deck
from ibl_dask.alyx.readiness import PATIENCE_S, SETTLED_S, reason_to_wait
from ibl_dask.alyx.session_record import (
    RigFiles,
    body_of_session,
    changes_of,
    mismatch,
    read_narrative,
    read_rig_files,
)
from ibl_dask.alyx.task_row import GRAPH, body_of
from ibl_dask.errors import AlyxRefused, AlyxUnreachable, InputError, UsageError
from ibl_dask.model import legacy_protocols as legacy
from ibl_dask.model.description_reader import DESCRIPTION_NAME
from ibl_dask.model.failure import Failure
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.session import Session, find_description, is_session_path
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.plan import plan_tasks
from ibl_dask.store.atomic import make_folder
from ibl_dask.store.descriptions import write_description
from ibl_dask.store.failures import failure_from
from ibl_dask.store.lock import holding
from ibl_dask.store.work_folder import WORK_FOLDER
from ibl_dask.tasks.external.environments import Environments

_log = logging.getLogger(__name__)

FLAG = "raw_session.flag"
"""File by which the acquisition computers mark a session whose files they have copied."""
TEST_SUBJECTS = ("test", "test_subject")
"""Subjects whose sessions are no data."""

State = Literal["created", "unchanged", "waiting", "failed", "found"]
"""created: rows were added; unchanged: all were there; waiting: not ready; found: a dry run."""


@dataclass(frozen=True, slots=True)
class Creation:
    """Outcome for one session."""

    path: Path
    """Session folder."""
    state: State
    """Outcome."""
    reason: str = ""
    """Why it waits or failed."""
    failure: Failure | None = None
    """The error; None where it did not fail."""
    eid: str = ""
    """Identifier of the session in Alyx."""
    tasks: tuple[JsonObject, ...] = field(default=(), repr=False)
    """Rows of its tasks, parents first."""
    n_new: int = 0
    """Number of rows that were added or set back to Waiting."""
    notes: tuple[str, ...] = ()
    """Remarks of the plan."""


def create_jobs(
    root: Path,
    alyx: Alyx,
    *,
    repository: str | None = None,
    dry: bool = False,
    rerun: bool = False,
    settled_s: float = SETTLED_S,
    patience_s: float = PATIENCE_S,
    environments: Environments | None = None,
    work_dir: Path | None = None,
) -> Iterator[Creation]:
    """Yield the outcome of each flagged session below a folder, as it is made.

    A second call changes nothing: rows that are there stay as they are, claimed ones included. The error of one session
    is its outcome, and the others go on. The flag is removed last.

    Parameters
    ----------
    root : Path
        Folder of subjects, or one session.
    alyx : Alyx
        The database.
    repository : str, optional
        Data repository whose server runs the tasks.
    dry : bool
        Name the sessions, and change nothing.
    rerun : bool
        Set existing rows back to Waiting, apart from those that are abandoned or run now.
    settled_s, patience_s : float
        See `ibl_dask.alyx.readiness`.
    environments : Environments, optional
        Environments of other planners.
    work_dir : Path, optional
        Folder of the lock of the writer; by default `.ibl_dask` below the folder of subjects.

    Raises
    ------
    AlyxUnreachable
        If Alyx gives no answer: the sessions that are left keep their flags.
    AlyxLoginFailed
        If the token does not allow it.
    SessionLocked
        If another process creates sessions now.
    """
    flags = list(find_flags(root))
    if dry:
        yield from (Creation(flag.parent, "found") for flag in flags)
        return
    folder = work_dir or _subjects_folder(root) / WORK_FOLDER
    make_folder(folder)
    with holding(folder / "alyx-creator.lock.json"):
        for flag in flags:
            try:
                yield _create_one(flag, alyx, repository, rerun, settled_s, patience_s, environments)
            except Exception as error:  # one session must not stop the others
                if isinstance(error, AlyxUnreachable | AlyxRefused) and not alyx.is_of_one(error):
                    raise
                _log.warning("%s: %s", flag.parent, error)
                failure = failure_from(error)
                yield Creation(flag.parent, "failed", failure.what, failure)


def _subjects_folder(root: Path) -> Path:
    return root.parents[2] if is_session_path(root) else root


def find_flags(root: Path) -> Iterator[Path]:
    """Yield the flags of sessions below a folder of subjects, or of one session, in order; no link is followed."""
    if is_session_path(root):
        if (root / FLAG).is_file():
            yield root / FLAG
        return
    for folder, names, files in os.walk(root):
        here = Path(folder)
        if is_session_path(here):
            names.clear()
            if FLAG in files and here.parts[-3] not in TEST_SUBJECTS:
                yield here / FLAG
        names[:] = sorted(name for name in names if not name.startswith("."))


def _create_one(
    flag: Path,
    alyx: Alyx,
    repository: str | None,
    rerun: bool,
    settled_s: float,
    patience_s: float,
    environments: Environments | None,
) -> Creation:
    read = (flag, find_description(flag.parent))
    before = _states(*read)
    session = Session(flag.parent)
    _ = session.description  # an error of it is the outcome, before anything else
    reason = reason_to_wait(session, flag, settled_s=settled_s, patience_s=patience_s)
    if reason:
        return Creation(session.path, "waiting", reason)
    specs, notes = plan_tasks(session, environments=environments)
    eid = _find_or_create(session, alyx)
    write_legacy_description(session)
    rows, n_new = register_tasks(alyx, eid, specs, repository, rerun=rerun)
    failed = [problem.message for problem in session.description.problems if problem.is_refusal]
    if failed:
        return Creation(session.path, "failed", "; ".join(failed), None, eid, tuple(rows), n_new, notes)
    if _states(*read) == before:  # else another computer ended its transfer meanwhile, and its flag stays
        flag.unlink(missing_ok=True)
    return Creation(session.path, "created" if n_new else "unchanged", "", None, eid, tuple(rows), n_new, notes)


def _states(*paths: Path | None) -> list[tuple[int, int, int, int]]:
    """Return the states of the files among some paths, which change with any writing of them."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            if path is not None:
                stat = path.stat()
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return found


def write_legacy_description(session: Session) -> bool:
    """Write the description of a session that has none, as its protocol stands for it; return whether it did."""
    if find_description(session.path) is not None:
        return False
    protocol = legacy.read_protocol(session.path)
    if protocol is None:
        return False
    write_description(session.path / DESCRIPTION_NAME, legacy.legacy_content(protocol))
    return True


# -- sessions -----------------------------------------------------------------------------------------------------


def find_session(alyx: Alyx, session: Session) -> JsonObject | None:
    """Return the row of a session in Alyx; None where there is none.

    Raises
    ------
    UsageError
        If there are several: Alyx allows it, and none of them is meant.
    """
    date = session.date
    found = alyx.rows("sessions", subject=session.subject, date_range=f"{date},{date}", number=session.number)
    if len(found) > 1:
        raise UsageError(
            "Alyx has this session several times",
            where=session.reference,
            expected="one row",
            got=", ".join(str(row.get("id")) for row in found),
            do="delete the rows without data in Alyx",
        )
    return found[0] if found else None


def _find_or_create(session: Session, alyx: Alyx) -> str:
    """Return the identifier of a session; it is searched for, then made. The caller is the only writer."""
    subject = _require_subject(alyx, session)
    known = find_session(alyx, session)
    rig = read_rig_files(session)
    wrong = mismatch(session, rig)
    if wrong:
        raise InputError(
            "the settings of a task are of another session",
            where=str(session.path),
            expected="settings of this session",
            got=wrong,
            do="look which of the two is right, and rename the folder or copy the settings again",
        )
    if known is not None:
        _update(alyx, str(known["id"]), changes_of(session, rig, read_narrative(session)))
        return str(known["id"])
    if not rig:
        raise InputError(
            "Alyx does not have this session, and no task of it names users and times",
            where=str(session.path),
            expected="a session in Alyx, or settings of a task in the session",
            got="neither",
            do="create the session in Alyx",
        )
    users = [name for name in map(_creator, rig) if name and _is_user(alyx, name)]
    body = body_of_session(session, rig, subject, list(dict.fromkeys(users)))
    made = alyx.create("sessions", body, find=lambda: find_session(alyx, session))
    return str(made["id"])


def _creator(files: RigFiles) -> str:
    creator = files.settings.get("PYBPOD_CREATOR")
    name = creator[0] if isinstance(creator, list) and creator else creator
    return str(name or "")


def _require_subject(alyx: Alyx, session: Session) -> JsonObject:
    try:
        found: JsonObject = alyx.read("subjects", session.subject)
        return found
    except AlyxRefused as error:
        if status_of(error) != 404:
            raise
        raise InputError(
            "Alyx has no such subject",
            where=str(session.path),
            expected="the nickname of a subject",
            got=session.subject,
            do="create the subject in Alyx, or rename the folder",
        ) from error


def _is_user(alyx: Alyx, name: str) -> bool:
    try:
        alyx.read("users", name)
    except AlyxRefused as error:
        if status_of(error) != 404:
            raise
        return False
    return True


def _update(alyx: Alyx, eid: str, wanted: JsonObject) -> None:
    """Change the fields of a session that differ from its files; a field that only Alyx has stays."""
    now = alyx.read("sessions", eid)
    changes = {
        key: value
        for key, value in wanted.items()
        if value not in (None, [], "") and not _is_equal(now.get(key), value)
    }
    if changes:
        alyx.change("sessions", eid, changes)


def _is_equal(known: object, wanted: object) -> bool:
    if isinstance(known, list) and isinstance(wanted, list):
        return sorted(map(str, known)) == sorted(map(str, wanted))
    return known == wanted


# -- tasks --------------------------------------------------------------------------------------------------------


def register_tasks(
    alyx: Alyx,
    eid: str,
    specs: Sequence[TaskSpec],
    repository: str | None = None,
    *,
    rerun: bool = False,
    statuses: Sequence[str] = ("Held", "Errored", "Empty", "Incomplete", "Complete"),
    graph: str = GRAPH,
) -> tuple[list[JsonObject], int]:
    """Add the rows that a session's tasks lack, and return all, parents first, and the number of those that changed.

    A row that is there is not touched, whatever its state: it may be claimed between two looks at it.

    Parameters
    ----------
    alyx : Alyx
        The database.
    eid : str
        Identifier of the session.
    specs : sequence of TaskSpec
        Tasks, parents first.
    repository : str, optional
        Data repository whose server runs them.
    rerun : bool
        Set existing rows back to Waiting, with their parents and arguments.
    statuses : sequence of str
        Statuses of rows that `rerun` sets back.
    graph : str
        Name of the pipeline, for new rows.
    """
    known = {str(row["name"]): row for row in read_deck(alyx, eid)}
    found: dict[str, JsonObject] = {}
    n_new = 0
    for spec in specs:
        body = body_of(spec, eid, [str(found[name]["id"]) for name in spec.parents], repository, graph)
        row = known.get(spec.name)
        if row is None:
            row, is_new = _create_task(alyx, body)
            n_new += is_new
        elif rerun and row["status"] in statuses:
            row = alyx.change("tasks", str(row["id"]), body)
            n_new += 1
        found[spec.name] = row
    return list(found.values()), n_new


def _create_task(alyx: Alyx, body: JsonObject) -> tuple[JsonObject, bool]:
    """Add a row; where it was made meanwhile, return that."""
    try:
        return alyx.create("tasks", body), True
    except AlyxRefused as error:
        if not is_duplicate(error):
            raise
        for row in read_deck(alyx, str(body["session"])):
            if (row.get("name"), row.get("arguments")) == (body["name"], body["arguments"]):
                return row, False
        raise UsageError(
            "a task exists by one answer of Alyx, and is in no list",
            where=str(body["session"]),
            expected=f"a row named {body['name']}",
            got=error.got,
            do="look at the tasks of this session in Alyx; a row without a status hides others",
        ) from error
