"""How long a worker of a batch system takes steps before its job ends."""

from __future__ import annotations

import math

from ibl_dask.deploy.site.profile import Pool

LONGEST_STEP_S = 30.0
"""Compressing the largest chunk on one core, s (`video/chunking.py: ENCODED_PIXELS`); every other step is shorter."""
MARGIN_S = 60.0
"""Time between the end of the last step and the end of the job, s: for slower nodes, and for saying goodbye."""
STAGGER = 0.2
"""How much the lives of workers differ, as a share: those that started together do not end together."""
_LEAST_S = LONGEST_STEP_S * (1 + STAGGER) / (1 - STAGGER)
"""Longest life where the shortest one is a step, s."""


def worker_lifetime_s(pool: Pool) -> tuple[float, float] | None:
    """Return how long a worker takes steps, and by how much that differs from worker to worker.

    The last step ends before the batch system ends the job: the longest life, a step that began at its end, and a
    margin fit into the walltime. One that is too short for that (see `shortest_walltime_s`) is used up to its half.

    Returns
    -------
    tuple of float or None
        Lifetime and the most that is added to it or taken from it, s; None where jobs have no walltime.

    >>> worker_lifetime_s(Pool(walltime_s=3600))
    (2925.0, 585.0)
    """
    if pool.walltime_s is None:
        return None
    longest_s = max(pool.walltime_s - MARGIN_S - LONGEST_STEP_S, min(pool.walltime_s / 2, _LEAST_S))
    lifetime_s = longest_s / (1 + STAGGER)
    return round(lifetime_s, 3), round(lifetime_s * STAGGER, 3)


def surely_s(pool: Pool) -> float:
    """Return for how long even the worker of the shortest life takes steps, s; 0 where jobs have no walltime."""
    life = worker_lifetime_s(pool)
    return 0.0 if life is None else life[0] - life[1]


def shortest_walltime_s() -> int:
    """Return the walltime in which a worker of the shortest life ends one step of the longest kind, s."""
    return math.ceil(MARGIN_S + LONGEST_STEP_S + _LEAST_S)


def walltime_text(seconds: int) -> str:
    """Write a walltime as every batch system reads it; hours may be more than a day.

    >>> walltime_text(90061)
    '25:01:01'
    """
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
