"""Start points of decoding and kinds of pictures, read from the first bytes of packets.

A container's keyframe flag is not reliable. Decoding from a flagged packet gives other pixels than decoding from the
start if the flag is wrong (an MP4 without a table of sync samples flags every packet, and so does an AVI whose
recording was interrupted), or if the picture only begins a gradual refresh (H.264 with `intra-refresh`: frames are
exact once the refresh is complete). The stream itself distinguishes these.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HEAD_BYTES = 1024
"""Bytes of a packet that are read first; nearly always enough."""


class Start(IntEnum):
    """Suitability of a packet as start of decoding."""

    UNKNOWN = -1
    """Undecided from these bytes; more may decide it."""
    NO = 0
    """Frames after it may depend on earlier ones."""
    OPEN = 1
    """Frames shown after it are independent of earlier ones; frames decoded after it and shown before it may not be."""
    CLOSED = 2
    """All frames decoded after it are independent of earlier ones."""


def start_of(codec: str, extradata: bytes | None, head: bytes) -> Start:
    """Return whether decoding may start at a packet that the container flags as keyframe.

    Parameters
    ----------
    codec : str
        FFmpeg's name of the codec; for codecs other than H.264, HEVC and MPEG-4 part 2 the flag is trusted.
    extradata : bytes or None
        Configuration of the stream, from the container.
    head : bytes
        The packet, or its first bytes.
    """
    parse = _PARSERS.get(codec)
    return parse(extradata or b"", head) if parse else Start.CLOSED


def is_parsed(codec: str) -> bool:
    """Return whether `start_of` reads packets of this codec."""
    return codec in _PARSERS


def is_referred_to(codec: str, extradata: bytes | None, packet: bytes) -> bool:
    """Return whether later pictures may refer to a picture that is shown before the keyframe it follows.

    In MPEG-1, -2 and -4 only B-pictures are shown so early, and no picture refers to those.

    Parameters
    ----------
    codec : str
        FFmpeg's name of the codec.
    extradata : bytes or None
        Configuration of the stream, from the container.
    packet : bytes
        The packet of the picture.
    """
    if codec not in ("h264", "hevc"):
        return False
    for unit in _units(packet, length_bytes(codec, extradata)):
        if codec == "h264" and unit[0] & 31 in (1, 2, 5):
            return unit[0] & 0x60 != 0
        if codec == "hevc" and unit[0] >> 1 & 63 < 32:
            kind = unit[0] >> 1 & 63
            return kind > 15 or kind % 2 == 1
    return True


def length_bytes(codec: str, extradata: bytes | None) -> int:
    """Return the size of the length field before each NAL unit, bytes; 0 for start codes, and for other codecs.

    >>> length_bytes("h264", bytes([1, 100, 0, 30, 255])), length_bytes("h264", bytes([0, 0, 0, 1, 103]))
    (4, 0)
    """
    place = {"h264": 4, "hevc": 21}.get(codec)
    if place is None or not extradata or extradata[0] != 1 or len(extradata) <= place:
        return 0
    return (extradata[place] & 3) + 1


def vop_kinds(packet: bytes) -> str:
    """Return the kinds of the pictures in a packet of MPEG-4 part 2, one letter each: I, P, B or S.

    >>> vop_kinds(bytes([0, 0, 1, 0xB6, 0x10]) + bytes([0, 0, 1, 0xB6, 0x90]))
    'IB'
    """
    kinds = []
    place = packet.find(_VOP)
    while 0 <= place < len(packet) - 4:
        kinds.append("IPBS"[packet[place + 4] >> 6])
        place = packet.find(_VOP, place + 4)
    return "".join(kinds)


def shown_order(kinds: Sequence[str]) -> list[int]:
    """Return the decode positions of pictures in presentation order.

    A B-picture is shown at once, any other picture when the next one that is no B-picture arrives.

    >>> shown_order("IPBBP")
    [0, 2, 3, 1, 4]
    """
    order: list[int] = []
    waiting: int | None = None
    for position, kind in enumerate(kinds):
        if kind == "B":
            order.append(position)
            continue
        if waiting is not None:
            order.append(waiting)
        waiting = position
    return order if waiting is None else [*order, waiting]


_VOP = b"\x00\x00\x01\xb6"


def _parse_mpeg4(extradata: bytes, head: bytes) -> Start:
    kinds = vop_kinds(head)
    if not kinds:
        return Start.UNKNOWN
    # B-pictures that follow and are shown earlier depend on the picture before; the decoder drops them without error.
    return Start.CLOSED if kinds[0] == "I" else Start.NO


def _parse_h264(extradata: bytes, head: bytes) -> Start:
    is_recovery = False
    for unit in _units(head, length_bytes("h264", extradata)):
        kind = unit[0] & 31
        if kind == 5:
            return Start.CLOSED
        if kind in (1, 2):
            # Slice header: first macroblock, then the type of the slice, of which 2 and 7 are intra.
            bits = _Bits(unit[1:32])
            bits.golomb()
            is_intra = bits.golomb() % 5 == 2
            return Start.OPEN if is_recovery and is_intra else Start.NO
        if kind == 6:
            is_recovery |= _recovers_at_once(unit)
    return Start.UNKNOWN


def _parse_hevc(extradata: bytes, head: bytes) -> Start:
    for unit in _units(head, length_bytes("hevc", extradata)):
        kind = unit[0] >> 1 & 63
        if kind in (19, 20):
            return Start.CLOSED
        if kind < 32:
            return Start.OPEN if 16 <= kind <= 21 else Start.NO
    return Start.UNKNOWN


_PARSERS: dict[str, Callable[[bytes, bytes], Start]] = {
    "h264": _parse_h264,
    "hevc": _parse_hevc,
    "mpeg4": _parse_mpeg4,
}


def _units(packet: bytes, n_length: int) -> Iterator[bytes]:
    """Yield the NAL units of a packet; the last may be cut."""
    if n_length == 0:
        for part in packet.split(b"\x00\x00\x01")[1:]:
            if part:
                yield part
        return
    place = 0
    while place + n_length < len(packet):
        size = int.from_bytes(packet[place : place + n_length], "big")
        place += n_length
        if size:
            yield packet[place : place + size]
        place += size


def _recovers_at_once(unit: bytes) -> bool:
    """Return whether a SEI unit announces that every picture shown from here on is exact (ITU-T H.264, D.2.8)."""
    # Units escape zeros by a byte 3 after two of them.
    content = unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")
    place = 0
    while place + 2 < len(content):
        values = []
        for _ in range(2):
            value = 0
            while place < len(content) and content[place] == 255:
                value += 255
                place += 1
            if place >= len(content):
                return False
            values.append(value + content[place])
            place += 1
        kind, size = values
        if kind == 6:
            bits = _Bits(content[place : place + size])
            return bits.golomb() == 0 and bits.take(1) == 1
        place += size
    return False


class _Bits:
    """Reader of single bits, highest first; zeros after the end."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def take(self, n: int) -> int:
        self._left -= n
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << n) - 1)

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb number."""
        zeros = 0
        while self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
