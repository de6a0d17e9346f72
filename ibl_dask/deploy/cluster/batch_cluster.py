"""Dask cluster of one scheduler in this process and workers from the jobs of several pools."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed import Scheduler, SpecCluster
from distributed.utils import NoOpAwaitable

from ibl_dask.deploy.batch_systems import commands
from ibl_dask.deploy.cluster.dashboard import link_of
from ibl_dask.deploy.cluster.failure_advice import given_up, unschedulable
from ibl_dask.deploy.cluster.job_script import Security
from ibl_dask.deploy.cluster.jobs import PoolJobs, PoolState
from ibl_dask.deploy.cluster.refusals import refusals
from ibl_dask.deploy.cluster.scaling import Asked, decide, first_able, wanted_jobs
from ibl_dask.deploy.cluster.walltime_ends import Cut
from ibl_dask.deploy.site.profile import Profile
from ibl_dask.errors import RunError, joined

_log = logging.getLogger(__name__)

TENDED_EVERY_S = 0.5
"""Interval between two decisions about jobs, s."""


def _allow_open_files() -> None:
    """Raise the limit of open files as far as users may: the usual 1,024 end below 1,000 workers."""
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class BatchCluster(SpecCluster):
    """A scheduler whose workers come and go as jobs of a batch system, pool by pool.

    Parameters
    ----------
    profile : Profile
        The site.
    log_folder : Path
        Folder of the logs of jobs, seen by the nodes.
    security : distributed.Security, optional
        Certificates of scheduler and workers; no encryption by default.
    kwargs
        See `distributed.SpecCluster`.
    """

    scheduler: Any  # set by `SpecCluster`, whose annotation is optional

    def __init__(self, profile: Profile, log_folder: Path, security: Security | None = None, **kwargs: object) -> None:
        self.profile = profile
        self._pool_jobs = PoolJobs(profile, log_folder)
        self._demand: Mapping[Asked, int] = {}
        self._fixed: dict[str, int] = {}
        self._tending: asyncio.Task[None] | None = None
        self._is_ending = False
        _allow_open_files()
        options: dict[str, object] = {
            "dashboard": True,
            "dashboard_address": f"127.0.0.1:{profile.dashboard_port}",
            "protocol": "tls://" if security else "tcp://",
            "security": security,
        }
        if profile.interface:
            options["interface"] = profile.interface
        super().__init__(  # type: ignore[no-untyped-call]  # distributed is half typed
            workers={},
            scheduler={"cls": Scheduler, "options": options},
            security=security,
            name=profile.name,
            silence_logs=logging.ERROR,
            **kwargs,
        )

    # Interface of a run.

    def request_workers(self, demand: Mapping[Asked, int]) -> None:
        """Set the number of steps that run or could run now, by the resources they ask for; from any thread."""
        self._demand = dict(demand)

    def scale(self, n: int | None = None, memory: object = None, cores: object = None, **pools: int) -> Any:
        """Keep a fixed number of jobs, whatever the number of steps.

        Parameters
        ----------
        n : int, optional
            Jobs of every pool.
        memory, cores
            Not supported; arguments of other clusters.
        pools
            Jobs of a pool, by its name: `cluster.scale(cpu=2, gpu=1)`.

        Raises
        ------
        TypeError, ValueError
            For memory or cores, and for a pool that does not exist.
        """
        if memory is not None or cores is not None:
            raise TypeError("a cluster of pools is scaled by jobs: scale(cpu=2, gpu=1)")
        names = [pool.name for pool in self.profile.pools]
        counts = pools if n is None else dict.fromkeys(names, n) | pools
        unknown = counts.keys() - {*names}
        if unknown:
            raise ValueError(f"no pool {', '.join(sorted(unknown))} in {', '.join(names)}")
        self._fixed |= counts
        return NoOpAwaitable() if self.asynchronous else None

    def adapt(self) -> None:  # type: ignore[override]  # bounds are the profile's
        """Follow the number of steps again, within the bounds of each pool."""
        self._fixed.clear()

    @property
    def most_workers(self) -> int:
        """Return the maximum number of workers."""
        return self.profile.most_workers

    @property
    def worker_resources(self) -> list[dict[str, float]]:
        """Return the Dask resources of a worker of each pool."""
        return [pool.worker_resources for pool in self.profile.pools if pool.max_jobs]

    @property
    def dashboard_link(self) -> str:
        """Return the address of the dashboard on this machine alone; Dask's own would be that of the node."""
        return link_of(self.scheduler)

    def unschedulable_reason(self, asked: Mapping[str, float]) -> RunError | None:
        """Return the reason why no pool can run a step, now or later; None if one can."""
        if first_able(self.profile.pools, frozenset(asked.items())) is None:
            return unschedulable(self.profile, asked)
        if first_able(self._pool_jobs.working_pools(), frozenset(asked.items())) is None:
            able = [pool for pool in self.profile.pools if not pool.lacks(asked)]
            return joined([given_up(self.profile, pool, self._pool_jobs.health[pool.name]) for pool in able])
        return None

    def cuts(self) -> list[Cut]:
        """Return the steps cut off by the end of a job since the last call; from any thread."""
        cuts = []
        with contextlib.suppress(IndexError):
            while True:
                cuts.append(self._pool_jobs.cuts.popleft())
        return cuts

    def pools(self) -> list[PoolState]:
        """Return a summary of each pool."""
        return self._pool_jobs.states({str(worker.name) for worker in list(self.scheduler.workers.values())})

    # Life cycle.

    async def _start(self) -> None:
        await super()._start()  # type: ignore[no-untyped-call]
        if self._tending is None and not self._is_ending:
            self._tending = asyncio.create_task(self._tend_until_the_end())

    async def _close(self) -> None:
        self._is_ending = True
        if self._tending is not None:
            # Not cancelled: a job that is being submitted has no number yet by which to cancel it.
            await asyncio.wait([self._tending], timeout=2 * commands.ANSWER_S)
        await self._pool_jobs.cancel_all()
        await super()._close()  # type: ignore[no-untyped-call]

    async def _tend_until_the_end(self) -> None:
        while not self._is_ending:
            try:
                await self._tend()
            except Exception:  # noqa: BLE001  # logged in full; jobs need the next round whatever failed in this one
                _log.exception("jobs could not be looked after")
            await asyncio.sleep(TENDED_EVERY_S)

    async def _tend(self) -> None:
        """Update the state of all jobs, decide, and carry the decision out."""
        jobs = self._pool_jobs
        now_s = time.monotonic()
        workers = {str(worker.name): worker for worker in self.scheduler.workers.values()}
        jobs.update_from_workers(workers, now_s)
        await jobs.drop_unknown(set(workers), self._retire)
        await jobs.update_from_refusals(refusals(self.scheduler))
        await jobs.update_from_queue(now_s, self.scheduler, self._retire)
        now_s = time.monotonic()
        wanted = wanted_jobs(jobs.working_pools(), self._backlog(now_s))
        wanted |= {name: n for name, n in self._fixed.items() if name in wanted}
        views = [job.view() for job in jobs.jobs.values()]
        decision = decide(wanted, views, jobs.health, now_s, self.profile.idle_s)
        for name in decision.drain:
            job = jobs.jobs[name]
            job.is_leaving = True
            await self.scheduler.retire_workers(names=list(job.workers), close_workers=False, remove=False)
        for name in decision.drop:
            await jobs.drop(jobs.jobs[name], self._retire)
        for name in decision.submit:
            if not self._is_ending:
                pool = next(pool for pool in self.profile.pools if pool.name == name)
                await jobs.submit(pool, self.scheduler.address, self.security)

    def _retire(self, names: Sequence[str]) -> Awaitable[object]:
        retiring: Awaitable[object] = self.scheduler.retire_workers(names=list(names), close_workers=True)
        return retiring

    def _backlog(self, now_s: float) -> dict[Asked, int]:
        """Return the number of steps that run or could run now: announced by the run, or only in the scheduler."""
        known = Counter[Asked]()
        unrunnable = list(self.scheduler.unrunnable)
        for task in itertools.chain(unrunnable, *(list(ws.processing) for ws in self.scheduler.workers.values())):
            known[_asked(task)] += 1
        # A step that runs on a worker which takes no further steps needs no other worker.
        ending = [job for job in self._pool_jobs.jobs.values() if job.is_leaving or now_s >= job.drain_at_s]
        leaving = {name for job in ending for name in job.workers}
        served = Counter(
            _asked(task)
            for worker in self.scheduler.workers.values()
            if str(worker.name) in leaving
            # A worker reports which step it runs a moment later, and runs one at a time.
            for task in worker.executing or list(worker.processing)[:1]
        )
        return dict((known | Counter(self._demand)) - served)


def _asked(task: Any) -> Asked:  # distributed has no types
    """Return the resources that a task of Dask asks for."""
    return frozenset((task.resource_restrictions or {"CPU": 1.0}).items())
