"""H.264 packets in the two ways in which they are written: behind start codes, and behind lengths (as in an MP4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_START_CODE = b"\0\0\1"
_SEQUENCE, _PICTURE = 7, 8


def nal_units(stream: bytes) -> list[bytes]:
    r"""Return the units between start codes (ITU-T H.264, annex B).

    >>> nal_units(bytes([0, 0, 0, 1, 9, 16, 0, 0, 1, 65, 2]))
    [b'\t\x10', b'A\x02']
    """
    # No unit ends in a zero byte; those are part of a start code of four bytes.
    return [unit for part in stream.split(_START_CODE)[1:] if (unit := part.rstrip(b"\0"))]


def with_lengths(units: Iterable[bytes]) -> bytes:
    """Write units behind their lengths of four bytes (ISO/IEC 14496-15)."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def parameter_sets(stream: bytes) -> bytes:
    """Return sequence and picture parameter sets alone, behind start codes."""
    units = [unit for unit in nal_units(stream) if unit[0] & 31 in (_SEQUENCE, _PICTURE)]
    return b"".join(b"\0" + _START_CODE + unit for unit in units)


def parameter_sets_of_mp4(extradata: bytes) -> bytes:
    """Return the same from the configuration record of an MP4 (`avcC`)."""
    found, at = [], 6
    for n_units in (extradata[5] & 31, None):
        if n_units is None:
            n_units, at = extradata[at], at + 1
        for _ in range(n_units):
            size = int.from_bytes(extradata[at : at + 2], "big")
            found.append(extradata[at + 2 : at + 2 + size])
            at += 2 + size
    return b"".join(b"\0" + _START_CODE + unit for unit in found)
