"""Queue of steps: each becomes ready when the steps that it needs have ended."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from ibl_dask.errors import RunError
from ibl_dask.model.failure import Failure
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord
from ibl_dask.pipeline.attempts import MORE
from ibl_dask.pipeline.visibility import Unseen
from ibl_dask.tasks.run_step import in_order


@dataclass(eq=False, slots=True)
class QueuedStep:
    """A step with the records and folders that it runs with, and the history of its attempts."""

    step: Step
    """The step."""
    root: Path
    """See `run_step`."""
    priority: int
    """Higher first."""
    found: dict[StepKey, StepRecord]
    """Records of the steps that it needs, as far as they ended."""
    places: tuple[Path, ...] = ()
    """Files and folders that a worker must see."""
    keys: list[StepKey] = field(default_factory=list)
    """Dask keys of its attempts."""
    n_lost: int = 0
    """Number of workers lost with it. After the first it gets a process of its own."""
    unseen: list[Unseen] = field(default_factory=list)
    """Answers of workers that do not see the data."""
    n_cut: int = 0
    """Number of attempts that the end of a job ended."""
    failures: list[Failure] = field(default_factory=list)
    """Errors of its attempts so far."""
    given_s: float = 0.0
    """Time at which its latest attempt was given out, `time.monotonic`, s."""
    time_factor: float = 1.0
    """Factor on its time-out in the next attempt."""
    verdict: RunError | None = None
    """Reason not to try it again; None where it may be."""

    @property
    def time_out_s(self) -> float:
        """Return the time after which the next attempt is ended, s; 0 for none. It grows once a worker was lost."""
        return self.step.time_out_s * max(self.time_factor, MORE if self.n_lost else 1.0)

    @property
    def records(self) -> list[StepRecord]:
        """Return the records of the steps that it needs, in the order of its `needs`."""
        return [self.found[need] for need in self.step.needs]

    @property
    def is_ready(self) -> bool:
        """Return True if all steps that it needs have ended."""
        return all(need in self.found for need in self.step.needs)


class ReadyQueue:
    """Steps by what they wait for: first for other steps, then for a free slot.

    Sessions are ordered by priority, and within one the n-th chunk of every camera comes before the next of any: large
    videos are split into as many chunks as small ones, so all cameras end together.
    """

    def __init__(self) -> None:
        self._waiting: dict[StepKey, QueuedStep] = {}
        self._children: dict[StepKey, list[QueuedStep]] = defaultdict(list)
        self._ready: dict[str, list[tuple[int, int, int, QueuedStep]]] = defaultdict(list)
        self._n_ready: Counter[Resources] = Counter()
        self._number = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
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
            Steps, each of which needs only steps among these, queued before, or in `known`.
        root : Path
            See `run_step`.
        known : mapping of StepKey to StepRecord
            Records of steps that ended; those needed here are kept.
        priority : int
            Higher first.
        places : sequence of Path
            Files and folders that a worker must see.
        """
        for step in in_order(steps):
            found = {need: known[need] for need in step.needs if need in known}
            queued = QueuedStep(step, root, priority, found, tuple(places))
            self._waiting[step.key] = queued
            missing = set(step.needs) - found.keys()
            for need in missing:
                self._children[need].append(queued)
            if not missing:
                self._make_ready(queued)

    def again(self, queued: QueuedStep) -> None:
        """Take a step back that was handed out and did not run to its end."""
        self._waiting[queued.step.key] = queued
        self._make_ready(queued)

    def _make_ready(self, queued: QueuedStep) -> None:
        entry = (-queued.priority, queued.step.chunk, next(self._number), queued)
        heapq.heappush(self._ready[queued.step.resources.kind], entry)
        self._n_ready[queued.step.resources] += 1

    def n_ready(self, kind: str) -> int:
        """Return the number of steps of a kind of resource that could run now."""
        return len(self._ready[kind])

    def kinds(self) -> list[str]:
        """Return the kinds of resource that ready steps ask for."""
        return [kind for kind, entries in self._ready.items() if entries]

    def next(self, kind: str) -> QueuedStep:
        """Hand out the next step for a kind of resource."""
        queued = heapq.heappop(self._ready[kind])[-1]
        self._forget(queued)
        return queued

    def ready(self) -> dict[Resources, int]:
        """Return the number of ready steps by the resources that they occupy."""
        return {resources: n for resources, n in self._n_ready.items() if n}

    def take(self, resources: Resources) -> list[QueuedStep]:
        """Hand out all ready steps at once that occupy these resources."""
        entries = self._ready[resources.kind]
        taken = [queued for *_, queued in entries if queued.step.resources == resources]
        self._ready[resources.kind] = [entry for entry in entries if entry[-1].step.resources != resources]
        heapq.heapify(self._ready[resources.kind])
        for queued in taken:
            self._forget(queued)
        return taken

    def _forget(self, queued: QueuedStep) -> None:
        del self._waiting[queued.step.key]
        self._n_ready[queued.step.resources] -= 1

    def end(self, record: StepRecord) -> None:
        """Hand the record of a step to the steps that waited for it."""
        for queued in self._children.pop(record.key, ()):
            queued.found[record.key] = record
            if queued.is_ready:
                self._make_ready(queued)

    def drop(self, session: str) -> list[StepKey]:
        """Forget the steps of a session, and return their keys.

        Parameters
        ----------
        session : str
            Reference of the session.
        """
        for kind, entries in self._ready.items():
            for *_, queued in entries:
                self._n_ready[queued.step.resources] -= queued.step.session == session
            self._ready[kind] = [entry for entry in entries if entry[-1].step.session != session]
            heapq.heapify(self._ready[kind])
        for key, children in list(self._children.items()):
            left = [queued for queued in children if queued.step.session != session]
            if left:
                self._children[key] = left
            else:  # the step of this key may have been dropped as well: nothing would ever remove the entry
                del self._children[key]
        dropped = [key for key, queued in self._waiting.items() if queued.step.session == session]
        for key in dropped:
            del self._waiting[key]
        return dropped

    def clear(self) -> None:
        """Forget all steps."""
        self._waiting.clear()
        self._children.clear()
        self._ready.clear()
        self._n_ready.clear()
