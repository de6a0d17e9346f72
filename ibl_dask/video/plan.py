"""How a video is split into chunks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.model.chunk import Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_PIXELS = 2_500_000_000
"""Pixels decoded by one task at most: 1,900 frames of 1280x1024, 7,600 of 640x512; 6 to 11 s of one core."""
SMALLEST_PIXELS = 400_000_000
"""Pixels below which splitting a short video further costs more than it gains: 1 to 2 s of one core."""
WANTED_CHUNKS = 16
"""Chunks that a short video is split into, sizes permitting, so that several cores share it."""


def chunk_frames(n_frames: int, width: int, height: int, pixels: int | None = None) -> int:
    """Return how many frames one task should decode.

    The size follows from the video alone and never from a measured speed or the number of workers, or resuming on
    another node would discard finished chunks.

    Parameters
    ----------
    n_frames, width, height
        The video.
    pixels
        Pixels per chunk, instead of those of the table above.

    >>> chunk_frames(216_000, 1280, 1024), chunk_frames(900, 1280, 1024)
    (1907, 305)
    """
    if pixels is None:
        share = n_frames * width * height // WANTED_CHUNKS
        pixels = max(SMALLEST_PIXELS, min(LARGEST_PIXELS, share))
    return max(1, pixels // (width * height))


def plan_chunks(keyframes: NDArray[np.int64], n_frames: int, target_frames: int) -> tuple[Chunk, ...]:
    """Split `[0, n_frames)` into runs that start on keyframes and hold about `target_frames` each.

    A run ends at the keyframe nearest to the wanted length, so it may be longer or shorter than asked for; without
    keyframes to split at, the video is one chunk.

    Parameters
    ----------
    keyframes : (n,) int
        Numbers of the frames from which decoding may start, increasing.
    n_frames : int
        Number of frames.
    target_frames : int
        Wanted length.
    """
    if target_frames < 1 or n_frames < 1:
        raise UsageError(
            "a chunk plan needs at least one frame",
            expected="n_frames >= 1 and target_frames >= 1",
            got=f"{n_frames} and {target_frames}",
        )
    inner = keyframes[(keyframes > 0) & (keyframes < n_frames)]
    borders = [0]
    while n_frames - borders[-1] > target_frames:
        later = inner[inner > borders[-1]]
        if len(later) == 0:
            break
        nearest = int(later[np.abs(later - borders[-1] - target_frames).argmin()])
        # A tail far shorter than a chunk is not worth a task of its own.
        if n_frames - nearest < target_frames // 4:
            break
        borders.append(nearest)
    borders.append(n_frames)
    return tuple(Chunk(a, b) for a, b in pairwise(borders))


def cut_evenly(n_frames: int, size: int) -> tuple[Chunk, ...]:
    """Split `[0, n_frames)` into runs of `size` frames, wherever keyframes are.

    Every run costs decoding from the keyframe before it, so this is for checks and for small views.
    """
    if size < 1:
        raise UsageError("a chunk needs at least one frame", expected="size >= 1", got=str(size))
    return tuple(Chunk(a, min(a + size, n_frames)) for a in range(0, n_frames, size))
