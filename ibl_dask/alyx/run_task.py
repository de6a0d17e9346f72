"""Run one row of Alyx in this process, with the calling convention and the outcomes of the reference."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ibl_dask.alyx.access import client_of
from ibl_dask.alyx.allowed import allowed_packages, require_allowed
from ibl_dask.alyx.claims import Claim, read_claim, without_claim
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.deck import read_deck, readable, statuses_in, statuses_of
from ibl_dask.alyx.description_row import EXECUTABLE, register_description
from ibl_dask.alyx.figures import with_figures
from ibl_dask.alyx.lent_token import with_database
from ibl_dask.alyx.outbox import SpoolOutbox
from ibl_dask.alyx.own_place import own_repository
from ibl_dask.alyx.results import result_of, with_earlier
from ibl_dask.alyx.row_states import judge, released
from ibl_dask.alyx.session_results import with_checks
from ibl_dask.alyx.task_result import TaskResult
from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.deploy.batch_systems.registry import own_job
from ibl_dask.errors import IblDaskError, SessionLocked, UsageError
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.store.failures import failure_from
from ibl_dask.store.identity import md5_of
from ibl_dask.store.processes import Process, state_of
from ibl_dask.store.work_folder import WORK_FOLDER
from ibl_dask.tasks.external.environments import Environments, as_environments
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.registry import build_task
from ibl_dask.tasks.step_log import read_text_of
from ibl_dask.tasks.task import Task

_log = logging.getLogger(__name__)

LOCATIONS = ("server", "local")
"""Places of data: they are in the session folder, and results stay there."""
BY_HAND = "by hand"
"""Place of the claim of a row that no coordinator runs."""


def run_alyx_task(
    tdict: JsonObject,
    session_path: str | Path,
    one: Any = None,  # ONE has no types
    job_deck: Sequence[JsonObject] | None = None,
    max_md5_size: int | None = None,
    machine: str | None = None,
    clobber: bool = True,
    location: str = "server",
    mode: Literal["log", "raise"] = "log",
    *,
    packages: Iterable[str] = (),
    environments: Environments | None = None,
    work_dir: Path | None = None,
) -> tuple[JsonObject, list[JsonObject]]:
    """Run the task of a row, register its results, and release its children; the field's name and arguments.

    Parameters
    ----------
    tdict : mapping
        The row.
    session_path : path
        Session folder.
    one : Alyx, ONE or AlyxClient, optional
        See `client_of`; handed to the task as it is, like `machine`, `clobber` and `location`.
    job_deck : sequence of mapping, optional
        Rows of the session; read from Alyx by default. The row's own state is changed in it.
    max_md5_size : int, optional
        Size of files beyond which they are registered without their MD5, bytes.
    machine : str, optional
        Name that goes into the log.
    clobber : bool
        Replace the log in Alyx, instead of adding to it.
    location : {"server", "local"}
        Place of the data; they are where the session is.
    mode : {"log", "raise"}
        `raise` makes a task that is not complete an error, after its row was changed.
    packages, environments, work_dir
        See `allowed_packages`, `build_task` and `Workspace`.

    Returns
    -------
    mapping, list of mapping
        The row as it is now; the datasets that were registered, as Alyx answered them, and their `path`.

    Raises
    ------
    UsageError
        If the class may not run here, or an argument makes no sense.
    SessionLocked
        If another live process has claimed the row.
    ValueError
        With `mode="raise"`, if the task did not end well, or its results were not registered.
    """
    if location not in LOCATIONS:
        raise UsageError(
            "data of this location cannot be run on",
            expected=" or ".join(LOCATIONS),
            got=location,
            do="bring the data first, with ONE, then run where they are",
        )
    alyx = client_of(one)
    row = TaskRow.read(tdict)
    deck = job_deck or read_deck(alyx, row.session)
    statuses = statuses_of(alyx, [row], deck)
    if judge(row, statuses) != "run":
        _log.warning("%s has parents that are not complete", row.name)
        return _noted(deck, alyx.change("tasks", row.id, {"status": str(Status.HELD)})), []
    require_allowed(row.executable, allowed_packages(packages))
    _require_free(row)
    session = Session(Path(session_path))
    before = "" if clobber else without_claim(row.log)
    claim = Claim.of_this_process(BY_HAND, own_job())
    alyx.change("tasks", row.id, {"status": str(Status.STARTED), "log": claim.to_log(before)})
    if row.executable == EXECUTABLE:
        result = register_description(alyx, row, session)
    else:
        common: dict[str, Any] = {} if work_dir is None else {"work_dir": work_dir}
        common |= {"one": one, "taskid": row.id, "machine": machine, "clobber": clobber, "location": location}
        result = _run(row, session, alyx, as_environments(environments), max_md5_size, common)
    repository = row.data_repository or own_repository(alyx)
    outbox = SpoolOutbox(alyx, work_dir or session.path.parents[2] / WORK_FOLDER, repository)
    outbox.put(with_earlier(result, before))
    datasets = outbox.send([row.id]).get(row.id, [])
    now = _noted(deck, alyx.read("tasks", row.id))
    _release_children(alyx, row)
    is_noted = now.get("status") in set(Status) - {Status.STARTED}
    if mode == "raise" and not Status(now["status"] if is_noted else result.status).is_success:
        raise ValueError(now["log"] if is_noted else result.log)
    return now, datasets


def _require_free(row: TaskRow) -> None:
    """Raise if another process that lives runs a row."""
    claim = read_claim(row.log) if row.status is Status.STARTED else None
    owner = None if claim is None else Process.from_mark(claim.process)
    if claim is not None and owner is not None and state_of(owner) == "alive" and claim.process != _own_mark():
        raise SessionLocked(
            "another process runs this task",
            where=f"{row.name} ({row.id})",
            got=f"process {owner.pid} on {claim.host}",
            do="wait for it",
        )


def _own_mark() -> str:
    return Claim.of_this_process(BY_HAND).process


def _run(
    row: TaskRow,
    session: Session,
    alyx: Alyx,
    environments: Environments,
    max_md5_size: int | None,
    common: dict[str, Any],
) -> TaskResult:
    """Run the task of a row in this process; an error is its result."""
    machine = common["machine"]
    head = f"Running on machine: {machine}\n" if machine else ""
    with contextlib.ExitStack() as stack:
        try:
            session.look()
            task = build_task(row.spec(), session, environments=environments, **common)
            if isinstance(task, ForeignTask) and task.uses_alyx:
                task.environments = stack.enter_context(with_database(task.environments, alyx))
            unmet = task.unmet_requirement()
            if unmet is not None:
                return result_of(row, session.path, Status.WAITING, f"{head}{unmet.message}")
            task.run()
        except Exception as error:  # noqa: BLE001  # it is the result
            named = f"{type(error).__name__}: {error}"
            text = failure_from(error).message if isinstance(error, IblDaskError) else named
            return result_of(row, session.path, Status.ERRORED, f"{head}{text}")
    outputs = tuple(path for path in map(Path, task.outputs or ()) if path.is_file())
    hashed = [path for path in outputs if max_md5_size is None or path.stat().st_size <= max_md5_size]
    result = result_of(
        row,
        session.path,
        task.state,
        f"{head}{_text(task)}",
        version=task.version,
        seconds=task.time_elapsed_secs,
        outputs=outputs,
        hashes={str(path): md5_of(path) for path in hashed},
    )
    return with_figures(with_checks(result, row.executable), row.executable)


def _text(task: Task) -> str:
    """Return the log of a task, and its failures."""
    text = "" if task.task_log is None else read_text_of(task.task_log)
    return "\n".join([text or task.log, *(failure.message for failure in task.failures)]).strip()


def _noted(deck: Iterable[JsonObject], row: JsonObject) -> JsonObject:
    """Note the present state of a row in a deck, of whatever kind, and return it."""
    for known in deck:
        if known.get("id") == row.get("id") and isinstance(known, MutableMapping):
            known.update(row)
    return row


def _release_children(alyx: Alyx, row: TaskRow) -> None:
    """Set held children of a row to Waiting where all their parents ended well, by a fresh list."""
    deck = read_deck(alyx, row.session)
    children = [child for child in readable(deck) if row.id in child.parents]
    for child in released(children, statuses_in(deck)):
        alyx.change("tasks", child.id, {"status": str(Status.WAITING)})
