"""Rows that came back or cannot start: they are looked at again later, and keep no others from running."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)

BACKOFF_S = 600.0
"""Pause before a row that came back, or cannot start, is looked at again, s; twice as long each time."""
LONGEST_BACKOFF_S = 24 * 3600.0


@dataclass(slots=True)
class PutOff:
    """Rows that are not tried again yet, so that they keep no other row from running."""

    backoff_s: float = BACKOFF_S
    """First pause, s."""
    _until: dict[str, tuple[float, int]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Row -> why it does not run."""

    def add(self, row: str, reason: str) -> None:
        """Put a row off, for longer each time; a reason is logged when it is new."""
        _, n_times = self._until.get(row, (0.0, 0))
        pause_s = min(self.backoff_s * 2**n_times, LONGEST_BACKOFF_S)
        self._until[row] = (time.monotonic() + pause_s, n_times + 1)
        if self.reasons.get(row) != reason:
            _log.warning("row %s is left waiting: %s", row, reason)
        self.reasons[row] = reason

    def holds(self, row: str) -> bool:
        """Return whether a row is put off now."""
        return time.monotonic() < self._until.get(row, (0.0, 0))[0]

    def forget(self, row: str) -> None:
        """Take a row that ran off the list."""
        self._until.pop(row, None)
        self.reasons.pop(row, None)
