"""Job of a pool, and the script that is submitted for it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Protocol

from ibl_dask.deploy.batch_systems.formats import STOP, stop_line
from ibl_dask.deploy.batch_systems.protocol import BatchJob, BatchSystem, JobRequest
from ibl_dask.deploy.batch_systems.registry import batch_system
from ibl_dask.deploy.cluster.jobqueue import import_jobqueue
from ibl_dask.deploy.cluster.local_workers import ONE_THREAD, RARE_POLLING, WORKER_ENVIRONMENT
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.walltime import worker_lifetime_s

DEATH_TIMEOUT_S = 120
"""Time for which a worker looks for its scheduler, s."""

_SECTION = "ibl-dask"
"""Our section of Dask's settings for batch systems, with every setting empty: a job depends on its profile alone."""
_SETTINGS = (
    "account cores death-timeout env-extra extra header-skip interface job-extra job-script-prologue local-directory "
    "log-directory memory name processes project python queue shebang walltime worker-command worker-extra-args"
)
_WORKER_SETTINGS = {**RARE_POLLING, "distributed.admin.tick.limit": "60s"}


class Security(Protocol):
    """The part of `distributed.Security` that is used."""

    @property
    def require_encryption(self) -> bool:
        """Return whether connections are encrypted."""

    def get_tls_config_for_role(self, role: str) -> dict[str, str]:
        """Return the paths of certificates of a role by `ca_file`, `cert` and `key`."""


def make_job(
    profile: Profile, pool: Pool, name: str, scheduler: str, security: Security | None = None, *, log_folder: Path
) -> BatchJob:
    """Return a job of a pool that has not been submitted; nothing is written.

    Parameters
    ----------
    profile, pool
        The site, and its pool.
    name : str
        Name of the job. Its worker has that name too, or its workers are `{name}-0`, `{name}-1`, ...
    scheduler : str
        Address of the Dask scheduler.
    security : distributed.Security, optional
        Certificates, as paths that the node sees; without encryption by default.
    log_folder : Path
        Folder that the node sees, for `{name}-{job number}.log`. It must exist when the job starts.

    Raises
    ------
    UsageError
        If `dask_jobqueue` is not installed.
    """
    import_jobqueue()
    import dask

    system = batch_system(pool.scheduler)
    request = _request(profile, pool, name, log_folder)
    settings = dict.fromkeys([*_SETTINGS.split(), *system.jobqueue_settings])
    with dask.config.set({f"jobqueue.{_SECTION}": settings}):
        return system.job_class()(
            scheduler=scheduler,
            name=name,
            job_name=f"ibl-{name}",
            config_name=_SECTION,
            shebang="#!/usr/bin/env bash",
            # Dask divides these among the workers, which have one thread each whatever the cores of the job.
            cores=pool.workers_per_job,
            processes=pool.workers_per_job,
            memory=f"{pool.memory_gb:.9f} GB",
            python=pool.python,
            worker_command="distributed.cli.dask_worker",
            nanny=True,
            death_timeout=DEATH_TIMEOUT_S,
            worker_extra_args=_worker_options(pool, security),
            job_script_prologue=_prologue(profile, pool, system, request),
            **system.job_options(request),
        )


def job_script(
    profile: Profile, pool: Pool, name: str, scheduler: str, security: Security | None = None, *, log_folder: Path
) -> str:
    """Return the script of a job as it is submitted; see `make_job` for parameters and errors.

    Parameters
    ----------
    profile, pool
        The site, and the pool of the job.
    name
        Name of the job and of its workers.
    scheduler
        Address of the scheduler.
    security
        Certificates; None without TLS.
    log_folder
        Folder of the job's log.
    """
    return make_job(profile, pool, name, scheduler, security, log_folder=log_folder).job_script()


def _request(profile: Profile, pool: Pool, name: str, log_folder: Path) -> JobRequest:
    return JobRequest(
        name=name,
        log_folder=log_folder,
        cores=pool.cores,
        memory_gb=pool.memory_gb,
        gpus=pool.gpus,
        walltime_s=pool.walltime_s,
        queue=pool.queue,
        account=pool.account,
        directives=pool.directives,
        group=profile.group,
        group_line=profile.line("group"),
    )


def _worker_options(pool: Pool, security: Security | None) -> list[str]:
    """Return the options of the worker's command beyond those that `dask_jobqueue` writes."""
    resources = ",".join(f"{name}={_number(amount)}" for name, amount in pool.worker_resources.items())
    # Pages of single workers would be open to every user of the node; the scheduler's page shows the same.
    options = ["--resources", resources, "--preload", "ibl_dask.deploy.cluster.worker_setup", "--no-dashboard"]
    options += ["--dashboard-address", "127.0.0.1:0"]
    if pool.scratch is not None:
        options += ["--local-directory", _expanding(str(pool.scratch))]
    if (life := worker_lifetime_s(pool)) is not None:
        options += ["--lifetime", f"{life[0]:.0f}s", "--lifetime-stagger", f"{life[1]:.0f}s"]
    if pool.interface is not None:
        options += ["--interface", shlex.quote(pool.interface)]
    # Dask replaces None by an empty `Security`.
    if security is not None and security.require_encryption:
        config = security.get_tls_config_for_role("worker")
        for option, key in (("--tls-ca-file", "ca_file"), ("--tls-cert", "cert"), ("--tls-key", "key")):
            options += [option, shlex.quote(str(config[key]))]
    return options


def _prologue(profile: Profile, pool: Pool, system: BatchSystem, request: JobRequest) -> list[str]:
    """Return the lines before the worker's command; one that fails ends the job with a message in its log."""
    lines = [STOP, *system.prologue(request)]
    threads = str(max(1, pool.cores // pool.workers_per_job))
    environment = {**WORKER_ENVIRONMENT, **dict.fromkeys(ONE_THREAD, threads)}
    lines += [f"export {key}={shlex.quote(value)}" for key, value in environment.items()]
    lines += [f"export {_variable(key)}={value}" for key, value in _WORKER_SETTINGS.items()]
    if profile.umask is not None:
        lines.append(f"umask {profile.umask:04o}")
    for number, line in enumerate(pool.setup):
        where = profile.line("pools", pool.name, "setup", str(number))
        lines += [f"{{ {line.strip()}", f"}} || {stop_line(f'the setup failed ({where}): {line.strip()}')}"]
    if pool.scratch is not None:
        where = profile.line("pools", pool.name, "scratch")
        no_folder = stop_line(f"no scratch folder can be made ({where})")
        lines.append(f"mkdir -p {_expanding(str(pool.scratch))} || {no_folder}")
    lines.append(_check_python(profile, pool))
    return lines


def _check_python(profile: Profile, pool: Pool) -> str:
    """Return a line that ends the job with the line of the profile if the interpreter does not exist."""
    program = shlex.split(pool.python)[0]
    where = profile.line("pools", pool.name, "python")
    message = f"no such program on this node: {program} ({where}); write the path of a Python that every node sees"
    return f"command -v {shlex.quote(program)} >/dev/null || {stop_line(message)}"


def _expanding(path: str) -> str:
    """Quote a path for the shell, except for variables of the job such as `$TMPDIR`."""
    return '"' + re.sub(r'(["\\`])', r"\\\1", path) + '"'


def _number(amount: float) -> str:
    """Return the shortest text that parses to exactly this number: a worker must offer all that a step may ask for."""
    return f"{amount:g}" if float(f"{amount:g}") == amount else repr(amount)


def _variable(setting: str) -> str:
    """Return the environment variable from which Dask reads a setting."""
    return "DASK_" + setting.upper().replace(".", "__").replace("-", "_")
