"""Who runs the steps: this process, or the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ibl_dask.model.step import Failure, Key, Step, StepRecord
from ibl_dask.pipeline.graph import delayed_steps
from ibl_dask.tasks.walk import in_order, run_step


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


class OnCluster:
    """Run steps on the workers of a Dask client."""

    def __init__(self, client: Any) -> None:  # distributed has no types
        from distributed import as_completed

        self._client = client
        self._stream = as_completed(raise_errors=False)
        self._futures: dict[Key, Any] = {}

    @property
    def outstanding(self) -> int:
        return len(self._futures)

    @property
    def slots(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def submit(self, steps: Sequence[Step], root: Path, known: Mapping[Key, StepRecord], priority: int) -> None:
        nodes = delayed_steps(steps, root, known, priority)
        # Optimising would rename or fuse tasks and lose their annotations.
        futures = self._client.compute(list(nodes.values()), optimize_graph=False)
        for key, future in zip(nodes, futures, strict=True):
            self._futures[key] = future
        self._stream.update(futures)

    def completed(self) -> Iterator[StepRecord]:
        while self._futures:
            future = next(self._stream)
            key = future.key
            if future.status == "finished":
                record = future.result()
            else:
                record = StepRecord(key, "failed", failure=_lost(future))
            # Dropping the future lets the scheduler forget the step once nothing else needs it.
            del self._futures[key]
            future.release()
            yield record

    def cancel(self) -> None:
        if self._futures:
            self._client.cancel(list(self._futures.values()))
        self._futures.clear()


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
