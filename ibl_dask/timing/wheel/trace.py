"""Trace of a wheel: angles and their times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnusableFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


TICKS_PER_TURN = 1024
"""Ticks in a turn of the field's encoders; a DAQ counts the four edges of each (x4), a Bpod's module whole ticks."""
_LONGEST_S = 2 * 86_400.0
"""Longest possible recording, s: a longer span means damaged times, and would not fit into memory at 1 kHz."""
_FARTHEST_RAD = 1e6
"""Largest possible angle, rad: angles beyond it are damaged, and their differences would not be finite."""
COPY_AGAIN = "copy the file again from the acquisition computer"


@dataclass(frozen=True, slots=True, eq=False)
class Wheel:
    """Angle of the wheel at the times at which it was noted."""

    times_s: Floats
    """s on the main clock, strictly increasing (sample,)."""
    position_rad: Floats
    """Angle, rad; counter-clockwise for the mouse is positive (sample,)."""
    source: str
    """Device or file that it was read from, for messages."""
    notes: tuple[str, ...] = ()
    """Remarks on repaired and omitted samples."""

    def __len__(self) -> int:
        return self.times_s.size


def ordered_wheel(times_s: Floats, position_rad: Floats, source: str, notes: Sequence[str] = ()) -> Wheel:
    """Return a wheel with times in order, and one angle per time: the last noted.

    Parameters
    ----------
    times_s, position_rad : ndarray of float
        Time, s on the main clock, and angle, rad, in any order; not finite ones are left out (sample,).
    source : str
        Device or file, for messages.
    notes : sequence of str
        Remarks of the reader.

    Raises
    ------
    UnusableFile
        If the times span more than any recording.
    """
    known = np.isfinite(times_s) & (np.abs(position_rad) < _FARTHEST_RAD)
    times, position = times_s[known], position_rad[known]
    if times.size and times.max() - times.min() > _LONGEST_S:
        raise UnusableFile(
            "the times of the wheel make no sense",
            source,
            f"a span of at most {_LONGEST_S:,.0f} s",
            f"{times.min():g} s to {times.max():g} s",
            COPY_AGAIN,
        )
    # In reverse, the first entry of each time is the one noted last.
    order = np.argsort(times, kind="stable")[::-1]
    unique, last = np.unique(times[order], return_index=True)
    return Wheel(unique, position[order][last], source, tuple(notes))


def unusable_file(path: Path, expected: str, got: str) -> UnusableFile:
    """Return the error for a file that holds no wheel.

    Parameters
    ----------
    path
        The file.
    expected, got
        Content that it should have, and the content found.
    """
    return UnusableFile("this file holds no wheel", str(path), expected, got, COPY_AGAIN)
