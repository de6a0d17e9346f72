"""How faithful a compressed frame is to its source, and whether it is the right one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.model.frame_ranges import find_runs, format_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8] | NDArray[np.uint16]

PSNR_DROP_DB = 6.0
"""A frame may be this far under what the median of its chunk has to reach: twice the error in amplitude."""
MOST_LOST = 0.25
"""Share of a picture's own contrast (its variance) that errors may make up in such a frame. Noise is the hardest to
compress: of pictures of nothing else x264 loses 1 % at CRF 17, and 14 % at 29."""
_ACCURACY, _ACCURACY_OF_B = 0.02, 0.35
"""Share by which a frame's loss may differ from what the encoder says of it, and that of a B-frame. It says it in dB to
seven digits, and of pictures whose size is no multiple of 16 a little of the margin as well: differences were under
1 %. Of B-frames that no other needs it says what it was before edges of blocks were smoothed: they were under 12 %."""
_ROUNDING = 16.0
"""The same in squared levels, for pictures of which next to nothing is lost; of better ones than 100 dB it says 100."""
SSIM_STRIDE = 25
"""Every this many frames the structural similarity is measured."""
BEST_PSNR_DB = 100.0
"""PSNR of equal frames, dB: there is no error to divide by."""
_SSIM_SMALLEST = 256
_MOVING = 4.0


def error_energy(one: Plane, other: Plane) -> float:
    """Return the sum of squared differences of two planes."""
    return float(cv2.norm(one, other, cv2.NORM_L2SQR))


def psnr_db(energy: float, n_pixels: int, peak: int = 255) -> float:
    """Return the peak signal-to-noise ratio, dB.

    >>> round(psnr_db(100.0, 100), 2)
    48.13
    """
    return BEST_PSNR_DB if energy == 0 else min(BEST_PSNR_DB, float(10 * np.log10(peak**2 * n_pixels / energy)))


def lost_share(energy: float, source: Plane) -> float:
    """Return the squared errors of a frame as a share of its own variance; infinite where a uniform one has any."""
    if energy == 0:
        return 0.0
    _, deviation = cv2.meanStdDev(source)
    variance = float(deviation[0, 0]) ** 2 * source.size
    return energy / variance if variance else float("inf")


@dataclass(frozen=True, slots=True)
class Claim:
    """What an encoder says that it lost of a frame."""

    energy: float
    """Squared errors of luma; NaN where it does not say."""
    is_b: bool
    """Whether it is a B-frame."""

    def accounts_for(self, energy: float, n_pixels: int, peak: int = 255) -> bool:
        """Return whether a frame lost this and nothing else: then it was not damaged since.

        Parameters
        ----------
        energy
            Squared errors as they are.
        n_pixels, peak
            Of the picture, and the largest value that they can have.
        """
        accuracy = _ACCURACY_OF_B if self.is_b else _ACCURACY
        least = peak**2 * n_pixels * 10 ** (-BEST_PSNR_DB / 10)
        return abs(energy - self.energy) <= accuracy * self.energy + _ROUNDING + least


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
    lost_share: NDArray[np.float32]
    """Squared errors of every frame, as a share of its own variance (frame,)."""
    is_unaccounted: NDArray[np.bool_]
    """Whether the frame lost more, or less, than the encoder says (frame,)."""

    def complaint(self, start: int, floor_db: float) -> str:
        """Return what is wrong with a chunk that begins at a frame; empty where nothing is.

        Parameters
        ----------
        start
            Its first frame.
        floor_db
            What its median PSNR has to reach, dB.

        Notes
        -----
        A frame is judged by what it lost itself. Others of its chunk say nothing of it: white, black and dark ones
        lose next to nothing, and a textured one beside them is none the worse for that.
        """
        median, floor = float(np.median(self.psnr_db)), floor_db - PSNR_DROP_DB
        poor = (self.psnr_db < floor) & (self.lost_share > MOST_LOST)
        told = []
        if median < floor_db:
            told.append(f"the median PSNR is {median:.1f} dB, under {floor_db:.1f} dB")
        for wrong, what in (
            (poor, f"have a PSNR under {floor:.1f} dB, and lost over {MOST_LOST:.0%} of their own contrast"),
            (self.is_unaccounted, "are not what the encoder made of them"),
            (self.is_misplaced, "show the frame before or after"),
        ):
            if wrong.any():
                runs = [(first + start, last + start) for first, last in find_runs(wrong)]
                told.append(f"frames {format_runs(runs)} {what}")
        return "; ".join(told)
