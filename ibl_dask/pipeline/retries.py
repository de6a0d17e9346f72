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
MOST_KNOWN_FOLDERS = 10_000
"""Folders whose disks are remembered."""
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


@dataclass(slots=True)
class _Pause:
    """A disk on which no step is to start."""

    place: str
    """File or folder that could not be written."""
    failure: Failure
    since_s: float
    probe_s: float
    """Time of the next look at the disk."""
    interval_s: float
    """Interval between two looks, s."""


class Retries:
    """Keeps steps whose attempt failed until the next one is due, and steps on a disk that takes no files.

    Times are those of `time.monotonic`.

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
        self._held: dict[Path, list[QueuedStep]] = {}
        self._pauses: dict[Path, _Pause] = {}
        self._resumed: dict[Path, tuple[float, float]] = {}
        """Disk -> end of its last pause, and the interval between two looks then."""
        self._disks: dict[Path, Path] = {}
        self._given_up: set[Path] = set()
        """Disks that took no files for the longest pause."""

    def __len__(self) -> int:
        return len(self._later) + sum(map(len, self._held.values()))

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
        if isinstance(verdict, Pause) and self.may_pause(verdict.place):
            if self._is_mended(verdict.place, queued.given_s):
                verdict = Again(0.0)
            else:
                self._held.setdefault(self.pause(verdict.place, failure), []).append(queued)
                return None
        if not isinstance(verdict, Again):
            return with_number(failure, n)
        if verdict.memory_factor > 1:
            # An estimate: a worker that has less is taken where no other has so much.
            more_gb = queued.step.resources.memory_gb * verdict.memory_factor
            resources = replace(queued.step.resources, memory_gb=more_gb, is_estimate=True)
            queued.step = replace(queued.step, resources=resources)
        queued.time_factor *= verdict.time_factor
        heapq.heappush(self._later, (time.monotonic() + verdict.pause_s, next(self._number), queued))
        self.listen(Retried(queued.step.key, n, failure, verdict.pause_s))
        return None

    def may_pause(self, place: str) -> bool:
        """Return whether to wait for the disk of a file; one that was waited for in vain has to take files first."""
        if self.longest_pause_s <= 0:
            return False
        disk = mount_of(Path(place))
        if disk in self._given_up and takes_files(Path(place)):
            self._given_up.discard(disk)
        return disk not in self._given_up

    def _is_mended(self, place: str, given_s: float) -> bool:
        """Return whether the disk of a file was waited for, and took files again, after an attempt was given out."""
        disk = mount_of(Path(place))
        return disk in self._resumed and disk not in self._pauses and given_s < self._resumed[disk][0]

    def is_paused(self, disk: Path) -> bool:
        """Return whether a disk took no files at the last look."""
        return disk in self._pauses

    def pause(self, place: str, failure: Failure) -> Path:
        """Give out no step on a disk until it takes files again, and return where it is mounted.

        Parameters
        ----------
        place : str
            File or folder that could not be written.
        failure : Failure
            The error, for those who wait.
        """
        disk = mount_of(Path(place))
        if disk not in self._pauses:
            now_s = time.monotonic()
            resumed_s, interval_s = self._resumed.get(disk, (-SOON_S, PROBED_EVERY_S))
            is_soon = now_s - resumed_s < SOON_S
            interval_s = min(2 * interval_s, PROBED_AT_LEAST_EVERY_S) if is_soon else PROBED_EVERY_S
            self._pauses[disk] = _Pause(place, failure, now_s, now_s + interval_s, interval_s)
            _log.warning("paused: %s", failure.message)
            self.listen(Paused(str(disk), failure))
        return disk

    def holds(self, queued: QueuedStep) -> bool:
        """Return True if a step is not to start now, since one of its places is on a disk that takes no files.

        It is kept until the end of the pause.
        """
        for disk in self._pauses:
            if any(self._disk_of(place) == disk for place in queued.places):
                self._held.setdefault(disk, []).append(queued)
                return True
        return False

    def _disk_of(self, place: Path) -> Path:
        folder = place.parent
        if folder not in self._disks:
            if len(self._disks) > MOST_KNOWN_FOLDERS:
                self._disks.clear()
            self._disks[folder] = mount_of(folder)
        return self._disks[folder]

    def due(self) -> list[QueuedStep]:
        """Hand out the steps that are to be tried again now."""
        ready = []
        now_s = time.monotonic()
        for disk, pause in list(self._pauses.items()):
            if now_s < pause.probe_s:
                continue
            pause.probe_s = now_s + pause.interval_s
            if takes_files(Path(pause.place)):
                self._resumed[disk] = (now_s, pause.interval_s)
                ready += self._end(disk)
        while self._later and self._later[0][0] <= now_s:
            ready.append(heapq.heappop(self._later)[2])
        return ready

    def given_up(self) -> list[tuple[QueuedStep, Failure]]:
        """Hand out the steps of pauses that lasted too long, each with its failure."""
        lost: list[tuple[QueuedStep, Failure]] = []
        for disk, pause in list(self._pauses.items()):
            if time.monotonic() - pause.since_s < self.longest_pause_s:
                continue
            note = f"The run waited {self.longest_pause_s / 3600:.1f} h for this disk."
            failure = replace(pause.failure, notes=(*pause.failure.notes, note))
            lost += [(queued, failure) for queued in self._end(disk)]
            self._given_up.add(disk)
        return lost

    def _end(self, disk: Path) -> list[QueuedStep]:
        """End a pause, and hand out its steps."""
        del self._pauses[disk]
        self.listen(Resumed(str(disk)))
        return self._held.pop(disk, [])

    @property
    def wait_s(self) -> float:
        """Return the time until `due` or `given_up` may hand out a step, s; infinity where none waits."""
        times = [entry[0] for entry in self._later[:1]]
        times += [min(pause.probe_s, pause.since_s + self.longest_pause_s) for pause in self._pauses.values()]
        return max(0.0, min(times) - time.monotonic()) if times else float("inf")

    def later(self) -> list[QueuedStep]:
        """Return the steps that wait for their next attempt, without those of a pause."""
        return [entry[2] for entry in self._later]

    def drop(self, session: str) -> list[StepKey]:
        """Forget the steps of a session, and return their keys."""
        everything = [*self.later(), *(queued for held in self._held.values() for queued in held)]
        self._later = [entry for entry in self._later if entry[2].step.session != session]
        heapq.heapify(self._later)
        for disk, held in self._held.items():
            self._held[disk] = [queued for queued in held if queued.step.session != session]
        return [queued.step.key for queued in everything if queued.step.session == session]

    def clear(self) -> None:
        """Forget all steps."""
        self._later.clear()
        self._held.clear()
        self._pauses.clear()
