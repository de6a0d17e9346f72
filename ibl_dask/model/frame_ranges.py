"""Frames that follow each other, as people name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RANGES_SHOWN = 5
"""Runs that a message names; more are counted."""


def find_ranges(flags: NDArray[np.generic]) -> tuple[tuple[int, int], ...]:
    """Return the first and last place of each run of places that are set.

    >>> find_ranges(np.array([0, 1, 1, 0, 1]))
    ((1, 2), (4, 4))
    """
    edges = np.diff(np.concatenate(([0], flags != 0, [0])).astype(np.int8))
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def format_ranges(runs: Sequence[tuple[int, int]]) -> str:
    """Return the numbers of the first few runs in words.

    >>> format_ranges([(1, 2), (4, 4)])
    '1 to 2, 4'
    """
    said = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in runs[:RANGES_SHOWN]]
    return ", ".join(said) + (f", and {len(runs) - RANGES_SHOWN:,} more runs" if len(runs) > RANGES_SHOWN else "")
