"""Binary records of a camera: little-endian doubles, one or four for each frame.

Values that cannot be used are left out with a remark, since a camera can be timed without any one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, TruncatedFile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    BoolArray = NDArray[np.bool_]


_UINT32 = 2**32
_PIN_UNIT = 2**28
"""Value of pin 4, the lowest of the top four bits of a register that holds the pins."""
_PIN_STATES = ((np.arange(16)[:, None] >> np.array([3, 2, 1, 0])) & 1).astype(np.bool_)
"""State of pins 1 to 4 for each value of the top four bits; pin 1 is the highest (value, pin)."""
COPY_AGAIN = "copy the file again from the acquisition computer"


@dataclass(frozen=True, slots=True)
class Remarks:
    """Remarks on the files of a camera, collected while they are read."""

    notes: list[str] = field(default_factory=list)
    """Remarks for the user, those in `damaged` included."""
    damaged: list[str] = field(default_factory=list)
    """Remarks on records that could not be used."""
    stuck: list[int] = field(default_factory=list)
    """Frames at which the counter does not grow."""

    def damage(self, text: str) -> None:
        """Add a remark on a record that cannot be used."""
        self.notes.append(text)
        self.damaged.append(text)


def read_float64(path: Path, remarks: Remarks, columns: int = 1) -> FloatArray:
    """Read little-endian doubles; a last record that was cut off is left out.

    Parameters
    ----------
    path : Path
        The file.
    remarks : Remarks
        A cut record is added to it.
    columns : int
        Doubles in a record.

    Returns
    -------
    ndarray of float
        (record,), or (record, column) for more than one column.

    Raises
    ------
    MissingFile, TruncatedFile
        If the file is absent, or holds no whole record.
    """
    record = 8 * columns
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise MissingFile("a camera file is not there", str(path), do=COPY_AGAIN) from error
    whole, rest = divmod(size, record)
    if rest and not whole:
        raise TruncatedFile(
            "the file holds no whole record", str(path), f"{record} bytes per frame", f"{size} bytes", COPY_AGAIN
        )
    if rest:
        remarks.damage(
            f"{path.name} ends inside a record: {whole:,} whole records were read, and {rest} bytes left out; if the "
            "recording did not stop that way, copy the file again from the acquisition computer"
        )
    values = np.fromfile(path, dtype="<f8", count=whole * columns).astype(np.float64, copy=False)
    return values.reshape(-1, columns) if columns > 1 else values


def without_empty_records(values: FloatArray, path: Path, remarks: Remarks) -> FloatArray:
    """Return the records without empty ones at the end: all zeros, or not numbers.

    Parameters
    ----------
    values : ndarray of float
        Records of the file (record, ...).
    path : Path
        The file, for remarks.
    remarks : Remarks
        The number of empty records is added to it.
    """
    rows = values.reshape(len(values), -1)
    is_empty = ((rows == 0) | ~np.isfinite(rows)).all(axis=1)
    n_empty = int(np.argmin(is_empty[::-1])) if not is_empty.all() else 0
    if not n_empty or (values.ndim == 1 and n_empty == 1 and len(values) == 1):
        return values
    remarks.notes.append(f"{path.name}: the last {n_empty:,} records are empty and were left out")
    return values[: len(values) - n_empty]


def holds_data(path: Path, remarks: Remarks) -> bool:
    """Return whether a file is there and not empty; add a remark where it is not."""
    if path.is_file() and path.stat().st_size:
        return True
    remarks.notes.append(f"{path.name} is {'empty' if path.is_file() else 'absent'} and was left out")
    return False


def is_finite(values: FloatArray, subject: str, name: str, remarks: Remarks) -> bool:
    """Return whether all values are finite; add a remark where they are not.

    Parameters
    ----------
    values : ndarray of float
        One per frame (frame,).
    subject : str
        Quantity that the values are, for the remark.
    name : str
        Name of the file.
    remarks : Remarks
        The first value that is not finite is added to it.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        remarks.damage(f"{name}: {subject} is not a number at {_frames(bad)} and was left out")
    return not bad.size


def is_uint32(values: FloatArray, subject: str, name: str, remarks: Remarks) -> bool:
    """Return whether all values are 32-bit whole numbers; add a remark where they are not (see `is_finite`).

    Parameters
    ----------
    values
        Values of a column (frame,).
    subject, name
        Words for the column and the file in a remark.
    remarks
        Remarks about the file.
    """
    if not is_finite(values, subject, name, remarks):
        return False
    bad = np.flatnonzero((values < 0) | (values >= _UINT32) | (values != np.floor(values)))
    if bad.size:
        remarks.damage(f"{name}: {subject} is not a 32-bit whole number at {_frames(bad)} and was left out")
    return not bad.size


def _frames(frames: NDArray[np.intp]) -> str:
    more = f" and {frames.size - 1:,} more" if frames.size > 1 else ""
    return f"frame {int(frames[0]):,}{more}"


def pin_states(values: FloatArray, path: Path, remarks: Remarks) -> BoolArray | None:
    """Unpack the top four bits of each value, pin 1 first.

    Parameters
    ----------
    values : ndarray of float
        Register of the pins (frame,).
    path : Path
        The file, for remarks.
    remarks : Remarks
        Values that are no pin states are added to it.

    Returns
    -------
    ndarray of bool or None
        State of pins 1 to 4 (frame, 4); None where a value is not a 32-bit whole number.
    """
    if not is_uint32(values, "the pin state", path.name, remarks):
        return None
    state = values.astype(np.int64)
    odd = np.flatnonzero(state & (_PIN_UNIT - 1))
    if odd.size:
        remarks.notes.append(
            f"{path.name}: the pin state is not a multiple of 2^28 at {_frames(odd)}; the top 4 bits were read"
        )
    pins: BoolArray = _PIN_STATES[state >> 28]
    return pins


def frame_counts(values: FloatArray, path: Path, remarks: Remarks) -> IntArray | None:
    """Return the frame counter, 0 at the first frame, continued where it starts again after 2^32 - 1.

    Parameters
    ----------
    values : ndarray of float
        Counter as written (frame,).
    path : Path
        The file, for remarks.
    remarks : Remarks
        Wraps, and frames at which the counter does not grow, are added to it.

    Returns
    -------
    ndarray of int or None
        (frame,); None where a value is no whole number, or the counter does not grow.
    """
    if not is_finite(values, "the frame counter", path.name, remarks):
        return None
    fractional = np.flatnonzero((values != np.floor(values)) | (np.abs(values) > 2.0**53))
    if fractional.size:
        remarks.damage(f"{path.name}: the frame counter is no whole number at {_frames(fractional)} and was left out")
        return None
    count = values.astype(np.int64)
    steps = np.diff(count)
    # A fall by more than half the range is a wrap; a smaller one is a damaged counter.
    wraps = steps < -_UINT32 // 2
    if wraps.any():
        steps[wraps] += _UINT32
        count[1:] = count[0] + np.cumsum(steps)
        remarks.notes.append(f"{path.name}: the frame counter starts again after 2^32 - 1; it was continued")
    back = np.flatnonzero(steps <= 0)
    if back.size:
        frame = int(back[0]) + 1
        remarks.stuck.extend((back + 1).tolist())
        remarks.damage(
            f"{path.name}: the frame counter does not grow at frame {frame:,} ({count[frame - 1]:,} and then "
            f"{count[frame]:,}; {back.size:,} such frames) and was left out"
        )
        return None
    return count - count[0] if count.size else count
