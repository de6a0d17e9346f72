"""Bright discs on a dark ground, at places that are known exactly: the truth for pose estimation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RADIUS_PX = 6
"""Radius of a disc, pixels."""
_GROUND, _DISC = 40, 220


def disc_places(n_frames: int, n_discs: int, width: int, height: int, seed: int = 0) -> NDArray[np.int64]:
    """Return places of discs that wander in upright bands of the frame, the first disc leftmost. (frame, disc, 2)

    The centroid of a disc is its place, since a disc is symmetric about a pixel.

    Parameters
    ----------
    n_frames, n_discs : int
        Number of frames and of discs.
    width, height : int
        Size of the frames, pixels.
    seed : int
        Chooses the paths.

    Raises
    ------
    UsageError
        If the discs do not find room.
    """
    band, margin = width // max(1, n_discs), RADIUS_PX + 2
    if band < 2 * margin + 2 or height < 2 * margin + 2:
        raise UsageError(
            "these frames are too small for so many discs", got=f"{n_discs} in {width}x{height}", do="draw fewer"
        )
    rng = np.random.default_rng(seed)
    frames = np.arange(n_frames)[:, None]
    rates, phases = rng.uniform(0.02, 0.2, (2, n_discs)), rng.uniform(0, 2 * np.pi, (2, n_discs))
    along = 0.5 + 0.5 * np.sin(frames * rates[0] + phases[0])
    down = 0.5 + 0.5 * np.sin(frames * rates[1] + phases[1])
    x = np.arange(n_discs) * band + margin + np.rint(along * (band - 2 * margin - 1))
    y = margin + np.rint(down * (height - 2 * margin - 1))
    return np.stack([x, y], axis=-1).astype(np.int64)


def disc_frames(places: NDArray[np.int64], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield grey frames with a disc at each place. (y, x)

    Parameters
    ----------
    places : (frame, disc, 2) int64
        x and y of the centres, pixels.
    width, height : int
        Size of the frames, pixels.
    """
    reach = np.arange(-RADIUS_PX, RADIUS_PX + 1)
    stamp = reach[:, None] ** 2 + reach[None, :] ** 2 <= RADIUS_PX**2
    for discs in places.tolist():
        frame = np.full((height, width), _GROUND, np.uint8)
        for x, y in discs:
            box = frame[y - RADIUS_PX : y + RADIUS_PX + 1, x - RADIUS_PX : x + RADIUS_PX + 1]
            box[stamp] = _DISC
        yield frame
