"""Who runs the steps: this process, or the workers of a Dask cluster."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ibl_dask.model.step import Failure, Key, Step, StepRecord
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

    def cancel(self) -> None:
        self._queue.clear()


class OnCluster:
    """Run steps on the workers of a Dask client.

    The cluster is given few steps at a time, and only such that could start at once. It would take any number, but
    holds back none that asks for a resource: all would go to workers, in no good order, and be lost with them. What a
    step returns comes back here and goes out with the steps that read it, so that no worker holds what others need.

    Dask blames the death of a worker on every step that the worker had, also on one that only waited there. So a step
    that Dask gives up for that is tried once more when everything else is done, alone: one that takes its worker with
    it fails then, and no other step does.
    """

    def __init__(self, client: Any) -> None:  # distributed has no types
        from distributed import as_completed

        self._client = client
        self._stream = as_completed(with_results=True, raise_errors=False)
        self._waiting = Waiting()
        self._running: dict[Any, _Running] = {}
        self._given: Counter[str] = Counter()
        self._doubtful: list[Turn] = []
        self._slots: Counter[str] = Counter()
        self._largest: dict[str, float] = {}
        self._counted_s = -math.inf

    @property
    def outstanding(self) -> int:
        return len(self._waiting) + len(self._running) + len(self._doubtful)

    @property
    def slots(self) -> int:
        return max(1, sum(self._count_slots().values()))

    def submit(self, steps: Sequence[Step], root: Path, known: Mapping[Key, StepRecord], priority: int) -> None:
        self._waiting.add(steps, root, known, priority)
        self._feed()

    def completed(self) -> Iterator[StepRecord]:
        while self.outstanding:
            if not self._running:
                self._try_alone()
            record = self._take(*next(self._stream))
            if record is not None:
                self._waiting.end(record)
            self._feed()
            if record is not None:
                yield record

    def _count_slots(self) -> Counter[str]:
        """Return how many steps can run at once, by what they ask for; workers come and go."""
        if time.monotonic() - self._counted_s > COUNTED_EVERY_S:
            self._slots.clear()
            self._largest.clear()
            for worker in self._client.scheduler_info(n_workers=-1)["workers"].values():
                for kind, amount in worker["resources"].items():
                    self._slots[kind] += int(amount)
                    self._largest[kind] = max(amount, self._largest.get(kind, 0))
            self._counted_s = time.monotonic()
        return self._slots

    def _feed(self) -> None:
        """Give the cluster what it can start, and a little to go on with while this process looks elsewhere."""
        if any(running.is_alone for running in self._running.values()):
            return
        for kind in self._waiting.kinds():
            slots = max(1, self._count_slots()[kind])
            turns: list[Turn] = []
            while n_ready := self._waiting.n_ready(kind):
                # The last ones wait here for the first worker that is free, and not at one that is busy.
                most = slots * (IN_HAND if n_ready > slots else 1)
                if self._given[kind] + len(turns) >= most:
                    break
                turns.append(self._waiting.next(kind))
            self._start(turns)

    def _asked(self, step: Step) -> dict[str, float]:
        """Return what to ask of a worker: no more than any offers, since Dask would wait for one that does.

        Workers of this machine offer no GPU by name, but have those of the machine.
        """
        asked = step.resources.for_dask()
        is_local = type(self._client.cluster).__name__ == "LocalCluster"
        if is_local and not asked.keys() & self._largest.keys():
            return {"CPU": 1.0} if "CPU" in self._largest else {}
        return {kind: min(amount, self._largest.get(kind, amount)) for kind, amount in asked.items()}

    def _try_alone(self) -> None:
        turn = self._doubtful.pop(0)
        _log.warning("%s of %s: tried again, alone", *turn.step.key[:2])
        self._start([turn], is_alone=True)

    def _start(self, turns: Sequence[Turn], *, is_alone: bool = False) -> None:
        if not turns:
            return
        self._count_slots()
        nodes = [
            delayed_step(
                turn.step,
                turn.records,
                turn.root,
                turn.priority,
                2 if is_alone else 1,
                self._asked(turn.step),
            )
            for turn in turns
        ]
        # Optimising would rename or fuse tasks and lose their annotations.
        futures = self._client.compute(nodes, optimize_graph=False)
        for turn, future in zip(turns, futures, strict=True):
            self._running[future.key] = _Running(turn, future, is_alone)
            self._given[turn.step.resources.kind] += 1
        self._stream.update(futures)

    def _take(self, future: Any, result: Any) -> StepRecord | None:  # distributed has no types
        """Return the record of what ended; None where the step gets another try."""
        running = self._running.pop(future.key)
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

    def cancel(self) -> None:
        if self._running:
            self._client.cancel([running.future for running in self._running.values()])
        self._stream.clear()
        self._running.clear()
        self._given.clear()
        self._doubtful.clear()
        self._waiting.clear()


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
