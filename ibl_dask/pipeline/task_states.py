"""The tasks of one session on their way: which may start, which are held back, and what excuses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ibl_dask.model.status import Status
from ibl_dask.model.step import Failure, Key, Step
from ibl_dask.model.task import TaskSpec
from ibl_dask.tasks.task import Task

RELEASING = (Status.COMPLETE, Status.INCOMPLETE)
"""How a task must have ended for those to start that need it."""


@dataclass(eq=False)
class Turn:
    """One task of a session."""

    spec: TaskSpec
    """The task as plain data."""
    task: Task
    """The task."""
    parents: tuple[str, ...]
    """Names of the tasks of this run that it waits for."""
    phase: Literal["held", "first", "rest", "over"] = "held"
    """held: its parents have not ended; first: its first steps run; rest: the others do; over: it ended."""
    waiting: set[Key] = field(default_factory=set)
    """Steps that it waits for."""
    steps: dict[Key, Step] = field(default_factory=dict)
    """All its steps so far."""
    status: Status = Status.WAITING
    """How it ended."""
    reason: Failure | None = None
    """Why it did not start, or could not be planned."""
    is_excused: bool = False
    """Whether nothing is amiss although it did not run: it has nothing to read, or waits unasked."""

    @property
    def name(self) -> str:
        """Return its name within the session."""
        return self.spec.name

    @property
    def is_over(self) -> bool:
        """Return whether it ended."""
        return self.phase == "over"


def make_turns(specs: tuple[TaskSpec, ...], tasks: Mapping[str, Task]) -> dict[str, Turn]:
    """Return a turn for each task; parents that are not among them count as done."""
    return {
        spec.name: Turn(spec, tasks[spec.name], tuple(name for name in spec.parents if name in tasks)) for spec in specs
    }


def startable(turns: Mapping[str, Turn]) -> list[Turn]:
    """Return the tasks that are held and whose parents have all ended, well or not."""
    return [
        turn
        for turn in turns.values()
        if turn.phase == "held" and all(turns[parent].is_over for parent in turn.parents)
    ]


def blocking(turn: Turn, turns: Mapping[str, Turn]) -> list[Turn]:
    """Return the parents whose end keeps a task from starting."""
    return [
        turns[name]
        for name in turn.parents
        if turns[name].status not in RELEASING and _class_of(turns[name].spec) not in turn.task.optional_parents
    ]


def held_back(turn: Turn, by: list[Turn]) -> Failure:
    """Say why a task did not start."""
    names = ", ".join(f"{parent.name} ({parent.status})" for parent in by)
    return Failure(
        "Held",
        "run",
        f"{turn.name} was not started. Expected: {', '.join(parent.name for parent in by)} complete. Got: {names}. "
        "What to do: see to these first, then run again",
    )


def _class_of(spec: TaskSpec) -> str:
    return spec.executable.rsplit(".", 1)[-1]
