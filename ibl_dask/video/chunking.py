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
"""Pixels decoded by one task at most: 1,900 frames of 1280x1024, 7,600 of 640x512; 5 to 10 s of one core."""
SMALLEST_PIXELS = 480_000_000
"""Pixels below which splitting further costs more than it gains: 370 frames of 1280x1024, 1,460 of 640x512."""
ENCODED_PIXELS = 320_000_000
"""Pixels compressed by one task at most: 244 frames of 1280x1024, 976 of 640x512; some 30 s of one core. A little under
the 250 frames after which x264 starts anew anyway, so that a chunk costs no keyframe more."""
ENCODED_FRAMES = 120
"""Frames compressed by one task at least: half of those 250, and twice what x264 looks ahead."""
SHARE = 16
"""A chunk takes one 16th of the frames that are left, between these sizes."""
ENCODED_SHARE = 6
"""The same for compressing. Larger than decoding's: every chunk costs a keyframe."""


def split_video(
    keyframes: NDArray[np.int64], n_frames: int, width: int, height: int, pixels: int | None = None
) -> tuple[Chunk, ...]:
    """Split a video into the runs of frames that one task decodes each.

    Runs are large first and small last, so that cores that share a video end at about the same time (guided
    self-scheduling, Polychronopoulos and Kuck 1987). The plan follows from the video alone and never from a measured
    speed or the number of workers, or resuming on another node would discard finished chunks.

    Parameters
    ----------
    keyframes : (n,) int
        Numbers of the frames from which decoding may start, increasing.
    n_frames, width, height
        The video.
    pixels
        Pixels per chunk, all alike, instead of the sizes above.

    >>> chunks = split_video(np.arange(0, 216_000, 250), 216_000, 1280, 1024)
    >>> len(chunks), len(chunks[0]), len(chunks[-1])
    (142, 2000, 250)
    """
    largest, smallest = (pixels, pixels) if pixels is not None else (LARGEST_PIXELS, SMALLEST_PIXELS)
    area = width * height
    return plan_chunks(keyframes, n_frames, max(1, largest // area), max(1, smallest // area))


def split_for_encoding(
    keyframes: NDArray[np.int64], n_frames: int, width: int, height: int, pixels: int | None = None
) -> tuple[Chunk, ...]:
    """Split a raw video into the runs of frames that one task compresses each; see `split_video`.

    Compressing takes some twenty times as long as decoding, so that runs are shorter; but every run begins with a
    keyframe and an encoder that knows nothing of what came before, and much shorter ones would make larger files.

    >>> [len(chunk) for chunk in split_for_encoding(np.arange(0, 3000, 12), 3000, 640, 512)]
    [504, 420, 348, 288, 240, 204, 168, 132, 120, 120, 120, 120, 120, 96]
    """
    largest = max(1, (pixels or ENCODED_PIXELS) // (width * height))
    smallest = largest if pixels is not None else ENCODED_FRAMES
    return plan_chunks(keyframes, n_frames, largest, smallest, ENCODED_SHARE)


def plan_chunks(
    keyframes: NDArray[np.int64],
    n_frames: int,
    target_frames: int,
    smallest_frames: int | None = None,
    share: int = SHARE,
) -> tuple[Chunk, ...]:
    """Split `[0, n_frames)` into runs that start on keyframes.

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
    smallest_frames : int, optional
        Wanted length near the end, where runs become shorter; `target_frames` throughout where not given.
    share : int
        A run takes one such part of the frames that are left.
    """
    smallest = target_frames if smallest_frames is None else min(smallest_frames, target_frames)
    if smallest < 1 or n_frames < 1:
        raise UsageError(
            "a chunk plan needs at least one frame",
            expected="n_frames >= 1 and chunks of >= 1 frames",
            got=f"{n_frames} and {smallest}",
        )
    inner = keyframes[(keyframes > 0) & (keyframes < n_frames)]
    borders = [0]
    while True:
        left = n_frames - borders[-1]
        wanted = max(smallest, min(target_frames, left // share))
        later = inner[np.searchsorted(inner, borders[-1], side="right") :]
        if left <= wanted or len(later) == 0:
            break
        nearest = int(later[np.abs(later - borders[-1] - wanted).argmin()])
        # A tail far shorter than a chunk is not worth a task of its own.
        if n_frames - nearest < wanted // 4:
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
