"""Which frames a video has, without decoding one.

Frame *i* is the i-th in presentation order. The index comes from the container's own tables where these say
everything (MP4 with at most a trivial edit list, AVI), else from the packets' headers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from ibl_dask.errors import MissingFile, UnreadableVideo
from ibl_dask.video.mp4 import read_video_tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

INDEX_VERSION = 1
"""Version of the layout of `FrameIndex.to_arrays`."""

_COPY_AGAIN = "copy the file again from the acquisition computer and compare its size with the original"


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
    """Presentation time of each keyframe, ticks, hidden ones included; increasing. (keyframe,)"""
    key_dts: NDArray[np.int64]
    """Decode time of each keyframe, ticks: what a seek aims at. (keyframe,)"""
    n_hidden: int
    """Frames that an edit list hides: they are not frames."""
    size_bytes: int
    """Size of the file when it was indexed."""
    mtime_ns: int
    """Modification time of the file when it was indexed."""

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
        """Return what tells this video from another, independent of its path."""
        digest = hashlib.sha256()
        for array in (self.pts, self.key_pts, self.key_dts):
            digest.update(array.tobytes())
        facts = (self.codec, self.pixel_format, self.width, self.height, str(self.time_base), self.n_hidden)
        digest.update(repr(facts).encode())
        return {"size": self.size_bytes, "mtime_ns": self.mtime_ns, "index": digest.hexdigest()[:16]}

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and plain facts from which `from_arrays` builds the same index."""
        arrays = {"pts": self.pts, "key_pts": self.key_pts, "key_dts": self.key_dts}
        facts = {
            "codec": self.codec,
            "pixel_format": self.pixel_format,
            "width": self.width,
            "height": self.height,
            "time_base": str(self.time_base),
            "rate": str(self.rate),
            "n_hidden": self.n_hidden,
            "size_bytes": self.size_bytes,
            "mtime_ns": self.mtime_ns,
        }
        return arrays, facts

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> FrameIndex:
        """Build an index from what `to_arrays` returned."""
        content: dict[str, Any] = {**arrays, **facts}
        content["time_base"] = Fraction(facts["time_base"])
        content["rate"] = Fraction(facts["rate"])
        return cls(**content)


@dataclass(frozen=True, slots=True)
class _Packets:
    """Packets of the video stream in decode order."""

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    is_hidden: NDArray[np.bool_]


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
        order = np.argsort(packets.pts[packets.is_key], kind="stable")
        pts = np.sort(packets.pts[~packets.is_hidden])
        _check(path, pts, packets)
        return FrameIndex(
            codec=context.name,
            pixel_format=context.pix_fmt or "unknown",
            width=context.width,
            height=context.height,
            time_base=Fraction(stream.time_base or Fraction(1)),
            rate=Fraction(stream.guessed_rate or stream.average_rate or Fraction(0)),
            pts=pts,
            key_pts=packets.pts[packets.is_key][order],
            key_dts=packets.dts[packets.is_key][order],
            n_hidden=int(packets.is_hidden.sum()),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )


def open_video(path: Path) -> InputContainer:
    """Open a container that holds a video, with one decoder thread.

    Raises
    ------
    UnreadableVideo
        If FFmpeg cannot open it or it holds no video.
    """
    try:
        container = av.open(str(path))
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
    context = container.streams.video[0].codec_context
    context.thread_count = 1
    context.thread_type = "NONE"
    return container


def _from_tables(path: Path, stream: VideoStream) -> _Packets | None:
    """Build the packet list from the container's tables; None where they do not say everything."""
    entries = stream.index_entries
    n = len(entries)
    if n == 0 or (stream.frames and stream.frames != n):
        return None
    formats = stream.container.format.name.split(",")
    if "mp4" not in formats and "avi" not in formats:
        return None
    flat = np.fromiter(
        (value for e in entries for value in (e.timestamp, e.is_keyframe, e.is_discard, e.size)),
        np.int64,
        4 * n,
    ).reshape(n, 4)
    dts, is_key, is_hidden, size = flat[:, 0], flat[:, 1].astype(bool), flat[:, 2].astype(bool), flat[:, 3]
    if (size == 0).any() or is_hidden.any() or not is_key.any():
        return None
    if "avi" in formats:
        if stream.codec_context.has_b_frames:
            return None
        return _Packets(dts, dts, is_key, is_hidden)
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
    return _Packets(pts, dts, is_key, is_hidden)


def _from_packets(path: Path, container: InputContainer, stream: VideoStream) -> _Packets:
    """Build the packet list by reading every packet's header."""
    rows: list[tuple[int, int, bool, bool]] = []
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            dts = packet.dts
            pts = packet.pts if packet.pts is not None else dts
            if pts is None or (packet.pts is None and stream.codec_context.has_b_frames):
                raise UnreadableVideo(
                    "the container does not say when each frame is shown",
                    where=str(path),
                    expected="a presentation time on every packet",
                    got=f"packet {len(rows):,} has none",
                    do="convert the file to MP4 with ffmpeg -fflags +genpts -c copy, and check the frame count",
                )
            rows.append((pts, pts if dts is None else dts, packet.is_keyframe, packet.is_discard))
    except av.error.FFmpegError as error:
        raise UnreadableVideo(
            "reading the packets of this video failed",
            where=str(path),
            expected="packets up to the end of the file",
            got=f"{error} after {len(rows):,} packets",
            do=_COPY_AGAIN,
        ) from error
    table = np.array(rows, np.int64).reshape(-1, 4)
    return _Packets(table[:, 0], table[:, 1], table[:, 2].astype(bool), table[:, 3].astype(bool))


def _check(path: Path, pts: NDArray[np.int64], packets: _Packets) -> None:
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
    if not packets.is_key.any() or packets.pts[packets.is_key].min() > pts[0]:
        raise UnreadableVideo(
            "the first frame of this video cannot be decoded",
            where=str(path),
            expected="a keyframe at or before the first frame",
            got="none",
            do=_COPY_AGAIN,
        )
