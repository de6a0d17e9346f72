"""Functions of a lab's server, with the names, arguments and outcomes of `ibllib.pipes.local_server`."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ibl_dask.alyx import health
from ibl_dask.alyx.access import client_of
from ibl_dask.alyx.allowed import allowed_packages
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.folders import VARIABLE as SUBJECTS_VARIABLE
from ibl_dask.alyx.folders import folder_of, subject_folders
from ibl_dask.alyx.job_creator import Creation, create_jobs
from ibl_dask.alyx.lent_token import with_database
from ibl_dask.alyx.outbox import SpoolOutbox
from ibl_dask.alyx.own_place import own_repository, require_name
from ibl_dask.alyx.queue_feed import QueueFeed
from ibl_dask.alyx.repository import Place, find_place
from ibl_dask.alyx.run_pass import run_pass
from ibl_dask.alyx.session_pipeline import Pipeline
from ibl_dask.alyx.task_queue import MODES, job_size, rows_of, select, task_env
from ibl_dask.errors import UsageError
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.status import Status
from ibl_dask.store.work_folder import WORK_FOLDER
from ibl_dask.tasks.external.environments import VARIABLE

_log = logging.getLogger(__name__)

FIELD_SUBJECTS = Path("/mnt/s0/Data/Subjects")
"""Folder of the subjects on the servers of the field."""
LARGE_TASKS = ("VideoCompress", "SpikeSorting", "DLC", "LightningPose")
"""Kept for the calling convention: the size of a job is that of its class, see `is_job_size`."""


def job_creator(
    root_path: str | Path,
    one: Any = None,  # ONE has no types
    dry: bool = False,
    rerun: bool = False,
    **options: Any,  # of `create_jobs`
) -> tuple[list[Pipeline], list[JsonObject]]:
    """Make sessions and tasks of Alyx from flagged folders; see `create_jobs`.

    Returns
    -------
    list of Pipeline, list
        Pipelines of the sessions whose rows are complete; an empty list, as in the reference.
    """
    alyx = client_of(one)
    root = Path(root_path)
    if not dry and "repository" not in options:
        options["repository"] = _own_place(alyx).repository
    pipes = []
    for made in create_jobs(root, alyx, dry=dry, rerun=rerun, **options):
        log_creation(made)
        if made.state in ("created", "unchanged"):
            pipes.append(Pipeline(made.path, alyx, made.eid, repository=options.get("repository")))
    return pipes, []


def log_creation(made: Creation) -> None:
    """Log the outcome for one session."""
    level = logging.WARNING if made.state == "failed" else logging.INFO
    text = made.reason if made.failure is None else made.failure.message
    _log.log(level, "%s: %s%s", made.path, made.state, f": {text}" if text else f", {made.n_new} new rows")


def task_queue(
    mode: str = "all",
    lab: str | Sequence[str] | None = None,
    alyx: Any = None,  # AlyxClient has no types
    env: str | Sequence[str | None] | None = (None,),
    *,
    repository: str | None = None,
) -> list[JsonObject] | None:
    """Return the waiting rows of this server, most urgent first; None where neither its lab is named nor known.

    Parameters
    ----------
    mode : {"all", "small", "large"}
        Size of the jobs.
    lab : str or sequence of str, optional
        Labs; by default those of the data repository.
    alyx : Alyx, ONE or AlyxClient, optional
        See `client_of`.
    env : str, None or sequence of these
        Labels of environments; None for that of the field.
    repository : str, optional
        Data repository; see `find_place`. Where only a lab is given, rows of any repository are listed.
    """
    client = client_of(alyx)
    labs = [lab] if isinstance(lab, str) else list(lab or ())
    if labs:
        names = {name for each in labs for name in find_place(client, repository, each).labs}
        place = Place(find_place(client, repository, labs[0]).repository, tuple(sorted(names)))
    else:
        try:
            place = find_place(client, repository)
        except UsageError as error:
            if repository is not None:
                raise
            _log.error("%s", error)  # as the reference does
            return None
    wanted = (env,) if env is None or isinstance(env, str) else tuple(env)
    return select(rows_of(client, place, Status.WAITING), mode, wanted)


def tasks_runner(
    subjects_path: str | Path,
    tasks_dict: Sequence[JsonObject],
    one: Any = None,  # ONE has no types
    dry: bool = False,
    count: int = 5,
    time_out: float | None = None,
    *,
    packages: Iterable[str] = (),
    work_dir: Path | None = None,
    **kwargs: Any,  # of `run_alyx_task`, which are those of the reference, and of `run_pass`
) -> list[JsonObject]:
    """Run rows of a queue, one repository and session at a time, and return the datasets that were registered.

    Parameters
    ----------
    subjects_path : path
        Folder of the subjects.
    tasks_dict : sequence of mapping
        Rows, see `task_queue`.
    one : Alyx, ONE or AlyxClient, optional
        See `client_of`.
    dry : bool
        Print sessions and names, and run nothing.
    count : int
        Number of tasks with registered results after which no more is begun.
    time_out : float, optional
        Time after which no more is begun, s.
    packages : iterable of str
        See `allowed_packages`.
    work_dir : Path, optional
        Folder of scratch, journal, spool and lock.
    kwargs
        `machine`, `max_md5_size`, `location` and `mode` are kept for the calling convention; `clobber=False` keeps
        earlier logs. Others are those of `run_pass`. Tasks that need Alyx use the access of `one`, unless
        `environments` names a database.

    Raises
    ------
    SessionLocked
        If another program runs the tasks of the data repository.
    """
    alyx = client_of(one)
    subjects = Path(subjects_path).expanduser().absolute()
    if dry:
        for row in tasks_dict:
            path = folder_of(alyx.read("sessions", str(row["session"])), subjects)
            sys.stdout.write(f"{path} {row['name']}\n")
        return []
    if not tasks_dict:
        return []
    begun_s = time.monotonic()
    keeps_logs = not kwargs.pop("clobber", True)
    for name in ("machine", "max_md5_size", "location", "mode", "job_deck"):
        kwargs.pop(name, None)
    folder = work_dir or subjects / WORK_FOLDER

    def is_late() -> bool:
        return time_out is not None and time.monotonic() - begun_s > time_out

    found: list[JsonObject] = []
    n_left = count
    with with_database(kwargs.pop("environments", None), alyx) as environments:
        for repository, rows in _by_repository(tasks_dict, alyx).items():
            outbox = SpoolOutbox(alyx, folder, repository)
            place = Place(repository or None, ("of-a-list",))
            with Coordinator(alyx, place, folder, spooled=outbox.spooled, keeps_logs=keeps_logs) as coordinator:
                feed = QueueFeed(
                    coordinator,
                    outbox,
                    subjects,
                    partial(list, rows),
                    allowed_packages(packages),
                    is_list=True,
                    most_tasks=n_left,
                    is_stopped=is_late,
                    site={"environments": environments},
                )
                run_pass(feed, work_dir=folder, environments=environments, **kwargs)
                registered = outbox.send(feed.ended)
            found += [dataset for datasets in registered.values() for dataset in datasets]
            n_left -= feed.n_registered
    return found


def _by_repository(rows: Iterable[JsonObject], alyx: Alyx) -> dict[str, list[JsonObject]]:
    """Return rows by their data repository; those that name none belong to this server."""
    groups: dict[str, list[JsonObject]] = {}
    own: str | None = None
    for row in rows:
        named = row.get("data_repository")
        if not named and own is None:
            own = own_repository(alyx)
        groups.setdefault(require_name(str(named or own or "")), []).append(row)
    return groups


def is_job_size(task: JsonObject, mode: str) -> bool:
    """Return whether a row is a job of a size; False for a class that is not here."""
    return mode == "all" or job_size(str(task.get("executable"))) == mode


def list_available_envs(root: str | Path | None = None) -> list[str | None]:
    """Return the labels of environments that are here; None stands for that of the field.

    Parameters
    ----------
    root : path, optional
        Folder of environments, whose names are the labels; by default those that `$IBL_DASK_PYTHON_<LABEL>` names.
    """
    if root is not None:
        folder = Path(root)
        return [None, *sorted(path.name for path in folder.iterdir() if path.is_dir())] if folder.is_dir() else [None]
    named = (name.removeprefix(VARIABLE).lower() for name in os.environ if name.startswith(VARIABLE))
    return [None, *sorted(name for name in named if name != "ibllib")]


def list_queued_envs(one: Any = None, lab: str | None = None) -> set[str | None]:  # ONE has no types
    """Return the labels of the environments that waiting rows need; None stands for that of the field."""
    client = client_of(one)
    return {task_env(str(row["executable"])) for row in rows_of(client, find_place(client, lab=lab), Status.WAITING)}


def report_health(alyx: Any = None, subjects_path: str | Path | None = None) -> dict[str, Any]:
    """Note the health of this server in its data repository; see `ibl_dask.alyx.health.report_health`.

    Parameters
    ----------
    alyx : Alyx, ONE or AlyxClient, optional
        See `client_of`.
    subjects_path : path, optional
        Folder of the subjects; by default that of the field's servers where it is there, else that in which sessions
        are looked for, see `subject_folders`.
    """
    client = client_of(alyx)
    place = _own_place(client)
    if place.repository is None:
        raise UsageError("the health of a lab without a data repository has no place", do="name the repository")
    places = [FIELD_SUBJECTS, *subject_folders()] if subjects_path is None else [Path(subjects_path)]
    subjects = next((folder for folder in places if folder.is_dir()), None)
    if subjects is None:
        raise UsageError(
            "the folder of the subjects is not there",
            where=str(places[-1]),
            expected="a folder",
            got="none",
            do=f"name it: report_health(subjects_path=...), or ${SUBJECTS_VARIABLE}",
        )
    return health.report_health(client, place.repository, subjects)


def _own_place(alyx: Any) -> Place:
    return find_place(alyx)


__all__ = [
    "LARGE_TASKS",
    "MODES",
    "is_job_size",
    "job_creator",
    "list_available_envs",
    "list_queued_envs",
    "report_health",
    "task_queue",
    "tasks_runner",
]
