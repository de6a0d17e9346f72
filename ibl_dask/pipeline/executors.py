"""Who runs the steps: this process, or the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
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
from ibl_dask.model.step import Key, Resources, Step, StepRecord
from ibl_dask.pipeline.delayed import Trial, delayed_step
from ibl_dask.pipeline.isolation import Death
from ibl_dask.pipeline.ready_queue import Turn, Waiting
from ibl_dask.pipeline.step_losses import how_lost, killed_itself, lost, sees_nothing
from ibl_dask.pipeline.visibility import Unseen, visible
from ibl_dask.store.failures import failure_from
from ibl_dask.tasks.run_step import in_order, run_step

_log = logging.getLogger(__name__)

IN_HAND = 2
"""Steps given to the cluster per free place: one that runs, and one that is there when it ends."""
COUNTED_EVERY_S = 2.0
"""How often workers are counted, s."""
MOST_LOST = 3
"""How often workers of this machine may be lost with a step before it fails."""
MOST_LOST_WITH_JOBS = 10
"""The same for workers that come and go with jobs: whatever ended those, the step had a process of its own."""
MOST_CUT = 2
"""How often the end of a job may end a step before it fails."""
MOST_UNSEEN = 12
"""How many workers that do not see the data a step may meet before it fails."""

NOBODY_S = 20.0
"""How long steps wait for another worker after the last one did not see the data and left, s."""


class Executor(Protocol):
    """Takes steps and hands their records back as they end."""

    @property
    def outstanding(self) -> int:
        """Return the number of steps that were taken and not handed back."""

    @property
    def slots(self) -> int:
        """Return how many steps can run at once."""

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[Key, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        """Take steps; whoever runs them must see some files and folders that this process sees."""

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

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[Key, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
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

    def hopeless(self, asked: Mapping[str, float]) -> RunError | None:
        """Return why nothing will ever run a step; None where something may."""

    def cuts(self) -> Sequence[Cut]:
        """Return the steps that the end of a job ended since this was last asked."""


class OnCluster:
    """Run steps on the workers of a Dask client.

    The cluster is given few steps at a time, and only such that could start at once. It would take any number, but
    holds back none that asks for a resource: all would go to workers, in no good order, and be lost with them. What a
    step returns comes back here and goes out with the steps that read it, so that no worker holds what others need.

    A cluster whose workers come and go is told how much there is to do, and more steps go out as workers come. A step
    that no worker can run, now or later, fails at once instead of waiting for ever.

    Dask blames the death of a worker on every step that the worker had, also on one that only waited there. So what a
    dead worker had is given again, and gets a process of its own from then on: a step that kills its process fails
    then, and costs no worker and no other step. Where that looks like a lack of memory it is tried once more when
    everything else is done, alone.

    A worker that does not see what this process sees is turned away, and what it had is given again (`pipeline/sight`).
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
        self._turns: dict[Any, Turn] = {}
        self._over: list[StepRecord] = []
        self._turned_away: dict[str, RunError] = {}
        self._turned_away_s = math.inf
        self._workers: list[Mapping[str, float]] = []
        self._counted_s = -math.inf
        self._insist_on_one_death()

    def _insist_on_one_death(self) -> None:
        """Let the scheduler hand a step back with the first worker that dies with it."""
        from ibl_dask.deploy.cluster.worker_death import OneDeath

        try:
            self._client.register_plugin(OneDeath())
        except Exception as error:  # noqa: BLE001  # somebody's scheduler without this package: it tries some more workers
            _log.info("the scheduler gives steps to further workers when one dies: %s", error)

    @property
    def outstanding(self) -> int:
        return len(self._waiting) + len(self._running) + len(self._doubtful) + len(self._over)

    @property
    def slots(self) -> int:
        most = 0 if self._elastic is None else self._elastic.most_workers
        return max(1, most, len(self._count_workers()))

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[Key, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        self._waiting.add(steps, root, known, priority, places)
        self._feed()

    def completed(self) -> Iterator[StepRecord]:
        while self.outstanding:
            if not self._running and self._doubtful and not self._waiting.kinds():
                self._try_alone()
            if not self._over:
                self._look()
            self._take_cuts()
            # One at a time: whoever asks may stop asking, and go on later.
            record = self._over.pop(0) if self._over else None
            if record is not None:
                self._waiting.end(record)
            self._feed()
            if record is not None:
                yield record

    def _look(self) -> None:
        """Wait a moment for a step to end; where none does, look for those that nothing will ever run."""
        try:
            ended = self._ended.get(timeout=COUNTED_EVERY_S)
        except Empty:
            self._fail_without_hope()
            return
        record = self._take(*ended)
        if record is not None:
            self._over.append(record)

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
                turn = self._waiting.next(kind)
                if turn.verdict:
                    self._fail(turn, turn.verdict)
                else:
                    turns.append(turn)
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

    def _fail_without_hope(self) -> None:
        """Let steps fail that nothing will ever run."""
        asked = {*self._waiting.ready(), *(running.turn.step.resources for running in self._running.values())}
        why = {resources: error for resources in asked if (error := self._hopeless(resources))}
        lost = [turn for resources in why for turn in self._waiting.take(resources)]
        for key, running in list(self._running.items()):
            if running.turn.step.resources in why:
                self._client.cancel([running.future])
                del self._running[key]
                self._given[running.turn.step.resources.kind] -= 1
                lost.append(running.turn)
        for turn in lost:
            self._fail(turn, why[turn.step.resources])

    def _hopeless(self, resources: Resources) -> RunError | None:
        asked = self._asks(resources)
        if self._elastic is not None:
            return self._elastic.hopeless(asked)
        workers = self._count_workers()
        if not workers and self._turned_away and time.monotonic() - self._turned_away_s > NOBODY_S:
            return joined(list(self._turned_away.values()))
        able = any(all(offered.get(name, 0) >= amount for name, amount in asked.items()) for offered in workers)
        if able or not workers:
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
        turn = self._doubtful.pop(0)
        _log.warning("%s of %s: tried again, alone", *turn.step.key[:2])
        self._start([turn], is_alone=True)

    def _start(self, turns: Sequence[Turn], *, is_alone: bool = False) -> None:
        if not turns:
            return
        nodes = []
        for turn in turns:
            # Where this process sees nothing either, no worker is to blame.
            trial = Trial(len(turn.keys) + 1, turn.n_lost > 0, visible(turn.places))
            asked = self._asks(turn.step.resources)
            nodes.append(delayed_step(turn.step, turn.records, turn.root, turn.priority, trial, asked))
        # Optimising would rename or fuse tasks and lose their annotations.
        futures = self._client.compute(nodes, optimize_graph=False)
        for turn, future in zip(turns, futures, strict=True):
            self._running[future.key] = _Running(turn, future, is_alone)
            self._turns[future.key] = turn
            turn.keys.append(future.key)
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
        turn = running.turn
        self._let_go(running)
        if isinstance(result, StepRecord):
            self._forget(turn)
            return result
        if isinstance(result, Unseen):
            self._send_elsewhere(turn, result)
        elif isinstance(result, Death):
            if result.is_lack_of_memory and not running.is_alone and self._has_others():
                self._doubtful.append(turn)
            else:
                self._fail(turn, killed_itself(turn, result), "StepKilled")
        else:
            turn.n_lost += 1
            if turn.n_lost >= (MOST_LOST_WITH_JOBS if self._elastic is not None else MOST_LOST):
                kind, said = how_lost(future)
                self._fail(turn, lost(turn, kind, said), kind)
            else:
                self._waiting.again(turn)
        return None

    def _let_go(self, running: _Running) -> None:
        del self._running[running.future.key]
        self._given[running.turn.step.resources.kind] -= 1
        # Dropping the future lets the scheduler forget the step.
        running.future.release()

    def _has_others(self) -> bool:
        """Return whether anything else runs or may run."""
        return bool(self._running or self._waiting.kinds())

    def _fail(self, turn: Turn, error: RunError, kind: str = "RunError") -> None:
        """Note that a step failed; its record is handed out with the next ones."""
        self._forget(turn)
        self._over.append(StepRecord(turn.step.key, "failed", failure=replace(failure_from(error), kind=kind)))

    def _forget(self, turn: Turn) -> None:
        for key in turn.keys:
            del self._turns[key]

    def _send_elsewhere(self, turn: Turn, unseen: Unseen) -> None:
        """Give a step again that met a worker which does not see the data, and turn that worker away."""
        if not visible([unseen.place]):  # gone from here as well
            self._waiting.again(turn)
            return
        turn.unseen.append(unseen)
        error = sees_nothing(turn, unseen)
        if unseen.worker not in self._turned_away:
            self._turned_away[unseen.worker] = error
            self._turned_away_s = time.monotonic()
            _log.warning("%s", error)
            problem = f"{unseen.place} is not seen there: {unseen.said}"
            with contextlib.suppress(Exception):  # it may be gone already
                self._client.run(leave, str(error), problem, workers=[unseen.worker], on_error="ignore")
        if len(turn.unseen) >= MOST_UNSEEN:
            self._fail(turn, error)
        else:
            self._waiting.again(turn)

    def _take_cuts(self) -> None:
        """Look for steps that the end of their job ended: one that no job is long enough for is not given again."""
        for cut in self._elastic.cuts() if self._elastic is not None else ():
            turn = self._turns.get(cut.key)
            if turn is None:
                continue
            turn.n_cut += 1
            if not cut.is_hopeless and turn.n_cut < MOST_CUT:
                continue
            running = next((one for one in self._running.values() if one.turn is turn), None)
            if running is not None:
                self._client.cancel([running.future])
                self._let_go(running)
                self._fail(turn, cut.error)
            else:
                turn.verdict = cut.error

    def drop(self, session: str) -> list[Key]:
        doubtful = [turn for turn in self._doubtful if turn.step.session == session]
        self._doubtful = [turn for turn in self._doubtful if turn.step.session != session]
        return [*self._waiting.drop(session), *(turn.step.key for turn in doubtful)]

    def cancel(self) -> None:
        if self._running:
            self._client.cancel([running.future for running in self._running.values()])
        self._running.clear()
        self._turns.clear()
        self._over.clear()
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
    """Whether nothing else runs beside it."""
