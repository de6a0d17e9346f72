"""What a batch system is given for a pool: a job, and the script in it."""

from __future__ import annotations

import contextlib
import importlib
import math
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ibl_dask.deploy.cluster.local_workers import ONE_THREAD, SELDOM, WORKER_ENVIRONMENT
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.walltime import walltime_text
from ibl_dask.deploy.site.walltime import worker_lifetime_s as worker_lifetime_s
from ibl_dask.errors import UsageError

DEATH_TIMEOUT_S = 120
"""How long a worker looks for its scheduler, s."""

_SECTION = "ibl-dask"
"""Our section of Dask's settings for batch systems, with nothing in it: a job is what its profile says, and no more."""
_SETTINGS = (
    "account cores death-timeout env-extra extra header-skip interface job-cpu job-extra job-mem job-script-prologue "
    "local-directory log-directory memory name processes project python queue resource-spec shebang walltime "
    "worker-command worker-extra-args"
)
_WORKER_SETTINGS = {**SELDOM, "distributed.admin.tick.limit": "60s"}
_ASKS_FOR_GPUS = re.compile(r"--gres\b|--gpus|-G")
_ASKS_FOR_ALL = re.compile(r"-l\s*(select|nodes)=")
_IMPORT = threading.Lock()


def import_jobqueue() -> Any:  # dask_jobqueue has no types
    """Import `dask_jobqueue` without what its import does to a process: see `_untouched`.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    with _IMPORT:
        if "dask_jobqueue" in sys.modules:
            return sys.modules["dask_jobqueue"]
        import distributed  # noqa: F401 - what it imports itself shall not be imported in there

        try:
            with _untouched():
                return importlib.import_module("dask_jobqueue")
        except ModuleNotFoundError as error:
            raise UsageError(
                "workers on a batch system need dask-jobqueue",
                expected="dask-jobqueue 0.9 or later in this environment",
                got=str(error),
                do="pip install 'ibl_dask[cluster]'",
            ) from error


@contextlib.contextmanager
def _untouched() -> Iterator[None]:
    """Keep an import in this thread from writing into the user's home and from taking over Ctrl-C.

    dask_jobqueue copies its settings to `~/.config/dask/jobqueue.yaml`, where they would stay and matter, and installs
    a handler of SIGINT, which fails outside the main thread.
    """
    import dask

    here = threading.get_ident()
    set_handler, ensure_file = signal.signal, dask.config.ensure_file

    def elsewhere(number: int, handler: Any) -> Any:  # as `signal.signal`
        return signal.getsignal(number) if threading.get_ident() == here else set_handler(number, handler)

    replacement: Any = elsewhere  # its types are not quite those of `signal.signal`
    signal.signal = replacement
    dask.config.ensure_file = lambda *args, **kwargs: None
    try:
        yield
    finally:
        signal.signal, dask.config.ensure_file = set_handler, ensure_file


def make_job(
    profile: Profile,
    pool: Pool,
    name: str,
    scheduler: str,
    security: Any = None,  # distributed has no types
    *,
    log_folder: Path,
) -> Any:  # dask_jobqueue has no types
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
        Where certificates are, as paths that the node sees; without encryption by default.
    log_folder : Path
        Folder that the node sees, for `{name}-{job number}.log`. It must exist when the job starts.

    Returns
    -------
    dask_jobqueue.slurm.SLURMJob or dask_jobqueue.pbs.PBSJob
        `await job.start()` submits it, `job.job_id` is its number then, and `await job.close()` cancels it.
    """
    import_jobqueue()
    import dask
    from dask_jobqueue.pbs import PBSJob
    from dask_jobqueue.slurm import SLURMJob

    special = _for_slurm if pool.scheduler == "slurm" else _for_pbs
    kind = SLURMJob if pool.scheduler == "slurm" else PBSJob
    with dask.config.set({f"jobqueue.{_SECTION}": dict.fromkeys(_SETTINGS.split())}):
        return kind(
            scheduler=scheduler,
            name=name,
            job_name=f"ibl-{name}",
            config_name=_SECTION,
            shebang="#!/usr/bin/env bash",
            queue=pool.queue,
            account=pool.account,
            # Dask shares these among the workers, which have a thread each whatever cores the job has.
            cores=pool.workers_per_job,
            processes=pool.workers_per_job,
            memory=f"{pool.memory_gb:.9f} GB",
            python=pool.python,
            worker_command="distributed.cli.dask_worker",
            nanny=True,
            death_timeout=DEATH_TIMEOUT_S,
            worker_extra_args=_worker_options(pool, security),
            job_script_prologue=_prologue(profile, pool, name, log_folder),
            **special(profile, pool, name, log_folder),
        )


def job_script(
    profile: Profile,
    pool: Pool,
    name: str,
    scheduler: str,
    security: Any = None,  # distributed has no types
    *,
    log_folder: Path,
) -> str:
    """Return the script of a job as it is submitted; see `make_job`."""
    script: str = make_job(profile, pool, name, scheduler, security, log_folder=log_folder).job_script()
    return script


def _for_slurm(profile: Profile, pool: Pool, name: str, log_folder: Path) -> dict[str, Any]:  # what SLURMJob takes
    """Return what only Slurm's jobs have."""
    log = str(log_folder).replace("%", "%%") + f"/{name}-%j.log"
    # A job that is preempted and starts again writes on in the same log.
    lines = [f"--output={shlex.quote(log)}", "--open-mode=append"]
    if pool.gpus and not any(_ASKS_FOR_GPUS.match(line) for line in pool.directives):
        lines.append(f"--gres=gpu:{pool.gpus}")
    return {
        "job_cpu": pool.cores,
        "job_mem": _memory(pool, "G", "M"),
        "walltime": None if pool.walltime_s is None else walltime_text(pool.walltime_s),
        "job_extra_directives": [*lines, *pool.directives],
    }


def _for_pbs(profile: Profile, pool: Pool, name: str, log_folder: Path) -> dict[str, Any]:  # what PBSJob takes
    """Return what only the jobs of a PBS have."""
    gpus = f":ngpus={pool.gpus}" if pool.gpus else ""
    select = f"select=1:ncpus={pool.cores}{gpus}:mem={_memory(pool, 'gb', 'mb')}"
    # PBS would use the login shell, which need not be bash.
    lines = ["-S /bin/bash", "-j oe", f"-o {shlex.quote(f'{log_folder}/')}"]
    if profile.group is not None:
        lines.append(f"-W group_list={profile.group}")
    # What the account is, the profile says, and not a variable of the environment.
    skipped = [] if pool.account else ["#PBS -A "]
    if any(_ASKS_FOR_ALL.match(line) for line in pool.directives):
        skipped.append("#PBS -l select=")
    return {
        "resource_spec": select,
        "walltime": None if pool.walltime_s is None else walltime_text(pool.walltime_s),
        "job_extra_directives": [*lines, *pool.directives],
        "job_directives_skip": skipped,
    }


def _memory(pool: Pool, whole: str, parts: str) -> str:
    """Write the memory of a job. Batch systems count 1024 where we count 1000: that leaves a little for Dask itself."""
    if pool.memory_gb == int(pool.memory_gb):
        return f"{int(pool.memory_gb)}{whole}"
    return f"{math.ceil(round(pool.memory_gb * 1000, 6))}{parts}"


def _worker_options(pool: Pool, security: Any) -> list[str]:  # distributed has no types
    """Return what the worker's command says beyond what dask_jobqueue writes by itself."""
    resources = ",".join(f"{name}={_number(amount)}" for name, amount in pool.worker_resources.items())
    # Pages of single workers would be open to everyone on the node; the scheduler's page shows it all.
    options = ["--resources", resources, "--preload", "ibl_dask.deploy.cluster.worker_setup", "--no-dashboard"]
    options += ["--dashboard-address", "127.0.0.1:0"]
    if pool.scratch is not None:
        options += ["--local-directory", _expanding(str(pool.scratch))]
    if (life := worker_lifetime_s(pool)) is not None:
        options += ["--lifetime", f"{life[0]:.0f}s", "--lifetime-stagger", f"{life[1]:.0f}s"]
    if pool.interface is not None:
        options += ["--interface", shlex.quote(pool.interface)]
    # Dask makes an empty one of none.
    if security is not None and security.require_encryption:
        config = security.get_tls_config_for_role("worker")
        for option, key in (("--tls-ca-file", "ca_file"), ("--tls-cert", "cert"), ("--tls-key", "key")):
            options += [option, shlex.quote(str(config[key]))]
    return options


def _prologue(profile: Profile, pool: Pool, name: str, log_folder: Path) -> list[str]:
    """Return the lines before the worker's command: each of them ends the job if it fails, and says why."""
    lines = ['stop() { printf "ibl-dask: %s\\n" "$@" >&2; exit 1; }']
    if pool.scheduler == "pbs":
        # PBS keeps output on the node until the job ends, and loses it with the node.
        log = shlex.quote(f"{log_folder}/{name}-")
        lines += [
            "number=${PBS_JOBID:-${SLURM_JOB_ID:-$$}}",
            f'exec >>{log}"${{number%%.*}}.log" 2>&1 || {_stop(f"no log can be written in {log_folder}")}',
        ]
    elif profile.group is not None:
        lines += _as_group(profile.group, profile.line("group"))
    threads = str(max(1, pool.cores // pool.workers_per_job))
    environment = {**WORKER_ENVIRONMENT, **dict.fromkeys(ONE_THREAD, threads)}
    lines += [f"export {key}={shlex.quote(value)}" for key, value in environment.items()]
    lines += [f"export {_variable(key)}={value}" for key, value in _WORKER_SETTINGS.items()]
    if profile.umask is not None:
        lines.append(f"umask {profile.umask:04o}")
    for number, line in enumerate(pool.setup):
        where = profile.line("pools", pool.name, "setup", str(number))
        lines += [f"{{ {line.strip()}", f"}} || {_stop(f'the setup failed ({where}): {line.strip()}')}"]
    if pool.scratch is not None:
        where = profile.line("pools", pool.name, "scratch")
        lines.append(f"mkdir -p {_expanding(str(pool.scratch))} || {_stop(f'no scratch folder can be made ({where})')}")
    lines.append(_check_python(profile, pool))
    return lines


def _as_group(group: str, where: str) -> list[str]:
    """Return lines that start the script anew as a member of a group.

    `sg` forgets what could lead a program with privileges astray, so that two variables are handed on by hand.
    """
    missing = _stop(f"not in the group {group}, which {where} asks for")
    quoted = shlex.quote(group)
    return [
        'if [ -z "${IBL_DASK_GROUP:-}" ]; then',
        f"    id -Gn | tr ' ' '\\n' | grep -qxF -- {quoted} || {missing}",
        "    kept=IBL_DASK_GROUP=1",
        "    for variable in TMPDIR LD_LIBRARY_PATH; do",
        '        if [ -n "${!variable:-}" ]; then kept+=" $variable=$(printf %q "${!variable}")"; fi',
        "    done",
        f'    exec sg {quoted} -c "exec env $kept bash $(printf %q "$0")"',
        "fi",
    ]


def _check_python(profile: Profile, pool: Pool) -> str:
    """Return a line that ends the job where there is no such interpreter; without it the log says less."""
    program = shlex.split(pool.python)[0]
    where = profile.line("pools", pool.name, "python")
    message = f"no such program on this node: {program} ({where}); write the path of a Python that every node sees"
    return f"command -v {shlex.quote(program)} >/dev/null || {_stop(message)}"


def _stop(message: str) -> str:
    return f"stop {shlex.quote(message)}"


def _expanding(path: str) -> str:
    """Quote a path, leaving variables of the job in it, such as `$TMPDIR`."""
    return '"' + re.sub(r'(["\\`])', r"\\\1", path) + '"'


def _number(amount: float) -> str:
    """Write a number so that reading it gives the same number: a worker must offer all that a step may ask for."""
    return f"{amount:g}" if float(f"{amount:g}") == amount else repr(amount)


def _variable(setting: str) -> str:
    """Return the environment variable by which Dask reads a setting."""
    return "DASK_" + setting.upper().replace(".", "__").replace("-", "_")
