"""Refusals of submissions: their text, and the key of a pool that they concern."""

from __future__ import annotations

import re

REFUSAL_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"partition|queue", "queue"),
    (r"account|association|project", "account"),
    (r"gres|gpu|generic", "gpus"),
    (r"time ?limit|walltime", "walltime"),
    (r"memory|mem ", "memory"),
    (r"node configuration|more processors|cpu count", "cores"),
)
"""Words of Slurm and PBS -> key of a pool. One table for both, since Slurm also answers behind a `qsub` of its own."""


_NO_ANSWER = re.compile(
    r"unable to contact|can\w*not connect to|timed out|did not answer|connection (refused|reset|failure)"
    r"|temporarily unavailable|no route to host",
    re.IGNORECASE,
)
"""Words of Slurm and PBS while their server is away."""


def is_without_answer(text: str) -> bool:
    """Return whether a refusal says that the server of the batch system is away.

    >>> is_without_answer("sbatch: error: Batch job submission failed: Unable to contact slurm controller")
    True
    >>> is_without_answer("sbatch: error: invalid partition specified: gpuu")
    False
    """
    return _NO_ANSWER.search(text) is not None


def refusal_text(error: Exception) -> str:
    """Return the output of a refused submission, from the error that `dask_jobqueue` makes of it.

    Standard error, or else standard output: the `qsub` that comes with Slurm complains there.
    """
    _, _, printed = str(error).partition("stdout:\n")
    out, separator, err = printed.partition("stderr:\n")
    text = (err.strip() or out.strip()) if separator else str(error)
    words = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(words) or type(error).__name__
