"""What should run on a session, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ibl_dask.errors import UsageError
from ibl_dask.model.step import Resources


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of one session."""

    name: str
    """Name within the session, as stored in Alyx."""
    executable: str
    """Dotted path of the class."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class; JSON."""
    parents: tuple[str, ...] = ()
    """Names of tasks that must be done before."""
    resources: Resources = Resources()
    """What it occupies."""
    priority: int = 30
    """0 to 100, higher first."""
    level: int = 0
    """Length of the longest way to a task without parents."""


def sort_specs(specs: Iterable[TaskSpec]) -> tuple[TaskSpec, ...]:
    """Order tasks so that parents come first, and number their levels.

    Raises
    ------
    UsageError
        If two tasks share a name, a parent is not there, or tasks wait for each other in a circle.
    """
    specs = list(specs)
    by_name = {spec.name: spec for spec in specs}
    if len(by_name) < len(specs):
        twice = sorted({s.name for s in specs if sum(t.name == s.name for t in specs) > 1})
        raise UsageError("two tasks share a name", got=", ".join(twice), do="give each task its own name")
    for spec in specs:
        absent = [parent for parent in spec.parents if parent not in by_name]
        if absent:
            raise UsageError(
                f"task {spec.name} waits for a task that is not there",
                expected="parents among " + ", ".join(by_name),
                got=", ".join(absent),
                do="add the task or drop it from the parents",
            )
    done: dict[str, TaskSpec] = {}
    left = specs
    while left:
        ready = [spec for spec in left if all(parent in done for parent in spec.parents)]
        if not ready:
            raise UsageError("tasks wait for each other in a circle", got=", ".join(s.name for s in left))
        for spec in ready:
            level = max((done[parent].level + 1 for parent in spec.parents), default=0)
            done[spec.name] = replace(spec, level=level)
        left = [spec for spec in left if spec.name not in done]
    return tuple(done.values())
