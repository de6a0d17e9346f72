"""Places that fail whatever they get: nodes and environments receive no more work, and disks no more than they bear."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace

from ibl_dask.errors import Category
from ibl_dask.model.failure import Failure
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.disk import OF_FULL_DISK

MOST_IN_A_ROW = 5
"""Failed steps, one after another on one node, from which on it is turned away."""
FEWEST_SESSIONS = 2
"""Sessions that these must belong to: one bad session fails anywhere."""
MOST_ENVIRONMENT_FAILURES = 3
"""Sessions in a row that fail in one environment, from which on it is not tried again for a while."""
ENVIRONMENT_PAUSE_S = 3600.0
"""Time until one more session tries an environment, s: the server that it lies on may have been away."""
BLAMED_ON_NODES: tuple[Category, ...] = ("environment", "gpu", "killed", "memory", "disk")
"""Categories that may be the fault of a node; others are those of data, code or a server, wherever they show."""


@dataclass(slots=True)
class _Streak:
    """Failures of a node since its last success."""

    failures: list[Failure] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    succeeds_elsewhere: bool = False
    """True once a step of these kinds succeeded on another node after the first failure."""


class NodeHealth:
    """Finds nodes on which every step fails while steps succeed on others."""

    def __init__(self) -> None:
        self._streaks: dict[str, _Streak] = defaultdict(_Streak)

    def note(self, node: str, session: str, kind: str, failure: Failure | None) -> Failure | None:
        """Take the end of a step; return the last failure of a node that is to be turned away.

        Parameters
        ----------
        node : str
            Node on which the step ran.
        session : str
            Its session.
        kind : str
            Kind of the step.
        failure : Failure or None
            Its error, if it failed.
        """
        if failure is None:
            self._streaks.pop(node, None)
            for other in self._streaks.values():
                other.succeeds_elsewhere |= kind in other.kinds
            return None
        if failure.category not in BLAMED_ON_NODES or failure.kind in OF_FULL_DISK:
            return None
        streak = self._streaks[node]
        streak.failures.append(failure)
        streak.sessions.add(session)
        streak.kinds.add(kind)
        is_bad = len(streak.failures) >= MOST_IN_A_ROW and len(streak.sessions) >= FEWEST_SESSIONS
        if is_bad and streak.succeeds_elsewhere:
            del self._streaks[node]
            return failure
        return None


class EnvironmentHealth:
    """Finds environments in which a task cannot even be loaded, so that thousands of sessions need not try it."""

    def __init__(self) -> None:
        self._in_a_row: dict[tuple[str | None, str], int] = defaultdict(int)
        self._last: dict[tuple[str | None, str], tuple[Failure, float]] = {}

    def note(self, spec: TaskSpec, failures: tuple[Failure, ...]) -> Failure | None:
        """Take the end of a task; return the failure with which its environment is given up."""
        key = (spec.env, spec.executable)
        bad = next((failure for failure in failures if failure.category == "environment"), None)
        if bad is None:
            self._in_a_row.pop(key, None)
            return None
        self._in_a_row[key] += 1
        if self._in_a_row[key] != MOST_ENVIRONMENT_FAILURES:
            return None
        note = f"{MOST_ENVIRONMENT_FAILURES} sessions in a row failed like this: it is not tried again for an hour."
        failure = replace(bad, notes=(*bad.notes, note))
        self._last[key] = failure, time.monotonic()
        return failure

    def reason(self, spec: TaskSpec) -> Failure | None:
        """Return the reason not to try a task; None where it may be tried."""
        key = (spec.env, spec.executable)
        if key not in self._last:
            return None
        failure, since_s = self._last[key]
        if time.monotonic() - since_s < ENVIRONMENT_PAUSE_S:
            return failure
        del self._last[key]
        self._in_a_row[key] = MOST_ENVIRONMENT_FAILURES - 1  # one more failure gives it up again
        return None


class IoBudget:
    """Shares the bandwidth of each file system among the tasks that run.

    Parameters
    ----------
    limit : float or None
        Sum of `io_charge` of the tasks that may run at once on one file system, %; None for any.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._running: dict[int, dict[tuple[str, str], float]] = defaultdict(dict)

    def start(self, device: int, task: tuple[str, str], charge: float) -> bool:
        """Start a task if the budget allows, and return whether it does. A task alone on its disk always may.

        Parameters
        ----------
        device : int
            Number of the file system.
        task : tuple of str
            Session and name of the task.
        charge : float
            Its `io_charge`, %.
        """
        running = self._running[device]
        if task in running or self._limit is None:
            return True
        if running and sum(running.values()) + charge > self._limit:
            return False
        running[task] = charge
        return True

    def end(self, task: tuple[str, str]) -> None:
        """End a task."""
        for running in self._running.values():
            running.pop(task, None)
