"""How faithful a compressed frame is to its source, and whether it is the right one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.model.runs import find_runs, say_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]

PSNR_DROP_DB = 6.0
"""A frame this far under the median of its chunk is damaged: twice the error in amplitude."""
SSIM_STRIDE = 25
"""Every this many frames the structural similarity is measured."""
BEST_PSNR_DB = 100.0
"""PSNR of equal frames, dB: there is no error to divide by."""
_SSIM_SMALLEST = 256
_MOVING = 4.0


def error_energy(one: Plane, other: Plane) -> float:
    """Return the sum of squared differences of two planes."""
    return float(cv2.norm(one, other, cv2.NORM_L2SQR))


def psnr_db(energy: float, n_pixels: int) -> float:
    """Return the peak signal-to-noise ratio of 8-bit pixels, dB.

    >>> round(psnr_db(100.0, 100), 2)
    48.13
    """
    return BEST_PSNR_DB if energy == 0 else min(BEST_PSNR_DB, float(10 * np.log10(255.0**2 * n_pixels / energy)))


def ssim(one: Plane, other: Plane) -> float:
    """Return the mean structural similarity of two planes, at the scale at which a viewer sees the whole of them.

    Notes
    -----
    Wang, Bovik, Sheikh and Simoncelli 2004, with its Gaussian window of 11 pixels and constants. As its authors advise
    for whole pictures, planes are made smaller first, by the whole number next to (shorter side) / 256.
    """
    smaller = max(1, round(min(one.shape) / _SSIM_SMALLEST))
    if smaller > 1:
        size = (one.shape[1] // smaller, one.shape[0] // smaller)
        one, other = (np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.uint8) for p in (one, other))
    x, y = one.astype(np.float32), other.astype(np.float32)

    def blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    both = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float(np.mean(top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def fits_neighbour(result: Plane, energy: float, neighbour: Plane, apart: float) -> bool:
    """Return whether a compressed frame shows the source's next (or previous) frame rather than its own.

    Parameters
    ----------
    result, neighbour
        The compressed frame, and the source's frame beside its own.
    energy
        `error_energy` of the compressed frame and its source.
    apart
        `error_energy` of the source's two frames.

    Notes
    -----
    Frames between which nothing moves fit each other by chance; such count only where they are apart by more than
    twice the amplitude of what compression changed. Where the result is nearer to its source than half of that
    distance, it cannot be nearer to the neighbour (triangle inequality), which spares most comparisons.
    """
    if 4 * energy <= apart:
        return False
    other = error_energy(result, neighbour)
    return other < energy and apart > _MOVING * other


@dataclass(frozen=True, slots=True, eq=False)
class Fidelity:
    """How a chunk of compressed frames compares with its source."""

    psnr_db: NDArray[np.float32]
    """Of the luma of every frame, dB (frame,)."""
    ssim: NDArray[np.float32]
    """Of every 25th frame, NaN elsewhere (frame,)."""
    is_misplaced: NDArray[np.bool_]
    """Whether the frame fits the source's frame before or after it better (frame,)."""

    def complaint(self, start: int, floor_db: float) -> str:
        """Return what is wrong with a chunk that begins at a frame; empty where nothing is."""
        median = float(np.median(self.psnr_db))
        poor = self.psnr_db < median - PSNR_DROP_DB
        told = []
        if median < floor_db:
            told.append(f"the median PSNR is {median:.1f} dB, under {floor_db:.1f} dB")
        for wrong, what in (
            (poor, f"have a PSNR of more than {PSNR_DROP_DB:g} dB under the median of {median:.1f} dB"),
            (self.is_misplaced, "show the frame before or after"),
        ):
            if wrong.any():
                runs = [(first + start, last + start) for first, last in find_runs(wrong)]
                told.append(f"frames {say_runs(runs)} {what}")
        return "; ".join(told)
