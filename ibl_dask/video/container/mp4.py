"""Tables of an MP4 file that the demuxer does not provide without reading the packets.

`ctts` (composition offsets) holds the presentation times of files with B-frames, `elst` (edit list) the hidden frames.
Both are in the `moov` box, a few bytes per frame (ISO/IEC 14496-12, sections 8.6.1.3 and 8.6.6).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ibl_dask.video.container.tracks import largest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_Bytes = bytes | memoryview
"""Content of a box; views, since copies of nested tables, megabytes for an hour of video, would take time."""
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


@dataclass(frozen=True, slots=True)
class VideoTables:
    """Composition offsets and edit list of a video track."""

    composition_offsets: NDArray[np.int64]
    """Presentation minus decode time of every sample, ticks, in decode order; empty if they are equal. (sample,)"""
    edits: tuple[tuple[int, int, int], ...]
    """(duration in movie ticks, first media tick or -1 for a pause, rate x 65536) of each edit."""
    is_fragmented: bool
    """True if fragments list further frames outside these tables."""

    def shows_all_from(self, first_media_tick: int) -> bool:
        """Return whether the edit list, if any, only moves the first frame to time zero.

        Encoders write such a list for the delay of B-frames: it starts at the first frame's presentation time.
        """
        if not self.edits:
            return True
        return len(self.edits) == 1 and self.edits[0][1] <= first_media_tick and self.edits[0][2] == 1 << 16


def read_video_tables(path: Path, track_id: int) -> VideoTables | None:
    """Read the tables of a video track; None if the file is no MP4 with that track, or they are damaged.

    Parameters
    ----------
    path : Path
        The file.
    track_id : int
        Number of the track: FFmpeg's `id` of the stream.
    """
    with path.open("rb") as file:
        moov = _find_moov(file)
        if moov is None:
            return None
    tracks = [track for track in _video_tracks(moov) if _track_id(track) == track_id]
    if len(tracks) != 1:
        return None
    track = tracks[0]
    offsets = _composition_offsets(track.get(b"ctts"), track.get(b"stsz", b""))
    edits = _edits(track.get(b"elst"))
    if offsets is None or edits is None:
        return None
    return VideoTables(
        composition_offsets=offsets,
        edits=edits,
        is_fragmented=any(kind == b"mvex" for kind, _ in _boxes(moov)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class SampleTables:
    """Sample tables of a video track, as runs of equal values: an hour of video has few runs and many samples."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    n_samples: int
    """Number of samples of the track."""
    key_samples: NDArray[np.int64]
    """Numbers of the samples flagged as keyframes, in decode order. (n,)"""
    durations: NDArray[np.int64]
    """(samples, ticks of each) of each run. (run, 2)"""
    offset_ends: NDArray[np.int32]
    """Sample after each run of equal composition offsets; empty if all are 0. (run,)"""
    offsets: NDArray[np.int32]
    """Composition offset of each of these runs, ticks. (run,)"""

    def times_of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the presentation times of some samples, ticks. (n,)"""
        counts, ticks = self.durations.T
        ends = np.cumsum(counts)
        run = np.searchsorted(ends, samples, "right")
        times: NDArray[np.int64] = (np.cumsum(counts * ticks) - (ends * ticks))[run] + samples * ticks[run]
        if len(self.offset_ends):
            times = times + self.offsets[np.searchsorted(self.offset_ends, samples, "right")]
        return times


def read_sample_tables(path: Path) -> SampleTables | None:
    """Read the tables of the camera's video; None if they are incomplete, or the file is no MP4.

    Raises
    ------
    struct.error, ValueError, IndexError
        If a table is damaged.
    """
    with path.open("rb") as file:
        moov = _find_moov(file)
    if moov is None or any(kind == b"mvex" for kind, _ in _boxes(moov)):
        return None
    tracks = _video_tracks(moov)
    if not tracks or not all({b"stts", b"stsz", b"stsd"} <= track.keys() for track in tracks):
        return None
    sizes = [_picture_size(track) for track in tracks]
    chosen = largest(sizes)
    if chosen is None:
        return None
    track, (width, height) = tracks[chosen], sizes[chosen]
    edits = _edits(track.get(b"elst"))
    durations = _runs(track[b"stts"], ">u4", 2).astype(np.int64)
    n_samples = int(durations[:, 0].sum())
    moved = _runs(track.get(b"ctts", bytes(8)), ">i4", 2)
    # Native byte order first: sums of numbers in the file's byte order take four times as long.
    offset_ends = np.cumsum(moved[:, 0].astype(np.int32), dtype=np.int32)
    is_whole = n_samples == int.from_bytes(track[b"stsz"][8:12], "big")
    if edits is None or len(edits) > 1 or not is_whole or (len(moved) and offset_ends[-1] != n_samples):
        return None
    sync = track.get(b"stss")
    keys = np.arange(n_samples) if sync is None else _runs(sync, ">u4", 1)[:, 0].astype(np.int64) - 1
    keys = keys[(keys >= 0) & (keys < n_samples)]
    return SampleTables(width, height, n_samples, keys, durations, offset_ends, moved[:, 1].astype(np.int32))


def _runs(body: _Bytes, kind: str, n_columns: int) -> NDArray[np.int32]:
    """Return a table of four-byte numbers, whose length precedes it. (row, column)"""
    n = int.from_bytes(body[4:8], "big")
    return np.frombuffer(body, kind, n_columns * n, 8).reshape(-1, n_columns)


def ends_whole(path: Path) -> bool:
    """Return False if an MP4 is cut within its media data or a fragment's tables."""
    with path.open("rb") as file:
        boxes = list(_top_boxes(file))
        end = file.seek(0, 2)
    return not boxes or boxes[-1][0] not in (b"mdat", b"moof") or boxes[-1][2] <= end


def has_tables_in_front(path: Path) -> bool:
    """Return whether the tables of an MP4 precede its media data, so that it plays while it is still being loaded."""
    with path.open("rb") as file:
        kinds = [kind for kind, _, _ in _top_boxes(file)]
    return b"moov" in kinds and b"mdat" in kinds and kinds.index(b"moov") < kinds.index(b"mdat")


def _find_moov(file: BinaryIO) -> memoryview | None:
    """Return the content of the `moov` box. Boxes are skipped by their size, so media data are never read."""
    for number, (kind, start, stop) in enumerate(_top_boxes(file)):
        if number == 0 and kind not in (b"ftyp", b"moov", b"free", b"skip", b"wide", b"mdat"):
            return None
        if kind == b"moov":
            file.seek(start)
            return memoryview(file.read(stop - start))
    return None


def _top_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start of the content and end of every top-level box; the last one may be cut."""
    position = 0
    end = file.seek(0, 2)
    while position + 8 <= end:
        file.seek(position)
        head = file.read(16)
        size, kind = struct.unpack(">I4s", head[:8])
        skip = 8
        if size == 1 and len(head) == 16:
            size, skip = struct.unpack(">Q", head[8:])[0], 16
        elif size == 0:
            size = end - position
        if size < skip:
            return
        yield kind, position + skip, position + size
        position += size


def _boxes(content: _Bytes) -> Iterator[tuple[bytes, _Bytes]]:
    position = 0
    while position + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        skip = 8
        if size == 1 and position + 16 <= len(content):
            size, skip = struct.unpack_from(">Q", content, position + 8)[0], 16
        elif size == 0:
            size = len(content) - position
        if size < skip:
            return
        yield kind, content[position + skip : position + size]
        position += size


def _collect(content: _Bytes, found: dict[bytes, _Bytes]) -> None:
    for kind, body in _boxes(content):
        if kind in _CONTAINERS:
            _collect(body, found)
        else:
            found[kind] = body


def _video_tracks(moov: _Bytes) -> list[dict[bytes, _Bytes]]:
    """Return the boxes of every video track, by their kinds."""
    tracks = []
    for kind, track in _boxes(moov):
        if kind == b"trak" and _handler(track) == b"vide":
            found: dict[bytes, _Bytes] = {}
            _collect(track, found)
            tracks.append(found)
    return tracks


def _track_id(track: Mapping[bytes, _Bytes]) -> int:
    """Return the number of a track, which follows the times of the track header; these are longer in version 1."""
    header = track.get(b"tkhd", b"")
    place = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[place : place + 4], "big")


def _picture_size(track: Mapping[bytes, _Bytes]) -> tuple[int, int]:
    """Return width and height, pixels, from the sample description: 16 bytes of header, then fields of fixed size."""
    width, height = struct.unpack_from(">HH", track[b"stsd"], 40)
    return width, height


def _handler(track: _Bytes) -> bytes:
    for kind, body in _boxes(track):
        if kind == b"mdia":
            for inner, content in _boxes(body):
                if inner == b"hdlr":
                    return bytes(content[8:12])
    return b""


def _composition_offsets(body: _Bytes | None, sizes: _Bytes) -> NDArray[np.int64] | None:
    """Return one offset per sample; None if their number differs from that in the table of sizes."""
    if body is None:
        return np.empty(0, np.int64)
    n_runs = int.from_bytes(body[4:8], "big")
    if len(body) < 8 + 8 * n_runs:
        return None
    # Version 0 is unsigned by the standard, but writers store negative offsets in it as well.
    runs = np.frombuffer(body, ">i4", 2 * n_runs, 8).reshape(-1, 2)
    if runs[:, 0].min(initial=0) < 0 or runs[:, 0].sum(dtype=np.int64) != int.from_bytes(sizes[8:12], "big"):
        return None
    return np.repeat(runs[:, 1].astype(np.int64), runs[:, 0])


def _edits(body: _Bytes | None) -> tuple[tuple[int, int, int], ...] | None:
    if body is None:
        return ()
    version, n_edits = body[0], struct.unpack_from(">I", body, 4)[0]
    layout = ">Qqi" if version == 1 else ">Iii"
    size = n_edits * struct.calcsize(layout)
    return tuple(struct.iter_unpack(layout, body[8 : 8 + size])) if len(body) >= 8 + size else None
