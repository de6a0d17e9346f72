"""Failures that the fake Alyx is asked to have."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

KINDS = ("500", "502", "drop_before", "drop_after", "hang_before", "hang_after", "throttle")
"""500, 502: an error, nothing is carried out; drop: the connection closes without an answer, before or after the
request is carried out; hang: the same, after the client lost patience; throttle: 429."""
FILE_KINDS = ("truncate", "wrong", "404", "503")
"""Failures of the server of files, to be planned: half of it; other bytes; not there; an error that passes."""


@dataclass
class Faults:
    """Random failures, seeded, and failures of chosen requests."""

    seed: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    """Kind -> probability per request."""
    hang_s: float = 1.0
    retry_after: str = "1"
    is_down: bool = False
    """Close each connection without an answer."""
    n_met: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._planned: list[list] = []
        self._lock = threading.Lock()

    def plan(self, kind: str, method: str = "", path: str = "", times: int = 1) -> None:
        """Let the next requests of a method and a path have a failure."""
        self._planned.append([kind, method, path, times])

    def draw(self, method: str, path: str) -> str:
        """Return the kind of failure of a request; empty for none."""
        with self._lock:
            kind = self._draw(method, path)
            if kind:
                self.n_met[kind] = self.n_met.get(kind, 0) + 1
            return kind

    def _draw(self, method: str, path: str) -> str:
        for row in self._planned:
            if row[3] > 0 and row[1] in ("", method) and path.startswith(row[2]):
                row[3] -= 1
                return row[0]
        if self.is_down:
            return "drop_before"
        chance = self._random.random()
        for kind, rate in self.rates.items():
            if chance < rate:
                return kind
            chance -= rate
        return ""
