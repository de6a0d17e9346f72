"""Steps that wait their turn."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ibl_dask.errors import RunError
from ibl_dask.model.step import Key, Resources, Step, StepRecord
from ibl_dask.pipeline.visibility import Unseen
from ibl_dask.tasks.run_step import in_order


@dataclass(eq=False)
class Turn:
    """A step, and all that it takes to run it."""

    step: Step
    """The step."""
    root: Path
    """See `run_step`."""
    priority: int
    """Higher first."""
    found: dict[Key, StepRecord]
    """Records of the steps that it needs and that ended."""
    places: tuple[Path, ...] = ()
    """Files and folders that a worker must see."""
    keys: list[Any] = field(default_factory=list)
    """Its names in Dask: one for each time that it was given to a worker."""
    n_lost: int = 0
    """How often its worker was lost. From then on it gets a process of its own."""
    unseen: list[Unseen] = field(default_factory=list)
    """What workers said that do not see the data."""
    n_cut: int = 0
    """How often the end of a job ended it."""
    verdict: RunError | None = None
    """Why it is not given again; None where it may be."""

    @property
    def records(self) -> list[StepRecord]:
        """Return the records of what it needs, in the order in which it names them."""
        return [self.found[need] for need in self.step.needs]


class Waiting:
    """Steps by what they wait for: others that must end first, then a free slot.

    Sessions come by priority, and within one the n-th chunk of every camera before the next of any: large videos are
    split into as many chunks as small ones, so that all cameras end together.
    """

    def __init__(self) -> None:
        self._waiting: dict[Key, Turn] = {}
        self._children: dict[Key, list[Turn]] = defaultdict(list)
        self._ready: dict[str, list[tuple[int, int, int, Turn]]] = defaultdict(list)
        self._n_ready: Counter[Resources] = Counter()
        self._number = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[Key, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        """Take steps, each of which needs only steps among these or in `known`."""
        for step in in_order(steps):
            found = {need: known[need] for need in step.needs if need in known}
            turn = Turn(step, root, priority, found, tuple(places))
            self._waiting[step.key] = turn
            missing = set(step.needs) - turn.found.keys()
            for need in missing:
                self._children[need].append(turn)
            if not missing:
                self._make_ready(turn)

    def again(self, turn: Turn) -> None:
        """Take a step back that was handed out and did not run to its end."""
        self._waiting[turn.step.key] = turn
        self._make_ready(turn)

    def _make_ready(self, turn: Turn) -> None:
        entry = (-turn.priority, turn.step.chunk, next(self._number), turn)
        heapq.heappush(self._ready[turn.step.resources.kind], entry)
        self._n_ready[turn.step.resources] += 1

    def n_ready(self, kind: str) -> int:
        """Return how many steps of a kind of resource could run now."""
        return len(self._ready[kind])

    def kinds(self) -> list[str]:
        """Return the kinds of resource that steps which could run now ask for."""
        return [kind for kind, entries in self._ready.items() if entries]

    def next(self, kind: str) -> Turn:
        """Hand out the step that is to run next on a kind of resource."""
        turn = heapq.heappop(self._ready[kind])[-1]
        self._forget(turn)
        return turn

    def ready(self) -> dict[Resources, int]:
        """Return how many steps could run now, by what they occupy."""
        return {resources: n for resources, n in self._n_ready.items() if n}

    def take(self, resources: Resources) -> list[Turn]:
        """Hand out all steps at once that could run now and occupy this."""
        entries = self._ready[resources.kind]
        taken = [turn for *_, turn in entries if turn.step.resources == resources]
        self._ready[resources.kind] = [entry for entry in entries if entry[-1].step.resources != resources]
        heapq.heapify(self._ready[resources.kind])
        for turn in taken:
            self._forget(turn)
        return taken

    def _forget(self, turn: Turn) -> None:
        del self._waiting[turn.step.key]
        self._n_ready[turn.step.resources] -= 1

    def end(self, record: StepRecord) -> None:
        """Tell the steps that waited for this one."""
        for turn in self._children.pop(record.key, ()):
            turn.found[record.key] = record
            if len(turn.found) == len(set(turn.step.needs)):
                self._make_ready(turn)

    def drop(self, session: str) -> list[Key]:
        """Forget the steps of a session, and return their keys."""
        for kind, entries in self._ready.items():
            for *_, turn in entries:
                self._n_ready[turn.step.resources] -= turn.step.session == session
            self._ready[kind] = [entry for entry in entries if entry[-1].step.session != session]
            heapq.heapify(self._ready[kind])
        for key, turns in self._children.items():
            self._children[key] = [turn for turn in turns if turn.step.session != session]
        dropped = [key for key, turn in self._waiting.items() if turn.step.session == session]
        for key in dropped:
            del self._waiting[key]
        return dropped

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._children.clear()
        self._ready.clear()
        self._n_ready.clear()
