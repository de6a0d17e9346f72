"""Frame numbers in pixels: digits to read, and a strip of blocks that tests decode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.errors import UnusableFile, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 24
"""Frame numbers are below `2 ** BITS`."""

_BLACK, _WHITE = 16, 235
_DIGITS_PX = 18
"""Height of the digits in a frame of 1024 lines would be twice this."""


def block_px(height: int) -> int:
    """Return the side of a block for frames of a height, in pixels."""
    return 8 if height < 300 else 16


def burn_frame_number(luma: NDArray[np.uint8], number: int, *, digits: bool = True) -> NDArray[np.uint8]:
    """Write a frame number into a grey frame, in place, and return the frame.

    Along the top, from the left corner: one white block, 24 blocks with the lowest bit first (white is 1), one black
    block. A frame narrower than that continues the strip in the next row of blocks.

    Parameters
    ----------
    luma
        Grey frame `(y, x)`; must be writeable.
    number
        0 to 2**24 - 1.
    digits
        Write it below the strip in figures, too.

    Raises
    ------
    UsageError
        If the number does not fit, or the frame is too small for the strip.
    """
    if not 0 <= number < 1 << BITS:
        raise UsageError("this frame number cannot be burnt in", expected=f"0 to {(1 << BITS) - 1}", got=str(number))
    side, columns, rows = _layout(*luma.shape)
    if columns == 0 or rows * side > luma.shape[0]:
        raise UsageError("this frame is too small for a frame number", got=f"(y, x) = {luma.shape}")
    bits = [True, *((number >> bit) & 1 == 1 for bit in range(BITS)), False]
    blocks = np.full(rows * columns, _BLACK, np.uint8)
    blocks[: len(bits)] = np.where(bits, _WHITE, _BLACK)
    for row in range(rows):
        used = min(columns, len(bits) - row * columns)
        line = np.repeat(blocks[row * columns : row * columns + used], side)
        luma[row * side : (row + 1) * side, : used * side] = line
    if digits:
        _write_digits(luma, number, rows * side)
    return luma


def read_frame_number(luma: NDArray[np.uint8]) -> int:
    """Return the frame number that `burn_frame_number` left in a frame, after any encoder that keeps 8 x 8 blocks.

    Raises
    ------
    UnusableFile
        If there is no strip; also a ValueError.
    """
    height, width = luma.shape
    side, columns, rows = _layout(height, width)
    if columns == 0 or rows * side > height:
        raise UnusableFile("this frame is too small to carry a frame number", got=f"(y, x) = {luma.shape}")
    blocks = luma[: rows * side, : columns * side].reshape(rows, side, columns, side)
    quarter = side // 4
    centres = blocks[:, quarter:-quarter, :, quarter:-quarter].mean(axis=(1, 3)).ravel()[: BITS + 2]
    if centres[0] < 128 or centres[-1] >= 128 or np.any(np.abs(centres - 128) < 48):
        raise UnusableFile(
            "this frame carries no frame number",
            expected="a white block, 24 black or white blocks and a black block from the top left corner on",
            got="block means " + " ".join(f"{value:.0f}" for value in centres),
            do="burn one in with `burn_frame_number` before encoding",
        )
    return int(sum(1 << bit for bit in range(BITS) if centres[1 + bit] >= 128))


def _layout(height: int, width: int) -> tuple[int, int, int]:
    """Return the side of a block in pixels, blocks per row, and rows of blocks."""
    side = block_px(height)
    columns = min(BITS + 2, width // side)
    return side, columns, -(-(BITS + 2) // columns) if columns else 0


def _write_digits(luma: NDArray[np.uint8], number: int, top_px: int) -> None:
    scale = max(luma.shape[0] / 1024, 0.3)
    base = (round(6 * scale) + 1, top_px + round(1.6 * _DIGITS_PX * scale) + 2)
    thick = max(1, round(2 * scale))
    cv2.putText(luma, str(number), base, cv2.FONT_HERSHEY_SIMPLEX, scale, (_WHITE,), thick)
