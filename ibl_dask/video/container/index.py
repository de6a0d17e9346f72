"""Which frames a video has, without decoding one.

Frame *i* is the i-th in presentation order. The index comes from the container's own tables where these say
everything (MP4 with at most a trivial edit list, AVI), else from the packets' headers.

What the container counts is a frame, also where its packet is empty: it keeps its number, and does not decode. Two
frames with one presentation time are told apart by their place in the file, and stand in the order of decoding where
that is also the order in which frames are shown. `avi` tells how packets of an AVI are numbered.

Whether decoding may start at a keyframe is read from the stream, see `bitstream`.

A file that was cut short has the frames that its tables list (MP4 with the tables in front), else those that it holds
and whose number is certain. Matroska and MPEG-TS tell a cut from an end only if a packet is torn: where such a file was
cut among B-frames, the last few frames may bear a number too low.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingFile, UnreadableVideo
from ibl_dask.model.frame_ranges import find_runs, format_runs
from ibl_dask.video.container.avi import (
    CHUNK_HEADER_BYTES,
    NO_PLACE,
    is_cut,
    is_delay,
    no_order,
    shown_vops,
    with_empty_places,
)
from ibl_dask.video.container.bitstream import HEAD_BYTES, Start, is_worth_a_look, start_of, vop_kinds
from ibl_dask.video.container.mp4 import ends_whole, read_video_tables
from ibl_dask.video.container.tracks import COPY_AGAIN, open_video, several_videos_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

EMPTY_PLACES = (
    f"{COPY_AGAIN}; if the original is the same, its frames are timed by the AVI, which stays as it is. Only where the "
    "camera's own files list no more frames than there are pictures are the empty places no frames: close them with "
    "ffmpeg -i in.avi -c copy -bsf:v setts=ts=N out.avi, check the frame count, and use that file"
)
"""What to do about a video that has empty places."""
INDEX_VERSION = 3
"""Version of the layout of `FrameIndex.to_arrays`."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """Every frame of a video: when it is shown and where decoding may start."""

    codec: str
    """Name of the codec, as FFmpeg says it."""
    pixel_format: str
    """Pixel format, as FFmpeg says it."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    time_base: Fraction
    """Seconds per tick of `pts`."""
    rate: Fraction
    """Frames per second according to the header."""
    pts: NDArray[np.int64]
    """Presentation time of each frame, ticks; strictly increasing. (frame,)"""
    key_pts: NDArray[np.int64]
    """Presentation time of each frame where decoding may start, ticks, hidden ones included; increasing. (keyframe,)"""
    key_dts: NDArray[np.int64]
    """Decode time of each of them, ticks of the container: what a seek aims at. (keyframe,)"""
    key_is_closed: NDArray[np.bool_]
    """Whether nothing decoded after it needs anything before it; if not, what is shown before it may. (keyframe,)"""
    places: NDArray[np.int64]
    """Where each frame's packet begins, bytes from the start of the file, -1 where it has none; empty where packets
    carry presentation times of their own, by which they are known. (frame,)"""
    n_hidden: int
    """Frames that an edit list hides: they are not frames."""
    n_absent: int
    """Frames that the container lists, or its header promises, but whose bytes the file lacks: it was cut short. Those
    listed are frames like others, but cannot be decoded; those merely promised are not frames."""
    n_empty: int
    """Frames that the container counts and has nothing of: they keep their number, and do not decode."""
    notes: tuple[str, ...]
    """What there is to say of how the file was read."""
    size_bytes: int
    """Size of the file when it was indexed."""
    mtime_ns: int
    """Modification time of the file when it was indexed."""
    content: Mapping[str, str] = field(default_factory=dict)
    """What tells its bytes, and what decodes them, from others: `sha256`, `sample`, `decoder`; empty where nobody
    looked."""

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def keyframes(self) -> NDArray[np.int64]:
        """Return the numbers of the frames from which decoding may start. (n,)"""
        return np.unique(np.searchsorted(self.pts, self.key_pts[self.key_pts <= self.pts[-1]]))

    @property
    def fps(self) -> float:
        """Return the rate of the header as a float."""
        return float(self.rate)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Return the presentation times in seconds, from 0 at the first frame. (frame,)"""
        times: NDArray[np.float64] = (self.pts - self.pts[0]) * float(self.time_base)
        return times

    def identity(self) -> dict[str, Any]:
        """Return what tells this video from another, and what decodes it from another decoder; independent of its path.

        The bytes tell it, where they were hashed; else the time of writing.
        """
        digest = hashlib.sha256()
        for array in (self.pts, self.key_pts, self.key_dts, self.key_is_closed, self.places):
            digest.update(array.tobytes())
        facts = (self.codec, self.pixel_format, self.width, self.height, str(self.time_base), self.n_hidden)
        digest.update(repr(facts).encode())
        known: dict[str, Any] = {"size": self.size_bytes, "index": digest.hexdigest()[:16]}
        return {**known, **(self.content or {"mtime_ns": self.mtime_ns})}

    def insist_on(self, path: Path) -> None:
        """Insist that a file is still the one that was indexed, by its size and time of writing.

        Raises
        ------
        MissingFile
            If it is gone.
        UnreadableVideo
            If it changed, or is still being copied.
        """
        try:
            stat = path.stat()
        except FileNotFoundError as error:
            raise MissingFile(
                "this video is gone since it was indexed",
                where=str(path),
                expected=f"{self.size_bytes:,} bytes",
                got="nothing",
                do="bring it back (or mount its disk), then run again: finished chunks are kept",
            ) from error
        if (stat.st_size, stat.st_mtime_ns) != (self.size_bytes, self.mtime_ns):
            raise UnreadableVideo(
                "this video changed since it was indexed",
                where=str(path),
                expected=f"{self.size_bytes:,} bytes, last written {_utc(self.mtime_ns)}",
                got=f"{stat.st_size:,} bytes, last written {_utc(stat.st_mtime_ns)}",
                do="wait until its copy has finished, then run again: the index is made anew",
            )

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and plain facts from which `from_arrays` builds the same index."""
        arrays = {
            "pts": self.pts,
            "key_pts": self.key_pts,
            "key_dts": self.key_dts,
            "key_is_closed": self.key_is_closed,
            "places": self.places,
        }
        facts = {
            "codec": self.codec,
            "pixel_format": self.pixel_format,
            "width": self.width,
            "height": self.height,
            "time_base": str(self.time_base),
            "rate": str(self.rate),
            "n_hidden": self.n_hidden,
            "n_absent": self.n_absent,
            "n_empty": self.n_empty,
            "notes": list(self.notes),
            "size_bytes": self.size_bytes,
            "mtime_ns": self.mtime_ns,
            "content": dict(self.content),
        }
        return arrays, facts

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> FrameIndex:
        """Build an index from what `to_arrays` returned."""
        content: dict[str, Any] = {**arrays, **facts}
        content["time_base"] = Fraction(facts["time_base"])
        content["rate"] = Fraction(facts["rate"])
        content["notes"] = tuple(facts["notes"])
        return cls(**content)


def _utc(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class _Packets:
    """Packets of the video stream in decode order."""

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    starts: NDArray[np.int64]
    """Values of `Start`."""
    is_hidden: NDArray[np.bool_]
    places: NDArray[np.int64]
    """Where each begins, bytes from the start of the file; `NO_PLACE` where it is empty."""
    n_absent: int
    is_empty: NDArray[np.bool_]
    """Whether the container counts it and has nothing of it."""


def index_video(path: Path) -> FrameIndex:
    """Index a video without decoding it.

    Raises
    ------
    MissingFile
        If there is no such file.
    UnreadableVideo
        If the container cannot be opened, holds no video, or does not say when each frame is shown.
    """
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise MissingFile(
            "this video does not exist",
            where=str(path),
            expected="a video file",
            got="nothing",
            do=COPY_AGAIN,
        ) from error
    if stat.st_size == 0:
        raise UnreadableVideo(
            "this video file is empty", where=str(path), expected="a video", got="0 bytes", do=COPY_AGAIN
        )
    container, stream = open_video(path)
    with container:
        packets = _from_tables(path, stream) or _from_packets(path, container, stream)
        packets, ticks = _told_apart(path, packets)
        context = stream.codec_context
        # A keyframe that is hidden, or cut off by the edit list, is still a place where decoding may start.
        keys = np.flatnonzero(packets.starts > Start.NO)
        keys = keys[np.argsort(packets.pts[keys], kind="stable")]
        shown = np.flatnonzero(~packets.is_hidden)
        shown = shown[np.argsort(packets.pts[shown], kind="stable")]
        pts, is_empty = packets.pts[shown], packets.is_empty[shown]
        _check(path, pts[~is_empty], packets.pts[keys])
        is_placed = container.format.name == "avi" or ticks > 1
        return FrameIndex(
            codec=context.name,
            pixel_format=context.pix_fmt or "unknown",
            width=context.width,
            height=context.height,
            time_base=Fraction(stream.time_base or Fraction(1)) / ticks,
            rate=Fraction(stream.guessed_rate or stream.average_rate or Fraction(0)),
            pts=pts,
            key_pts=packets.pts[keys],
            key_dts=packets.dts[keys],
            key_is_closed=packets.starts[keys] == Start.CLOSED,
            places=packets.places[shown] if is_placed else _NO_PLACES,
            n_hidden=int(packets.is_hidden.sum()),
            n_absent=packets.n_absent,
            n_empty=int(is_empty.sum()),
            notes=(*several_videos_note(container, stream), *_empty_note(is_empty), *_ties_note(pts, ticks)),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )


def _empty_note(is_empty: NDArray[np.bool_]) -> list[str]:
    if not is_empty.any():
        return []
    frames = format_runs(find_runs(is_empty))
    told = f"frames {frames} do not decode, the others keep their numbers"
    return [f"{int(is_empty.sum()):,} places of the video are empty: {told}"]


def _ties_note(pts: NDArray[np.int64], ticks: int) -> list[str]:
    if ticks == 1:
        return []
    first = int(np.flatnonzero(np.diff(pts) < ticks)[0])
    n_tied = int(np.count_nonzero(pts % ticks))
    told = f"the first of them is frame {first + 1:,}; they are in the order of decoding"
    return [f"{n_tied:,} frames have the presentation time of the one before: {told}"]


def _told_apart(path: Path, packets: _Packets) -> tuple[_Packets, int]:
    """Give frames with one presentation time one each, in decode order; return by how much finer ticks had to become.

    Raises
    ------
    UnreadableVideo
        If frames are not shown in the order in which they are decoded, so that this order says nothing, or they do not
        differ in their place in the file either.
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
            "two frames are shown at the same time, and nothing says which of them is the first",
            where=str(path),
            expected="another presentation time for every frame, or frames that are shown as they are decoded",
            got=f"frames {twice:,} and {twice + 1:,} both at tick {tick}",
            do="re-encode it without loss, which counts frames in the order that the stream itself has, ffmpeg -i in "
            "-fps_mode passthrough -vf setpts=N/60/TB -c:v libx264 -qp 0 out.mp4, and check the frame count",
        )
    # How many frames before have the same time.
    position = np.arange(pts.size)
    is_first = np.concatenate([[True], ~is_tied])
    rank = position - np.maximum.accumulate(np.where(is_first, position, 0))
    ticks = int(rank.max()) + 1
    return replace(packets, pts=pts * ticks + rank), ticks


def _from_tables(path: Path, stream: VideoStream) -> _Packets | None:
    """Build the packet list from the container's tables; None where they do not say everything."""
    entries = stream.index_entries
    n = len(entries)
    formats = stream.container.format.name.split(",")
    is_avi = "avi" in formats
    if n == 0 or not (is_avi or "mp4" in formats) or stream.frames not in ((n,) if is_avi else (0, n)):
        # The header of an AVI whose recording died says 0, and FFmpeg lists no more than it has read so far.
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
    return _Packets(pts, dts, starts, is_hidden, place, int(is_absent.sum()), size == 0)


_NO_PLACES: NDArray[np.int64] = np.empty(0, np.int64)


def _starts_in_file(
    path: Path,
    stream: VideoStream,
    is_key: NDArray[np.bool_],
    place: NDArray[np.int64],
    size: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Look at the first bytes of every keyframe."""
    starts = np.where(is_key, Start.CLOSED, Start.NO).astype(np.int64)
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    if not is_worth_a_look(codec):
        return starts
    with path.open("rb", buffering=0) as file:
        for position in np.flatnonzero(is_key).tolist():
            for n_bytes in (min(HEAD_BYTES, int(size[position])), int(size[position])):
                file.seek(int(place[position]))
                starts[position] = start_of(codec, extradata, file.read(n_bytes))
                if starts[position] != Start.UNKNOWN:
                    break
    return _believe_first(starts, size)


def _believe_first(starts: NDArray[np.int64], size: NDArray[Any]) -> NDArray[np.int64]:
    """Let decoding start at the first packet whatever it holds: there is nothing before it."""
    starts[np.flatnonzero(size)[:1]] = Start.CLOSED
    return starts


def _packets(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield every packet that holds something; the end of a file that was cut short is an end."""
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


def _from_packets(path: Path, container: InputContainer, stream: VideoStream) -> _Packets:
    """Build the packet list by reading every packet."""
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
        # Packets that were cut off may be shown before some that were not, whose numbers are not certain then. What is
        # shown no later than the last packet was decoded is: every packet is shown after its own decoding.
        is_certain = table[:, 0] <= table[-1:, 1].sum()
        table, starts = table[is_certain], starts[is_certain]
        n_absent = max(0, max(len(stream.index_entries), stream.frames) - len(table))
    is_empty = np.zeros(len(table), bool)
    return _Packets(table[:, 0], table[:, 1], starts, table[:, 2] > 0, table[:, 4], n_absent, is_empty)


def _from_avi_packets(path: Path, container: InputContainer, stream: VideoStream) -> _Packets:
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
            found = vop_kinds(bytes(packet))
            # Zeros read as an I-picture; the container knows better.
            kinds.append("" if found == "I" and not packet.is_keyframe else found)
    table = np.array(rows, np.int64).reshape(-1, 4)
    decoded, places = with_empty_places(path, stream.index, table[:, 0], table[:, 1], table[:, 3])
    is_empty = places == NO_PLACE
    if is_empty.any() and is_delay(kinds, is_empty):
        decoded, places, is_empty = table[:, 0], table[:, 1], np.zeros(len(table), bool)
    # A frame is shown when the frame at its place in the order would have been decoded.
    pts, starts = decoded.copy(), np.full(decoded.size, Start.NO, np.int64)
    if codec == "mpeg4" and rows:
        shown = np.empty(len(rows), np.int64)
        shown[shown_vops(path, kinds, int(is_empty.sum()))] = table[:, 0]
        pts[~is_empty] = shown
    starts[~is_empty] = table[:, 2]
    starts = _believe_first(starts, ~is_empty)
    n_absent = max(0, stream.frames - decoded.size) if is_cut(path) else 0
    return _Packets(pts, decoded, starts, np.zeros(decoded.size, bool), places, n_absent, is_empty)


def _check(path: Path, pts: NDArray[np.int64], key_pts: NDArray[np.int64]) -> None:
    if len(pts) == 0:
        raise UnreadableVideo(
            "this video holds no frame",
            where=str(path),
            expected="at least one frame",
            got="none",
            do=COPY_AGAIN,
        )
    if len(key_pts) == 0 or key_pts[0] > pts[0]:
        raise UnreadableVideo(
            "the first frame of this video cannot be decoded",
            where=str(path),
            expected="a keyframe at or before the first frame",
            got="none",
            do=COPY_AGAIN,
        )
