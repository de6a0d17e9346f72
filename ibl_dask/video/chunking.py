"""Chunk plans: division of a video into ranges of frames, one per task."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from ibl_dask.errors import UsageError
from ibl_dask.model.chunk import Chunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_PIXELS = 2_500_000_000
"""Largest chunk for decoding, pixels: 1,900 frames of 1280x1024, 7,600 of 640x512; 5 to 10 s of one core."""
SMALLEST_PIXELS = 480_000_000
"""Smallest chunk for decoding, pixels: 370 frames of 1280x1024, 1,460 of 640x512. Smaller ones cost more than they
gain."""
ENCODED_PIXELS = 320_000_000
"""Largest chunk for compression, pixels: 244 frames of 1280x1024, 976 of 640x512; about 30 s of one core. A little
under the 250 frames after which x264 inserts a keyframe anyway, so a chunk costs no additional keyframe."""
ENCODED_FRAMES = 120
"""Smallest chunk for compression, frames: half of those 250, and twice the look-ahead of x264."""
SHARE = 16
"""A chunk takes one 16th of the remaining frames, within these sizes."""
ENCODED_SHARE = 6
"""The same for compression. A larger share than for decoding, as every chunk costs a keyframe."""


def split_video(
    keyframes: NDArray[np.int64], n_frames: int, width: int, height: int, pixels: int | None = None
) -> tuple[Chunk, ...]:
    """Split a video into chunks for decoding, one per task.

    Chunks are large first and small last, so that cores that share a video end at about the same time (guided
    self-scheduling, Polychronopoulos and Kuck 1987). The plan follows from the video alone and never from a measured
    speed or the number of workers, or resuming on another node would discard finished chunks.

    Parameters
    ----------
    keyframes : (n,) int64
        Numbers of the frames from which decoding may start, increasing.
    n_frames, width, height : int
        Number of frames of the video, and their size, pixels.
    pixels : int, optional
        Size of all chunks, pixels, in place of the sizes above.

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
    """Split a raw video into chunks for compression, one per task; see `split_video`.

    Compression takes about twenty times as long as decoding, so chunks are shorter. Every chunk begins with a keyframe
    and a new encoder without knowledge of earlier frames, so that much shorter ones would make larger files.

    Parameters
    ----------
    keyframes : (n,) int64
        Numbers of the frames from which decoding may start, increasing.
    n_frames, width, height : int
        Number of frames of the video, and their size, pixels.
    pixels : int, optional
        Size of all chunks, pixels, in place of the sizes above.

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
    """Split `[0, n_frames)` into chunks that start on keyframes.

    A chunk ends at the keyframe nearest to its target length, so it may be longer or shorter; a video without inner
    keyframes is one chunk.

    Parameters
    ----------
    keyframes : (n,) int64
        Numbers of the frames from which decoding may start, increasing.
    n_frames : int
        Number of frames.
    target_frames : int
        Largest target length.
    smallest_frames : int, optional
        Smallest target length, near the end of the video; `target_frames` by default.
    share : int
        The target length is the number of remaining frames divided by this, between the two.

    Raises
    ------
    UsageError
        If there are no frames, or a length is below 1.
    """
    smallest = target_frames if smallest_frames is None else min(smallest_frames, target_frames)
    if smallest < 1 or n_frames < 1:
        raise UsageError(
            "a chunk plan needs at least one frame",
            expected="n_frames >= 1 and chunks of >= 1 frames",
            got=f"{n_frames} and {smallest}",
        )
    inner = keyframes[(keyframes > 0) & (keyframes < n_frames)].tolist()
    borders = [0]
    while True:
        left = n_frames - borders[-1]
        wanted = max(smallest, min(target_frames, left // share))
        after = bisect_right(inner, borders[-1])
        if left <= wanted or after == len(inner):
            break
        target = borders[-1] + wanted
        at = bisect_left(inner, target, after)
        nearest = min(inner[max(at - 1, after) : at + 1], key=lambda keyframe: abs(keyframe - target))
        # A tail far shorter than a chunk is not worth a task of its own.
        if n_frames - nearest < wanted // 4:
            break
        borders.append(nearest)
    borders.append(n_frames)
    return tuple(Chunk(a, b) for a, b in pairwise(borders))


def cut_evenly(n_frames: int, size: int) -> tuple[Chunk, ...]:
    """Split `[0, n_frames)` into chunks of `size` frames, regardless of keyframes.

    For checks and small views: every chunk costs the decoding from the keyframe before it.

    Raises
    ------
    UsageError
        If `size` is below 1.
    """
    if size < 1:
        raise UsageError("a chunk needs at least one frame", expected="size >= 1", got=str(size))
    return tuple(Chunk(a, min(a + size, n_frames)) for a in range(0, n_frames, size))
