"""Index of the frames of a video, made without decoding.

Frame *i* is the i-th in presentation order. The index comes from the container's own tables where these are complete
(MP4 with at most a trivial edit list, AVI), else from the headers of the packets.

Every frame that the container counts is a frame, also if its packet is empty: it keeps its number, and does not decode.
Frames with equal presentation times are distinguished by their position in the file, and ordered by decoding where
frames are shown in decode order. `avi` describes the numbering of packets of an AVI.

A keyframe flag of the container is checked against the stream, see `bitstream`.

A file that was cut short has the frames that its tables list (MP4 with the tables in front), else those that it holds
and whose number is certain. In Matroska and MPEG-TS a cut differs from an end only if a packet is torn: if such a file
was cut among B-frames, the last few frames may have a number too low.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingFile, UnreadableVideo
from ibl_dask.model.frame_ranges import find_ranges, format_ranges
from ibl_dask.video.container.bitstream import Start
from ibl_dask.video.container.packet_table import read_packet_table, separate_equal_times
from ibl_dask.video.container.tracks import COPY_AGAIN, open_video, several_videos_note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

EMPTY_PLACES = (
    f"{COPY_AGAIN}; if the original is the same, its frames are timed by the AVI, which stays as it is. Only where the "
    "camera's own files list no more frames than there are pictures are the empty places no frames: close them with "
    "ffmpeg -i in.avi -c copy -bsf:v setts=ts=N out.avi, check the frame count, and use that file"
)
"""Advice about a video that has empty places."""
INDEX_VERSION = 3
"""Version of the layout of `FrameIndex.to_arrays`."""
_NO_PLACES: NDArray[np.int64] = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """Presentation times of all frames of a video, and the keyframes where decoding may start."""

    codec: str
    """FFmpeg's name of the codec."""
    pixel_format: str
    """FFmpeg's name of the pixel format."""
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
    """Presentation time of each keyframe where decoding may start, ticks, hidden ones included; increasing.
    (keyframe,)"""
    key_dts: NDArray[np.int64]
    """Decode time of each of them, ticks of the container: the target of a seek. (keyframe,)"""
    key_is_closed: NDArray[np.bool_]
    """True if no frame decoded after the keyframe depends on one before it; if false, frames shown before the keyframe
    may. (keyframe,)"""
    places: NDArray[np.int64]
    """Position of each frame's packet, bytes from the start of the file, -1 for an empty place; an empty array if the
    container has presentation times, which identify packets. (frame,)"""
    n_hidden: int
    """Number of packets that an edit list hides; they are not frames."""
    n_absent: int
    """Number of frames that the container lists, or its header announces, and whose bytes the file lacks: it was cut
    short. Listed ones are frames that do not decode; those merely announced are not frames."""
    n_empty: int
    """Number of frames that the container counts without a packet: they keep their number, and do not decode."""
    notes: tuple[str, ...]
    """Remarks on how the file was read, for the report."""
    size_bytes: int
    """Size of the file when it was indexed."""
    mtime_ns: int
    """Modification time of the file when it was indexed."""
    content: Mapping[str, str] = field(default_factory=dict)
    """Hashes of the file (`sha256`, `sample`) and versions of the decoder (`decoder`); empty if not determined."""

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

    def identity(self) -> dict[str, object]:
        """Return the identity of the video and of its decoder, for fingerprints; JSON, independent of the path.

        The file is identified by its hashes, or by its time of writing if it was not hashed.
        """
        digest = hashlib.sha256()
        for array in (self.pts, self.key_pts, self.key_dts, self.key_is_closed, self.places):
            digest.update(array.tobytes())
        facts = (self.codec, self.pixel_format, self.width, self.height, str(self.time_base), self.n_hidden)
        digest.update(repr(facts).encode())
        file: Mapping[str, object] = self.content or {"mtime_ns": self.mtime_ns}
        return {"size": self.size_bytes, "index": digest.hexdigest()[:16], **file}

    def require_unchanged(self, path: Path) -> None:
        """Require a file to be the one that was indexed, by its size and time of writing.

        Raises
        ------
        MissingFile
            If the file is gone.
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

    def to_arrays(self) -> tuple[dict[str, NDArray[np.int64] | NDArray[np.bool_]], dict[str, object]]:
        """Return arrays, and facts that JSON holds, from which `from_arrays` builds the same index."""
        arrays: dict[str, NDArray[np.int64] | NDArray[np.bool_]] = {
            "pts": self.pts,
            "key_pts": self.key_pts,
            "key_dts": self.key_dts,
            "key_is_closed": self.key_is_closed,
            "places": self.places,
        }
        facts: dict[str, object] = {
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
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]) -> FrameIndex:
        """Build an index from the arrays and facts of `to_arrays`."""
        content: dict[str, Any] = {**arrays, **facts}  # of a file: its version is checked, its types are not
        content["time_base"] = Fraction(facts["time_base"])
        content["rate"] = Fraction(facts["rate"])
        content["notes"] = tuple(facts["notes"])
        return cls(**content)


def _utc(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def index_video(path: Path) -> FrameIndex:
    """Index a video without decoding it.

    Raises
    ------
    MissingFile
        If the file does not exist.
    UnreadableVideo
        If the container cannot be opened, holds no video, or does not define when each frame is shown.
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
        packets, ticks = separate_equal_times(path, read_packet_table(path, container, stream))
        context = stream.codec_context
        # Decoding may start at a keyframe that an edit list hides as well: players decode it, and do not show it.
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
    frames = format_ranges(find_ranges(is_empty))
    return [
        f"{int(is_empty.sum()):,} places of the video are empty: frames {frames} do not decode, the others keep their "
        "numbers"
    ]


def _ties_note(pts: NDArray[np.int64], ticks: int) -> list[str]:
    if ticks == 1:
        return []
    first = int(np.flatnonzero(np.diff(pts) < ticks)[0])
    n_tied = int(np.count_nonzero(pts % ticks))
    return [
        f"{n_tied:,} frames have the presentation time of the one before: the first of them is frame {first + 1:,}; "
        "they are in the order of decoding"
    ]


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
