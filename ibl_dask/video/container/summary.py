"""Summary of a video from the tables of its container, for plans: frames, size, keyframes.

The stream is not read, so the summary of a damaged file may be wrong; a run indexes every video (`index`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.video.container.mp4 import SampleTables, read_sample_tables
from ibl_dask.video.container.tracks import largest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_UNMOVED = 4
"""Number of distances without a change of order after which farther neighbours are not compared."""
_AVI_KEYFRAME = 0x10
_INDEX_ENTRY = np.dtype([("id", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])


@dataclass(frozen=True, slots=True, eq=False)
class ContainerSummary:
    """Description of a video by its container."""

    n_frames: int
    """Number of frames in the tables."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    keyframes: NDArray[np.int64]
    """Numbers of the frames that the container flags as keyframes. (n,)"""


def read_container_summary(path: Path) -> ContainerSummary | None:
    """Read the summary of an MP4 or AVI; None if its tables are incomplete or damaged.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    try:
        return _mp4_summary(path) or _avi_summary(path)
    except (struct.error, ValueError, IndexError):
        return None


def _mp4_summary(path: Path) -> ContainerSummary | None:
    tables = read_sample_tables(path)
    if tables is None or tables.n_samples == 0:
        return None
    return ContainerSummary(tables.n_samples, tables.width, tables.height, _numbers(tables))


def _numbers(tables: SampleTables) -> NDArray[np.int64]:
    """Return the frame numbers of the keyframes, increasing.

    A keyframe's number is its decode position, plus the later samples shown before it, minus the earlier samples shown
    after it. Encoders reorder near neighbours only, so ever farther ones are compared until none changes the number.
    """
    samples, n = tables.key_samples, tables.n_samples
    numbers, own = samples.copy(), tables.times_of(samples)
    unchanged = 0
    for distance in range(1, n):
        later, earlier = samples + distance, samples - distance
        has_later, has_earlier = later < n, earlier >= 0
        moves = np.zeros_like(numbers)
        moves[has_later] += tables.times_of(later[has_later]) < own[has_later]
        moves[has_earlier] -= tables.times_of(earlier[has_earlier]) > own[has_earlier]
        numbers += moves
        unchanged = 0 if moves.any() else unchanged + 1
        if unchanged == _UNMOVED:
            break
    return np.sort(numbers)


def _avi_summary(path: Path) -> ContainerSummary | None:
    """Read the header and the index of a plain AVI; None for a file that is cut short, or continued (OpenDML)."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"AVI ":
            return None
        end = 8 + struct.unpack("<I", head[4:8])[0]
        size = file.seek(0, 2)
        position, header, index = 12, b"", b""
        while position + 8 <= min(end, size):
            file.seek(position)
            kind, length = struct.unpack("<4sI", file.read(8))
            if kind == b"LIST" and file.read(4) == b"hdrl":
                header = file.read(length - 4)
            elif kind == b"idx1":
                index = file.read(length)
            position += 8 + length + length % 2
        is_continued = size >= end + 12 and end > 12 and _continues(path, end)
    videos = _avi_videos(header)
    chosen = largest([size for _, size in videos]) if videos else None
    if chosen is None or not index or is_continued:
        return None
    number, (width, height) = videos[chosen]
    entries = np.frombuffer(index, _INDEX_ENTRY, len(index) // _INDEX_ENTRY.itemsize)
    own = f"{number:02d}".encode()
    frames = entries[np.isin(entries["id"], [own + b"dc", own + b"db"])]
    if not len(frames):
        return None
    is_key = (frames["flags"] & _AVI_KEYFRAME > 0) & (frames["size"] > 0)
    return ContainerSummary(len(frames), width, height, np.flatnonzero(is_key))


def _avi_videos(header: bytes) -> list[tuple[int, tuple[int, int]]]:
    """Return stream number, and width and height in pixels, of every video in an AVI's header."""
    videos, number, position = [], 0, header.find(b"LIST")
    while 0 <= position <= len(header) - 12:
        kind, length = struct.unpack_from("<4sI", header, position)
        if kind == b"LIST" and header[position + 8 : position + 12] == b"strl":
            content = header[position : position + 8 + length]
            place = content.find(b"strf")
            if content[20:24] == b"vids" and place >= 0:
                width, height = struct.unpack_from("<ii", content, place + 12)
                videos.append((number, (width, abs(height))))
            number += 1
        position += 8 + length + length % 2
    return videos


def _continues(path: Path, end: int) -> bool:
    with path.open("rb") as file:
        file.seek(end + end % 2)
        return file.read(4) == b"RIFF"
