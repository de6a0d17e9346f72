"""Runs of consecutive frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RUNS_SHOWN = 5
"""Runs that a message lists; further ones are counted."""


def find_runs(flags: NDArray[np.generic]) -> tuple[tuple[int, int], ...]:
    """Return the first and last index of each run of indices that are set.

    >>> find_runs(np.array([0, 1, 1, 0, 1]))
    ((1, 2), (4, 4))
    """
    edges = np.diff(np.concatenate(([0], flags != 0, [0])).astype(np.int8))
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def format_runs(runs: Sequence[tuple[int, int]]) -> str:
    """Return the frames of the first few runs as text.

    >>> format_runs([(1, 2), (4, 4)])
    '1 to 2, 4'
    """
    shown = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in runs[:RUNS_SHOWN]]
    return ", ".join(shown) + (f", and {len(runs) - RUNS_SHOWN:,} more runs" if len(runs) > RUNS_SHOWN else "")
