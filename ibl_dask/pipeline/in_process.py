"""Executor that runs steps in the driver's own process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.pipeline.ready_queue import QueuedStep
from ibl_dask.tasks.run_step import in_order, run_step


class InProcess:
    """Run steps one after another in this process: all of one kind before those that need them.

    Only records that a queued step needs are kept.
    """

    slots = 1

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, QueuedStep]] = []
        self._children: dict[StepKey, list[QueuedStep]] = defaultdict(list)
        self._n = 0

    @property
    def outstanding(self) -> int:
        return len(self._queue)

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[StepKey, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        for step in in_order(steps):
            found = {need: known[need] for need in step.needs if need in known}
            queued = QueuedStep(step, root, priority, found)
            for need in set(step.needs) - found.keys():
                self._children[need].append(queued)
            self._n += 1
            self._queue.append((-priority, self._n, queued))
        self._queue.sort(key=lambda entry: entry[:2])

    def completed(self) -> Iterator[StepRecord]:
        while self._queue:
            _, _, queued = self._queue.pop(0)
            record = run_step(queued.step, queued.records, queued.root)
            for child in self._children.pop(record.key, ()):
                child.found[record.key] = record
            yield record

    def drop(self, session: str) -> list[StepKey]:
        dropped = [queued.step.key for *_, queued in self._queue if queued.step.session == session]
        self._queue = [entry for entry in self._queue if entry[2].step.session != session]
        for key in dropped:  # steps that need these were dropped as well
            self._children.pop(key, None)
        return dropped

    def cancel(self) -> None:
        self._queue.clear()
        self._children.clear()
