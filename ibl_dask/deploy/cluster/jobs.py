"""Jobs of all pools: submission, state from workers and queue, failures, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ibl_dask.deploy.batch_systems import commands
from ibl_dask.deploy.batch_systems.protocol import BatchJob, BatchSystem, QueuedJob
from ibl_dask.deploy.batch_systems.refusals import is_without_answer, refusal_text
from ibl_dask.deploy.batch_systems.registry import batch_system
from ibl_dask.deploy.cluster.job_script import Security, make_job
from ibl_dask.deploy.cluster.node_exclusion import can_exclude, exclude_nodes, format_excluded, unusable_nodes
from ibl_dask.deploy.cluster.refusals import EventLog, Refusal, refusals
from ibl_dask.deploy.cluster.scaling import Health, JobView
from ibl_dask.deploy.cluster.walltime_ends import Cut, DaskKey, ExecutingWorker, RunningSteps, cut_short
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.walltime import worker_lifetime_s

_log = logging.getLogger(__name__)

GRACE_S = 5.0
"""Time after submission for which a job may be missing in the queue, s."""
MISSED = 2
"""Number of answers in a row without a job after which it counts as ended."""
PROVEN_S = 10.0
"""Time for which a worker must be connected for its job to count as a success, s."""
CONNECT_S = 360.0
"""Time for which a running job may have no worker, s: a little more than a worker waits for the scheduler."""
DRAIN_S = 60.0
"""Time before the end of its lifetime at which a worker takes no further step, s: longer than a step takes."""
CLOSE_ATTEMPTS = 4
"""Number of attempts to cancel all jobs."""
CANCELLED_AT_ONCE = 25
"""Number of commands that cancel jobs at the same time."""
MOST_WATCHED = 50
"""Number of jobs up to which the queue is asked sooner after one lost its worker: of more, one always has."""

RetireWorkers = Callable[[Sequence[str]], Awaitable[object]]
"""Closes workers by name, after their data and waiting steps went elsewhere."""


class BusyWorker(ExecutingWorker, Protocol):
    """The part of `distributed.scheduler.WorkerState` that is used."""

    @property
    def processing(self) -> Any:  # a set of tasks, untyped in distributed
        """Return the tasks that it has, running or waiting."""


@dataclass
class Job:
    """One job, from its submission to its end. Times are s of a monotonic clock."""

    name: str
    """Name of the job, which its workers share."""
    pool: Pool
    """Its pool."""
    batch_job: BatchJob
    """The job in `dask_jobqueue`."""
    submitted_s: float
    """Time of submission."""
    drain_at_s: float = math.inf
    """Time from which its workers take no further steps."""
    connected_s: float | None = None
    """Time at which its first worker connected."""
    absent_s: float | None = None
    """Time since which it has no worker any more."""
    idle_since_s: float | None = None
    """Time since which its workers have no step."""
    running_since_s: float | None = None
    """Time since which it runs without a worker."""
    requeued_s: float | None = None
    """Time since which it waits in the queue again."""
    is_connected: bool = False
    """Whether a worker is connected."""
    is_leaving: bool = False
    """Whether its workers already take no further steps."""
    begins_anew: bool = False
    """Whether it was requeued, so that its lifetime starts with the next connection."""
    n_missed: int = 0
    """Number of answers of the queue in a row without it."""
    running: RunningSteps = field(default_factory=RunningSteps)
    """Steps that its workers run."""
    lost: dict[DaskKey, float] = field(default_factory=dict)
    """Steps that ran when a worker of it disappeared, and for how long, s."""

    @property
    def id(self) -> str:
        """Return its number in the batch system."""
        return str(self.batch_job.job_id)

    @property
    def system(self) -> BatchSystem:
        """Return its batch system."""
        return batch_system(self.pool.scheduler)

    @property
    def workers(self) -> set[str]:
        """Return the names of its workers."""
        return worker_names(self.name, self.pool)

    def view(self) -> JobView:
        """Return the part of its state that decisions depend on."""
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


def worker_names(job: str, pool: Pool) -> set[str]:
    """Return the names of the workers of a job."""
    n = pool.workers_per_job
    return {job} if n == 1 else {f"{job}-{i}" for i in range(n)}


@dataclass(frozen=True)
class PoolState:
    """Summary of a pool for display."""

    pool: Pool
    """The pool."""
    n_jobs: int
    """Number of jobs that were submitted and have not ended."""
    n_workers: int
    """Number of connected workers."""
    n_submitted: int
    """Number of jobs submitted since the start."""
    queue: Mapping[str, str] = field(default_factory=dict)
    """State and reason of each job in the queue, by job number."""
    failure: str = ""
    """Reason of the last failure; empty if a job took steps since."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Nodes on which no further job of the pool starts, and the problem of each."""


class PoolJobs:
    """Jobs of the pools of a profile, and their failures.

    They are not kept as `SpecCluster.worker_spec`: that ignores a refusal of the batch system, does not notice a job
    that dies before its worker connects, has no pools, and fails to close after a refusal.

    Parameters
    ----------
    profile : Profile
        The site.
    log_folder : Path
        Folder of the logs of jobs, seen by the nodes.
    """

    def __init__(self, profile: Profile, log_folder: Path) -> None:
        self.jobs: dict[str, Job] = {}
        self.health = {pool.name: Health() for pool in profile.pools}
        self.cuts: deque[Cut] = deque()
        self._profile = profile
        self._log_folder = log_folder
        self._excluded: dict[str, dict[str, str]] = {pool.name: {} for pool in profile.pools}
        self._n_submitted = Counter[str]()
        self._queue: dict[str, str] = {}
        self._numbers = {pool.name: itertools.count() for pool in profile.pools}
        self._asked_s = -math.inf
        self._without_answer: dict[str, Pool] = {}
        """Jobs that may have been submitted, and whose numbers are not known."""

    def working_pools(self) -> list[Pool]:
        """Return the pools that have not been given up."""
        return [pool for pool in self._profile.pools if not self._is_given_up(pool)]

    def _is_given_up(self, pool: Pool) -> bool:
        has_jobs = any(job.pool is pool for job in self.jobs.values())
        return not has_jobs and self.health[pool.name].is_given_up(time.monotonic())

    def states(self, workers: set[str]) -> list[PoolState]:
        """Return a summary of each pool, given the names of the connected workers."""
        n_jobs = Counter(job.pool.name for job in self.jobs.values())
        return [
            PoolState(
                pool,
                n_jobs[pool.name],
                sum(len(job.workers & workers) for job in self.jobs.values() if job.pool is pool),
                self._n_submitted[pool.name],
                {job.id: self._queue.get(job.id, "") for job in list(self.jobs.values()) if job.pool is pool},
                self.health[pool.name].reason if self.health[pool.name].failures else "",
                dict(self._excluded[pool.name]),
            )
            for pool in self._profile.pools
        ]

    # State.

    def update_from_workers(self, workers: Mapping[str, BusyWorker], now_s: float) -> None:
        """Update every job from the connected workers, by name."""
        for job in self.jobs.values():
            own = {name: workers[name] for name in job.workers if name in workers}
            job.lost |= (lost := job.running.update(own))
            if now_s >= job.drain_at_s:
                self.cuts.extend(cut_short(self._profile, job.pool, key, ran_s) for key, ran_s in lost.items())
            job.is_connected = bool(own)
            if own:
                self._note_connection(job, list(own.values()), now_s)
                continue
            job.idle_since_s = None
            if job.connected_s is not None and job.absent_s is None:
                job.absent_s = now_s

    def _note_connection(self, job: Job, workers: Sequence[BusyWorker], now_s: float) -> None:
        job.absent_s = job.requeued_s = None
        job.n_missed = 0
        if job.connected_s is None or job.begins_anew:
            job.begins_anew = False
            job.connected_s = now_s
            job.drain_at_s = now_s + _drain_after_s(job.pool)
        if now_s - job.connected_s >= PROVEN_S:
            self.health[job.pool.name] = self.health[job.pool.name].after_success()
        # Steps that only wait at a leaving worker go elsewhere once it is gone.
        is_busy = any(worker.executing if job.is_leaving else worker.processing for worker in workers)
        job.idle_since_s = None if is_busy else job.idle_since_s or now_s

    async def update_from_refusals(self, found: Sequence[Refusal]) -> None:
        """Exclude nodes that workers found unusable, also for jobs that already wait."""
        for pool in self._profile.pools:
            nodes = unusable_nodes(pool, found)
            if nodes.keys() == self._excluded[pool.name].keys() or not can_exclude(pool, nodes):
                continue
            self._excluded[pool.name] = nodes
            _log.warning("pool %s: its next jobs start elsewhere%s", pool.name, format_excluded(nodes))
            for job in [job for job in self.jobs.values() if job.pool is pool and not job.is_connected]:
                await commands.exclude_from_queued(job.system, job.id, pool.directives, list(nodes))

    async def update_from_queue(self, now_s: float, events: EventLog, retire: RetireWorkers) -> None:
        """Compare jobs with the queue, if `Profile.poll_s` has passed since the last time.

        Parameters
        ----------
        now_s
            Current time, s of a monotonic clock.
        events
            Dask's log of events, with the refusals of workers.
        retire
            Closes the workers of a job that is cancelled.
        """
        if not self.jobs or now_s - self._asked_s < self._ask_every_s():
            return
        self._asked_s = now_s
        for scheduler in {job.pool.scheduler for job in self.jobs.values()}:
            queue = await commands.read_queue(batch_system(scheduler))
            if queue is None:
                continue  # no answer is not an empty queue
            for job in [job for job in self.jobs.values() if job.pool.scheduler == scheduler]:
                if job.id in queue:
                    await self._update_queued(job, queue[job.id], now_s, events, retire)
                else:
                    await self._update_missing(job, now_s, events)

    def _ask_every_s(self) -> float:
        """Return the interval between two queries of the queue, s; shorter after one of few jobs lost a worker."""
        has_lost = len(self.jobs) <= MOST_WATCHED and any(job.absent_s is not None for job in self.jobs.values())
        return min(self._profile.poll_s, GRACE_S) if has_lost else self._profile.poll_s

    async def _update_queued(
        self, job: Job, queued: QueuedJob, now_s: float, events: EventLog, retire: RetireWorkers
    ) -> None:
        """Update a job that is in the queue."""
        job.n_missed = 0
        self._queue[job.id] = " ".join(filter(None, (queued.state, queued.reason)))
        is_running = queued.state in job.system.running_states
        job.running_since_s = (job.running_since_s or now_s) if is_running and not job.is_connected else None
        waits_again = (
            queued.state in job.system.requeued_states and job.connected_s is not None and not job.is_connected
        )
        job.requeued_s = (job.requeued_s or now_s) if waits_again else None
        job.begins_anew |= waits_again
        if job.running_since_s is not None and now_s - job.running_since_s > CONNECT_S:
            await self.drop(job, retire)
            await self._note_failure(job, f"job {job.id} ran for {CONNECT_S:g} s and no worker of it came", events)
        elif queued.reason in job.system.unsatisfiable_reasons:
            await self.drop(job, retire)
            await self._note_failure(job, f"job {job.id} would never start ({queued.reason})", events)

    async def _update_missing(self, job: Job, now_s: float, events: EventLog) -> None:
        """Update a job that is not in the queue: it has ended, if that is seen often enough."""
        if now_s - job.submitted_s < GRACE_S:
            return
        job.n_missed += 1
        if job.n_missed < MISSED and not job.is_connected:
            self._asked_s = now_s - self._ask_every_s() + 1.0
            return
        if job.is_connected:
            return  # a connected worker outweighs the queue
        del self.jobs[job.name]
        self._queue.pop(job.id, None)
        lived_s = 0.0 if job.connected_s is None else (job.absent_s or now_s) - job.connected_s
        if job.lost and job.pool.walltime_s is None:
            limit_s = await commands.exceeded_walltime_s(job.system, job.id, self._log_folders)
            if limit_s is not None:
                self.cuts.extend(cut_short(self._profile, job.pool, *step, limit_s) for step in job.lost.items())
        if job.workers <= {refusal["worker"] for refusal in refusals(events)}:
            await self._note_failure(job, f"job {job.id} was of no use", events)
        elif lived_s >= PROVEN_S or job.is_leaving:
            _log.info("job %s of pool %s ended after %.0f s", job.id, job.pool.name, lived_s)
        else:
            await self._note_failure(job, f"job {job.id} ended before it worked", events)

    @property
    def _log_folders(self) -> list[Path]:
        return [self._log_folder, Path.cwd()]

    async def _note_failure(self, job: Job, event: str, events: EventLog) -> None:
        """Count the failure of a job, with the words of its worker, or else of the batch system and the job's log."""
        own = [refusal for refusal in refusals(events) if refusal["worker"] in job.workers]
        if own:
            words = f"worker {own[-1]['worker']} on {own[-1]['host']} left: {own[-1]['problem']}"
        else:
            words = await commands.describe_ended(job.system, job.id, self._log_folders)
        nodes = self._excluded[job.pool.name]
        others = {node: nodes[node] for node in nodes if not own or node != own[-1]["node"]}
        reason = f"{event}: {words}{format_excluded(others)}"
        self.health[job.pool.name] = self.health[job.pool.name].after_failure(time.monotonic(), reason)
        _log.warning("pool %s: %s", job.pool.name, reason)

    # Submission and cancellation.

    async def submit(self, pool: Pool, address: str, security: Security | None) -> None:
        """Submit one job of a pool; a refusal counts as a failure of the pool.

        Parameters
        ----------
        pool
            The pool.
        address
            Address of the Dask scheduler.
        security
            Certificates of its workers.
        """
        name = f"{pool.name}-{next(self._numbers[pool.name])}"
        self._n_submitted[pool.name] += 1
        try:
            restricted = exclude_nodes(pool, self._excluded[pool.name])
            batch_job = make_job(self._profile, restricted, name, address, security, log_folder=self._log_folder)
            await asyncio.wait_for(batch_job.start(), commands.ANSWER_S)
        except Exception as error:  # noqa: BLE001  # a run that waits for workers must learn of any error
            is_silent = isinstance(error, TimeoutError)
            said = f"no answer for {commands.ANSWER_S:g} s" if is_silent else refusal_text(error)
            reason = f"refused: {said}{format_excluded(self._excluded[pool.name])}"
            is_outage = is_silent or is_without_answer(said)
            if is_outage:
                self._without_answer[name] = pool
            health = self.health[pool.name].after_failure(time.monotonic(), reason, is_outage=is_outage)
            self.health[pool.name] = health
            _log.warning("pool %s: a job was %s", pool.name, reason)
            return
        self.jobs[name] = Job(name, pool, batch_job, time.monotonic())
        _log.info("pool %s: job %s submitted for %s", pool.name, batch_job.job_id, name)

    async def drop_unknown(self, workers: set[str], retire: RetireWorkers) -> None:
        """Close workers of jobs that were submitted although the batch system did not say so: nobody would end them.

        Parameters
        ----------
        workers
            Names of the connected workers.
        retire
            Closes workers; their job ends with them.
        """
        for name, pool in self._without_answer.items():
            if found := worker_names(name, pool) & workers:
                _log.warning("pool %s: the unanswered submission of %s was carried out; it is closed", pool.name, name)
                await asyncio.wait_for(retire(sorted(found)), commands.ANSWER_S)

    async def drop(self, job: Job, retire: RetireWorkers) -> None:
        """Close the workers of a job, so that their steps go elsewhere, then cancel the job."""
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(retire(list(job.workers)), commands.ANSWER_S)
        await self._cancel(job)
        self.jobs.pop(job.name, None)

    async def cancel_all(self) -> None:
        """Cancel every job, and check that they leave the queue."""
        for attempt in range(CLOSE_ATTEMPTS):
            jobs = list(self.jobs.values())
            for first in range(0, len(jobs), CANCELLED_AT_ONCE):
                await asyncio.gather(*(self._cancel(job) for job in jobs[first : first + CANCELLED_AT_ONCE]))
            left = await self._still_queued()
            if not left:
                break
            await asyncio.sleep(0.5 * 2**attempt)
        else:
            _log.warning("the batch system still shows jobs that were cancelled: %s", ", ".join(sorted(left)))
        self.jobs.clear()

    async def _still_queued(self) -> set[str]:
        """Return the numbers of our jobs that are in the queue and not about to end."""
        left: set[str] = set()
        for scheduler in {job.pool.scheduler for job in self.jobs.values()}:
            system = batch_system(scheduler)
            queue = await commands.read_queue(system) or {}
            ids = {job.id for job in self.jobs.values() if job.pool.scheduler == scheduler}
            left |= {number for number in ids & queue.keys() if queue[number].state not in system.ending_states}
        return left

    async def _cancel(self, job: Job) -> None:
        try:
            await asyncio.wait_for(job.batch_job.close(), commands.ANSWER_S)
        except (RuntimeError, OSError, TimeoutError) as error:
            _log.warning("job %s could not be cancelled: %s", job.id, error)


def _drain_after_s(pool: Pool) -> float:
    """Return the time after its connection for which a worker takes steps, s; random, so that jobs end one by one."""
    lifetime = worker_lifetime_s(pool)
    if lifetime is None:
        return math.inf
    ends_s, stagger_s = lifetime
    # Unseeded: the aim is that the pools of all nodes are not renewed at once.
    return max(ends_s / 2, ends_s - stagger_s - DRAIN_S) + random.uniform(0, stagger_s)
