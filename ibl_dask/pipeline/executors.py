"""Who runs the steps: this process, or the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from ibl_dask.errors import RunError
from ibl_dask.model.step import Failure, Key, Resources, Step, StepRecord
from ibl_dask.pipeline.graph import delayed_step
from ibl_dask.pipeline.waiting import Turn, Waiting
from ibl_dask.tasks.walk import in_order, run_step

_log = logging.getLogger(__name__)

IN_HAND = 2
"""Steps given to the cluster per free place: one that runs, and one that is there when it ends."""
COUNTED_EVERY_S = 2.0
"""How often workers are counted, s."""


class Executor(Protocol):
    """Takes steps and hands their records back as they end."""

    @property
    def outstanding(self) -> int:
        """Return the number of steps that were taken and not handed back."""

    @property
    def slots(self) -> int:
        """Return how many steps can run at once."""

    def submit(self, steps: Sequence[Step], root: Path, known: Mapping[Key, StepRecord], priority: int) -> None:
        """Take steps."""

    def completed(self) -> Iterator[StepRecord]:
        """Yield records until nothing is outstanding; more steps may be submitted between two of them."""

    def drop(self, session: str) -> list[Key]:
        """Forget the steps of a session that wait, and return their keys; those that run are handed back all the same.

        Parameters
        ----------
        session : str
            Reference of the session.
        """

    def cancel(self) -> None:
        """Drop what has not started."""


class InProcess:
    """Run steps one after another in this process: all of one kind before those that need them."""

    slots = 1

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, Step, Path]] = []
        self._records: dict[Key, StepRecord] = {}
        self._n = 0

    @property
    def outstanding(self) -> int:
        return len(self._queue)

    def submit(self, steps: Sequence[Step], root: Path, known: Mapping[Key, StepRecord], priority: int) -> None:
        self._records.update(known)
        for step in in_order(steps):
            self._n += 1
            self._queue.append((-priority, self._n, step, root))
        self._queue.sort(key=lambda entry: entry[:2])

    def completed(self) -> Iterator[StepRecord]:
        while self._queue:
            _, _, step, root = self._queue.pop(0)
            record = run_step(step, [self._records[need] for need in step.needs], root)
            self._records[step.key] = record
            yield record

    def drop(self, session: str) -> list[Key]:
        dropped = [step.key for _, _, step, _ in self._queue if step.session == session]
        self._queue = [entry for entry in self._queue if entry[2].session != session]
        return dropped

    def cancel(self) -> None:
        self._queue.clear()


class Elastic(Protocol):
    """A cluster that gets as many workers as there is work; see `deploy.cluster.BatchCluster`."""

    @property
    def most_workers(self) -> int:
        """Return how many workers there can be at most."""

    @property
    def offers(self) -> Sequence[Mapping[str, float]]:
        """Return what a worker of each pool offers."""

    def want(self, demand: Mapping[frozenset[tuple[str, float]], int]) -> None:
        """Take how many steps could run now, or do, by what they ask for."""

    def hopeless(self, asked: Mapping[str, float]) -> str:
        """Return why nothing will ever run a step; empty where something may."""


class OnCluster:
    """Run steps on the workers of a Dask client.

    The cluster is given few steps at a time, and only such that could start at once. It would take any number, but
    holds back none that asks for a resource: all would go to workers, in no good order, and be lost with them. What a
    step returns comes back here and goes out with the steps that read it, so that no worker holds what others need.

    A cluster whose workers come and go is told how much there is to do, and more steps go out as workers come. A step
    that no worker can run, now or later, fails at once instead of waiting for ever.

    Dask blames the death of a worker on every step that the worker had, also on one that only waited there. So a step
    that Dask gives up for that is tried once more when everything else is done, alone: one that takes its worker with
    it fails then, and no other step does.
    """

    def __init__(self, client: Any) -> None:  # distributed has no types
        self._client = client
        cluster = getattr(client, "cluster", None)
        self._elastic: Elastic | None = cluster if hasattr(cluster, "hopeless") else None
        self._waiting = Waiting()
        self._running: dict[Any, _Running] = {}
        self._ended: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        self._given: Counter[str] = Counter()
        self._doubtful: list[Turn] = []
        self._workers: list[Mapping[str, float]] = []
        self._counted_s = -math.inf

    @property
    def outstanding(self) -> int:
        return len(self._waiting) + len(self._running) + len(self._doubtful)

    @property
    def slots(self) -> int:
        most = 0 if self._elastic is None else self._elastic.most_workers
        return max(1, most, len(self._count_workers()))

    def submit(self, steps: Sequence[Step], root: Path, known: Mapping[Key, StepRecord], priority: int) -> None:
        self._waiting.add(steps, root, known, priority)
        self._feed()

    def completed(self) -> Iterator[StepRecord]:
        while self.outstanding:
            if not self._running and self._doubtful and not self._waiting.kinds():
                self._try_alone()
            record = None
            with contextlib.suppress(Empty):
                record = self._take(*self._ended.get(timeout=COUNTED_EVERY_S))
            ended = self._without_hope() if record is None else [record]
            for each in ended:
                self._waiting.end(each)
            self._feed()
            yield from ended

    def _count_workers(self) -> list[Mapping[str, float]]:
        """Return what each worker offers; workers come and go."""
        if time.monotonic() - self._counted_s > COUNTED_EVERY_S:
            info = self._client.scheduler_info(n_workers=-1)["workers"]
            self._workers = [worker["resources"] for worker in info.values()]
            self._counted_s = time.monotonic()
        return self._workers

    def _feed(self) -> None:
        """Give the cluster what it can start, and a little to go on with while this process looks elsewhere."""
        if self._elastic is not None:
            self._elastic.want(self._demand())
        if any(running.is_alone for running in self._running.values()):
            return
        for kind in self._waiting.kinds():
            # A worker runs one step at a time, however many cores it offers to it.
            slots = max(1, sum(kind in offered for offered in self._count_workers()))
            turns: list[Turn] = []
            while n_ready := self._waiting.n_ready(kind):
                # The last ones wait here for the first worker that is free, and not at one that is busy.
                most = slots * (IN_HAND if n_ready > slots else 1)
                if self._given[kind] + len(turns) >= most:
                    break
                turns.append(self._waiting.next(kind))
            self._start(turns)

    def _demand(self) -> Counter[frozenset[tuple[str, float]]]:
        """Return how many steps could run now, or do, by what they ask for."""
        demand: Counter[frozenset[tuple[str, float]]] = Counter()
        for resources, n in self._waiting.ready().items():
            demand[frozenset(self._asks(resources).items())] += n
        for turn in (*(running.turn for running in self._running.values()), *self._doubtful):
            demand[frozenset(self._asks(turn.step.resources).items())] += 1
        return demand

    def _asks(self, resources: Resources) -> dict[str, float]:
        """Return what a step asks of a worker; where that is a guess, no more than the largest one offers."""
        asked = resources.for_dask()
        if not resources.is_estimate:
            return asked
        offers = self._count_workers() if self._elastic is None else self._elastic.offers
        able = [offered for offered in offers if resources.kind in offered]
        if self._elastic is None and not able:
            # Workers of this machine offer no GPU by name, but what they start sees those of the machine.
            return {"CPU": 1.0}
        return {
            name: min(amount, max((offered.get(name, amount) for offered in able), default=amount))
            for name, amount in asked.items()
        }

    def _without_hope(self) -> list[StepRecord]:
        """Return the records of steps that nothing will ever run: failed."""
        asked = {*self._waiting.ready(), *(running.turn.step.resources for running in self._running.values())}
        why = {resources: text for resources in asked if (text := self._hopeless(resources))}
        lost = [turn for resources in why for turn in self._waiting.take(resources)]
        for key, running in list(self._running.items()):
            if running.turn.step.resources in why:
                self._client.cancel([running.future])
                del self._running[key]
                self._given[running.turn.step.resources.kind] -= 1
                lost.append(running.turn)
        return [
            StepRecord(turn.step.key, "failed", failure=Failure("RunError", "run", why[turn.step.resources]))
            for turn in lost
        ]

    def _hopeless(self, resources: Resources) -> str:
        asked = self._asks(resources)
        if self._elastic is not None:
            return self._elastic.hopeless(asked)
        workers = self._count_workers()
        able = any(all(offered.get(name, 0) >= amount for name, amount in asked.items()) for offered in workers)
        if able or not workers:
            return ""
        offers = sorted({", ".join(f"{name}: {amount:g}" for name, amount in offered.items()) for offered in workers})
        return str(
            RunError(
                "no worker can run this step",
                where=str(self._client.scheduler.address),
                expected="a worker with " + ", ".join(f"{name}: {amount:g}" for name, amount in asked.items()),
                got="workers with " + (" or ".join(filter(None, offers)) or "no resources"),
                do="start workers through `ibl_dask.connect`, with a profile whose pools have what is missing",
            )
        )

    def _try_alone(self) -> None:
        turn = self._doubtful.pop(0)
        _log.warning("%s of %s: tried again, alone", *turn.step.key[:2])
        self._start([turn], is_alone=True)

    def _start(self, turns: Sequence[Turn], *, is_alone: bool = False) -> None:
        if not turns:
            return
        nodes = [
            delayed_step(
                turn.step,
                turn.records,
                turn.root,
                turn.priority,
                2 if is_alone else 1,
                self._asks(turn.step.resources),
            )
            for turn in turns
        ]
        # Optimising would rename or fuse tasks and lose their annotations.
        futures = self._client.compute(nodes, optimize_graph=False)
        for turn, future in zip(turns, futures, strict=True):
            self._running[future.key] = _Running(turn, future, is_alone)
            self._given[turn.step.resources.kind] += 1
            self._client.loop.add_callback(self._fetch, future)

    async def _fetch(self, future: Any) -> None:  # distributed has no types
        """Wait for a step in the client's own loop, and note what came of it."""
        results: list[Any] = []
        try:
            # A connection that breaks while everything ends leaves nothing to fetch, and nothing to tell.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                results = await self._client.gather([future], errors="skip", asynchronous=True)
        finally:  # whatever it was, the run must not wait for ever
            self._ended.put((future, results[0] if results else None))

    def _take(self, future: Any, result: Any) -> StepRecord | None:  # distributed has no types
        """Return the record of what ended; None where the step gets another try, or was cancelled."""
        running = self._running.get(future.key)
        if running is None or running.future is not future:
            return None
        del self._running[future.key]
        self._given[running.turn.step.resources.kind] -= 1
        record: StepRecord | None = None
        if isinstance(result, StepRecord):
            record = result
        elif running.is_alone:
            record = StepRecord(running.turn.step.key, "failed", failure=_lost(future))
        else:
            self._doubtful.append(running.turn)
        # Dropping the future lets the scheduler forget the step.
        future.release()
        return record

    def drop(self, session: str) -> list[Key]:
        doubtful = [turn for turn in self._doubtful if turn.step.session == session]
        self._doubtful = [turn for turn in self._doubtful if turn.step.session != session]
        return [*self._waiting.drop(session), *(turn.step.key for turn in doubtful)]

    def cancel(self) -> None:
        if self._running:
            self._client.cancel([running.future for running in self._running.values()])
        self._running.clear()
        self._given.clear()
        self._doubtful.clear()
        self._waiting.clear()
        if self._elastic is not None:
            self._elastic.want({})


@dataclass(frozen=True)
class _Running:
    """A step that the cluster has."""

    turn: Turn
    future: Any  # distributed has no types
    is_alone: bool
    """Whether it was lost before, and nothing else runs beside it."""


def _lost(future: Any) -> Failure:  # distributed has no types
    error = future.exception() if future.status == "error" else None
    name = type(error).__name__ if error is not None else future.status
    text = (
        f"The cluster lost this step ({name}: {error}). Where: {future.key[0]} of {future.key[1]}. "
        "Expected: a worker that finishes it. Got: workers that died while running it, or were taken away. "
        "What to do: look at the worker logs for memory (a worker needs about 0.5 GB), then run again: "
        "finished chunks are kept."
    )
    return Failure(name, "run", text)
