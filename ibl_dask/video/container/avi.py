"""Packets of an AVI: which of them shows which frame, and which frames have none.

An AVI says neither when a frame is shown nor, once a chunk header is damaged, which frame a packet is. So packets are
known by their place in the file, and where MPEG-4 part 2 reorders pictures their order is read from the stream itself.
FFmpeg's parsers are kept out of it: they guess times (wrongly for H.264), and renumber every later frame once a packet
is damaged.

A recorder that has no picture for a frame leaves its place in the list empty (a chunk of size 0). The place counts: it
is a frame that does not decode, and those after it keep their numbers.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnreadableVideo
from ibl_dask.video.container.bitstream import shown_order
from ibl_dask.video.container.tracks import COPY_AGAIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK_HEADER_BYTES = 8
"""What precedes the payload of a packet in an AVI."""
NO_PLACE = -1
"""Stands for the place of a frame that has no packet."""


def is_cut(path: Path) -> bool:
    """Return whether the file is shorter than it says; the frame count of a whole file means nothing."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(8)[4:], "little") + CHUNK_HEADER_BYTES > path.stat().st_size


def with_empty_places(
    path: Path, stream: int, numbers: NDArray[np.int64], places: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return numbers and places of all that a list of pictures counts, `NO_PLACE` where nothing is.

    Parameters
    ----------
    path, stream
        The AVI, and the number of the video in it.
    numbers
        The number that FFmpeg gives each packet, which counts empty places, rising (packet,).
    places, sizes
        Where each packet is, bytes from the start of the file, and its size, bytes (packet,).

    Returns
    -------
    numbers, places : (frame,)
    """
    # Damage may leave numbers that are none: an empty place takes a header in the file.
    most = path.stat().st_size // CHUNK_HEADER_BYTES
    if not numbers.size or (np.diff(numbers) <= 0).any() or numbers[-1] - numbers[0] > most:
        return numbers, places
    before = _n_empty(path, stream, _first_chunk(path), int(places[0]) - CHUNK_HEADER_BYTES)
    after = _n_empty(path, stream, int(places[-1] + sizes[-1]), path.stat().st_size)
    counted = np.arange(int(numbers[0]) - before, int(numbers[-1]) + 1 + after)
    found = np.full(counted.size, NO_PLACE, np.int64)
    found[numbers - counted[0]] = places
    return counted, found


def _n_empty(path: Path, stream: int, start: int, stop: int) -> int:
    """Return how many empty places of a stream are between two packets, or a packet and an end of the list."""
    own = [f"{stream:02d}".encode() + kind for kind in (b"dc", b"db")]
    n = 0
    with path.open("rb") as file:
        while start < stop:
            file.seek(start + start % 2)
            head = file.read(CHUNK_HEADER_BYTES)
            if len(head) < CHUNK_HEADER_BYTES or head[:4] in (b"idx1", b"RIFF", bytes(4)):
                break
            kind, size = struct.unpack("<4sI", head)
            n += kind in own and size == 0
            start = file.tell() + (4 if kind == b"LIST" else size)
    return n


def _first_chunk(path: Path) -> int:
    """Return where the first packet of any stream begins, or what stands before it."""
    with path.open("rb") as file:
        end, position = file.seek(0, 2), 12
        while position < end:
            file.seek(position)
            head = file.read(12)
            if head[:4] == b"LIST" and head[8:] == b"movi":
                return position + 12
            position += CHUNK_HEADER_BYTES + int.from_bytes(head[4:8], "little")
            position += position % 2
    return end


def is_delay(kinds: Sequence[str], is_empty: NDArray[np.bool_]) -> bool:
    """Return whether empty places are no more than the time that an encoder of B-pictures took before its second one.

    Parameters
    ----------
    kinds
        Kinds of the pictures in each packet, see `bitstream.vop_kinds`.
    is_empty
        Which places are empty (place,).
    """
    longest = max(map(len, "".join(kind or "P" for kind in kinds).replace("S", "P").replace("I", "P").split("P")))
    first_two = np.flatnonzero(~is_empty)[:2]
    return int(is_empty.sum()) <= longest and not is_empty[first_two[-1] :].any()


def shown_vops(path: Path, kinds: Sequence[str], n_empty: int) -> NDArray[np.intp]:
    """Return the positions of pictures of MPEG-4 part 2 in the order in which they are shown.

    Parameters
    ----------
    path
        The AVI.
    kinds
        Kinds of the pictures in each packet, see `bitstream.vop_kinds`; empty where they cannot be made out.
    n_empty
        Places without a packet.

    Raises
    ------
    UnreadableVideo
        If packets hold several pictures, or the order is not certain.
    """
    if any(len(kind) > 1 for kind in kinds):
        packed = next(number for number, kind in enumerate(kinds) if len(kind) > 1)
        raise UnreadableVideo(
            "packets of this AVI hold several pictures (a `packed bitstream`), so frames cannot be told apart",
            where=str(path),
            expected="one picture in every packet",
            got=f"{len(kinds[packed])} in packet {packed:,}",
            do="unpack it with ffmpeg -i in.avi -c copy -bsf:v mpeg4_unpack_bframes out.avi, check the frame count, "
            "and use that file",
        )
    if "B" in kinds and "" in kinds:
        raise no_order(path, f"MPEG-4 with B-frames in an AVI, whose packet {kinds.index(''):,} is damaged")
    if "B" in kinds and n_empty:
        raise UnreadableVideo(
            "places of this AVI are empty among pictures that are not shown in the order of the file, so it is not "
            "certain which frames are missing",
            where=str(path),
            expected="a picture in every place, or MPEG-4 without B-frames",
            got=f"{n_empty:,} empty places of {len(kinds) + n_empty:,}",
            do=f"{COPY_AGAIN}; if the original is the same, and the camera's own files list as many frames as there "
            f"are pictures ({len(kinds):,}), close the gaps with ffmpeg -i in.avi -fps_mode passthrough -vf "
            "setpts=N/FRAME_RATE/TB -c:v libx264 -qp 0 out.mp4, check the frame count, and use that file",
        )
    # Without B-frames, a packet whose picture cannot be made out takes its turn: its frame does not decode.
    return np.array(shown_order([kind or "P" for kind in kinds]), np.intp)


def no_order(path: Path, got: str) -> UnreadableVideo:
    """Return the error of a file that does not say in which order its frames are shown."""
    return UnreadableVideo(
        "this file does not say when each frame is shown",
        where=str(path),
        expected="a presentation time on every packet, or a stream that says in which order its pictures are shown",
        got=got,
        do="re-encode it without loss, ffmpeg -i in -vf setpts=N/FRAME_RATE/TB -c:v libx264 -qp 0 out.mp4, and check "
        "the frame count",
    )
