"""Workers for a run: on this machine, or by the jobs of a batch system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ibl_dask.deploy.cluster.dashboard import tunnel_line as tunnel_line
from ibl_dask.deploy.cluster.local_workers import SELDOM, local_workers
from ibl_dask.deploy.cluster.script_guard import insist_on_guard
from ibl_dask.deploy.cluster.tls import certificates
from ibl_dask.deploy.site.profile import Profile
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.store.workspace import WORK_FOLDER


@contextlib.contextmanager
def connect(profile: str | Path | Profile | None = None, workers: int | None = None) -> Iterator[Any]:
    """Start workers and yield a `distributed.Client` to them.

    Parameters
    ----------
    profile : path or Profile, optional
        A site profile; one worker per core of this machine by default. With pools of batch jobs there are as many
        workers as there is work for, within the bounds of the profile.
    workers : int, optional
        Number of workers on this machine, whatever the profile says.

    Yields
    ------
    distributed.Client
        Every worker is a process with one thread that offers what its pool has: `CPU` or `GPU`, and `MEMORY_GB`.

    Raises
    ------
    UsageError, MissingFile
        If the profile makes no sense; or a script starts workers of this machine where each of them would do so again.
    RunError
        If workers of this machine cannot be started.
    """
    if not isinstance(profile, Profile):
        profile = read_profile(None if profile is None else Path(profile), workers)
    # Dask comes with the first use: `import ibl_dask` and planning go without. Its own settings come before ours.
    import dask
    import distributed  # noqa: F401

    settings = {
        # A chunk holds the interpreter for seconds at a time; that is no reason to warn.
        "distributed.admin.tick.limit": "60s",
        # A job that ends takes its worker along, which is no fault of the step that it had.
        "distributed.scheduler.allowed-failures": 3 if profile.is_local else 10,
        **SELDOM,
    }
    with (
        permissions(profile),
        dask.config.set(settings),
        _local(profile) if profile.is_local else _batch(profile) as client,
    ):
        client.ibl_dask_site = profile
        yield client


def site_of(client: Any) -> Profile | None:  # distributed has no types
    """Return the profile that a client was connected by; None for one of somebody else."""
    site: Profile | None = getattr(client, "ibl_dask_site", None)
    return site


@contextlib.contextmanager
def permissions(profile: Profile) -> Iterator[None]:
    """Let files of this process, and of the workers that it starts, have the permissions that a profile says."""
    if profile.umask is None:
        yield
        return
    before = os.umask(profile.umask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _local(profile: Profile) -> Iterator[Any]:
    from distributed import Client

    insist_on_guard()
    with (
        certificates(profile, None) as security,
        local_workers(profile, security) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def _batch(profile: Profile) -> Iterator[Any]:
    from distributed import Client

    from ibl_dask.deploy.cluster.job_script import import_jobqueue

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
    """Return where jobs leave their output."""
    return profile.log_folder or (profile.scratch or Path.cwd() / WORK_FOLDER) / "jobs"
