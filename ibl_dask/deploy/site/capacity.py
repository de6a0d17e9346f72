"""Steps of a plan compared with the pools of a site: use of each pool, impossible requests, and too short walltimes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ibl_dask.deploy.batch_systems.formats import format_duration
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.walltime import LONGEST_STEP_S, MARGIN_S, STAGGER, guaranteed_s
from ibl_dask.errors import UsageError
from ibl_dask.model.step import Resources


def pool_lines(profile: Profile, n_steps: Mapping[Resources, int]) -> list[str]:
    """Return a line for each pool of a batch system: the number of steps it may get, or a note that it is unused.

    Parameters
    ----------
    profile : Profile
        The site.
    n_steps
        Number of steps by the resources that they ask for: one for each chunk of a video, or task.

    Returns
    -------
    list of str
        Empty for workers on this machine.
    """
    return [] if profile.is_local else [_line(profile, pool, n_steps) for pool in profile.pools]


def impossible_lines(profile: Profile, asked: Iterable[Resources]) -> list[str]:
    """Return a line for each request that no pool can satisfy, with the resource that each pool lacks."""
    lines = []
    for resources in asked:
        if resources.is_estimate:
            continue  # it is reduced to the largest worker
        lacking = {pool.name: pool.lacks(resources.for_dask()) for pool in profile.pools}
        if all(lacking.values()):
            whole = "; ".join(f"{name} lacks {resource}" for name, resource in lacking.items())
            lines.append(f"no pool can run some steps: {whole} ({profile.line('pools')})")
    return lines


@dataclass(frozen=True, slots=True)
class Duration:
    """Duration of the one step of a task."""

    task: str
    """Name of the task."""
    resources: Resources
    """Resources that it asks for."""
    seconds: float
    """Duration, s."""
    source: str
    """Origin of that number: `recorded` in earlier runs, or `declared` by the task."""


def too_long_lines(profile: Profile, durations: Iterable[Duration]) -> tuple[list[str], list[str]]:
    """Compare durations of steps with walltimes of jobs.

    Parameters
    ----------
    profile : Profile
        The site.
    durations
        Durations of tasks that would run.

    Returns
    -------
    list of str
        Errors: steps that end in no job of any pool that could run them.
    list of str
        Notes: steps that end only in a worker with a long enough random lifetime.
    """
    refused, notes = [], []
    for task in dict.fromkeys(durations):
        pools = _able(profile, task.resources)
        if not pools or any(pool.walltime_s is None for pool in pools):
            continue
        longest = max(pools, key=lambda pool: pool.walltime_s or 0)
        walltime_s, guaranteed = longest.walltime_s or 0, guaranteed_s(longest)
        takes = f"{format_duration(math.ceil(task.seconds))} ({task.source})"
        where = profile.line("pools", longest.name, "walltime")
        if task.seconds > walltime_s:
            error = UsageError(
                f"{task.task} takes longer than its jobs last",
                where=where,
                expected=f"at most the walltime of pool {longest.name}, {format_duration(walltime_s)}",
                got=takes,
                do=f"give the pool `walltime: {format_duration(_enough_s(task.seconds))}` or more"
                + ("" if task.source == "recorded" else ", or declare (`time_out_secs`) the real duration"),
            )
            refused.append(str(error))
        elif task.seconds > guaranteed:
            notes.append(
                f"note: {task.task} takes {takes}, and of the walltime of pool {longest.name}, "
                f"{format_duration(walltime_s)}, a worker surely takes steps for {format_duration(int(guaranteed))} "
                f"({where}): write `walltime: {format_duration(_enough_s(task.seconds))}` or more"
            )
    return refused, notes


def _able(profile: Profile, asked: Resources) -> list[Pool]:
    """Return the pools of a batch system that may get a step; an estimate is reduced to the largest worker."""
    pools = [pool for pool in profile.pools if not pool.is_local and pool.kind == asked.kind]
    return pools if asked.is_estimate else [pool for pool in pools if not pool.lacks(asked.for_dask())]


def _enough_s(seconds: float) -> int:
    """Return a walltime in whole minutes in which even the worker of the shortest lifetime has this long, s."""
    most = (1 + STAGGER) / (1 - STAGGER) * seconds + MARGIN_S + LONGEST_STEP_S
    return math.ceil(most / 60) * 60


def _line(profile: Profile, pool: Pool, n_steps: Mapping[Resources, int]) -> str:
    fitting = [n for asked, n in n_steps.items() if not pool.lacks(asked.for_dask())]
    if fitting:
        jobs = f"{pool.min_jobs} to {pool.max_jobs} jobs" if pool.max_jobs > 1 else "1 job"
        workers = f" of {pool.workers_per_job} workers" if pool.workers_per_job > 1 else ""
        return f"pool {pool.name}: {sum(fitting)} steps on {jobs}{workers}"
    where = profile.line("pools", pool.name)
    kept = f"its {pool.min_jobs} jobs that are always kept would idle" if pool.min_jobs else "it starts no jobs"
    return f"note: nobody uses pool {pool.name} ({where}): no step asks for {pool.kind}; {kept}"
