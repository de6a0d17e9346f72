"""Fidelity of compressed frames to their source: PSNR, SSIM, lost contrast, and misplaced frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.model.frame_ranges import find_ranges, format_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8] | NDArray[np.uint16]

PSNR_DROP_DB = 6.0
"""Tolerance of a frame below the required median of its chunk, dB: twice the error in amplitude."""
MOST_LOST = 0.25
"""Share of a picture's own contrast (its variance) that errors may make up in such a frame. Noise is the hardest to
compress: of pictures of pure noise x264 loses 1 % at CRF 17, and 14 % at 29."""
_ACCURACY, _ACCURACY_OF_B = 0.02, 0.35
"""Relative difference allowed between a frame's loss and the encoder's report of it, and that of a B-frame. The report
is in dB to seven digits, and includes a little of the margin of pictures whose size is no multiple of 16: differences
were under 1 %. For B-frames to which no other refers it precedes the deblocking filter: differences were under 12 %."""
_ROUNDING = 16.0
"""The same in squared levels, for pictures with hardly any loss; the encoder reports better ones than 100 dB as 100."""
SSIM_STRIDE = 25
"""Interval between frames whose structural similarity is measured."""
BEST_PSNR_DB = 100.0
"""PSNR of equal frames, dB, whose error is 0."""
_SSIM_SMALLEST = 256
_MOVING = 4.0
"""Ratio of squared differences from which neighbouring frames count as different: twice the amplitude."""


def error_energy(one: Plane, other: Plane) -> float:
    """Return the sum of squared differences of two planes."""
    return float(cv2.norm(one, other, cv2.NORM_L2SQR))


def psnr_db(energy: float, n_pixels: int, peak: int = 255) -> float:
    """Return the peak signal-to-noise ratio, dB.

    Parameters
    ----------
    energy : float
        Sum of squared errors.
    n_pixels : int
        Number of pixels.
    peak : int
        Largest value of a pixel.

    >>> round(psnr_db(100.0, 100), 2)
    48.13
    """
    return BEST_PSNR_DB if energy == 0 else min(BEST_PSNR_DB, float(10 * np.log10(peak**2 * n_pixels / energy)))


def lost_share(energy: float, source: Plane) -> float:
    """Return the squared errors of a frame as a share of its own variance; infinite for a uniform one with errors."""
    if energy == 0:
        return 0.0
    _, deviation = cv2.meanStdDev(source)
    variance = float(deviation[0, 0]) ** 2 * source.size
    return energy / variance if variance else float("inf")


@dataclass(frozen=True, slots=True)
class Claim:
    """Loss that the encoder reports of a frame."""

    energy: float
    """Sum of squared errors of luma; NaN if not reported."""
    is_b: bool
    """True for a B-frame."""

    def accounts_for(self, energy: float, n_pixels: int, peak: int = 255) -> bool:
        """Return whether the report explains the loss of a frame; if so, the frame was not damaged after encoding.

        Parameters
        ----------
        energy : float
            Sum of squared errors, measured.
        n_pixels, peak : int
            Number of pixels, and their largest value.
        """
        accuracy = _ACCURACY_OF_B if self.is_b else _ACCURACY
        least = peak**2 * n_pixels * 10 ** (-BEST_PSNR_DB / 10)
        return abs(energy - self.energy) <= accuracy * self.energy + _ROUNDING + least


def ssim(one: Plane, other: Plane) -> float:
    """Return the mean structural similarity of two planes, at the scale of a viewer who sees the whole picture.

    Notes
    -----
    Wang, Bovik, Sheikh and Simoncelli 2004, with its Gaussian window of 11 pixels and constants. As its authors advise
    for whole pictures, planes are reduced first, by the integer nearest to (shorter side) / 256.
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
    result, neighbour : (y, x)
        The compressed frame, and the source's frame before or after its own.
    energy : float
        `error_energy` of the compressed frame and its source.
    apart : float
        `error_energy` of the source's two frames.

    Notes
    -----
    Frames without motion between them fit each other by chance, so neighbours count only if they differ by more than
    twice the amplitude of the compression error. A result that is nearer to its source than half of that distance
    cannot be nearer to the neighbour (triangle inequality), which saves most comparisons.
    """
    if 4 * energy <= apart:
        return False
    other = error_energy(result, neighbour)
    return other < energy and apart > _MOVING * other


@dataclass(frozen=True, slots=True, eq=False)
class Fidelity:
    """Comparison of a chunk of compressed frames with its source."""

    psnr_db: NDArray[np.float32]
    """PSNR of the luma of every frame, dB. (frame,)"""
    ssim: NDArray[np.float32]
    """Structural similarity of every 25th frame, NaN elsewhere. (frame,)"""
    is_misplaced: NDArray[np.bool_]
    """True for a frame that fits the source's frame before or after it better than its own. (frame,)"""
    lost_share: NDArray[np.float32]
    """Squared errors of every frame, as a share of its own variance. (frame,)"""
    is_unaccounted: NDArray[np.bool_]
    """True for a frame whose loss differs from the encoder's report. (frame,)"""

    def complaint(self, start: int, floor_db: float) -> str:
        """Return the faults of the chunk as text; empty if there are none.

        Parameters
        ----------
        start : int
            First frame of the chunk.
        floor_db : float
            Median PSNR that the chunk must reach, dB.

        Notes
        -----
        A frame is judged by its own loss, not by that of its neighbours: white, black and dark frames lose hardly
        anything, and a textured frame among them naturally loses more.
        """
        median, floor = float(np.median(self.psnr_db)), floor_db - PSNR_DROP_DB
        poor = (self.psnr_db < floor) & (self.lost_share > MOST_LOST)
        faults = []
        if median < floor_db:
            faults.append(f"the median PSNR is {median:.1f} dB, under {floor_db:.1f} dB")
        for is_wrong, fault in (
            (poor, f"have a PSNR under {floor:.1f} dB, and lost over {MOST_LOST:.0%} of their own contrast"),
            (self.is_unaccounted, "differ from the encoder's output"),
            (self.is_misplaced, "show the frame before or after"),
        ):
            if is_wrong.any():
                ranges = [(first + start, last + start) for first, last in find_ranges(is_wrong)]
                faults.append(f"frames {format_ranges(ranges)} {fault}")
        return "; ".join(faults)
