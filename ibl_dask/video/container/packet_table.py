"""Packets of a video stream in decode order, from the tables of the container or from the packets themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnreadableVideo
from ibl_dask.video.container.avi import (
    CHUNK_HEADER_BYTES,
    NO_PLACE,
    is_cut,
    is_delay,
    no_order,
    shown_vops,
    with_empty_places,
)
from ibl_dask.video.container.bitstream import HEAD_BYTES, Start, is_parsed, start_of, vop_kinds
from ibl_dask.video.container.mp4 import ends_whole, read_video_tables
from ibl_dask.video.container.tracks import COPY_AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PacketTable:
    """Packets of the video stream in decode order, empty places included. Arrays have the shape (packet,)."""

    pts: NDArray[np.int64]
    """Presentation time, ticks."""
    dts: NDArray[np.int64]
    """Decode time, ticks."""
    starts: NDArray[np.int64]
    """Value of `Start`."""
    is_hidden: NDArray[np.bool_]
    """True for a packet that an edit list hides."""
    places: NDArray[np.int64]
    """Position of the packet, bytes from the start of the file; `NO_PLACE` for an empty place."""
    n_absent: int
    """Number of frames whose bytes the file lacks; see `FrameIndex.n_absent`."""
    is_empty: NDArray[np.bool_]
    """True for a place that the container counts and that has no packet."""


def read_packet_table(path: Path, container: InputContainer, stream: VideoStream) -> PacketTable:
    """Read the packet table of a video, from the container's tables where these are complete.

    Parameters
    ----------
    path : Path
        The video.
    container, stream
        The same, opened by `tracks.open_video`.

    Raises
    ------
    UnreadableVideo
        If packets cannot be read, or lack the times or positions that order their frames.
    """
    return _from_tables(path, stream) or _from_packets(path, container, stream)


def separate_equal_times(path: Path, packets: PacketTable) -> tuple[PacketTable, int]:
    """Give frames that share a presentation time one each, in decode order.

    Returns
    -------
    PacketTable, int
        The packets, and the factor by which ticks became finer: 1 if all times differ already.

    Raises
    ------
    UnreadableVideo
        If frames are not shown in decode order, which then does not order equal times, or if such frames share their
        position in the file as well.
    """
    pts = packets.pts
    order = np.argsort(pts, kind="stable")
    is_tied = np.diff(pts[order]) == 0
    if not is_tied.any():
        return packets, 1
    tick = int(pts[order][np.flatnonzero(is_tied)[0]])
    is_in_order = bool((np.diff(pts) >= 0).all())
    if not is_in_order or packets.is_hidden.any() or np.unique(packets.places).size < pts.size:
        twice = int(np.flatnonzero(is_tied)[0])
        raise UnreadableVideo(
            "two frames are shown at the same time, and their order is not defined",
            where=str(path),
            expected="another presentation time for every frame, or frames that are shown as they are decoded",
            got=f"frames {twice:,} and {twice + 1:,} both at tick {tick}",
            do="re-encode it without loss, which counts frames in the order that the stream itself has, ffmpeg -i in "
            "-fps_mode passthrough -vf setpts=N/60/TB -c:v libx264 -qp 0 out.mp4, and check the frame count",
        )
    # Rank: number of earlier frames with the same time.
    position = np.arange(pts.size)
    is_first = np.concatenate([[True], ~is_tied])
    rank = position - np.maximum.accumulate(np.where(is_first, position, 0))
    ticks = int(rank.max()) + 1
    return replace(packets, pts=pts * ticks + rank), ticks


def _from_tables(path: Path, stream: VideoStream) -> PacketTable | None:
    """Build the packet table from the container's tables; None if they are incomplete."""
    entries = stream.index_entries
    n = len(entries)
    formats = stream.container.format.name.split(",")
    is_avi = "avi" in formats
    if n == 0 or not (is_avi or "mp4" in formats) or stream.frames not in ((n,) if is_avi else (0, n)):
        # The header of an AVI whose recording was interrupted has 0 frames, and FFmpeg lists those read so far.
        return None
    flat = np.fromiter(
        (value for e in entries for value in (e.timestamp, e.is_keyframe, e.is_discard, e.size, e.pos)),
        np.int64,
        5 * n,
    ).reshape(n, 5)
    dts, is_key, is_hidden, size, place = flat[:, 0], flat[:, 1] > 0, flat[:, 2] > 0, flat[:, 3], flat[:, 4]
    if is_hidden.any() or not is_key.any():
        return None
    pts = dts
    if is_avi:
        place = place + CHUNK_HEADER_BYTES
        if stream.codec_context.has_b_frames or len(with_empty_places(path, stream.index, dts, place, size)[0]) > n:
            return None
    else:
        tables = read_video_tables(path, stream.id)
        if tables is None or tables.is_fragmented:
            return None
        offsets = tables.composition_offsets
        if len(offsets) not in (0, n):
            return None
        pts = dts + offsets if len(offsets) else dts
        if not tables.shows_all_from(int(pts.min() - dts[0]) if len(offsets) else 0):
            return None
        # libavformat moves decode times by the edit list, so that the first frame is shown at zero.
        if pts.min() < 0:
            return None
    is_absent = place + size > path.stat().st_size
    starts = _starts_in_file(path, stream, is_key & ~is_absent & (size > 0), place, size)
    return PacketTable(pts, dts, starts, is_hidden, place, int(is_absent.sum()), size == 0)


def _starts_in_file(
    path: Path,
    stream: VideoStream,
    is_key: NDArray[np.bool_],
    place: NDArray[np.int64],
    size: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Read the first bytes of every keyframe. (packet,)"""
    starts = np.where(is_key, Start.CLOSED, Start.NO).astype(np.int64)
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    if not is_parsed(codec):
        return starts
    with path.open("rb", buffering=0) as file:
        for position in np.flatnonzero(is_key).tolist():
            for n_bytes in (min(HEAD_BYTES, int(size[position])), int(size[position])):
                file.seek(int(place[position]))
                starts[position] = start_of(codec, extradata, file.read(n_bytes))
                if starts[position] != Start.UNKNOWN:
                    break
    return _with_first_start(starts, size)


def _with_first_start(starts: NDArray[np.int64], size: NDArray[np.generic]) -> NDArray[np.int64]:
    """Let decoding start at the first packet regardless of its content: nothing precedes it."""
    starts[np.flatnonzero(size)[:1]] = Start.CLOSED
    return starts


def _packets(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield every packet that is not empty, up to the end of the file or of its readable part."""
    import av

    n = 0
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
                n += 1
    except (av.error.InvalidDataError, av.error.EOFError):
        return
    except av.error.FFmpegError as error:
        raise UnreadableVideo(
            "reading the packets of this video failed",
            where=str(path),
            expected="packets up to the end of the file",
            got=f"{error} after {n:,} packets",
            do=COPY_AGAIN,
        ) from error


def _from_packets(path: Path, container: InputContainer, stream: VideoStream) -> PacketTable:
    """Build the packet table by reading every packet."""
    if container.format.name == "avi":
        return _from_avi_packets(path, container, stream)
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    rows: list[tuple[int, int, bool, int, int]] = []
    for packet in _packets(path, container, stream):
        pts, dts = packet.pts, packet.dts
        if pts is None and codec not in ("h264", "hevc") and not stream.codec_context.has_b_frames:
            pts = dts
        if pts is None:
            raise no_order(path, f"packet {len(rows):,} has no presentation time")
        start = start_of(codec, extradata, bytes(packet)) if packet.is_keyframe else Start.NO
        place = NO_PLACE if packet.pos is None else packet.pos
        rows.append((pts, pts if dts is None else dts, packet.is_discard, start, place))
    table = np.array(rows, np.int64).reshape(-1, 5)
    starts = table[:, 3]
    starts[:1] = Start.CLOSED
    n_absent = 0
    if "mp4" in container.format.name.split(",") and not ends_whole(path):
        # Frames of packets that were cut off may be shown before frames that were not, which leaves the numbers of the
        # latter uncertain. Those shown no later than the last packet was decoded are certain, as every packet is
        # shown after its own decoding.
        is_certain = table[:, 0] <= table[-1:, 1].sum()
        table, starts = table[is_certain], starts[is_certain]
        n_absent = max(0, max(len(stream.index_entries), stream.frames) - len(table))
    is_empty = np.zeros(len(table), bool)
    return PacketTable(table[:, 0], table[:, 1], starts, table[:, 2] > 0, table[:, 4], n_absent, is_empty)


def _from_avi_packets(path: Path, container: InputContainer, stream: VideoStream) -> PacketTable:
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    if stream.codec_context.has_b_frames and codec != "mpeg4":
        raise no_order(path, f"{codec} with B-frames in an AVI")
    rows: list[tuple[int, int, int, int]] = []
    kinds: list[str] = []
    for packet in _packets(path, container, stream):
        dts, place = packet.dts, packet.pos
        if dts is None or place is None:
            raise no_order(path, f"packet {len(rows):,} has no place")
        start = start_of(codec, extradata, bytes(packet)) if packet.is_keyframe else Start.NO
        rows.append((dts, place, start, packet.size))
        if codec == "mpeg4":
            kind = vop_kinds(bytes(packet))
            # A zeroed header reads as an I-picture; the container's flag contradicts it.
            kinds.append("" if kind == "I" and not packet.is_keyframe else kind)
    table = np.array(rows, np.int64).reshape(-1, 4)
    decoded, places = with_empty_places(path, stream.index, table[:, 0], table[:, 1], table[:, 3])
    is_empty = places == NO_PLACE
    if is_empty.any() and is_delay(kinds, is_empty):
        decoded, places, is_empty = table[:, 0], table[:, 1], np.zeros(len(table), bool)
    # The i-th frame shown has the time of the i-th frame decoded.
    pts, starts = decoded.copy(), np.full(decoded.size, Start.NO, np.int64)
    if codec == "mpeg4" and rows:
        shown = np.empty(len(rows), np.int64)
        shown[shown_vops(path, kinds, int(is_empty.sum()))] = table[:, 0]
        pts[~is_empty] = shown
    starts[~is_empty] = table[:, 2]
    starts = _with_first_start(starts, ~is_empty)
    n_absent = max(0, stream.frames - decoded.size) if is_cut(path) else 0
    return PacketTable(pts, decoded, starts, np.zeros(decoded.size, bool), places, n_absent, is_empty)
