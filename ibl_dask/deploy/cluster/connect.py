"""Workers for a run: on this machine, or in the jobs of a batch system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.deploy.cluster.dashboard import tunnel_line as tunnel_line
from ibl_dask.deploy.cluster.local_workers import RARE_POLLING, local_workers
from ibl_dask.deploy.cluster.script_guard import require_guard
from ibl_dask.deploy.cluster.tls import certificates
from ibl_dask.deploy.site.profile import Profile
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.store.work_folder import WORK_FOLDER

if TYPE_CHECKING:
    from distributed import Client


@contextlib.contextmanager
def connect(profile: str | Path | Profile | None = None, workers: int | None = None) -> Iterator[Client]:
    """Start workers and yield a `distributed.Client` to them.

    Parameters
    ----------
    profile : path or Profile, optional
        A site profile; one worker per core of this machine by default. The number of workers in batch jobs follows
        the number of steps, within the bounds of the profile.
    workers : int, optional
        Number of workers on this machine, in place of the profile's.

    Yields
    ------
    distributed.Client
        Every worker is a process with one thread that offers the resources of its pool: `CPU` or `GPU`, `MEMORY_GB`.

    Raises
    ------
    UsageError, MissingFile
        If the profile is invalid; or if a script starts workers of this machine where each of them would do so again.
    RunError
        If workers of this machine cannot be started.
    """
    if not isinstance(profile, Profile):
        profile = read_profile(None if profile is None else Path(profile), workers)
    # Imported on first use: `import ibl_dask` and planning do without. Dask's own settings precede ours.
    import dask
    import distributed  # noqa: F401

    settings = {
        # A chunk holds the interpreter for seconds at a time, which is normal.
        "distributed.admin.tick.limit": "60s",
        # A job that ends takes its worker along, which is no failure of its step.
        "distributed.scheduler.allowed-failures": 3 if profile.is_local else 10,
        **RARE_POLLING,
    }
    with (
        permissions(profile),
        dask.config.set(settings),
        _local(profile) if profile.is_local else _batch(profile) as client,
    ):
        client.ibl_dask_site = profile  # type: ignore[attr-defined]  # for `site_of`
        yield client


def site_of(client: Client) -> Profile | None:
    """Return the profile that a client was connected with; None for a client from elsewhere."""
    site: Profile | None = getattr(client, "ibl_dask_site", None)
    return site


@contextlib.contextmanager
def permissions(profile: Profile) -> Iterator[None]:
    """Give files of this process, and of the workers that it starts, the permissions of a profile."""
    if profile.umask is None:
        yield
        return
    before = os.umask(profile.umask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _local(profile: Profile) -> Iterator[Client]:
    from distributed import Client

    require_guard()
    with (
        certificates(profile, None) as security,
        local_workers(profile, security) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def _batch(profile: Profile) -> Iterator[Client]:
    from distributed import Client

    from ibl_dask.deploy.cluster.jobqueue import import_jobqueue

    import_jobqueue()
    from ibl_dask.deploy.cluster.batch_cluster import BatchCluster

    folder = job_folder(profile)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        certificates(profile, folder) as security,
        BatchCluster(profile, folder, security) as cluster,
        Client(cluster) as client,
    ):
        yield client


def job_folder(profile: Profile) -> Path:
    """Return the folder of the logs of jobs."""
    return profile.log_folder or (profile.scratch or Path.cwd() / WORK_FOLDER) / "jobs"
