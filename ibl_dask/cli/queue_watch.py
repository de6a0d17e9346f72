"""Jobs that wait in the queue of a batch system, as a run tells of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ibl_dask.report.lines import count

PATIENCE_S = 30.0
"""Time without a worker after which it is told, s."""
REPEATED_S = 600.0
"""Time after which an unchanged line is printed again, s."""
_RUNNING = ("RUNNING", "COMPLETING", "R", "E")
"""States of jobs that do not wait, in Slurm and PBS."""


class PoolLook(Protocol):
    """The part of `ibl_dask.deploy.cluster.jobs.PoolState` that is used."""

    @property
    def pool(self) -> Any:  # `Pool`, of which only the name is used
        """Return the pool."""

    @property
    def n_jobs(self) -> int:
        """Return the number of jobs that have not ended."""

    @property
    def n_workers(self) -> int:
        """Return the number of connected workers."""

    @property
    def queue(self) -> Mapping[str, str]:
        """Return state and reason of each job in the queue."""

    @property
    def failure(self) -> str:
        """Return the reason of the last failure."""


class QueueWatch:
    """Looks at the pools now and then.

    Parameters
    ----------
    pools : callable or None
        Returns the state of each pool.
    now_s : float
        Time of a monotonic clock, s; so are all other times.
    """

    def __init__(self, pools: Callable[[], Iterable[PoolLook]] | None, now_s: float) -> None:
        self._pools = pools
        self._worked_s = now_s
        self._told = ""
        self._told_s = now_s
        self.short = ""
        """Workers and waiting jobs, as part of a line; empty without jobs."""

    def line(self, now_s: float) -> str:
        """Return a line if there is no worker for a while: a new one, or again after a longer while; else nothing."""
        if self._pools is None:
            return ""
        try:
            pools = list(self._pools())
        except RuntimeError:  # a dictionary that another thread changes meanwhile: the next look sees it
            return ""
        n_workers = sum(pool.n_workers for pool in pools)
        waiting = [text for pool in pools if (text := waiting_text(pool))]
        self.short = ", ".join([count(n_workers, "worker"), *waiting]) if pools else ""
        if n_workers:
            self._worked_s, self._told = now_s, ""
            return ""
        failures = [f"{pool.pool.name}: {pool.failure}" for pool in pools if pool.failure]
        text = "; ".join(waiting + failures)
        if not text or now_s - self._worked_s < PATIENCE_S:
            return ""
        if text == self._told and now_s - self._told_s < REPEATED_S:
            return ""
        self._told, self._told_s = text, now_s
        return f"no worker yet after {now_s - self._worked_s:.0f} s: {text}"


def waiting_text(pool: PoolLook) -> str:
    """Return the jobs of a pool that wait, by state and reason: `2 jobs of cpu wait (PENDING Priority)`."""
    states = Counter(text or "not seen in the queue yet" for text in pool.queue.values())
    states = Counter({text: n for text, n in states.items() if text.split()[0] not in _RUNNING})
    n = sum(states.values())
    if not n:
        return ""
    reasons = ", ".join(text if len(states) == 1 else f"{k} {text}" for text, k in states.most_common(3))
    return f"{count(n, 'job')} of {pool.pool.name} {'waits' if n == 1 else 'wait'} ({reasons})"
