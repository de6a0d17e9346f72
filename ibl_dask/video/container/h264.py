"""H.264 packets in their two byte formats: NAL units behind start codes, or behind lengths as in an MP4."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_START_CODE = b"\0\0\1"
_SEQUENCE, _PICTURE = 7, 8


def nal_units(stream: bytes) -> list[bytes]:
    r"""Return the NAL units between start codes (ITU-T H.264, annex B).

    >>> nal_units(bytes([0, 0, 0, 1, 9, 16, 0, 0, 1, 65, 2]))
    [b'\t\x10', b'A\x02']
    """
    # No unit ends in a zero byte; those are part of a start code of four bytes.
    return [unit for part in stream.split(_START_CODE)[1:] if (unit := part.rstrip(b"\0"))]


def with_lengths(units: Iterable[bytes]) -> bytes:
    """Return NAL units behind lengths of four bytes (ISO/IEC 14496-15)."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def parameter_sets(stream: bytes) -> bytes:
    """Return the sequence and picture parameter sets of a stream, behind start codes."""
    units = [unit for unit in nal_units(stream) if unit[0] & 31 in (_SEQUENCE, _PICTURE)]
    return b"".join(b"\0" + _START_CODE + unit for unit in units)


def parameter_sets_of_mp4(extradata: bytes) -> bytes:
    """Return the parameter sets of an MP4's configuration record (`avcC`), behind start codes."""
    units, at = [], 6
    for n_units in (extradata[5] & 31, None):
        if n_units is None:
            n_units, at = extradata[at], at + 1
        for _ in range(n_units):
            size = int.from_bytes(extradata[at : at + 2], "big")
            units.append(extradata[at + 2 : at + 2 + size])
            at += 2 + size
    return b"".join(b"\0" + _START_CODE + unit for unit in units)
