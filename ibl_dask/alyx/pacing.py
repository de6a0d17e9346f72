"""Pace of requests: below the limit of the server, and slower after each failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

PER_MINUTE = 300.0
"""Requests per minute. Alyx 3.6 allows 550 per user, and all programs of a user share them."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before further tries: exponential, with full jitter so that many clients spread out.

    The pause before try n + 1 is uniform between 0 and `min(longest_s, first_s * 2 ** n)`, as in M. Brooker,
    "Exponential backoff and jitter", AWS Architecture Blog, 2015.
    """

    first_s: float = 1.0
    """Longest pause after the first failure, s."""
    longest_s: float = 60.0
    """Longest pause, s."""
    most_tries: int = 7
    """Tries of one request where no answer, or a passing failure, came back."""
    most_tries_500: int = 4
    """Tries of one request that was answered with an error of the server (500)."""

    def pause_s(self, n_tries: int, chance: float) -> float:
        """Return the pause after a number of tries.

        Parameters
        ----------
        n_tries : int
            Tries so far, at least 1.
        chance : float
            Random number in [0, 1).
        """
        return float(chance * min(self.longest_s, self.first_s * 2.0 ** (n_tries - 1)))


class TokenBucket:
    """Turns for requests: `per_minute` on average, and a burst after a quiet time. For many threads.

    Parameters
    ----------
    per_minute : float
        Turns per minute.
    clock : callable
        Returns monotonic time, s.
    burst : float, optional
        Most turns that a quiet time saves up; those of 4 s by default.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float], burst: float | None = None) -> None:
        self._per_s = per_minute / 60.0
        self._burst = max(1.0, 4.0 * self._per_s if burst is None else burst)
        self._clock = clock
        self._turns, self._at_s = self._burst, clock()
        self._parked_until_s = float("-inf")
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take a turn; return the seconds to wait before it."""
        with self._lock:
            now_s = self._clock()
            self._turns = min(self._burst, self._turns + (now_s - self._at_s) * self._per_s) - 1.0
            self._at_s = now_s
            wait_s = max(0.0, -self._turns / self._per_s)
            return max(wait_s, self._parked_until_s - now_s)

    def give_back(self) -> None:
        """Give back a turn that was not used."""
        with self._lock:
            self._turns += 1.0

    def park(self, wait_s: float) -> None:
        """Let no request start for some seconds: the server asked for it."""
        with self._lock:
            self._parked_until_s = max(self._parked_until_s, self._clock() + wait_s)

    @property
    def parked_s(self) -> float:
        """Return the seconds until the next request may start, on request of the server; 0 for none."""
        return max(0.0, self._parked_until_s - self._clock())
