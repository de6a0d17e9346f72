"""The older text file of frame clocks: one line per frame, a wall clock and a camera clock.

Half a million lines take well under a second: the file is split once, and all lines of one length are parsed together.
Lines are parsed one by one only where that fails, to name the corrupt one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.model.text import plain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

_UINT32 = 2**32
_COPY_AGAIN = "copy the file again from the acquisition computer"
_LINE = re.compile(rb"\s*(\S+)\s+(\S+)\s*")
_INTEGER = re.compile(rb"\d{1,10}")
_WALL_CLOCK = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")
_OFFSET = re.compile(rb"(?:Z|[+-]\d\d:\d\d)$")
_PATTERN = b"0000-00-00T00:00:00.000000000"


def read_registers(path: Path) -> tuple[IntArray, IntArray]:
    """Read wall clock (ns of UTC) and camera clock (the 32-bit number as written), one of each per line.

    The rigs wrote the two columns in either order; the first line shows which.

    Returns
    -------
    tuple of ndarray of int
        Wall clock, ns of UTC, and camera clock, 0 to 2^32 - 1 (frame,).

    Raises
    ------
    MissingFile, UnusableFile
        If the file is absent or empty, or a line does not hold exactly one time and one camera clock.
    """
    try:
        content = plain(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingFile("the camera's timestamps are not there", str(path), do=_COPY_AGAIN) from error
    tokens = content.split()
    if not tokens:
        raise UnusableFile("the file is empty", str(path), "one line per frame", "no line", _COPY_AGAIN)
    if len(tokens) != 2 * (content.rstrip().count(b"\n") + 1):
        _raise_for_line(path, content)
    first, second = np.array(tokens[0::2]), np.array(tokens[1::2])
    wall, clock = (first, second) if _INTEGER.fullmatch(tokens[1]) else (second, first)
    try:
        return _wall_clock_ns(wall), _integers(clock)
    except ValueError:
        _raise_for_line(path, content)


def _integers(tokens: NDArray[np.bytes_]) -> IntArray:
    values = tokens.astype(np.int64)
    if values.size and (values.min() < 0 or values.max() >= _UINT32):
        raise ValueError("not a 32-bit number")
    return values


def _wall_clock_ns(tokens: NDArray[np.bytes_]) -> IntArray:
    """Parse ISO 8601 times to ns of UTC, all those of one length at once."""
    result = np.empty(tokens.size, dtype=np.int64)
    letters = tokens.view(np.uint8).reshape(tokens.size, -1)
    # Wall clocks of one file differ in length where trailing zeros were left out: numpy pads shorter ones with NUL.
    sizes = np.char.str_len(tokens) if (letters[:, -1] == 0).any() else np.array(tokens.itemsize)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(np.broadcast_to(sizes == size, tokens.shape))
        result[chosen] = _block_ns(np.ascontiguousarray(letters[chosen, :size]))
    return result


def _block_ns(letters: NDArray[np.uint8]) -> IntArray:
    """Parse ISO 8601 times of one length, given as (line, letter)."""
    offset = _OFFSET.search(letters[0].tobytes())
    n_time = letters.shape[1] - (len(offset.group()) if offset else 0)
    pattern = np.frombuffer(_PATTERN[:n_time], dtype=np.uint8)
    if n_time not in (19, *range(21, 30)) or not _fits(letters[:, :n_time], pattern):
        raise ValueError("not a time")
    times = np.ascontiguousarray(letters[:, :n_time]).view(f"S{n_time}").ravel().astype("M8[ns]")
    return times.astype(np.int64) - _offsets_ns(letters[:, n_time:])


def _fits(letters: NDArray[np.uint8], pattern: NDArray[np.uint8]) -> bool:
    """Return whether all lines have digits where the pattern has zeros, and its characters elsewhere."""
    digit = pattern == ord("0")
    digits = letters[:, digit]
    return bool((letters[:, ~digit] == pattern[~digit]).all() and ((digits >= 48) & (digits <= 57)).all())


def _offsets_ns(letters: NDArray[np.uint8]) -> IntArray | int:
    """Return the distance from UTC that each time carries, ns."""
    if not letters.shape[1] or (letters == ord("Z")).all():
        return 0
    if letters.shape[1] != 6:
        raise ValueError("not an offset")
    sign = np.select([letters[:, 0] == ord("+"), letters[:, 0] == ord("-")], [1, -1])
    if not sign.all() or not _fits(letters[:, 1:], np.frombuffer(b"00:00", dtype=np.uint8)):
        raise ValueError("not an offset")
    digits = letters[:, [1, 2, 4, 5]].astype(np.int64) - 48
    offsets: IntArray = sign * (digits @ np.array([600, 60, 10, 1])) * 60_000_000_000
    return offsets


def _raise_for_line(path: Path, content: bytes) -> NoReturn:
    """Raise for the first line that is not a wall clock and a camera clock."""
    lines = content.rstrip().split(b"\n")
    wall_first = (m := _LINE.fullmatch(lines[0])) is not None and _INTEGER.fullmatch(m[2]) is not None
    number, text = next(((i, line) for i, line in enumerate(lines, 1) if not _is_line(line, wall_first)), (1, lines[0]))
    order = "a wall clock and a camera clock" if wall_first else "a camera clock and a wall clock"
    raise UnusableFile(
        f"line {number:,} of the timestamps is corrupt",
        where=str(path),
        expected=f"{order}, such as 2020-08-19T12:42:57.7903616-04:00 and 2330554981",
        got=repr(text[:80].decode("ascii", "backslashreplace")),
        do=f"{_COPY_AGAIN}; if the original is the same, mend the line by hand: its frame needs both values",
    )


def _is_line(line: bytes, wall_first: bool) -> bool:
    match = _LINE.fullmatch(line)
    if match is None:
        return False
    wall, clock = (match[1], match[2]) if wall_first else (match[2], match[1])
    if not (_WALL_CLOCK.fullmatch(wall) and _INTEGER.fullmatch(clock)):
        return False
    try:
        _wall_clock_ns(np.array([wall]))
        _integers(np.array([clock]))
    except ValueError:
        return False
    return True
