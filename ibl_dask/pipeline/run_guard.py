"""Guard of a run: sessions and tasks that are not to be begun, or not yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ibl_dask.model.failure import Failure
from ibl_dask.pipeline.circuit_breakers import EnvironmentHealth, IoBudget
from ibl_dask.pipeline.limits import Limits
from ibl_dask.pipeline.run_outcome import SessionOutcome
from ibl_dask.pipeline.running_session import RunningSession
from ibl_dask.pipeline.task_states import TaskState


@dataclass(slots=True)
class InLine:
    """Task that waits for the bandwidth of its disk."""

    session: RunningSession
    state: TaskState


class RunGuard:
    """Counts failures and running tasks, and says what may begin.

    Parameters
    ----------
    limits : Limits
        Limits of the run.
    announce : callable
        Called with a place and the failure for which it gets no more work.
    """

    def __init__(self, limits: Limits, announce: Callable[[str, Failure], None]) -> None:
        self._limits = limits
        self._announce = announce
        self._environments = EnvironmentHealth()
        self._budget = IoBudget(limits.io_limit)
        self._in_line: dict[tuple[str, str], InLine] = {}
        self._n_failed = self._n_ended = 0
        self.stopped: Failure | None = None
        """Reason for which no further session is begun; None where one may be."""

    def note_end(self, outcome: SessionOutcome) -> None:
        """Take the end of a session."""
        self._n_ended += 1
        self._n_failed += not outcome.is_success
        if self.stopped is None and self._limits.max_failures.is_exceeded(self._n_failed, self._n_ended):
            self.stopped = Failure(
                "TooManyFailures",
                "usage",
                "too many sessions failed: no further one is begun.",
                expected=f"--max-failures {self._limits.max_failures}",
                got=f"{self._n_failed:,} of {self._n_ended:,} sessions",
                do="look at the failures, mend their common cause, and run again: finished sessions are kept",
            )
            self._announce("further sessions", self.stopped)

    def reason_not_to_start(self, session: RunningSession, state: TaskState) -> Failure | None:
        """Return the failure of a task that is not tried: its environment was given up, or it is in quarantine."""
        failure = self._environments.reason(state.spec) or session.quarantine.reason(state)
        state.is_in_quarantine = failure is not None
        return failure

    def has_bandwidth(self, session: RunningSession, state: TaskState) -> bool:
        """Return True if a task may start; else it stands in line for the bandwidth of its disk."""
        key = (session.reference, state.name)
        if self._budget.start(session.device, key, state.spec.io_charge):
            self._in_line.pop(key, None)
            return True
        self._in_line[key] = InLine(session, state)
        return False

    @property
    def n_in_line(self) -> int:
        """Return the number of tasks that wait for bandwidth."""
        return len(self._in_line)

    def first_in_line(self) -> InLine | None:
        """Take the first task in line that may start now; None where none may."""
        for key, waiting in self._in_line.items():
            if self._budget.start(waiting.session.device, key, waiting.state.spec.io_charge):
                return self._in_line.pop(key)
        return None

    def end_task(self, session: RunningSession, state: TaskState) -> None:
        """Take the end of a task."""
        self._budget.end((session.reference, state.name))
        given_up = None if state.is_in_quarantine else self._environments.note(state.spec, state.failures)
        if given_up is not None:
            self._announce(f"{state.spec.executable}, environment {state.spec.env or 'of the workers'}", given_up)

    def release(self, session: RunningSession) -> None:
        """Forget the tasks of a session that ended."""
        for name in session.states:
            self._budget.end((session.reference, name))
            self._in_line.pop((session.reference, name), None)
