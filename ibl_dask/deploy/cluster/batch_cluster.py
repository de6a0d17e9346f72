"""One Dask scheduler in this process, and jobs of several pools that bring it workers.

Jobs are kept here and not as `SpecCluster.worker_spec`: that swallows a refusal of the batch system, does not notice a
job that dies before its worker connects, knows nothing of pools, and fails to close where a job was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Scheduler, SpecCluster
from distributed.utils import NoOpAwaitable

from ibl_dask.deploy.cluster.batch_systems import lookup as queue
from ibl_dask.deploy.cluster.dashboard import link_of
from ibl_dask.deploy.cluster.failure_advice import given_up, nobody_can
from ibl_dask.deploy.cluster.job_script import make_job, worker_lifetime_s
from ibl_dask.deploy.cluster.node_exclusion import broken_nodes, excluded, leaving_out, say_left_out
from ibl_dask.deploy.cluster.scaling import (
    MOST_FAILURES,
    Asked,
    Health,
    JobView,
    decide,
    first_able,
    wanted_jobs,
)
from ibl_dask.deploy.cluster.walltime_ends import Cut, Doings, cut_short, limit_that_ended
from ibl_dask.deploy.cluster.worker_setup import REFUSALS
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.errors import RunError, joined

_log = logging.getLogger(__name__)

TENDED_EVERY_S = 0.5
"""How often jobs are looked after, s."""
GRACE_S = 5.0
"""How long after it was submitted a job may be missing in the queue, s."""
MISSED = 2
"""How often in a row it may be missing, before it is taken to have ended."""
PROVEN_S = 10.0
"""How long a worker must be there for its job to count as one that works, s."""
CONNECT_S = 360.0
"""How long a running job may have no worker, s: a little more than its worker waits for the scheduler."""
DRAIN_S = 60.0
"""How long before workers end by themselves they take no further step, s: longer than a step takes."""
CLOSE_ATTEMPTS = 4


@dataclass
class _Job:
    """A job of ours, from its submission to its end."""

    name: str
    pool: Pool
    job: Any  # a job of dask_jobqueue, which has no types
    submitted_s: float
    drain_at_s: float = math.inf
    connected_s: float | None = None
    absent_s: float | None = None
    idle_since_s: float | None = None
    running_since_s: float | None = None
    requeued_s: float | None = None
    is_connected: bool = False
    is_leaving: bool = False
    begins_anew: bool = False
    n_missed: int = 0
    doings: Doings = field(default_factory=Doings)
    lost: dict[Any, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.job.job_id)

    @property
    def workers(self) -> set[str]:
        n = self.pool.workers_per_job
        return {self.name} if n == 1 else {f"{self.name}-{i}" for i in range(n)}

    def view(self) -> JobView:
        return JobView(
            self.name,
            self.pool.name,
            self.submitted_s,
            self.is_connected,
            self.idle_since_s,
            self.drain_at_s,
            self.is_leaving,
            self.requeued_s,
        )


@dataclass(frozen=True)
class PoolState:
    """How a pool is doing, for people."""

    pool: Pool
    """The pool."""
    n_jobs: int
    """Jobs that were submitted and have not ended."""
    n_workers: int
    """Workers that are connected."""
    n_submitted: int
    """Jobs submitted since the beginning."""
    queue: Mapping[str, str] = field(default_factory=dict)
    """Job number -> what the batch system says of it."""
    failure: str = ""
    """What became of the last job that failed; empty where none did since one last worked."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Nodes where no further job of the pool starts -> what a worker found wrong with a GPU there."""


class BatchCluster(SpecCluster):
    """A scheduler whose workers come and go as jobs of a batch system, pool by pool.

    Parameters
    ----------
    profile : Profile
        The site.
    log_folder : Path
        Where jobs leave their output; a folder that the nodes see.
    security : distributed.Security, optional
        How scheduler and workers prove who they are.
    kwargs
        See `distributed.SpecCluster`.
    """

    scheduler: Any  # set by `SpecCluster`, which has it optional

    def __init__(self, profile: Profile, log_folder: Path, security: Any = None, **kwargs: Any) -> None:
        self.profile = profile
        self.log_folder = log_folder
        self._jobs: dict[str, _Job] = {}
        self._health = {pool.name: Health() for pool in profile.pools}
        self._left_out: dict[str, dict[str, str]] = {pool.name: {} for pool in profile.pools}
        self._submitted = Counter[str]()
        self._said: dict[str, str] = {}
        self._demand: Mapping[Asked, int] = {}
        self._fixed: dict[str, int] = {}
        self._numbers = {pool.name: itertools.count() for pool in profile.pools}
        self._asked_s = -math.inf
        self._tending: asyncio.Task[None] | None = None
        self._is_ending = False
        self._cuts: deque[Cut] = deque()
        options: dict[str, Any] = {
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

    # What the run asks of it.

    def want(self, demand: Mapping[Asked, int]) -> None:
        """Say how many steps could run now, or do, by what they ask for; from any thread."""
        self._demand = dict(demand)

    def scale(self, n: int | None = None, memory: Any = None, cores: Any = None, **pools: int) -> Any:
        """Keep this many jobs, of each pool that is named or of every pool, whatever there is to do.

        Parameters
        ----------
        n : int, optional
            Jobs of every pool.
        pools
            Jobs of a pool, by its name: `cluster.scale(cpu=2, gpu=1)`.
        """
        if memory is not None or cores is not None:
            raise TypeError("a cluster of pools is scaled by jobs: scale(cpu=2, gpu=1)")
        counts = pools if n is None else {pool.name: n for pool in self.profile.pools} | pools
        unknown = counts.keys() - self._health.keys()
        if unknown:
            raise ValueError(f"no pool {', '.join(sorted(unknown))} in {', '.join(self._health)}")
        self._fixed |= counts
        return NoOpAwaitable() if self.asynchronous else None

    def adapt(self) -> None:  # type: ignore[override]  # bounds are the profile's
        """Have as many jobs again as there is work, between the bounds of each pool."""
        self._fixed.clear()

    @property
    def most_workers(self) -> int:
        """Return how many workers there can be at most."""
        return self.profile.most_workers

    @property
    def offers(self) -> list[dict[str, float]]:
        """Return what a worker of each pool offers."""
        return [pool.worker_resources for pool in self.profile.pools if pool.max_jobs]

    @property
    def dashboard_link(self) -> str:
        """Return where the dashboard answers, which is this machine alone; Dask would name the address of the node."""
        return link_of(self.scheduler)

    def hopeless(self, asked: Mapping[str, float]) -> RunError | None:
        """Return why no pool can run a step, now or later; None where one can."""
        if first_able(self.profile.pools, frozenset(asked.items())) is None:
            return nobody_can(self.profile, asked)
        if first_able(self._working_pools(), frozenset(asked.items())) is None:
            able = [pool for pool in self.profile.pools if not pool.lacks(asked)]
            return joined([given_up(self.profile, pool, self._health[pool.name]) for pool in able])
        return None

    def cuts(self) -> list[Cut]:
        """Return the steps that the end of a job ended since this was last asked; from any thread."""
        found = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._cuts.popleft())
        return found

    def pools(self) -> list[PoolState]:
        """Return how each pool is doing."""
        here = Counter(job.pool.name for job in self._jobs.values())
        names = {str(ws.name) for ws in list(self.scheduler.workers.values())}
        return [
            PoolState(
                pool,
                here[pool.name],
                sum(len(job.workers & names) for job in self._jobs.values() if job.pool is pool),
                self._submitted[pool.name],
                {job.id: self._said.get(job.id, "") for job in list(self._jobs.values()) if job.pool is pool},
                self._health[pool.name].said if self._health[pool.name].failures else "",
                dict(self._left_out[pool.name]),
            )
            for pool in self.profile.pools
        ]

    # Its life.

    async def _start(self) -> None:
        await super()._start()  # type: ignore[no-untyped-call]
        if self._tending is None and not self._is_ending:
            self._tending = asyncio.create_task(self._tend_until_the_end())

    async def _close(self) -> None:
        self._is_ending = True
        if self._tending is not None:
            # Not cancelled: a job that is being submitted right now has no number yet by which to cancel it.
            await asyncio.wait([self._tending], timeout=2 * queue.ANSWER_S)
        await self._cancel_all()
        await super()._close()  # type: ignore[no-untyped-call]

    async def _cancel_all(self) -> None:
        """Cancel every job, and look whether they are gone."""
        for attempt in range(CLOSE_ATTEMPTS):
            await asyncio.gather(*(self._cancel(job) for job in self._jobs.values()))
            left: set[str] = set()
            for scheduler in {job.pool.scheduler for job in self._jobs.values()}:
                found = await queue.read_queue(scheduler)
                ids = {job.id for job in self._jobs.values() if job.pool.scheduler == scheduler}
                left |= {n for n in ids & (found or {}).keys() if (found or {})[n].state not in queue.ENDING}
            if not left:
                break
            await asyncio.sleep(0.5 * 2**attempt)
        else:
            _log.warning("the batch system still shows jobs that were cancelled: %s", ", ".join(sorted(left)))
        self._jobs.clear()

    async def _tend_until_the_end(self) -> None:
        while not self._is_ending:
            try:
                await self._tend()
            except Exception:  # noqa: BLE001  # told in full; the next look comes: jobs must not be left alone
                _log.exception("jobs could not be looked after")
            await asyncio.sleep(TENDED_EVERY_S)

    async def _tend(self) -> None:
        now_s = time.monotonic()
        self._look_at_workers(now_s)
        await self._look_at_refusals()
        if self._jobs and now_s - self._asked_s >= self._ask_every_s():
            self._asked_s = now_s
            await self._look_at_queues(now_s)
        now_s = time.monotonic()
        wanted = wanted_jobs(self._working_pools(), self._backlog(now_s))
        wanted |= {name: n for name, n in self._fixed.items() if name in wanted}
        jobs = [job.view() for job in self._jobs.values()]
        decision = decide(wanted, jobs, self._health, now_s, self.profile.idle_s)
        for name in decision.drain:
            self._jobs[name].is_leaving = True
            await self.scheduler.retire_workers(names=list(self._jobs[name].workers), close_workers=False, remove=False)
        for name in decision.drop:
            await self._drop(self._jobs[name])
        for name in decision.submit:
            if not self._is_ending:
                await self._submit(next(pool for pool in self.profile.pools if pool.name == name))

    def _ask_every_s(self) -> float:
        """Return how long to leave the batch system in peace; shorter where a worker has just gone."""
        lost = any(job.absent_s is not None for job in self._jobs.values())
        return min(self.profile.poll_s, GRACE_S) if lost else self.profile.poll_s

    def _working_pools(self) -> list[Pool]:
        return [pool for pool in self.profile.pools if not self._is_given_up(pool)]

    def _is_given_up(self, pool: Pool) -> bool:
        return self._health[pool.name].failures >= MOST_FAILURES and not any(
            job.pool is pool for job in self._jobs.values()
        )

    def _backlog(self, now_s: float) -> dict[Asked, int]:
        """Return the steps that could run, or do: those that the run told of, and others that the scheduler has."""
        here = Counter[Asked]()
        unrunnable = list(self.scheduler.unrunnable)
        for task in itertools.chain(unrunnable, *(list(ws.processing) for ws in self.scheduler.workers.values())):
            here[_asked(task)] += 1
        # What runs on a worker that takes no further steps needs no other one.
        ending = [job for job in self._jobs.values() if job.is_leaving or now_s >= job.drain_at_s]
        leaving = {name for job in ending for name in job.workers}
        served = Counter(
            _asked(task)
            for worker in self.scheduler.workers.values()
            if str(worker.name) in leaving
            # Which it runs, it says a moment later: one at a time.
            for task in worker.executing or list(worker.processing)[:1]
        )
        return dict((here | Counter(self._demand)) - served)

    # Looking.

    def _look_at_workers(self, now_s: float) -> None:
        states = {str(ws.name): ws for ws in self.scheduler.workers.values()}
        for job in self._jobs.values():
            found = {name: states[name] for name in job.workers if name in states}
            job.lost |= (lost := job.doings.look(found))
            if now_s >= job.drain_at_s:
                self._cuts.extend(cut_short(self.profile, job.pool, key, ran_s) for key, ran_s in lost.items())
            workers = list(found.values())
            job.is_connected = bool(workers)
            if not workers:
                job.idle_since_s = None
                if job.connected_s is not None and job.absent_s is None:
                    job.absent_s = now_s
                continue
            job.absent_s = job.requeued_s = None
            job.n_missed = 0
            if job.connected_s is None or job.begins_anew:
                job.begins_anew = False
                job.connected_s = now_s
                job.drain_at_s = now_s + _drain_after_s(job.pool)
            if now_s - job.connected_s >= PROVEN_S:
                self._health[job.pool.name] = self._health[job.pool.name].after_success()
            # What only waits at a worker that takes no further steps goes elsewhere when it is gone.
            is_busy = any(ws.executing if job.is_leaving else ws.processing for ws in workers)
            job.idle_since_s = None if is_busy else job.idle_since_s or now_s

    async def _look_at_refusals(self) -> None:
        """Leave nodes out where a worker has just found its GPU broken, also for jobs that wait already."""
        said = [message for _, message in self.scheduler.get_events(REFUSALS)]
        for pool in self.profile.pools:
            found = broken_nodes(pool, said)
            names = excluded(pool, found)
            if not names or found.keys() == self._left_out[pool.name].keys():
                continue
            self._left_out[pool.name] = found
            _log.warning("pool %s: its next jobs start elsewhere%s", pool.name, say_left_out(found))
            for job in [job for job in self._jobs.values() if job.pool is pool and not job.is_connected]:
                await queue.leave_out(job.id, names)

    async def _look_at_queues(self, now_s: float) -> None:
        for scheduler in {job.pool.scheduler for job in self._jobs.values()}:
            found = await queue.read_queue(scheduler)
            if found is None:
                continue  # no answer is not an answer
            for job in [job for job in self._jobs.values() if job.pool.scheduler == scheduler]:
                await self._compare(job, found.get(job.id), now_s)

    async def _compare(self, job: _Job, queued: queue.Queued | None, now_s: float) -> None:
        if queued is not None:
            job.n_missed = 0
            self._said[job.id] = " ".join(filter(None, (queued.state, queued.reason)))
            is_running = queued.state in queue.RUNNING
            job.running_since_s = (job.running_since_s or now_s) if is_running and not job.is_connected else None
            waits_again = queued.state in queue.REQUEUED and job.connected_s is not None and not job.is_connected
            job.requeued_s = (job.requeued_s or now_s) if waits_again else None
            job.begins_anew |= waits_again
            if job.running_since_s is not None and now_s - job.running_since_s > CONNECT_S:
                await self._drop(job)
                await self._note_failure(job, f"job {job.id} ran for {CONNECT_S:g} s and no worker of it came")
            elif queued.reason in queue.NEVER:
                await self._drop(job)
                await self._note_failure(job, f"job {job.id} would never start ({queued.reason})")
            return
        if now_s - job.submitted_s < GRACE_S:
            return
        job.n_missed += 1
        if job.n_missed < MISSED and not job.is_connected:
            self._asked_s = now_s - self._ask_every_s() + 1.0
            return
        if job.is_connected:
            return  # its worker is here, whatever the queue says
        del self._jobs[job.name]
        lived_s = 0.0 if job.connected_s is None else (job.absent_s or now_s) - job.connected_s
        if job.lost and job.pool.walltime_s is None:
            limit = await limit_that_ended(job.pool.scheduler, job.id, [self.log_folder, Path.cwd()])
            self._cuts.extend(cut_short(self.profile, job.pool, *one, limit) for one in job.lost.items() if limit)
        if job.workers <= {said["worker"] for said in self._refusals_of(job)}:
            await self._note_failure(job, f"job {job.id} was of no use")
        elif lived_s >= PROVEN_S or job.is_leaving:
            _log.info("job %s of pool %s ended after %.0f s", job.id, job.pool.name, lived_s)
        else:
            await self._note_failure(job, f"job {job.id} ended before it worked")

    # Doing.

    async def _submit(self, pool: Pool) -> None:
        name = f"{pool.name}-{next(self._numbers[pool.name])}"
        self._submitted[pool.name] += 1
        try:
            kind = leaving_out(pool, self._left_out[pool.name])
            made = make_job(self.profile, kind, name, self.scheduler.address, self.security, log_folder=self.log_folder)
            await made.start()
        except Exception as error:  # noqa: BLE001  # whatever it is, a run that waits for workers must hear of it
            said = queue.what_it_said(error) + say_left_out(self._left_out[pool.name])
            self._health[pool.name] = self._health[pool.name].after_failure(time.monotonic(), f"refused: {said}")
            _log.warning("pool %s: a job was refused: %s", pool.name, said)
            return
        self._jobs[name] = _Job(name, pool, made, time.monotonic())
        _log.info("pool %s: job %s submitted for %s", pool.name, made.job_id, name)

    def _refusals_of(self, job: _Job) -> list[dict[str, str]]:
        """Return what the workers of a job said that left."""
        return [message for _, message in self.scheduler.get_events(REFUSALS) if message["worker"] in job.workers]

    async def _note_failure(self, job: _Job, what: str) -> None:
        told = self._refusals_of(job)
        if told:
            words = f"worker {told[-1]['worker']} on {told[-1]['host']} left: {told[-1]['problem']}"
        else:
            words = await queue.last_words(job.pool.scheduler, job.id, [self.log_folder, Path.cwd()])
        nodes = self._left_out[job.pool.name]
        others = {node: nodes[node] for node in nodes if not told or node != told[-1]["node"]}
        said = f"{what}: {words}{say_left_out(others)}"
        self._health[job.pool.name] = self._health[job.pool.name].after_failure(time.monotonic(), said)
        _log.warning("pool %s: %s", job.pool.name, said)

    async def _drop(self, job: _Job) -> None:
        """Let a job go: its workers first, so that what they have goes elsewhere, then itself."""
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(
                self.scheduler.retire_workers(names=list(job.workers), close_workers=True), queue.ANSWER_S
            )
        await self._cancel(job)
        self._jobs.pop(job.name, None)

    async def _cancel(self, job: _Job) -> None:
        try:
            await job.job.close()
        except (RuntimeError, OSError) as error:
            _log.warning("job %s could not be cancelled: %s", job.id, error)


def _asked(task: Any) -> Asked:  # distributed has no types
    """Return what a task of Dask asks for."""
    return frozenset((task.resource_restrictions or {"CPU": 1.0}).items())


def _drain_after_s(pool: Pool) -> float:
    """Return how long after it came a worker takes steps, s; jobs that came together end at different times."""
    lifetime = worker_lifetime_s(pool)
    if lifetime is None:
        return math.inf
    ends_s, stagger_s = lifetime
    # The pools of all nodes renewing at once is what this avoids, so no seed is needed.
    return max(ends_s / 2, ends_s - stagger_s - DRAIN_S) + random.uniform(0, stagger_s)
