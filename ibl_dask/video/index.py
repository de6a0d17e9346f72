"""Which frames a video has, without decoding one.

Frame *i* is the i-th in presentation order. The index comes from the container's own tables where these say
everything (MP4 with at most a trivial edit list, AVI), else from the packets' headers.

An AVI says neither when a frame is shown nor, once a chunk header is damaged, which frame a packet is. So packets are
known by their place in the file, and where MPEG-4 part 2 reorders pictures their order is read from the stream itself.
FFmpeg's parsers are kept out of it: they guess times (wrongly for H.264), and renumber every later frame once a packet
is damaged.

Whether decoding may start at a keyframe is read from the stream, see `bitstream`.

A file that was cut short has the frames that its tables list (MP4 with the tables in front), else those that it holds
and whose number is certain. Matroska and MPEG-TS tell a cut from an end only if a packet is torn: where such a file was
cut among B-frames, the last few frames may bear a number too low.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingFile, UnreadableVideo
from ibl_dask.video.bitstream import HEAD_BYTES, Start, is_worth_a_look, shown_order, start_of, vop_kinds
from ibl_dask.video.mp4 import ends_whole, read_video_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

INDEX_VERSION = 3
"""Version of the layout of `FrameIndex.to_arrays`."""

_COPY_AGAIN = "copy the file again from the acquisition computer and compare its size with the original"
_CHUNK_HEADER_BYTES = 8
"""What precedes the payload of a packet in an AVI."""


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
    """Seconds per tick."""
    rate: Fraction
    """Frames per second according to the header."""
    pts: NDArray[np.int64]
    """Presentation time of each frame, ticks; strictly increasing. (frame,)"""
    key_pts: NDArray[np.int64]
    """Presentation time of each frame where decoding may start, ticks, hidden ones included; increasing. (keyframe,)"""
    key_dts: NDArray[np.int64]
    """Decode time of each of them, ticks: what a seek aims at. (keyframe,)"""
    key_is_closed: NDArray[np.bool_]
    """Whether nothing decoded after it needs anything before it; if not, what is shown before it may. (keyframe,)"""
    places: NDArray[np.int64]
    """Where each frame's packet begins, bytes from the start of the file; empty where packets carry presentation
    times, by which they are known. (frame,)"""
    n_hidden: int
    """Frames that an edit list hides: they are not frames."""
    n_absent: int
    """Frames that the container lists, or its header promises, but whose bytes the file lacks: it was cut short. Those
    listed are frames like others, but cannot be decoded; those merely promised are not frames."""
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
    """As in `FrameIndex`, in decode order."""
    n_absent: int


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
            do=_COPY_AGAIN,
        ) from error
    if stat.st_size == 0:
        raise UnreadableVideo(
            "this video file is empty", where=str(path), expected="a video", got="0 bytes", do=_COPY_AGAIN
        )
    with open_video(path) as container:
        stream = container.streams.video[0]
        packets = _from_tables(path, stream) or _from_packets(path, container, stream)
        context = stream.codec_context
        # A keyframe that is hidden, or cut off by the edit list, is still a place where decoding may start.
        keys = np.flatnonzero(packets.starts > Start.NO)
        keys = keys[np.argsort(packets.pts[keys], kind="stable")]
        shown = np.flatnonzero(~packets.is_hidden)
        shown = shown[np.argsort(packets.pts[shown], kind="stable")]
        pts = packets.pts[shown]
        _check(path, pts, packets.pts[keys])
        return FrameIndex(
            codec=context.name,
            pixel_format=context.pix_fmt or "unknown",
            width=context.width,
            height=context.height,
            time_base=Fraction(stream.time_base or Fraction(1)),
            rate=Fraction(stream.guessed_rate or stream.average_rate or Fraction(0)),
            pts=pts,
            key_pts=packets.pts[keys],
            key_dts=packets.dts[keys],
            key_is_closed=packets.starts[keys] == Start.CLOSED,
            places=packets.places[shown] if len(packets.places) else packets.places,
            n_hidden=int(packets.is_hidden.sum()),
            n_absent=packets.n_absent,
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )


def open_video(path: Path) -> InputContainer:
    """Open a container that holds a video, with one decoder thread that reports damage instead of hiding it.

    Raises
    ------
    UnreadableVideo
        If FFmpeg cannot open it or it holds no video.
    """
    import av

    try:
        options = {"fflags": "+noparse+nofillin"} if _is_avi(path) else {}
        container = av.open(str(path), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            got, do = "permission denied", "ask for read permission on the file"
        else:
            got = f"{path.stat().st_size:,} bytes that FFmpeg refuses ({error})"
            do = _COPY_AGAIN + "; an MP4 without its moov box was cut short and cannot be played"
        raise UnreadableVideo(
            "this file cannot be opened as a video", where=str(path), expected="MP4 or AVI", got=got, do=do
        ) from error
    if not container.streams.video:
        container.close()
        raise UnreadableVideo(
            "this file holds no video stream",
            where=str(path),
            expected="one video stream",
            got="none",
            do=_COPY_AGAIN,
        )
    context: Any = container.streams.video[0].codec_context  # the stubs do not say that it may be None
    if context is None:
        container.close()
        raise UnreadableVideo(
            "this video's codec is not known",
            where=str(path),
            expected="a codec that FFmpeg decodes",
            got="a tag that it does not know",
            do=_COPY_AGAIN,
        )
    context.thread_count = 1
    context.thread_type = "NONE"
    context.options = {**context.options, "err_detect": "explode"}
    return container


def _is_avi(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] in (b"AVI ", b"AVIX")


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
    if (size == 0).any() or is_hidden.any() or not is_key.any():
        return None
    pts = dts
    if is_avi:
        if stream.codec_context.has_b_frames:
            return None
        place = place + _CHUNK_HEADER_BYTES
    else:
        tables = read_video_tables(path)
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
    starts = _starts_in_file(path, stream, is_key & ~is_absent, place, size)
    return _Packets(pts, dts, starts, is_hidden, place if is_avi else _NO_PLACES, int(is_absent.sum()))


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
    return _believe_first(starts)


def _believe_first(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Let decoding start at the first packet whatever it holds: there is nothing before it."""
    starts[:1] = Start.CLOSED
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
            do=_COPY_AGAIN,
        ) from error


def _from_packets(path: Path, container: InputContainer, stream: VideoStream) -> _Packets:
    """Build the packet list by reading every packet."""
    if container.format.name == "avi":
        return _from_avi_packets(path, container, stream)
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    rows: list[tuple[int, int, bool, int]] = []
    for packet in _packets(path, container, stream):
        pts, dts = packet.pts, packet.dts
        if pts is None and codec not in ("h264", "hevc") and not stream.codec_context.has_b_frames:
            pts = dts
        if pts is None:
            raise _no_order(path, f"packet {len(rows):,} has no presentation time")
        start = start_of(codec, extradata, bytes(packet)) if packet.is_keyframe else Start.NO
        rows.append((pts, pts if dts is None else dts, packet.is_discard, start))
    table = np.array(rows, np.int64).reshape(-1, 4)
    starts = _believe_first(table[:, 3])
    n_absent = 0
    if "mp4" in container.format.name.split(",") and not ends_whole(path):
        # Packets that were cut off may be shown before some that were not, whose numbers are not certain then. What is
        # shown no later than the last packet was decoded is: every packet is shown after its own decoding.
        is_certain = table[:, 0] <= table[-1:, 1].sum()
        table, starts = table[is_certain], starts[is_certain]
        n_absent = max(0, max(len(stream.index_entries), stream.frames) - len(table))
    return _Packets(table[:, 0], table[:, 1], starts, table[:, 2] > 0, _NO_PLACES, n_absent)


def _from_avi_packets(path: Path, container: InputContainer, stream: VideoStream) -> _Packets:
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata
    if stream.codec_context.has_b_frames and codec != "mpeg4":
        raise _no_order(path, f"{codec} with B-frames in an AVI")
    rows: list[tuple[int, int, int]] = []
    kinds: list[str] = []
    for packet in _packets(path, container, stream):
        dts, place = packet.dts, packet.pos
        if dts is None or place is None:
            raise _no_order(path, f"packet {len(rows):,} has no place")
        start = start_of(codec, extradata, bytes(packet)) if packet.is_keyframe else Start.NO
        rows.append((dts, place, start))
        if codec == "mpeg4":
            found = vop_kinds(bytes(packet))
            # Zeros read as an I-picture; the container knows better.
            kinds.append("" if found == "I" and not packet.is_keyframe else found)
    table = np.array(rows, np.int64).reshape(-1, 3)
    decoded = table[:, 0]
    # A frame is shown when the frame at its place in the order would have been decoded.
    pts = np.empty_like(decoded)
    pts[_shown_vops(path, kinds) if codec == "mpeg4" else np.arange(len(rows))] = np.sort(decoded)
    starts = _believe_first(table[:, 2])
    n_absent = max(0, stream.frames - len(rows)) if _is_cut_avi(path) else 0
    return _Packets(pts, decoded, starts, np.zeros(len(rows), bool), table[:, 1], n_absent)


def _is_cut_avi(path: Path) -> bool:
    """Return whether the file is shorter than it says; the frame count of a whole file means nothing."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(8)[4:], "little") + _CHUNK_HEADER_BYTES > path.stat().st_size


def _shown_vops(path: Path, kinds: Sequence[str]) -> NDArray[np.intp]:
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
        raise _no_order(path, f"MPEG-4 with B-frames in an AVI, whose packet {kinds.index(''):,} is damaged")
    # Without B-frames, a packet whose picture cannot be made out takes its turn: its frame does not decode.
    return np.array(shown_order([kind or "P" for kind in kinds]), np.intp)


def _no_order(path: Path, got: str) -> UnreadableVideo:
    return UnreadableVideo(
        "this file does not say when each frame is shown",
        where=str(path),
        expected="a presentation time on every packet, or a stream that says in which order its pictures are shown",
        got=got,
        do="re-encode it without loss, ffmpeg -i in -vf setpts=N/FRAME_RATE/TB -c:v libx264 -qp 0 out.mp4, and check "
        "the frame count",
    )


def _check(path: Path, pts: NDArray[np.int64], key_pts: NDArray[np.int64]) -> None:
    if len(pts) == 0:
        raise UnreadableVideo(
            "this video holds no frame",
            where=str(path),
            expected="at least one frame",
            got="none",
            do=_COPY_AGAIN,
        )
    if (np.diff(pts) <= 0).any():
        twice = int(np.flatnonzero(np.diff(pts) <= 0)[0])
        raise UnreadableVideo(
            "two frames are shown at the same time, so frames cannot be told apart",
            where=str(path),
            expected="strictly increasing presentation times",
            got=f"frames {twice:,} and {twice + 1:,} both at tick {int(pts[twice])}",
            do="convert the file with ffmpeg -fps_mode passthrough, and check the frame count",
        )
    if len(key_pts) == 0 or key_pts[0] > pts[0]:
        raise UnreadableVideo(
            "the first frame of this video cannot be decoded",
            where=str(path),
            expected="a keyframe at or before the first frame",
            got="none",
            do=_COPY_AGAIN,
        )
