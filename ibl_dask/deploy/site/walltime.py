"""Lifetime of a worker within the walltime of its job."""

from __future__ import annotations

import math

from ibl_dask.deploy.site.profile import Pool

LONGEST_STEP_S = 30.0
"""Compressing the largest chunk on one core, s (`video/chunking.py: ENCODED_PIXELS`); every other step is shorter."""
MARGIN_S = 60.0
"""Time between the end of the last step and the end of the job, s: for slower nodes and an orderly shutdown."""
STAGGER = 0.2
"""Relative spread of the lifetimes of workers, so that those which started together do not end together."""
_LEAST_S = LONGEST_STEP_S * (1 + STAGGER) / (1 - STAGGER)
"""Longest lifetime where the shortest one is a step, s."""


def worker_lifetime_s(pool: Pool) -> tuple[float, float] | None:
    """Return the time for which a worker takes steps, and its spread over workers.

    The last step ends before the batch system ends the job: the longest lifetime, a step that began at its end, and a
    margin fit into the walltime. Of a walltime too short for that (see `shortest_walltime_s`), half is used.

    Returns
    -------
    tuple of float or None
        Lifetime, and the maximum that is added or subtracted at random, s; None where jobs have no walltime.

    >>> worker_lifetime_s(Pool(walltime_s=3600))
    (2925.0, 585.0)
    """
    if pool.walltime_s is None:
        return None
    longest_s = max(pool.walltime_s - MARGIN_S - LONGEST_STEP_S, min(pool.walltime_s / 2, _LEAST_S))
    lifetime_s = longest_s / (1 + STAGGER)
    return round(lifetime_s, 3), round(lifetime_s * STAGGER, 3)


LIMIT_SHARE = 0.8
"""Share of the site's own time limit that a worker has for a step; the rest goes to the start of its job."""


def guaranteed_s(pool: Pool, limit_s: int | None = None) -> float:
    """Return the shortest lifetime of a worker, s; 0 where neither the profile nor the site limits its jobs.

    Parameters
    ----------
    pool
        The pool.
    limit_s
        Time limit of the site, s; counts where the profile sets no walltime.
    """
    life = worker_lifetime_s(pool)
    if life is None:
        return 0.0 if limit_s is None else LIMIT_SHARE * limit_s
    return life[0] - life[1]


def shortest_walltime_s() -> int:
    """Return the walltime in which a worker of the shortest lifetime ends one step of the longest kind, s."""
    return math.ceil(MARGIN_S + LONGEST_STEP_S + _LEAST_S)
