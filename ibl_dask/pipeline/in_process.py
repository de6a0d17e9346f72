"""Executor that runs steps in the driver's own process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.pipeline.ready_queue import QueuedStep
from ibl_dask.pipeline.retries import Retries
from ibl_dask.tasks.run_step import in_order, run_step
from ibl_dask.tasks.step_log import with_trial

LOOK_S = 1.0
"""Longest interval between two looks at steps that wait for their next attempt, s."""


class InProcess:
    """Run steps one after another in this process: all of one kind before those that need them.

    Only records that a queued step needs are kept. Time-outs of steps are not enforced, since they end processes.

    Parameters
    ----------
    retries : Retries, optional
        Keeps the steps that are tried again.
    """

    slots = 1
    most_memory_gb = 0.0

    def __init__(self, retries: Retries | None = None) -> None:
        self.retries = Retries() if retries is None else retries
        self._queue: list[tuple[int, int, QueuedStep]] = []
        self._children: dict[StepKey, list[QueuedStep]] = defaultdict(list)
        self._n = 0

    @property
    def outstanding(self) -> int:
        return len(self._queue) + len(self.retries)

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
            queued = QueuedStep(step, root, priority, found, tuple(places))
            for need in set(step.needs) - found.keys():
                self._children[need].append(queued)
            self._put(queued)
        self._queue.sort(key=lambda entry: entry[:2])

    def _put(self, queued: QueuedStep) -> None:
        self._n += 1
        self._queue.append((-queued.priority, self._n, queued))

    def completed(self) -> Iterator[StepRecord]:
        while self.outstanding:
            for queued in self.retries.due():
                self._put(queued)
            for queued, failure in self.retries.given_up():
                yield self._end(StepRecord(queued.step.key, "failed", failure=failure))
            ready = self._next()
            if ready is None:
                time.sleep(min(LOOK_S, self.retries.wait_s))
                continue
            ready.given_s = time.monotonic()
            record = run_step(with_trial(ready.step, len(ready.failures) + 1), ready.records, ready.root)
            if record.status == "failed" and record.failure is not None:
                final = self.retries.judge(ready, record.failure)
                if final is None:
                    continue
                record = replace(record, failure=final)
            yield self._end(record)

    def _next(self) -> QueuedStep | None:
        """Take the first step whose needs have ended; None where all wait for a disk or for other attempts."""
        for entry in list(self._queue):
            queued = entry[2]
            if queued.is_ready:
                self._queue.remove(entry)
                if not self.retries.holds(queued):
                    return queued
        return None

    def _end(self, record: StepRecord) -> StepRecord:
        """Hand the record of a step to the steps that wait for it."""
        for child in self._children.pop(record.key, ()):
            child.found[record.key] = record
        return record

    def drop(self, session: str) -> list[StepKey]:
        dropped = [queued.step.key for *_, queued in self._queue if queued.step.session == session]
        self._queue = [entry for entry in self._queue if entry[2].step.session != session]
        for key in dropped:  # steps that need these were dropped as well
            self._children.pop(key, None)
        return [*dropped, *self.retries.drop(session)]

    def cancel(self) -> None:
        self._queue.clear()
        self._children.clear()
        self.retries.clear()
