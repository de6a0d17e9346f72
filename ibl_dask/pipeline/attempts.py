"""Decision after a failed attempt at a step: another one and on which terms, a pause of the run, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ibl_dask.errors import Category
from ibl_dask.model.failure import Failure
from ibl_dask.store.disk import OF_FULL_DISK

PAUSES_S = (5.0, 30.0, 120.0)
"""Pauses before the second, third and any later attempt, s. A step itself repeats a call of the operating system that
fails on a network disk for 26 s; what still fails then takes minutes to pass."""
MORE = 2.0
"""Factor by which memory or time of the next attempt grows."""
MOST_ATTEMPTS: Mapping[Category, int] = {"network": 4, "disk": 4, "gpu": 3, "memory": 3, "timeout": 2}
"""Category of a failure that may pass by itself, or with more memory or time -> largest number of attempts."""
OF_NODES: tuple[Category, ...] = ("environment", "gpu", "killed")
"""Categories of failures that may be those of one node: others are tried where there are any."""
MOST_NODES = 3
"""Attempts at a step that fails like that, on whatever node."""
MOST_PAUSES = 8
"""Pauses that one step may cause: beyond, its disk takes other files, but not this one."""
FINAL = ("StepKilled", "WorkerLost")
"""Kinds of failures that come after several attempts on several workers."""
OF_FAILING_DISK = ("ReadFailed", "WriteFailed", "CorruptOutput")
"""Kinds of failures of a disk that may pass: not a lack of permission, for instance."""
QUARANTINED: tuple[Category, ...] = ("missing_input", "corrupt_input", "bug", "memory", "timeout", "walltime", "killed")
"""Categories of failures that depend on a task and its inputs alone: tried again once one of them has changed."""


@dataclass(frozen=True, slots=True)
class Again:
    """Terms of another attempt."""

    pause_s: float = 0.0
    """Time until it may start, s."""
    memory_factor: float = 1.0
    """Factor on the memory that the step asks for."""
    time_factor: float = 1.0
    """Factor on its time-out."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Demand to give out no further steps until a disk takes files again, then to try the step again."""

    place: str
    """File or folder that could not be written."""


def next_attempt(
    failures: Sequence[Failure], *, has_more_memory: bool = False, has_other_nodes: bool = False
) -> Again | Pause | None:
    """Decide on a step from its failures so far; None if it has failed for good.

    Parameters
    ----------
    failures : sequence of Failure
        Failures of its attempts, the latest last.
    has_more_memory : bool
        True if a worker with more memory than the step had may come.
    has_other_nodes : bool
        True if there are workers on several nodes.
    """
    last = failures[-1]
    if last.kind in OF_FULL_DISK:
        n_pauses = sum(failure.kind in OF_FULL_DISK for failure in failures)
        return Pause(last.where) if n_pauses <= MOST_PAUSES else None
    most = next((n for category, n in MOST_ATTEMPTS.items() if category == last.category), 1)
    if has_other_nodes and last.category in OF_NODES and last.kind not in FINAL:
        most = max(most, MOST_NODES)
    n_alike = sum(failure.category == last.category for failure in failures)
    is_permanent = last.category == "disk" and last.kind not in OF_FAILING_DISK
    if is_permanent or n_alike >= most or (last.category == "memory" and not has_more_memory):
        return None
    if last.category == "memory":
        return Again(memory_factor=MORE)
    if last.category == "timeout":
        return Again(time_factor=MORE)
    return Again(PAUSES_S[min(n_alike, len(PAUSES_S)) - 1])


def with_number(failure: Failure, n_attempts: int) -> Failure:
    """Return a failure with the number of attempts among its notes, if there were several."""
    if n_attempts < 2:
        return failure
    return replace(failure, notes=(*failure.notes, f"It was tried {n_attempts} times."))
