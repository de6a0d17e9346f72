"""Waiting rows of this server, by size and environment, most urgent first."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from ibl_dask.alyx.allowed import allowed_packages, require_allowed
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.repository import Place
from ibl_dask.errors import UsageError
from ibl_dask.model.choices import nearest
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.status import Status
from ibl_dask.tasks.catalogue import FIELD, environment_of, find_row
from ibl_dask.tasks.registry import find_task

_log = logging.getLogger(__name__)

MODES = ("all", "small", "large")
"""Sizes of jobs, and all of them."""


def task_env(executable: str) -> str | None:
    """Return the label of the environment of a class, by its dotted path alone; None for that of the field.

    >>> task_env("ibllib.pipes.video_tasks.DLC"), task_env("ibllib.pipes.video_tasks.VideoCompress")
    ('dlc', None)
    """
    label = environment_of(executable)
    return None if label == FIELD else label


def job_size(executable: str, packages: Collection[str] | None = None) -> str | None:
    """Return the size of the jobs of a class, small or large; None if there is no such class here.

    Parameters
    ----------
    executable : str
        Dotted path of the class.
    packages : collection of str, optional
        Packages whose modules may be imported; see `allowed_packages`.
    """
    row = find_row(executable)
    if row is not None:
        return row.job_size
    try:
        require_allowed(executable, allowed_packages() if packages is None else packages)
        found = find_task(executable)
    except UsageError as error:
        _log.warning("%s", error)
        return None
    return None if found is None else found.job_size


def check_mode(mode: str) -> None:
    """Raise unless a mode is one of `MODES`."""
    if mode not in MODES:
        near = nearest(mode, MODES)
        raise UsageError(
            "there is no such size of jobs",
            expected=", ".join(MODES),
            got=mode,
            do=f"write {near}" if near else "name one of these",
        )


def select(rows: Iterable[JsonObject], mode: str = "all", env: Sequence[str | None] | None = None) -> list[JsonObject]:
    """Return the rows of a size and of some environments, most urgent first; rows of one urgency keep their order.

    Parameters
    ----------
    rows : iterable of mapping
        Rows as Alyx answers them.
    mode : {"all", "small", "large"}
        Size of the jobs.
    env : sequence of str or None, optional
        Labels of environments; None among them stands for that of the field. All of them by default.
    """
    check_mode(mode)
    packages = allowed_packages() if mode != "all" else frozenset()
    found = []
    for row in rows:
        executable = str(row.get("executable") or "")
        if (env is None or task_env(executable) in env) and (mode == "all" or job_size(executable, packages) == mode):
            found.append(row)
    return sorted(found, key=lambda row: -int(row.get("priority") or 0))


def rows_of(alyx: Alyx, place: Place, status: Status) -> list[JsonObject]:
    """Return the rows of a server in a status.

    Rows without a data repository belong to no server, as in the reference: two repositories of a lab have two locks,
    and would run such a row twice.

    Parameters
    ----------
    alyx : Alyx
        The database.
    place : Place
        The server.
    status : Status
        Status of the rows.
    """
    found: dict[str, JsonObject] = {}
    own = (place.repository, None) if place.takes_unassigned else (place.repository,)
    for lab in place.labs:
        for row in alyx.rows("tasks", status=str(status), lab=lab):
            if place.repository is None or row.get("data_repository") in own:
                found[str(row.get("id"))] = row
    return list(found.values())
