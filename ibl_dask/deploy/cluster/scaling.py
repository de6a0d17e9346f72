"""Scaling of pools: the number of jobs each should have, and the jobs to submit, drain and cancel. Decisions only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ibl_dask.deploy.site.profile import Pool

Asked = frozenset[tuple[str, float]]
"""Resources that a step asks for: the items of `Resources.for_dask()`."""

STEPS_PER_WORKER = 2
"""Number of steps that justify one more worker. A step takes 5 to 30 s, about as long as a job takes to start on a free
node."""
MOST_FAILURES = 4
"""Number of jobs of a pool that may fail in a row, without one of them taking steps, before the pool is given up."""
FIRST_PAUSE_S = 2.0
"""Pause after the first of these failures, s; it doubles with each further one: 14 s in all, without the jobs."""
LONGEST_PAUSE_S = 300.0
"""Maximum pause, s; for a pool that has working jobs and is refused more of them, or waits for the batch system."""
LONGEST_OUTAGE_S = 4 * 3600.0
"""Time for which jobs may fail in a row, s, before a pool is given up that had a working job, or whose batch system
does not answer: maintenance takes hours."""
REQUEUED_S = 20.0
"""Time for which a job that was taken back into the queue may wait before it is replaced, s.

A batch system may hold such a job for minutes and count its age from its return, so a new job waits no longer. Keeping
both would be one job too many when the first starts again, and one that a limit of the site may refuse.
"""
SUBMITTED_AT_ONCE = 20
"""Number of jobs that are submitted before the next decision."""


@dataclass(frozen=True, slots=True)
class JobView:
    """State of a job as far as decisions depend on it."""

    name: str
    """Name of the job, which its workers share."""
    pool: str
    """Name of its pool."""
    submitted_s: float
    """Time of submission, s of a monotonic clock."""
    is_connected: bool = False
    """Whether a worker of it is connected."""
    idle_since_s: float | None = None
    """Time since which no worker of it has a step; None if one has, or none is connected."""
    drain_at_s: float = math.inf
    """Time from which its workers take no further steps, since the batch system will soon end the job."""
    is_leaving: bool = False
    """Whether its workers already take no further steps."""
    requeued_s: float | None = None
    """Time since which it waits in the queue again after its workers were connected; None if it does not."""


@dataclass(frozen=True, slots=True)
class Health:
    """Recent failures of the jobs of a pool."""

    failures: int = 0
    """Number of jobs that failed since one last took steps."""
    retry_at_s: float = -math.inf
    """Time before which no job is submitted, s of a monotonic clock."""
    reason: str = ""
    """Reason of the last failure, from the batch system, the job's log or its worker."""
    since_s: float = math.inf
    """Time of the first of these failures, s of a monotonic clock."""
    is_patient: bool = False
    """Whether an outage is more likely than a wrong profile: a job took steps before, or nothing answers."""

    def after_failure(self, now_s: float, reason: str, *, is_outage: bool = False) -> Health:
        """Return the health after one more job failed; `is_outage` where the batch system did not answer."""
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self.failures, 16))
        since_s = self.since_s if self.failures else now_s
        return Health(self.failures + 1, now_s + pause_s, reason, since_s, self.is_patient or is_outage)

    def after_success(self) -> Health:
        """Return the health after a job took steps."""
        return replace(self, failures=0, retry_at_s=-math.inf, since_s=math.inf, is_patient=True)

    def is_given_up(self, now_s: float) -> bool:
        """Return whether no further job is to be tried."""
        return self.failures >= MOST_FAILURES and (not self.is_patient or now_s - self.since_s > LONGEST_OUTAGE_S)


@dataclass(frozen=True, slots=True)
class Decision:
    """Jobs to submit, drain and cancel."""

    submit: tuple[str, ...] = ()
    """Names of pools, each as often as it gets one more job."""
    drain: tuple[str, ...] = ()
    """Names of jobs whose workers shall take no further steps."""
    drop: tuple[str, ...] = ()
    """Names of jobs to cancel."""


def first_able(pools: Iterable[Pool], asked: Asked) -> Pool | None:
    """Return the first pool that can run a step and may have jobs; None if there is none."""
    return next((pool for pool in pools if pool.max_jobs and not pool.lacks(dict(asked))), None)


def wanted_jobs(pools: Sequence[Pool], demand: Mapping[Asked, int]) -> dict[str, int]:
    """Return the number of jobs that each pool should have.

    Steps go to the first pool that can run them, and those beyond its capacity to the next.

    Parameters
    ----------
    pools
        Working pools, in the order of the profile.
    demand
        Number of steps that run or could run now, by the resources that they ask for.
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
    """Decide which jobs of all pools to submit, drain and cancel.

    A job with a step is never cancelled as surplus: only jobs that have not started, the youngest first, and jobs that
    were idle for a while. A job that waits in the queue again, since it was preempted or its node died, is replaced
    (`REQUEUED_S`), unless jobs of the pool fail: then it is better than none.

    Parameters
    ----------
    wanted
        Number of jobs that each pool should have; see `wanted_jobs`.
    jobs
        Jobs that were submitted and have not ended.
    health
        Recent failures of each pool.
    now_s
        Current time, s of a monotonic clock.
    idle_s
        Time for which a job without work is kept, s.
    """
    submit: list[str] = []
    drain = [job.name for job in jobs if not job.is_leaving and now_s >= job.drain_at_s]
    drop = [job.name for job in jobs if job.is_leaving and (job.idle_since_s is not None or job.requeued_s is not None)]
    for pool, n in wanted.items():
        staying = [job for job in jobs if job.pool == pool and not job.is_leaving and job.name not in drain]
        taken_back = [] if health[pool].failures else _taken_back(staying, now_s)
        drop += taken_back
        live = [job for job in staying if job.name not in taken_back]
        if len(live) < n and now_s >= health[pool].retry_at_s:
            # After a failure, one job tests whether the cause is gone.
            most = 1 if health[pool].failures else SUBMITTED_AT_ONCE
            submit += [pool] * min(n - len(live), most)
        drop += _surplus(live, len(live) - n, now_s, idle_s)
    return Decision(tuple(submit), tuple(drain), tuple(drop))


def _taken_back(live: Sequence[JobView], now_s: float) -> list[str]:
    """Return the names of requeued jobs to replace, at most as many as are submitted at once."""
    late = [job.name for job in live if job.requeued_s is not None and now_s - job.requeued_s >= REQUEUED_S]
    return late[:SUBMITTED_AT_ONCE]


def _surplus(live: Sequence[JobView], n: int, now_s: float, idle_s: float) -> list[str]:
    """Return the names of up to `n` jobs that can be cancelled: first those not started, youngest first, then idle."""
    coming = sorted((job for job in live if not job.is_connected), key=lambda job: -job.submitted_s)
    idle = [
        job for job in live if job.is_connected and job.idle_since_s is not None and now_s - job.idle_since_s >= idle_s
    ]
    idle.sort(key=lambda job: (job.idle_since_s, job.name))
    return [job.name for job in (*coming, *idle)][: max(0, n)]
