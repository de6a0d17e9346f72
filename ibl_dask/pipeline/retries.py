"""Steps that failed and are tried again: after a pause, or once a full disk takes files again."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ibl_dask.model.failure import Failure
from ibl_dask.model.step import StepKey
from ibl_dask.pipeline.attempts import Again, Pause, next_attempt, with_number
from ibl_dask.pipeline.ready_queue import QueuedStep
from ibl_dask.store.disk import mount_of, takes_files

_log = logging.getLogger(__name__)

PROBED_EVERY_S = 5.0
"""First interval between two looks at a full disk, s. It doubles with each pause that follows soon after another."""
PROBED_AT_LEAST_EVERY_S = 300.0
"""Largest interval, s."""
SOON_S = 60.0
"""Time after the end of a pause within which another one follows it soon, s."""
LONGEST_PAUSE_S = 24 * 3600.0
"""Duration after which a pause ends the steps that wait, s."""


@dataclass(frozen=True, slots=True)
class Retried:
    """Announcement of another attempt at a step."""

    key: StepKey
    """The step."""
    attempt: int
    """Number of the attempt that failed, from 1."""
    failure: Failure
    """Its error."""
    pause_s: float
    """Time until the next one, s."""


@dataclass(frozen=True, slots=True)
class Paused:
    """Announcement that no further steps are given out."""

    place: str
    """The disk."""
    failure: Failure
    """The reason."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Announcement that steps are given out again."""

    place: str
    """The disk."""


Notice = Retried | Paused | Resumed


class Retries:
    """Keeps steps whose attempt failed until the next one is due.

    Parameters
    ----------
    longest_pause_s : float
        Duration of a pause after which the steps that wait for its end have failed, s; 0 for no pause at all.
    """

    def __init__(self, longest_pause_s: float = LONGEST_PAUSE_S) -> None:
        self.longest_pause_s = longest_pause_s
        self.listen: Callable[[Notice], None] = lambda notice: None
        """Called with every announcement."""
        self._later: list[tuple[float, int, QueuedStep]] = []
        self._number = count()
        self._held: list[QueuedStep] = []
        self._pause: tuple[str, Failure] | None = None
        self._paused_s = 0.0
        self._probe_s = 0.0
        self._interval_s = PROBED_EVERY_S
        self._resumed_s = -SOON_S

    def __len__(self) -> int:
        return len(self._later) + len(self._held)

    @property
    def is_paused(self) -> bool:
        """Return True while no steps are to be given out."""
        return self._pause is not None

    def judge(
        self, queued: QueuedStep, failure: Failure, *, has_more_memory: bool = False, has_other_nodes: bool = False
    ) -> Failure | None:
        """Take a step whose attempt failed; return its final failure if there is no other attempt.

        Parameters
        ----------
        queued : QueuedStep
            The step, which is changed for the next attempt: memory, time-out, failures.
        failure : Failure
            The error of the attempt.
        has_more_memory : bool
            True if a worker with more memory may come.
        has_other_nodes : bool
            True if there are workers on several nodes.
        """
        queued.failures.append(failure)
        verdict = next_attempt(queued.failures, has_more_memory=has_more_memory, has_other_nodes=has_other_nodes)
        n = len(queued.failures)
        if isinstance(verdict, Pause) and self.longest_pause_s > 0:
            self._hold(queued, verdict.place, failure)
            return None
        if not isinstance(verdict, Again):
            return with_number(failure, n)
        more = queued.step.resources.memory_gb * verdict.memory_factor
        if verdict.memory_factor > 1:
            # An estimate: a worker that has less is taken where no other has so much.
            resources = replace(queued.step.resources, memory_gb=more, is_estimate=True)
            queued.step = replace(queued.step, resources=resources)
        queued.time_factor *= verdict.time_factor
        heapq.heappush(self._later, (time.monotonic() + verdict.pause_s, next(self._number), queued))
        self.listen(Retried(queued.step.key, n, failure, verdict.pause_s))
        return None

    def _hold(self, queued: QueuedStep, place: str, failure: Failure) -> None:
        self._held.append(queued)
        if self._pause is not None:
            return
        now_s = time.monotonic()
        is_soon = now_s - self._resumed_s < SOON_S
        self._interval_s = min(2 * self._interval_s, PROBED_AT_LEAST_EVERY_S) if is_soon else PROBED_EVERY_S
        self._pause, self._paused_s, self._probe_s = (place, failure), now_s, now_s + self._interval_s
        _log.warning("paused: %s", failure.message)
        self.listen(Paused(_disk(place), failure))

    def due(self) -> list[QueuedStep]:
        """Hand out the steps that are to be tried again now."""
        ready = []
        if self._pause is not None and time.monotonic() >= self._probe_s:
            place = self._pause[0]
            self._probe_s = time.monotonic() + self._interval_s
            if takes_files(Path(place)):
                self._pause, self._resumed_s = None, time.monotonic()
                ready, self._held = self._held, []
                self.listen(Resumed(_disk(place)))
        now_s = time.monotonic()
        while self._later and self._later[0][0] <= now_s:
            ready.append(heapq.heappop(self._later)[2])
        return ready

    def given_up(self) -> list[tuple[QueuedStep, Failure]]:
        """Hand out the steps of a pause that lasted too long, each with its failure."""
        if self._pause is None or time.monotonic() - self._paused_s < self.longest_pause_s:
            return []
        place, failure = self._pause
        note = f"The run waited {self.longest_pause_s / 3600:.1f} h for this disk."
        held, self._held, self._pause = self._held, [], None
        self.longest_pause_s = 0.0  # the disk had its chance: later failures of this kind are final at once
        self.listen(Resumed(_disk(place)))
        return [(queued, replace(queued.failures[-1], notes=(*failure.notes, note))) for queued in held]

    @property
    def wait_s(self) -> float:
        """Return the time until `due` may hand out a step, s; infinity where none waits."""
        times = [entry[0] for entry in self._later[:1]]
        if self._pause is not None:
            times.append(min(self._probe_s, self._paused_s + self.longest_pause_s))
        return max(0.0, min(times) - time.monotonic()) if times else float("inf")

    def all(self) -> list[QueuedStep]:
        """Return the steps that wait."""
        return [*(entry[2] for entry in self._later), *self._held]

    def drop(self, session: str) -> list[StepKey]:
        """Forget the steps of a session, and return their keys."""
        dropped = [queued.step.key for queued in self.all() if queued.step.session == session]
        self._later = [entry for entry in self._later if entry[2].step.session != session]
        heapq.heapify(self._later)
        self._held = [queued for queued in self._held if queued.step.session != session]
        return dropped

    def clear(self) -> None:
        """Forget all steps."""
        self._later.clear()
        self._held.clear()
        self._pause = None


def _disk(place: str) -> str:
    return str(mount_of(Path(place))) if place else ""
