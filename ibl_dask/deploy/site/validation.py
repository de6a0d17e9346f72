"""Consistency of a profile: values that are valid alone, and cannot work together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ibl_dask.deploy.batch_systems.formats import format_duration
from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS, batch_system
from ibl_dask.deploy.site.engines import engine_errors
from ibl_dask.deploy.site.networks import network_errors
from ibl_dask.deploy.site.profile import LOCAL, Pool, Profile
from ibl_dask.deploy.site.walltime import LONGEST_STEP_S, MARGIN_S, shortest_walltime_s
from ibl_dask.errors import UsageError
from ibl_dask.model.step import Resources

LEAST_GB = Resources().memory_gb
"""Memory that a step asks for, GB."""

MOST_WORKERS = 20_000
"""Maximum number of workers of a profile: the load of one scheduler."""
MOST_LOCAL = 1_000
"""Maximum number of workers on this machine: processes of 0.3 GB."""

_LOCAL_KEYS = frozenset({"scheduler", "memory", "min_jobs", "max_jobs"})
"""Keys that apply to workers on this machine."""


def check_profile(profile: Profile) -> None:
    """Raise the first inconsistency of a profile.

    Raises
    ------
    UsageError
        With the line, and the text to write there.
    """
    for error in profile_errors(profile):
        raise error


def profile_errors(profile: Profile) -> Iterator[UsageError]:
    """Yield every inconsistency of a profile, pool by pool, engine by engine, network by network."""
    schedulers = {pool.scheduler for pool in profile.pools}
    if len(schedulers) > 1:
        odd = next(pool for pool in profile.pools if pool.scheduler != profile.pools[0].scheduler)
        yield UsageError(
            "pools of one profile must have one scheduler",
            where=profile.line("pools", odd.name, "scheduler"),
            expected=f"{profile.pools[0].scheduler}, as for pool {profile.pools[0].name}",
            got=odd.scheduler,
            do="write two profiles, or let the driver run in a job of the batch system (docs/clusters.md)",
        )
    if profile.is_local and len(profile.pools) > 1:
        yield UsageError(
            "workers on this machine are one pool",
            where=profile.line("pools", profile.pools[1].name),
            expected=f"one pool with scheduler {LOCAL}",
            got=f"{len(profile.pools)}: {', '.join(pool.name for pool in profile.pools)}",
            do="keep one of them",
        )
    for pool in profile.pools:
        yield from _size_errors(profile, pool)
        yield from _local_errors(profile, pool) if pool.is_local else _batch_errors(profile, pool)
    yield from engine_errors(profile)
    yield from network_errors(profile)


def _size_errors(profile: Profile, pool: Pool) -> Iterator[UsageError]:
    """Yield errors in numbers of jobs and workers, and in memory."""

    def where(key: str) -> str:
        return profile.line("pools", pool.name, key) if _has_pools(profile) else profile.line("memory_gb")

    if pool.max_jobs < 1:
        yield UsageError(
            f"pool {pool.name} has no jobs, so that nobody uses it",
            where=where("max_jobs"),
            expected="1 or more",
            got=f"max_jobs: {pool.max_jobs}",
            do=f"write `max_jobs: 1` or more, or remove pool {pool.name}",
        )
    if profile.most_workers > (most := MOST_LOCAL if profile.is_local else MOST_WORKERS):
        yield UsageError(
            "there are too many workers",
            where=where("max_jobs") if _has_pools(profile) else profile.line("workers"),
            expected=f"at most {most:,} in all",
            got=f"{profile.most_workers:,}",
            do="write fewer jobs (`max_jobs`)" if _has_pools(profile) else "write fewer `workers`, one for each core",
        )
    if pool.min_jobs > pool.max_jobs:
        yield UsageError(
            f"pool {pool.name} keeps more jobs than it may have",
            where=where("min_jobs"),
            expected=f"at most max_jobs, {pool.max_jobs}",
            got=f"min_jobs: {pool.min_jobs}",
            do=f"write `min_jobs: {pool.max_jobs}` or fewer, or raise max_jobs",
        )
    if pool.worker_memory_gb < LEAST_GB:
        least = f"{LEAST_GB * pool.workers_per_job:g} GB"
        yield UsageError(
            f"the memory of pool {pool.name} is less than a chunk needs",
            where=where("memory"),
            expected=f"{LEAST_GB:g} GB for each of {pool.workers_per_job} workers of a job",
            got=f"{pool.memory_gb:g} GB for all",
            do=f"write `memory: {least}` or more"
            if _has_pools(profile)
            else f"write `memory_gb: {LEAST_GB:g}` or more",
        )


def _local_errors(profile: Profile, pool: Pool) -> Iterator[UsageError]:
    """Yield errors of a pool of workers on this machine."""
    prefix = f"pools.{pool.name}."
    given = [path.removeprefix(prefix) for path in profile.lines if path.startswith(prefix)]
    if pool.gpus:
        yield UsageError(
            "workers on this machine run no GPU steps",
            where=profile.line("pools", pool.name, "gpus"),
            expected=f"a pool of a batch system ({', '.join(BATCH_SYSTEMS)})",
            got=f"gpus: {pool.gpus} with scheduler {LOCAL}",
            do="remove gpus, or write the scheduler that gives GPUs",
        )
    for key in (key for key in given if "." not in key and key not in _LOCAL_KEYS | {"gpus"}):
        yield UsageError(
            f"{key} means nothing for workers on this machine",
            where=profile.line("pools", pool.name, key),
            expected=f"only {', '.join(sorted(_LOCAL_KEYS))} with scheduler {LOCAL}",
            got=key,
            do="remove the line; a worker there is a process with one core",
        )
    if pool.min_jobs != pool.max_jobs:
        yield UsageError(
            "workers on this machine neither come nor go",
            where=profile.line("pools", pool.name, "min_jobs"),
            expected=f"min_jobs as max_jobs, {pool.max_jobs}",
            got=f"min_jobs: {pool.min_jobs}",
            do="remove min_jobs",
        )


def _batch_errors(profile: Profile, pool: Pool) -> Iterator[UsageError]:
    """Yield errors of a pool of a batch system."""

    def where(*key: str) -> str:
        return profile.line("pools", pool.name, *key)

    if pool.workers_per_job > pool.cores:
        yield UsageError(
            f"pool {pool.name} has more workers than cores",
            where=where("workers_per_job"),
            expected=f"at most a worker per core, {pool.cores}",
            got=f"{pool.workers_per_job} workers in a job",
            do=f"write `cores: {pool.workers_per_job}` or more, or fewer workers_per_job",
        )
    if pool.gpus and pool.workers_per_job != pool.gpus:
        yield UsageError(
            f"pool {pool.name} needs one worker for each GPU",
            where=where("workers_per_job"),
            expected=f"workers_per_job: {pool.gpus}, or no such key",
            got=f"workers_per_job: {pool.workers_per_job}",
            do="remove workers_per_job",
        )
    system = batch_system(pool.scheduler)
    if (
        pool.gpus
        and pool.queue is None
        and not any(re.match(system.placement_directive, directive) for directive in pool.directives)
    ):
        yield UsageError(
            f"pool {pool.name} asks for GPUs and for no queue",
            where=where("queue"),
            expected="the partition or queue that has GPUs",
            got="none",
            do=f"write `queue: NAME`; `{system.list_queues}` lists them",
        )
    if pool.walltime_s is not None and pool.walltime_s < shortest_walltime_s():
        least = format_duration(shortest_walltime_s())
        yield UsageError(
            f"the walltime of pool {pool.name} is too short for one chunk",
            where=where("walltime"),
            expected=f"{least} or more: a chunk takes up to {LONGEST_STEP_S:g} s, "
            f"and its worker takes the last one {LONGEST_STEP_S + MARGIN_S:g} s before the end",
            got=format_duration(pool.walltime_s),
            do=f"write `walltime: {least}` or, better, an hour or more",
        )
    for number, directive in enumerate(pool.directives):
        yield from _directive_errors(pool, directive, where("directives", str(number)))


def _directive_errors(pool: Pool, directive: str, where: str) -> Iterator[UsageError]:
    """Yield errors of one line for the batch system."""
    system = batch_system(pool.scheduler)
    prefixes = "|".join(other.directive_prefix for other in BATCH_SYSTEMS.values())
    mark = re.match(rf"#\s*({prefixes})\s*", directive)
    if mark or "\n" in directive or not directive.startswith("-"):
        yield UsageError(
            "this is no directive",
            where=where,
            expected="one option as the batch system takes it, such as `--constraint=a100` or `-l place=excl`",
            got=directive,
            do=f"write `{directive[mark.end() :]}`" if mark else "begin it with - or --, one a line",
        )
    if re.match(system.array_directive, directive):
        yield UsageError(
            "this makes many jobs of one",
            where=where,
            expected="options of one job",
            got=f"the directive {directive}",
            do="remove it, and write `max_jobs: ...`",
        )
    for pattern, key in system.profile_keys:
        if re.match(pattern, directive):
            yield UsageError(
                f"the key {key} sets this",
                where=where,
                expected=f"{key} of the {'profile' if key == 'log_folder' else 'pool'}",
                got=f"the directive {directive}",
                do=f"remove it, and write `{key}: ...`",
            )


def _has_pools(profile: Profile) -> bool:
    return not profile.lines or any(key == "pools" for key in profile.lines)
