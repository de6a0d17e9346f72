"""Frame numbers of the packets of an AVI.

An AVI has no presentation times, and once a chunk header is damaged its packets lose their numbers. So packets are
identified by their position in the file, and the order of reordered pictures (MPEG-4 part 2) is read from the stream.
FFmpeg's parsers are not used: they guess times (wrongly for H.264), and renumber all later frames after a damaged
packet.

A recorder without a picture for a frame leaves its place in the list empty (a chunk of size 0). An empty place counts
as a frame that does not decode, and the frames after it keep their numbers.
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
"""Size of the header before the payload of a packet, bytes."""
NO_PLACE = -1
"""Position of a frame without a packet."""


def is_cut(path: Path) -> bool:
    """Return whether the file is shorter than its header announces. The frame count of a whole file is not reliable."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(8)[4:], "little") + CHUNK_HEADER_BYTES > path.stat().st_size


def with_empty_places(
    path: Path, stream: int, numbers: NDArray[np.int64], places: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers and positions of all frames, empty places included.

    Parameters
    ----------
    path : Path
        The AVI.
    stream : int
        Number of the video stream in it.
    numbers : (packet,) int64
        FFmpeg's number of each packet, which counts empty places; increasing.
    places, sizes : (packet,) int64
        Position of each packet, bytes from the start of the file, and its size, bytes.

    Returns
    -------
    numbers, places : (frame,) int64
        Position `NO_PLACE` for an empty place.
    """
    # Damage may leave absurd numbers. Every empty place takes a header in the file, which limits their count.
    most = path.stat().st_size // CHUNK_HEADER_BYTES
    if not numbers.size or (np.diff(numbers) <= 0).any() or numbers[-1] - numbers[0] > most:
        return numbers, places
    before = _n_empty(path, stream, _first_chunk(path), int(places[0]) - CHUNK_HEADER_BYTES)
    after = _n_empty(path, stream, int(places[-1] + sizes[-1]), path.stat().st_size)
    counted = np.arange(int(numbers[0]) - before, int(numbers[-1]) + 1 + after)
    positions = np.full(counted.size, NO_PLACE, np.int64)
    positions[numbers - counted[0]] = places
    return counted, positions


def _n_empty(path: Path, stream: int, start: int, stop: int) -> int:
    """Return the number of empty places of a stream between two positions of the file, bytes."""
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
    """Return the position of the first chunk in the list of packets, bytes."""
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
    """Return whether empty places are merely the delay of an encoder of B-pictures before its second picture.

    Parameters
    ----------
    kinds : sequence of str
        Kinds of the pictures in each packet, see `bitstream.vop_kinds`.
    is_empty : (place,) bool
        True for an empty place.
    """
    longest = max(map(len, "".join(kind or "P" for kind in kinds).replace("S", "P").replace("I", "P").split("P")))
    first_two = np.flatnonzero(~is_empty)[:2]
    return int(is_empty.sum()) <= longest and not is_empty[first_two[-1] :].any()


def shown_vops(path: Path, kinds: Sequence[str], n_empty: int) -> NDArray[np.intp]:
    """Return the decode positions of pictures of MPEG-4 part 2 in presentation order. (packet,)

    Parameters
    ----------
    path : Path
        The AVI.
    kinds : sequence of str
        Kinds of the pictures in each packet, see `bitstream.vop_kinds`; empty if unreadable.
    n_empty : int
        Number of empty places.

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
    # Without B-frames, an unreadable packet is a frame of its own, which does not decode.
    return np.array(shown_order([kind or "P" for kind in kinds]), np.intp)


def no_order(path: Path, got: str) -> UnreadableVideo:
    """Return the error for a file without a defined presentation order."""
    return UnreadableVideo(
        "this file does not define when each frame is shown",
        where=str(path),
        expected="a presentation time on every packet, or a stream that defines the order of its pictures",
        got=got,
        do="re-encode it without loss, ffmpeg -i in -vf setpts=N/FRAME_RATE/TB -c:v libx264 -qp 0 out.mp4, and check "
        "the frame count",
    )
