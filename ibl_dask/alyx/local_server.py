"""Functions of a lab's server, with the names, arguments and outcomes of `ibllib.pipes.local_server`."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ibl_dask.alyx import health
from ibl_dask.alyx.access import client_of
from ibl_dask.alyx.allowed import allowed_packages
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.folders import folder_of
from ibl_dask.alyx.job_creator import Creation, create_jobs
from ibl_dask.alyx.outbox import SpoolOutbox
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
) -> list[JsonObject]:
    """Return the waiting rows of this server, most urgent first.

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
        place = find_place(client, repository)
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
    """Run rows of a queue, one session at a time, and return the datasets that were registered.

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
        earlier logs. Others are those of `run_pass`.

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
    place = Place(tasks_dict[0].get("data_repository"), ("of-a-list",))
    outbox = SpoolOutbox(alyx, folder, str(place.repository or ""))
    with Coordinator(alyx, place, folder, spooled=outbox.spooled, keeps_logs=keeps_logs) as coordinator:
        feed = QueueFeed(
            coordinator,
            outbox,
            subjects,
            lambda: tasks_dict,
            allowed_packages(packages),
            is_list=True,
            most_tasks=count,
            is_stopped=lambda: time_out is not None and time.monotonic() - begun_s > time_out,
            environments=kwargs.get("environments"),
        )
        run_pass(feed, work_dir=folder, **kwargs)
        registered = outbox.send(feed.ended)
    return [dataset for datasets in registered.values() for dataset in datasets]


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


def report_health(alyx: Any = None, subjects_path: str | Path = "/mnt/s0/Data/Subjects") -> dict[str, Any]:
    """Note the health of this server in its data repository; see `ibl_dask.alyx.health.report_health`."""
    client = client_of(alyx)
    place = _own_place(client)
    if place.repository is None:
        raise UsageError("the health of a lab without a data repository has no place", do="name the repository")
    return health.report_health(client, place.repository, Path(subjects_path))


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
