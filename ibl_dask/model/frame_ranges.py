"""Ranges of consecutive frames, and their format in messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RANGES_SHOWN = 5
"""Number of ranges that a message lists; further ones are counted."""


def find_ranges(flags: NDArray[np.generic]) -> tuple[tuple[int, int], ...]:
    """Return the first and last index of each range of set flags.

    >>> find_ranges(np.array([0, 1, 1, 0, 1]))
    ((1, 2), (4, 4))
    """
    edges = np.diff(np.concatenate(([0], flags != 0, [0])).astype(np.int8))
    return tuple(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def format_ranges(ranges: Sequence[tuple[int, int]]) -> str:
    """Return the first few ranges as text, and the number of further ones.

    >>> format_ranges([(1, 2), (4, 4)])
    '1 to 2, 4'
    """
    shown = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in ranges[:RANGES_SHOWN]]
    n_more = len(ranges) - RANGES_SHOWN
    return ", ".join(shown) + (f", and {n_more:,} more ranges" if n_more > 0 else "")
