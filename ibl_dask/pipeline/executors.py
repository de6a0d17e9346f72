"""Who runs the steps: this process, or the workers of a Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ibl_dask.model.step import Failure, Key, Step, StepRecord
from ibl_dask.pipeline.graph import delayed_steps
from ibl_dask.tasks.walk import in_order, run_step

_log = logging.getLogger(__name__)


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
    """Run steps one after another in this process."""

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


@dataclass
class _Batch:
    """Steps of one session that were submitted together."""

    steps: Mapping[Key, Step]
    """All of them."""
    root: Path
    """See `run_step`."""
    known: dict[Key, StepRecord]
    """Records of those that ended, and of what they need."""
    running: set[Key]
    """Those that the cluster has."""
    stuck: dict[Key, Failure] = field(default_factory=dict)
    """Those that the cluster gave up, and what it said."""
    tried_alone: set[Key] = field(default_factory=set)
    """Those that were tried with nothing else on the cluster."""

    def next_doubtful(self) -> Step | None:
        """Return a step that may not be to blame for what was lost, once nothing of the batch runs any more."""
        for key in self.stuck if not self.running else ():
            if key not in self.tried_alone and not any(need in self.stuck for need in self.steps[key].needs):
                return self.steps[key]
        return None

    def settle(self) -> list[StepRecord]:
        """Once nothing runs any more: fail what the cluster lost, and run here what waited for that.

        Dask gives up whatever depends on a lost step, but a step of ours reads the records of those that it needs, and
        may do without one. What is left after a lost step is little: to put together and to judge what there is.
        """
        if self.running or self.next_doubtful() is not None:
            return []
        records = []
        for step in in_order(self.steps[key] for key in self.stuck):
            if any(need in self.stuck for need in step.needs):
                record = run_step(step, [self.known[need] for need in step.needs], self.root)
            else:
                record = StepRecord(step.key, "failed", failure=self.stuck[step.key])
            self.known[step.key] = record
            records.append(record)
        self.stuck.clear()
        return records


class OnCluster:
    """Run steps on the workers of a Dask client.

    Dask blames the death of a worker on every step that the worker had, also on those that only waited there. So a step
    that Dask gives up for that is tried once more when everything else is done, alone: one that takes its worker with
    it fails then, and no other step does.
    """

    def __init__(self, client: Any) -> None:  # distributed has no types
        from distributed import as_completed

        self._client = client
        self._stream = as_completed(raise_errors=False)
        self._futures: dict[Any, tuple[Key, Any]] = {}
        self._batches: dict[Key, _Batch] = {}
        self._ready: list[StepRecord] = []

    @property
    def outstanding(self) -> int:
        return len(self._batches)

    @property
    def slots(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def submit(self, steps: Sequence[Step], root: Path, known: Mapping[Key, StepRecord], priority: int) -> None:
        batch = _Batch({step.key: step for step in steps}, root, dict(known), set())
        self._batches.update(dict.fromkeys(batch.steps, batch))
        self._start(batch, steps, priority)

    def _start(self, batch: _Batch, steps: Sequence[Step], priority: int = 0, trial: int = 1) -> None:
        nodes = delayed_steps(steps, batch.root, batch.known, priority, trial=trial)
        batch.running |= nodes.keys()
        # Optimising would rename or fuse tasks and lose their annotations.
        futures = self._client.compute(list(nodes.values()), optimize_graph=False)
        self._futures.update((future.key, (key, future)) for key, future in zip(nodes, futures, strict=True))
        self._stream.update(futures)

    def completed(self) -> Iterator[StepRecord]:
        while self._batches:
            if self._ready:
                record = self._ready.pop(0)
                del self._batches[record.key]
                yield record
            else:
                if not self._futures:
                    self._try_alone()
                self._take(next(self._stream))

    def _try_alone(self) -> None:
        batch, step = next((b, step) for b in self._batches.values() if (step := b.next_doubtful()) is not None)
        _log.warning("%s of %s: tried again, alone", *step.key[:2])
        batch.tried_alone.add(step.key)
        del batch.stuck[step.key]
        self._start(batch, [step], trial=2)

    def _take(self, future: Any) -> None:  # distributed has no types
        # Dropping the future lets the scheduler forget the step once nothing else needs it.
        key, _ = self._futures.pop(future.key)
        batch = self._batches[key]
        batch.running.discard(key)
        if future.status == "finished":
            record = future.result()
            batch.known[record.key] = record
            self._ready.append(record)
        else:
            batch.stuck[key] = _lost(future)
        future.release()
        self._ready += batch.settle()

    def cancel(self) -> None:
        if self._futures:
            self._client.cancel([future for _, future in self._futures.values()])
        self._futures.clear()
        self._batches.clear()
        self._ready.clear()


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
