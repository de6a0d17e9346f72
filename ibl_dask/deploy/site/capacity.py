"""Which pools a run would use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.walltime import LONGEST_STEP_S, MARGIN_S, STAGGER, surely_s, walltime_text
from ibl_dask.errors import UsageError
from ibl_dask.model.step import Resources


def pool_lines(profile: Profile, n_steps: Mapping[Resources, int]) -> list[str]:
    """Say for each pool of a batch system how many steps it may get, and which pool nobody uses.

    Parameters
    ----------
    profile : Profile
        The site.
    n_steps
        For everything that steps ask for, how many ask for it: one for each chunk of a video, or task.

    Returns
    -------
    list of str
        Lines for people; none for workers on this machine.
    """
    return [] if profile.is_local else [_line(profile, pool, n_steps) for pool in profile.pools]


def impossible_lines(profile: Profile, asked: Iterable[Resources]) -> list[str]:
    """Say for everything that steps ask for and no pool has what each pool lacks."""
    lines = []
    for resources in asked:
        if resources.is_estimate:
            continue  # it takes what there is
        lacking = {pool.name: pool.lacks(resources.for_dask()) for pool in profile.pools}
        if all(lacking.values()):
            whole = "; ".join(f"{name} lacks {what}" for name, what in lacking.items())
            lines.append(f"no pool can run some steps: {whole} ({profile.line('pools')})")
    return lines


@dataclass(frozen=True, slots=True)
class Duration:
    """How long the one step of a task takes."""

    task: str
    """Name of the task."""
    resources: Resources
    """What it asks for."""
    seconds: float
    """How long, s."""
    source: str
    """Where that comes from: `recorded` in earlier runs, or `declared` by the task."""


def too_long_lines(profile: Profile, durations: Iterable[Duration]) -> tuple[list[str], list[str]]:
    """Compare how long steps take with how long jobs last.

    Parameters
    ----------
    profile : Profile
        The site.
    durations
        Of tasks that would run.

    Returns
    -------
    list of str
        What cannot work: steps that end in no job of any pool that could run them.
    list of str
        Notes: steps that end only where a worker lives long enough by chance.
    """
    refused, notes = [], []
    for task in dict.fromkeys(durations):
        pools = _able(profile, task.resources)
        if not pools or any(pool.walltime_s is None for pool in pools):
            continue
        longest = max(pools, key=lambda pool: pool.walltime_s or 0)
        walltime_s, surely = longest.walltime_s or 0, surely_s(longest)
        takes = f"{walltime_text(math.ceil(task.seconds))} ({task.source})"
        where = profile.line("pools", longest.name, "walltime")
        if task.seconds > walltime_s:
            error = UsageError(
                f"{task.task} takes longer than its jobs last",
                where=where,
                expected=f"at most the walltime of pool {longest.name}, {walltime_text(walltime_s)}",
                got=takes,
                do=f"give the pool `walltime: {walltime_text(_enough_s(task.seconds))}` or more"
                + ("" if task.source == "recorded" else ", or declare (`time_out_secs`) what it really takes"),
            )
            refused.append(str(error))
        elif task.seconds > surely:
            notes.append(
                f"note: {task.task} takes {takes}, and of the walltime of pool {longest.name}, "
                f"{walltime_text(walltime_s)}, a worker surely takes steps for {walltime_text(int(surely))} ({where}): "
                f"write `walltime: {walltime_text(_enough_s(task.seconds))}` or more"
            )
    return refused, notes


def _able(profile: Profile, asked: Resources) -> list[Pool]:
    """Return the pools of a batch system that would be given a step; what is an estimate takes what there is."""
    pools = [pool for pool in profile.pools if pool.scheduler != "local" and pool.kind == asked.kind]
    return pools if asked.is_estimate else [pool for pool in pools if not pool.lacks(asked.for_dask())]


def _enough_s(seconds: float) -> int:
    """Return a walltime, in whole minutes, of which even the worker of the shortest life has this long, s."""
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
