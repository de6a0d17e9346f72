"""Sessions before they are driven: in the order given, and those that cannot start yet put last and tried again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.store.disk import RETRY_PAUSES_S
from ibl_dask.store.lock import Attempt

RETRY_S = 2.0
"""How long a session that was put last is left alone, s."""


@dataclass(eq=False)
class Candidate:
    """A session that was not begun."""

    order: int
    """Its place in the run."""
    path: Path
    """Its folder."""
    attempt: Attempt | None = None
    """What tries to take its lock; None before the first try."""
    is_taken: bool = False
    """Whether somebody else holds it for certain, as far as was seen last."""
    n_failures: int = 0
    """How often what may pass by itself kept it from starting."""
    not_before_s: float = 0.0
    """When it is tried again, by the clock of `time.monotonic`."""
    is_told: bool = False
    """Whether somebody was told that it was put last."""

    def wait(self, seconds: float = RETRY_S) -> None:
        """Leave it alone for a while."""
        self.not_before_s = time.monotonic() + seconds

    @property
    def pause_s(self) -> float | None:
        """Return how long to wait after a failure that may pass, s; None where it was tried often enough."""
        return RETRY_PAUSES_S[self.n_failures] if self.n_failures < len(RETRY_PAUSES_S) else None


class Admission:
    """Hands out sessions that may be tried now."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._fresh = deque(Candidate(order, path) for order, path in enumerate(paths))
        self._last: deque[Candidate] = deque()

    def __len__(self) -> int:
        return len(self._fresh) + len(self._last)

    def next(self, *, is_idle: bool) -> Candidate | None:
        """Hand out a session to be tried; None where none may be tried yet.

        Parameters
        ----------
        is_idle : bool
            Whether nothing else is under way.
        """
        if self._fresh:
            return self._fresh.popleft()
        now_s = time.monotonic()
        for _ in range(len(self._last)):
            candidate = self._last.popleft()
            # With nothing else to do, whoever is held by somebody is looked at once more, and then given up.
            if candidate.not_before_s <= now_s or (is_idle and candidate.is_taken):
                return candidate
            self._last.append(candidate)
        return None

    def put_last(self, candidate: Candidate) -> None:
        """Take a session back, to be tried again after the others."""
        self._last.append(candidate)
