"""A rectangle of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ibl_dask.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = TypeVar("Pixels", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Region:
    """Rows `[top, bottom)` and columns `[left, right)` of a frame."""

    top: int
    """First row, pixels."""
    bottom: int
    """One past the last row, pixels."""
    left: int
    """First column, pixels."""
    right: int
    """One past the last column, pixels."""

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom and 0 <= self.left < self.right):
            raise UsageError(
                "a region needs at least one pixel",
                expected="0 <= top < bottom and 0 <= left < right",
                got=f"rows [{self.top}, {self.bottom}), columns [{self.left}, {self.right})",
            )

    @property
    def n_pixels(self) -> int:
        """Return the number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    def of(self, image: NDArray[Pixels]) -> NDArray[Pixels]:
        """Return a view of the region. (y, x)"""
        return image[self.top : self.bottom, self.left : self.right]

    def scaled(self, width: int, height: int, nominal_width: int, nominal_height: int) -> Region:
        """Return the region that covers the same part of a frame of another size.

        Parameters
        ----------
        width, height : int
            Size of that frame, pixels.
        nominal_width, nominal_height : int
            Size of the frame that this region is of, pixels.

        Examples
        --------
        >>> Region(800, 1020, 233, 1096).scaled(640, 512, 1280, 1024)
        Region(top=400, bottom=510, left=116, right=548)
        """
        top, bottom = (self.top * height // nominal_height, self.bottom * height // nominal_height)
        left, right = (self.left * width // nominal_width, self.right * width // nominal_width)
        return Region(top, max(bottom, top + 1), left, max(right, left + 1))
