"""Sessions before they are driven: in the order given; those that cannot start yet are put last and tried again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ibl_dask.model.task import TaskSpec
from ibl_dask.store.disk import RETRY_PAUSES_S
from ibl_dask.store.lock import Attempt

RETRY_S = 2.0
"""Pause before a session that was put last is tried again, s."""


@dataclass(eq=False, slots=True)
class Candidate:
    """A session that was not begun."""

    order: int
    """Place in the run."""
    path: Path
    """Session folder."""
    attempt: Attempt | None = None
    """Attempt at its lock; None before the first try."""
    is_taken: bool = False
    """At the last try another run held it for certain."""
    n_failures: int = 0
    """Number of transient errors that kept it from starting."""
    n_pauses: int = 0
    """Number of pauses of a full disk that it caused."""
    disk: Path | None = None
    """Disk that took no files when it was to start; None for none."""
    not_before_s: float = 0.0
    """Time of the next try, by the clock of `time.monotonic`."""
    is_announced: bool = False
    """Listeners know that it was put last."""

    def wait(self, seconds: float = RETRY_S) -> None:
        """Postpone the next try."""
        self.not_before_s = time.monotonic() + seconds

    @property
    def pause_s(self) -> float | None:
        """Return the pause after a transient error, s; None where it was tried often enough."""
        return RETRY_PAUSES_S[self.n_failures] if self.n_failures < len(RETRY_PAUSES_S) else None


class Feed(Protocol):
    """Sessions that come while a run goes on, each once; called from the thread of the driver."""

    @property
    def n_sessions(self) -> int:
        """Return the number of sessions that come in all; 0 where it is not known."""

    @property
    def is_over(self) -> bool:
        """Return True once no further session will come."""

    def take(self) -> Path | None:
        """Return the next session folder; None where there is none now. It is called often, and must not wait."""

    def specs(self, session: Path) -> Sequence[TaskSpec] | None:
        """Return the tasks of a session that was taken; None for those of its description.

        Raises
        ------
        IblDaskError
            For which the session cannot be run: its failure.
        """


class Admission:
    """Hands out sessions that may be tried now.

    Parameters
    ----------
    paths : sequence of Path
        Session folders, in order.
    feed : Feed, optional
        Further sessions, which come after these.
    """

    def __init__(self, paths: Sequence[Path], feed: Feed | None = None) -> None:
        self._paths = list(paths)
        self._feed = feed
        self._n_seen = 0
        self._last: deque[Candidate] = deque()

    def __len__(self) -> int:
        """Return the number of sessions that are known and not begun."""
        return len(self._paths) - self._n_seen + len(self._last)

    def __bool__(self) -> bool:
        """Return whether a session is still to come."""
        return len(self) > 0 or (self._feed is not None and not self._feed.is_over)

    def next(self, *, is_idle: bool) -> Candidate | None:
        """Hand out a session to be tried; None where none may be tried yet.

        Parameters
        ----------
        is_idle : bool
            True if nothing else is in flight.
        """
        if self._n_seen == len(self._paths) and self._feed is not None and not self._feed.is_over:
            fresh = self._feed.take()
            self._paths += [] if fresh is None else [fresh]
        if self._n_seen < len(self._paths):
            order = self._n_seen
            self._n_seen += 1
            return Candidate(order, self._paths[order])
        now_s = time.monotonic()
        for _ in range(len(self._last)):
            candidate = self._last.popleft()
            # With nothing else to do, a session that another run holds is tried once more, and then given up.
            if candidate.not_before_s <= now_s or (is_idle and candidate.is_taken):
                return candidate
            self._last.append(candidate)
        return None

    def clear(self) -> None:
        """Hand out no further session."""
        self._n_seen = len(self._paths)
        self._feed = None
        self._last.clear()

    def put_last(self, candidate: Candidate) -> None:
        """Take a session back, to be tried again after the others."""
        self._last.append(candidate)
