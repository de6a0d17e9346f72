"""Executors of steps: the protocol, and the one that uses the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from ibl_dask.deploy.cluster.walltime_ends import Cut
from ibl_dask.deploy.cluster.worker_setup import leave
from ibl_dask.errors import RunError, joined
from ibl_dask.model.failure import Failure
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord
from ibl_dask.pipeline.circuit_breakers import NodeHealth
from ibl_dask.pipeline.delayed import Trial, call_of, submit_step
from ibl_dask.pipeline.isolation import Death
from ibl_dask.pipeline.ready_queue import QueuedStep, ReadyQueue
from ibl_dask.pipeline.retries import Paused, Retries
from ibl_dask.pipeline.step_losses import (
    Future,
    fails_everything,
    how_lost,
    killed_itself,
    lost,
    sees_nothing,
    took_too_long,
)
from ibl_dask.pipeline.visibility import Unseen, visible
from ibl_dask.store.failures import failure_from

_log = logging.getLogger(__name__)

IN_HAND = 2
"""Steps given to the cluster per slot: one that runs, and one that follows at once."""
COUNTED_EVERY_S = 2.0
"""Interval at which workers are counted, s."""
MOST_LOST = 3
"""Workers of this machine that may be lost with a step before it fails."""
MOST_LOST_WITH_JOBS = 10
"""The same for workers that come and go with jobs: the step had a process of its own, so it did not end them."""
MOST_CUT = 2
"""Attempts at a step that the end of a job may cut off before it fails."""
MOST_UNSEEN = 12
"""Workers that do not see the data and that a step may meet before it fails."""
NO_WORKER_S = 20.0
"""Time that steps wait for another worker after the last one did not see the data and left, s."""
RETURN_S = 300.0
"""Time that steps wait for a worker like the last one that could run them, which died, s."""


class Executor(Protocol):
    """Takes steps and hands their records back as they end."""

    retries: Retries
    """Steps that failed and are tried again."""

    @property
    def outstanding(self) -> int:
        """Return the number of steps that were taken and not handed back."""

    @property
    def slots(self) -> int:
        """Return the number of steps that can run at once."""

    @property
    def most_memory_gb(self) -> float:
        """Return the memory of the largest worker, GB; 0 if unknown."""

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[StepKey, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        """Take steps.

        Parameters
        ----------
        steps : sequence of Step
            Steps, each of which needs only steps among these, submitted before, or in `known`.
        root : Path
            Folder of the session's results; see `run_step`.
        known : mapping of StepKey to StepRecord
            Records of steps that ended. Only those that the steps need may be kept.
        priority : int
            Higher first.
        places : sequence of Path
            Files and folders that a worker must see.
        """

    def completed(self) -> Iterator[StepRecord]:
        """Yield records until no step is outstanding; more steps may be submitted between two of them."""

    def drop(self, session: str) -> list[StepKey]:
        """Forget the waiting steps of a session, and return their keys; running ones are still handed back.

        Parameters
        ----------
        session : str
            Reference of the session.
        """

    def cancel(self) -> None:
        """Drop all steps."""


class Elastic(Protocol):
    """Cluster with as many workers as there is work for; see `deploy.cluster.BatchCluster`."""

    @property
    def most_workers(self) -> int:
        """Return the largest number of workers."""

    @property
    def worker_resources(self) -> Sequence[Mapping[str, float]]:
        """Return the resources of a worker of each pool."""

    def request_workers(self, demand: Mapping[frozenset[tuple[str, float]], int]) -> None:
        """Take the number of steps that run or could run now, by the resources that they ask for."""

    def unschedulable_reason(self, asked: Mapping[str, float]) -> RunError | None:
        """Return why no worker will ever run a step; None where one may."""

    def cuts(self) -> Sequence[Cut]:
        """Return the steps that the end of a job cut off since the last call."""


class OnCluster:
    """Run steps on the workers of a Dask client.

    The cluster holds few steps at a time, all of which could start at once. Dask holds back no step that asks for a
    resource: given all, it would spread them over the workers in no useful order, and lose them with these. Results
    return to this process and go out with the steps that read them, so no worker holds data that other workers need.

    A cluster whose workers come and go receives the number of steps that could run, and more steps go out as workers
    come. A step that no worker can run, now or later, fails at once instead of waiting for ever.

    Dask attributes the death of a worker to every step that the worker had, also to those that only waited there. The
    steps of a dead worker are therefore tried again, each in a process of its own: a step that kills its process then
    fails, and costs no worker and no other step. If the death looks like a lack of memory, the step is tried once more
    after all others, alone.

    A worker that does not see the files that this process sees is turned away, and its steps go to others; see
    `pipeline/visibility.py`.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    retries : Retries, optional
        Keeps the steps that are tried again.
    """

    def __init__(self, client: Any, retries: Retries | None = None) -> None:  # distributed has no types
        self.retries = Retries() if retries is None else retries
        self._client = client
        cluster = getattr(client, "cluster", None)
        self._elastic: Elastic | None = cluster if hasattr(cluster, "unschedulable_reason") else None
        self._waiting = ReadyQueue()
        self._running: dict[StepKey, _Running] = {}
        self._ended: SimpleQueue[tuple[Future, object]] = SimpleQueue()
        self._given: Counter[Resources] = Counter()
        self._doubtful: list[QueuedStep] = []
        self._attempts: dict[StepKey, QueuedStep] = {}
        self._over: list[StepRecord] = []
        self._turned_away: dict[str, RunError] = {}
        self._turned_away_s = math.inf
        self._workers: list[Mapping[str, float]] = []
        self._hosts: set[str] = set()
        self._seen: set[frozenset[tuple[str, float]]] = set()
        self._unable_since_s: dict[Resources, float] = {}
        self._most_seen_gb = 0.0
        self._nodes = NodeHealth()
        self._counted_s = -math.inf
        self._prepare_scheduler()

    def _prepare_scheduler(self) -> None:
        """Make the scheduler hand a step back with the first worker that dies with it, and forget finished steps."""
        from ibl_dask.deploy.cluster.short_history import ShortHistory
        from ibl_dask.deploy.cluster.worker_death import OneDeath

        lacks = {OneDeath: "gives steps to further workers when one dies", ShortHistory: "grows with every step"}
        for plugin, consequence in lacks.items():
            try:
                self._client.register_plugin(plugin())
            except Exception as error:  # noqa: BLE001  # a scheduler without this package works all the same
                _log.info("the scheduler %s: %s", consequence, error)

    @property
    def outstanding(self) -> int:
        return len(self._waiting) + len(self._running) + len(self._doubtful) + len(self._over) + len(self.retries)

    @property
    def slots(self) -> int:
        most = 0 if self._elastic is None else self._elastic.most_workers
        return max(1, most, len(self._count_workers()))

    @property
    def most_memory_gb(self) -> float:
        self._most_seen_gb = max(self._most_seen_gb, self._most_memory_gb())
        return self._most_seen_gb

    def _most_memory_gb(self, kind: str = "") -> float:
        """Return the memory of the largest worker that offers a kind of resource, GB."""
        offers = self._count_workers() if self._elastic is None else self._elastic.worker_resources
        return max((offered.get("MEMORY_GB", 0.0) for offered in offers if not kind or kind in offered), default=0.0)

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[StepKey, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        self._waiting.add(steps, root, known, priority, places)
        self._feed()

    def completed(self) -> Iterator[StepRecord]:
        while self.outstanding:
            self._wake()
            if not self._running and self._doubtful and not self._waiting.kinds():
                self._try_alone()
            if not self._over:
                self._look()
            self._take_cuts()
            # One at a time: the caller may leave the loop and come back later.
            record = self._over.pop(0) if self._over else None
            if record is not None:
                self._waiting.end(record)
            self._feed()
            if record is not None:
                yield record

    def _look(self) -> None:
        """Wait a moment for a step to end; where none does, fail those that no worker will ever run."""
        try:
            ended = self._ended.get(timeout=min(COUNTED_EVERY_S, self.retries.wait_s))
        except Empty:
            self._fail_unschedulable()
            return
        record = self._take(*ended)
        if record is not None:
            self._over.append(record)

    def _wake(self) -> None:
        """Take steps back whose next attempt is due, and fail those that waited too long for a disk."""
        for queued in self.retries.due():
            self._waiting.again(queued)
        for queued, failure in self.retries.given_up():
            self._end(queued, failure)

    def _count_workers(self) -> list[Mapping[str, float]]:
        """Return the resources of each worker; workers come and go."""
        if time.monotonic() - self._counted_s > COUNTED_EVERY_S:
            info = self._client.scheduler_info(n_workers=-1)["workers"]
            self._workers = [worker["resources"] for worker in info.values()]
            self._seen.update(frozenset(offered.items()) for offered in self._workers)
            self._hosts = {worker["host"] for worker in info.values()}
            self._counted_s = time.monotonic()
        return self._workers

    def _feed(self) -> None:
        """Give the cluster the steps that it can start, and a few to follow while this process is busy."""
        if self._elastic is not None:
            self._elastic.request_workers(self._demand())
        if len(self._running) == 1 and next(iter(self._running.values())).is_alone:
            return
        for kind in self._waiting.kinds():
            # A worker runs one step at a time, however many cores it offers to it.
            slots = max(1, sum(kind in offered for offered in self._count_workers()))
            n_given = sum(n for resources, n in self._given.items() if resources.kind == kind)
            batch: list[QueuedStep] = []
            while n_ready := self._waiting.n_ready(kind):
                # The last ones wait here for the first worker that is free, and not at one that is busy.
                most = slots * (IN_HAND if n_ready > slots else 1)
                if n_given + len(batch) >= most:
                    break
                queued = self._waiting.next(kind)
                if self.retries.holds(queued):
                    continue
                if queued.verdict:
                    self._fail(queued, failure_from(queued.verdict))
                else:
                    batch.append(queued)
            self._start(batch)

    def _demand(self) -> Counter[frozenset[tuple[str, float]]]:
        """Return the number of steps that run or could run now, by the resources that they ask for."""
        # Not those that wait for a disk: a pause may last, and workers cost.
        later = Counter(queued.step.resources for queued in (*self._doubtful, *self.retries.later()))
        demand: Counter[frozenset[tuple[str, float]]] = Counter()
        for resources, n in (Counter(self._waiting.ready()) + self._given + later).items():
            demand[frozenset(self._asks(resources).items())] += n
        return demand

    def _asks(self, resources: Resources) -> dict[str, float]:
        """Return the resources to ask for; where a step's are an estimate, at most those of the largest worker."""
        asked = resources.for_dask()
        if not resources.is_estimate:
            return asked
        able = self._offers(resources.kind)
        if self._elastic is None and not able:
            # Workers of this machine offer no GPU by name, but the processes that they start see its GPUs.
            return {"CPU": 1.0}
        return {
            name: min(amount, max((offered.get(name, amount) for offered in able), default=amount))
            for name, amount in asked.items()
        }

    def _offers(self, kind: str) -> list[Mapping[str, float]]:
        """Return the resources of each worker that offers a kind of them; of earlier ones where none does now."""
        offers = self._count_workers() if self._elastic is None else self._elastic.worker_resources
        # One that died comes back: its steps must not go to workers of another kind meanwhile.
        able = [offered for offered in offers if kind in offered]
        return able or [offered for offered in map(dict, self._seen) if kind in offered]

    def _fail_unschedulable(self) -> None:
        """Fail the steps that no worker will ever run."""
        asked = {*self._waiting.ready(), *(running.queued.step.resources for running in self._running.values())}
        why = {resources: error for resources in asked if (error := self._hopeless(resources))}
        lost = [queued for resources in why for queued in self._waiting.take(resources)]
        for key, running in list(self._running.items()):
            if running.queued.step.resources in why:
                self._client.cancel([running.future])
                del self._running[key]
                self._given[running.resources] -= 1
                lost.append(running.queued)
        for queued in lost:
            self._end(queued, failure_from(why[queued.step.resources]))  # no other attempt finds a worker

    def _hopeless(self, resources: Resources) -> RunError | None:
        """Return why no worker will ever run a step; None where one may."""
        asked = self._asks(resources)
        if self._elastic is not None:
            return self._elastic.unschedulable_reason(asked)
        workers = self._count_workers()
        if not workers and self._turned_away and time.monotonic() - self._turned_away_s > NO_WORKER_S:
            return joined(list(self._turned_away.values()))

        def is_able(offered: Mapping[str, float]) -> bool:
            return all(offered.get(name, 0) >= amount for name, amount in asked.items())

        if any(map(is_able, workers)) or not workers:
            self._unable_since_s.pop(resources, None)
            return None
        since_s = self._unable_since_s.setdefault(resources, time.monotonic())
        if any(is_able(dict(offered)) for offered in self._seen) and time.monotonic() - since_s < RETURN_S:
            return None
        offers = sorted({", ".join(f"{name}: {amount:g}" for name, amount in offered.items()) for offered in workers})
        return RunError(
            "no worker can run this step",
            where=str(self._client.scheduler.address),
            expected="a worker with " + ", ".join(f"{name}: {amount:g}" for name, amount in asked.items()),
            got="workers with " + (" or ".join(filter(None, offers)) or "no resources"),
            do="start workers through `ibl_dask.connect`, with a profile whose pools have what is missing",
        )

    def _try_alone(self) -> None:
        queued = self._doubtful.pop(0)
        _log.warning("%s of %s: tried again, alone", *queued.step.key[:2])
        self._start([queued], is_alone=True)

    def _start(self, batch: Sequence[QueuedStep], *, is_alone: bool = False) -> None:
        for queued in batch:
            # A place that this process does not see either is no fault of a worker.
            trial = Trial(len(queued.keys) + 1, queued.n_lost > 0, visible(queued.places), queued.time_out_s)
            asked = self._asks(queued.step.resources)
            call = call_of(queued.step, queued.root, queued.priority, trial, asked)
            future = submit_step(self._client, call, queued.records)
            self._running[future.key] = _Running(queued, future, queued.step.resources, is_alone)
            self._attempts[future.key] = queued
            queued.keys.append(future.key)
            queued.given_s = time.monotonic()
            self._given[queued.step.resources] += 1
            self._client.loop.add_callback(self._fetch, future)

    async def _fetch(self, future: Future) -> None:
        """Wait for a step in the client's own loop, and queue its result."""
        results: list[object] = []
        try:
            # A connection that breaks during shutdown leaves nothing to fetch and nothing to report.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                results = await self._client.gather([future], errors="skip", asynchronous=True)
        finally:  # after any error, or the run would wait for ever
            self._ended.put((future, results[0] if results else None))

    def _take(self, future: Future, result: object) -> StepRecord | None:
        """Return the record of a step that ended; None where it gets another try, or was cancelled."""
        running = self._running.get(future.key)
        if running is None or running.future is not future:
            return None
        queued = running.queued
        self._let_go(running)
        if isinstance(result, StepRecord):
            self._note_node(result)
            if result.status == "failed" and result.failure is not None:
                failure = self._judge(queued, result.failure)
                if failure is None:
                    return None
                result = replace(result, failure=failure)
            self._forget(queued)
            return result
        if isinstance(result, Unseen):
            self._send_elsewhere(queued, result)
        elif isinstance(result, Death):
            if result.time_out_s:
                failure = failure_from(took_too_long(queued, result))
                self._fail(queued, replace(failure, traceback=result.stack))
            elif result.is_lack_of_memory and not running.is_alone and self._has_others():
                self._doubtful.append(queued)
            else:
                self._fail(queued, failure_from(killed_itself(queued, result)))
        else:
            queued.n_lost += 1
            if queued.n_lost >= (MOST_LOST_WITH_JOBS if self._elastic is not None else MOST_LOST):
                self._fail(queued, failure_from(lost(queued, *how_lost(future))))
            else:
                self._waiting.again(queued)
        return None

    def _judge(self, queued: QueuedStep, failure: Failure) -> Failure | None:
        """Take a step whose attempt failed; return its failure if there is no other attempt."""
        resources = queued.step.resources
        most = self._most_memory_gb(resources.kind)
        return self.retries.judge(
            queued,
            failure,
            has_more_memory=most > resources.memory_gb,
            has_other_nodes=len(self._hosts) > 1 or self._elastic is not None,
        )

    def _note_node(self, record: StepRecord) -> None:
        """Turn a node away on which every step fails; those that were kept or skipped did nothing there."""
        if record.status not in ("done", "failed"):
            return
        node, kind = record.worker.rpartition(":")[0], record.key.name.partition("-")[0]
        failure = self._nodes.note(node, record.key.session, kind, record.failure)
        if failure is None:
            return
        error = fails_everything(node, failure)
        _log.warning("%s", error)
        self.retries.listen(Paused(node, failure_from(error)))
        with contextlib.suppress(Exception):  # it may be gone already
            hosts = self._client.run(socket.gethostname, on_error="ignore")
            there = [address for address, host in hosts.items() if host == node]
            self._client.run(leave, str(error), f"every step fails there: {failure.what}", workers=there)

    def _let_go(self, running: _Running) -> None:
        del self._running[running.future.key]
        self._given[running.resources] -= 1
        # Dropping the future lets the scheduler forget the step.
        running.future.release()

    def _has_others(self) -> bool:
        """Return True if another step runs or may run."""
        return bool(self._running or self._waiting.kinds())

    def _fail(self, queued: QueuedStep, failure: Failure) -> None:
        """Take a step that did not end by itself: for another attempt, or as failed."""
        final = self._judge(queued, failure)
        if final is not None:
            self._end(queued, final)

    def _end(self, queued: QueuedStep, failure: Failure) -> None:
        """Queue the record of a step that has failed for good."""
        self._forget(queued)
        self._over.append(StepRecord(queued.step.key, "failed", failure=failure))

    def _forget(self, queued: QueuedStep) -> None:
        for key in queued.keys:
            self._attempts.pop(key, None)

    def _send_elsewhere(self, queued: QueuedStep, unseen: Unseen) -> None:
        """Try a step again that met a worker which does not see the data, and turn that worker away."""
        if not visible([unseen.place]):  # gone from here as well
            self._waiting.again(queued)
            return
        queued.unseen.append(unseen)
        error = sees_nothing(queued, unseen)
        if unseen.worker not in self._turned_away:
            self._turned_away[unseen.worker] = error
            self._turned_away_s = time.monotonic()
            _log.warning("%s", error)
            problem = f"{unseen.place} is not seen there: {unseen.problem}"
            with contextlib.suppress(Exception):  # it may be gone already
                self._client.run(leave, str(error), problem, workers=[unseen.worker], on_error="ignore")
        if len(queued.unseen) >= MOST_UNSEEN:
            self._fail(queued, failure_from(error))
        else:
            self._waiting.again(queued)

    def _take_cuts(self) -> None:
        """Take the steps that the end of their job cut off; one that no job is long enough for is not tried again."""
        for cut in self._elastic.cuts() if self._elastic is not None else ():
            queued = self._attempts.get(cut.key)
            if queued is None:
                continue
            queued.n_cut += 1
            if not cut.is_final and queued.n_cut < MOST_CUT:
                continue
            running = next((one for one in self._running.values() if one.queued is queued), None)
            if running is not None and running.future.status != "finished":
                self._client.cancel([running.future])
                self._let_go(running)
                self._fail(queued, failure_from(cut.error))
            else:
                queued.verdict = cut.error

    def drop(self, session: str) -> list[StepKey]:
        doubtful = [queued for queued in self._doubtful if queued.step.session == session]
        self._doubtful = [queued for queued in self._doubtful if queued.step.session != session]
        known = self._attempts.items()
        for key in [key for key, queued in known if queued.step.session == session and key not in self._running]:
            del self._attempts[key]
        return [
            *self._waiting.drop(session),
            *self.retries.drop(session),
            *(queued.step.key for queued in doubtful),
        ]

    def cancel(self) -> None:
        if self._running:
            self._client.cancel([running.future for running in self._running.values()])
        self._running.clear()
        self._attempts.clear()
        self._over.clear()
        self._given.clear()
        self._doubtful.clear()
        self._waiting.clear()
        self.retries.clear()
        if self._elastic is not None:
            self._elastic.request_workers({})


@dataclass(frozen=True)
class _Running:
    """Step that the cluster has."""

    queued: QueuedStep
    future: Future
    resources: Resources
    """Resources that it was started with."""
    is_alone: bool
    """No other step runs beside it."""
