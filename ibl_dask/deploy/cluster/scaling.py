"""How many jobs each pool should have, and which to start and to let go: decisions, without doing anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ibl_dask.deploy.site.profile import Pool

Asked = frozenset[tuple[str, float]]
"""What a step asks for: the items of `Resources.for_dask()`."""

STEPS_PER_WORKER = 2
"""Steps that are worth one more worker. A step takes 5 to 30 s, about what a job takes to start on a free node."""
MOST_FAILURES = 4
"""Jobs of a pool that may fail one after another, without any of them getting to work, before the pool is given up."""
FIRST_PAUSE_S = 2.0
"""Pause after the first of these failures, s; doubled by each that follows: all take 14 s, and the time of the jobs."""
LONGEST_PAUSE_S = 300.0
"""Pause at most, s; for a pool that does have jobs at work, and is refused more of them."""
REQUEUED_S = 20.0
"""How long a job that the batch system took back may wait to start again, before another takes its place, s.

Slurm holds such a job for two minutes, where the site or somebody does not say otherwise, and lets it wait as if it had
been submitted then. So another job waits no longer. Keeping both would be one job too many when the first starts again,
and one that a limit on jobs of the site may refuse.
"""
SUBMITTED_AT_ONCE = 20
"""Jobs that are submitted before everything is looked at again."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, as the decisions see it."""

    name: str
    """Name of the job; its workers are called after it."""
    pool: str
    """Its pool."""
    submitted_s: float
    """When it was submitted, s of a monotonic clock."""
    is_connected: bool = False
    """Whether a worker of it is there."""
    idle_since_s: float | None = None
    """Since when no worker of it has a step; None where one has, or none is there yet."""
    drain_at_s: float = math.inf
    """When its workers shall take no further steps, since the batch system will end the job soon."""
    is_leaving: bool = False
    """Whether its workers take no further steps already."""
    requeued_s: float | None = None
    """Since when it waits in the queue again after its workers were there; None where it does not."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the jobs of a pool fared lately."""

    failures: int = 0
    """Jobs that failed since one last got to work."""
    retry_at_s: float = -math.inf
    """No job is submitted before, s of a monotonic clock."""
    said: str = ""
    """What the batch system, or the log of the job, said of the last one."""

    def after_failure(self, now_s: float, said: str) -> Health:
        """Return the health after one more job failed."""
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self.failures, 16))
        return Health(self.failures + 1, now_s + pause_s, said)

    def after_success(self) -> Health:
        """Return the health after a job got to work."""
        return replace(self, failures=0, retry_at_s=-math.inf)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now."""

    submit: tuple[str, ...] = ()
    """Pools, each as often as it gets one more job."""
    drain: tuple[str, ...] = ()
    """Jobs whose workers shall take no further steps."""
    drop: tuple[str, ...] = ()
    """Jobs to cancel."""


def first_able(pools: Iterable[Pool], asked: Asked) -> Pool | None:
    """Return the first pool that can run a step and may have jobs; None where none can."""
    return next((pool for pool in pools if pool.max_jobs and not pool.lacks(dict(asked))), None)


def wanted_jobs(pools: Sequence[Pool], demand: Mapping[Asked, int]) -> dict[str, int]:
    """Return how many jobs each pool should have.

    Steps go to the first pool that can run them, and what is too much for it to the next.

    Parameters
    ----------
    pools
        Pools that work, in the order of the profile.
    demand
        Steps that could run now, or do, by what they ask for.
    """
    left = {pool.name: float(pool.max_jobs * pool.workers_per_job * STEPS_PER_WORKER) for pool in pools}
    steps = dict.fromkeys(left, 0.0)
    for asked, n in demand.items():
        able = [pool for pool in pools if not pool.lacks(dict(asked))]
        rest = float(n)
        for pool in able:
            taken = min(rest, left[pool.name])
            steps[pool.name] += taken
            left[pool.name] -= taken
            rest -= taken
    return {
        pool.name: min(
            pool.max_jobs,
            max(pool.min_jobs, math.ceil(steps[pool.name] / (pool.workers_per_job * STEPS_PER_WORKER))),
        )
        for pool in pools
    }


def decide(
    wanted: Mapping[str, int], jobs: Sequence[JobView], health: Mapping[str, Health], now_s: float, idle_s: float
) -> Decision:
    """Decide what to do about the jobs of all pools.

    A job that works is never let go for having too many: only jobs that did not start yet, the youngest first, and jobs
    that had nothing to do for a while. One that waits in the queue again, since it was preempted or its node died, is
    no such job: another takes its place (`REQUEUED_S`), unless jobs of the pool fail, so that it is better than none.

    Parameters
    ----------
    wanted
        Jobs that each pool should have; see `wanted_jobs`.
    jobs
        Jobs that are there or on their way.
    health
        How each pool fared.
    now_s
        Now, s of a monotonic clock.
    idle_s
        How long a job without work is kept, s.
    """
    submit: list[str] = []
    drain = [job.name for job in jobs if not job.is_leaving and now_s >= job.drain_at_s]
    drop = [job.name for job in jobs if job.is_leaving and (job.idle_since_s is not None or job.requeued_s is not None)]
    for pool, n in wanted.items():
        there = [job for job in jobs if job.pool == pool and not job.is_leaving and job.name not in drain]
        taken_back = [] if health[pool].failures else _taken_back(there, now_s)
        drop += taken_back
        live = [job for job in there if job.name not in taken_back]
        if len(live) < n and now_s >= health[pool].retry_at_s:
            # After a failure one job shows whether things are better.
            most = 1 if health[pool].failures else SUBMITTED_AT_ONCE
            submit += [pool] * min(n - len(live), most)
        drop += _surplus(live, len(live) - n, now_s, idle_s)
    return Decision(tuple(submit), tuple(drain), tuple(drop))


def _taken_back(live: Sequence[JobView], now_s: float) -> list[str]:
    """Return the jobs whose place others take, as many as are submitted at once."""
    late = [job.name for job in live if job.requeued_s is not None and now_s - job.requeued_s >= REQUEUED_S]
    return late[:SUBMITTED_AT_ONCE]


def _surplus(live: Sequence[JobView], n: int, now_s: float, idle_s: float) -> list[str]:
    coming = sorted((job for job in live if not job.is_connected), key=lambda job: -job.submitted_s)
    idle = [
        job for job in live if job.is_connected and job.idle_since_s is not None and now_s - job.idle_since_s >= idle_s
    ]
    idle.sort(key=lambda job: (job.idle_since_s, job.name))
    return [job.name for job in (*coming, *idle)][: max(0, n)]
