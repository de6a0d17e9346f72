"""Which pools a run would use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ibl_dask.deploy.profile import Pool, Profile
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


def _line(profile: Profile, pool: Pool, n_steps: Mapping[Resources, int]) -> str:
    fitting = [n for asked, n in n_steps.items() if not pool.lacks(asked.for_dask())]
    if fitting:
        jobs = f"{pool.min_jobs} to {pool.max_jobs} jobs" if pool.max_jobs > 1 else "1 job"
        workers = f" of {pool.workers_per_job} workers" if pool.workers_per_job > 1 else ""
        return f"pool {pool.name}: {sum(fitting)} steps on {jobs}{workers}"
    where = profile.line("pools", pool.name)
    kept = f"its {pool.min_jobs} jobs that are always kept would idle" if pool.min_jobs else "it starts no jobs"
    return f"note: nobody uses pool {pool.name} ({where}): no step asks for {pool.kind}; {kept}"
