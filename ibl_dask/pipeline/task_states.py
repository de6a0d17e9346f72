"""States of the tasks of one session: those that may start, those that are held back, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ibl_dask.model.failure import Failure
from ibl_dask.model.status import Status
from ibl_dask.model.step import StepKey
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.task_calls import Call, TaskAnswer
from ibl_dask.tasks.task import Task

RELEASING = (Status.COMPLETE, Status.INCOMPLETE)
"""Statuses of a task that let its children start."""


@dataclass(eq=False, slots=True)
class TaskState:
    """State of one task of a session in flight."""

    spec: TaskSpec
    """The task as plain data."""
    task: Task
    """The task."""
    parents: tuple[str, ...]
    """Names of the tasks of this run that must end first."""
    phase: Literal["held", "first", "rest", "over"] = "held"
    """held: its parents have not ended; first: its first steps run; rest: the others do; over: it ended."""
    waiting: set[StepKey] = field(default_factory=set)
    """Its steps, and calls on workers, that have not ended."""
    keys: dict[StepKey, None] = field(default_factory=dict)
    """Keys of all its steps so far, in order."""
    first: set[StepKey] = field(default_factory=set)
    """Keys of its first steps."""
    answer: TaskAnswer | Failure | None = None
    """Answer of its last call, or the error that it ended with, until the driver takes it up."""
    status: Status = Status.WAITING
    """Status at its end."""
    reason: Failure | None = None
    """Reason for which it did not start or could not be planned."""
    failures: tuple[Failure, ...] = ()
    """Errors, each once."""
    is_in_quarantine: bool = False
    """It failed in an earlier run, and was not tried again."""
    is_not_required: bool = False
    """Nothing is amiss although it did not run: it has nothing to read, or was not asked for by name."""

    @property
    def name(self) -> str:
        """Return its name within the session."""
        return self.spec.name

    @property
    def is_over(self) -> bool:
        """Return True if it ended."""
        return self.phase == "over"

    @property
    def has_failed(self) -> bool:
        """Return True if it ended with an error."""
        return self.is_over and self.status is Status.ERRORED

    @property
    def next_call(self) -> Call:
        """Return the call that it needs next."""
        if self.reason is not None or self.phase == "rest":
            return "conclude"
        return "first_steps" if self.phase == "held" else "steps"


def make_states(specs: tuple[TaskSpec, ...], tasks: Mapping[str, Task]) -> dict[str, TaskState]:
    """Return the state of each task; parents that are not among them count as done."""
    return {
        spec.name: TaskState(spec, tasks[spec.name], tuple(name for name in spec.parents if name in tasks))
        for spec in specs
    }


def startable(states: Mapping[str, TaskState]) -> list[TaskState]:
    """Return the held tasks whose parents have all ended, well or not; not those that a worker is planning."""
    return [
        state
        for state in states.values()
        if state.phase == "held" and not state.waiting and all(states[parent].is_over for parent in state.parents)
    ]


def blocking_parents(state: TaskState, states: Mapping[str, TaskState]) -> list[TaskState]:
    """Return the parents whose status keeps a task from starting."""
    return [
        states[name]
        for name in state.parents
        if states[name].status not in RELEASING and _class_of(states[name].spec) not in state.task.optional_parents
    ]


def held_back(state: TaskState, parents: list[TaskState]) -> Failure:
    """Return the reason for which a task did not start: the parents that block it."""
    names = ", ".join(f"{parent.name} ({parent.status})" for parent in parents)
    return Failure(
        "Held",
        "run",
        f"{state.name} was not started.",
        expected=f"{', '.join(parent.name for parent in parents)} complete",
        got=names,
        do="see to these first, then run again",
    )


def _class_of(spec: TaskSpec) -> str:
    return spec.executable.rsplit(".", 1)[-1]
