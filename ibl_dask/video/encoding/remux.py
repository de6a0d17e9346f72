"""Conversion from AVI to MP4 packet by packet, without decoding, for videos that a rig compressed itself.

Frame *i* of the AVI is shown at *i* / rate in the MP4. An AVI has no presentation times, so a program that copies its
times shows MPEG-4 with B-frames in decode order; here the order is that of the stream, see `index`. Keyframes are those
where decoding may start, which differ from the flags of some AVIs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from ibl_dask.errors import CorruptOutput, InputError, UnusableFile
from ibl_dask.video.container.bitstream import length_bytes
from ibl_dask.video.container.h264 import nal_units, parameter_sets, parameter_sets_of_mp4, with_lengths
from ibl_dask.video.container.index import EMPTY_PLACES, index_video
from ibl_dask.video.container.mp4 import has_tables_in_front
from ibl_dask.video.container.tracks import open_video
from ibl_dask.video.encoding.segment import luma_digest
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from av.packet import Packet
    from av.video.stream import VideoStream

    from ibl_dask.video.container.index import FrameIndex

CODECS = ("mpeg4", "mjpeg", "h264")
"""Codecs that are copied, as FFmpeg names them."""
_START_CODE = b"\0\0\0\1"
_COMPRESS = (
    "take `compressed: true` of this camera out of the experiment description, so that the video is compressed to H.264"
)


@dataclass(slots=True)
class PacketDigests:
    """Digests and frame numbers of the packets of a video, in decode order."""

    digests: list[bytes] = field(default_factory=list)
    """SHA-256 of each packet, as it is in an MP4."""
    frames: list[int] = field(default_factory=list)
    """Frame number of each packet."""

    def add(self, frame: int, content: bytes) -> None:
        """Add the next packet."""
        self.digests.append(hashlib.sha256(content).digest())
        self.frames.append(frame)

    @property
    def digest(self) -> str:
        """Return one digest of all packets in this order."""
        return hashlib.sha256(b"".join(self.digests)).hexdigest()


def copy_to_mp4(source: Path, index: FrameIndex, target: Path) -> str:
    """Copy the packets of an AVI's video stream into an MP4, its tables in front.

    Parameters
    ----------
    source, index
        The AVI and its index.
    target : Path
        The MP4; any older one is replaced.

    Returns
    -------
    str
        Digest of the packets that were written, to be compared with that of `check_copy`.

    Raises
    ------
    UnusableFile
        If the codec is none of `CODECS`, or packets that the index lists cannot be read.
    """
    _require_copyable(source, index)
    container, stream = open_video(source)
    with container:
        starts = set(index.keyframes.tolist())
        # Decode times precede presentation times, so they start as many ticks early as reordered frames need.
        order = np.argsort(index.places, kind="stable")
        lead = int((np.arange(order.size) - order).max())
        written = PacketDigests()
        with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as result:
            copy = result.add_stream_from_template(stream, opaque=True)
            copy.time_base = index.time_base
            for position, (frame, packet) in enumerate(_numbered(source, index, container.demux(stream))):
                content = _for_muxer(source, stream, frame, packet)
                made = av.Packet(content)
                made.stream, made.time_base = copy, index.time_base
                made.pts, made.dts, made.duration = frame, position - lead, 1
                made.is_keyframe = frame in starts
                result.mux(made)
                written.add(frame, _as_in_mp4(stream, content))
    return written.digest


def check_copy(source: Path, index: FrameIndex, target: Path) -> tuple[FrameIndex, str]:
    """Read both files, and require the MP4 to hold the packets of the AVI, each at its frame, and no others.

    Parameters
    ----------
    source, index
        The AVI and its index.
    target : Path
        The MP4.

    Returns
    -------
    FrameIndex, str
        Index of the MP4, and digest of the packets.

    Raises
    ------
    CorruptOutput
        If the MP4 differs.
    UnusableFile
        If packets of the AVI cannot be read any more, or decode to other pixels in an MP4.
    """
    before, settings = _read_packets(source, index)
    try:
        copied = index_video(target)
        after, copied_settings = _read_packets(target, copied)
    except InputError as error:
        raise _differs(target, "an MP4 that can be read", f"{error.what}: {error.got}") from error
    for name in ("codec", "width", "height", "pixel_format"):
        if getattr(copied, name) != getattr(index, name):
            raise _differs(target, f"{name} {getattr(index, name)}", str(getattr(copied, name)))
    if len(copied) != len(index):
        raise _differs(target, f"{len(index):,} frames", f"{len(copied):,}")
    step = index.time_base / copied.time_base
    if not np.array_equal(copied.pts * step.denominator, np.arange(len(index)) * step.numerator):
        odd = np.unique(np.diff(copied.pts))[:5].tolist()
        raise _differs(target, f"a frame every {step} ticks, from 0", f"{copied.pts[0]} and steps of {odd}")
    if not has_tables_in_front(target):
        raise _differs(target, "the tables (moov) before the pictures", "behind them")
    if settings != copied_settings:
        raise _differs(target, "the stream's own settings (its parameter sets, or header)", "others")
    if after.digests != before.digests or after.frames != before.frames:
        raise _differs(target, f"{len(index):,} packets as in {source.name}", _first_difference(before, after))
    starts = set(index.keyframes.tolist())
    container, stream = open_video(target)
    with container:  # FFmpeg's parser, not the file, may call further packets keyframes
        flags = [entry.is_keyframe for entry in stream.index_entries]
    if [frame in starts for frame in after.frames] != flags:
        raise _differs(target, f"{len(starts):,} keyframes", f"{sum(flags):,}, or others")
    _require_same_pixels(source, index, target, copied)
    return copied, after.digest


def copy_notes(source: Path, index: FrameIndex) -> list[str]:
    """Return notes about content of an AVI that its copy lacks."""
    notes = []
    container, stream = open_video(source)
    with container:
        others = [other.type for other in container.streams if other.index != stream.index]
    if others:
        notes.append(f"the AVI holds more than the camera's video, which is not copied: {', '.join(others)}")
    return notes


# -- reading -----------------------------------------------------------------------------------------------


def _require_copyable(path: Path, index: FrameIndex) -> None:
    do = _COMPRESS
    if index.codec not in CODECS:
        what, got = "this video's packets cannot stand in an MP4 as they are", f"codec {index.codec}"
    elif index.n_absent:
        what, got = "this video was cut short, and is left as it is", f"{index.n_absent:,} frames are not in the file"
    elif index.n_empty:
        what, got = "an MP4 has no empty places, so frames of a copy would have other numbers", index.notes[-1]
        do = EMPTY_PLACES
    elif not index.places.size:
        what, got = "this is no AVI", "a container with presentation times"
    else:
        return
    raise UnusableFile(
        what,
        where=str(path),
        expected=f"a whole AVI with a picture in every place, of {', '.join(CODECS)}",
        got=got,
        do=do,
    )


def _numbered(
    path: Path, index: FrameIndex, packets: Iterable[Packet[VideoStream]]
) -> Iterator[tuple[int, Packet[VideoStream]]]:
    """Yield `(frame, packet)` in decode order; require all packets of the index, each once."""
    is_placed = index.places.size > 0
    numbers = {mark: number for number, mark in enumerate((index.places if is_placed else index.pts).tolist())}
    n, why = len(numbers), ""
    try:
        for packet in packets:
            if not packet.size:
                continue
            number = numbers.pop(cast("int", packet.pos if is_placed else packet.pts), None)
            if number is None:
                raise _missing_packets(path, n, f"one more, at byte {packet.pos:,}")
            if packet.is_corrupt:
                raise _missing_packets(path, n, f"only a part of that of frame {number:,}")
            yield number, packet
    except av.error.FFmpegError as error:
        why = f" ({error})"
    if numbers:
        first = min(numbers.values())
        raise _missing_packets(path, n, f"all but {len(numbers):,}, the first of them that of frame {first:,}{why}")


def _read_packets(path: Path, index: FrameIndex) -> tuple[PacketDigests, bytes]:
    """Return the packets of a video and the settings of its stream, in a form that is the same for AVI and MP4."""
    read = PacketDigests()
    container, stream = open_video(path)
    with container:
        for frame, packet in _numbered(path, index, container.demux(stream)):
            content = _for_muxer(path, stream, frame, packet)
            read.add(frame, _as_in_mp4(stream, content))
        return read, _settings(stream)


def _settings(stream: VideoStream) -> bytes:
    settings = bytes(stream.codec_context.extradata or b"")
    if stream.codec_context.name != "h264":
        return settings
    try:
        units = parameter_sets(settings) if _has_start_codes(stream) else parameter_sets_of_mp4(settings)
    except IndexError:  # a truncated record, which equals no other
        return settings
    return with_lengths(sorted(nal_units(units)))


def _has_start_codes(stream: VideoStream) -> bool:
    context = stream.codec_context
    return context.name == "h264" and not length_bytes(context.name, context.extradata)


def _for_muxer(path: Path, stream: VideoStream, frame: int, packet: Packet[VideoStream]) -> bytes:
    """Return the content of a packet, without the padding of H.264 behind start codes, which an MP4 drops."""
    content = bytes(packet)
    if not _has_start_codes(stream):
        return content
    units = nal_units(content)
    if not units or not content.lstrip(b"\0").startswith(b"\1"):
        raise UnusableFile(
            f"the packet of frame {frame:,} is damaged, so it cannot be copied as it is",
            where=str(path),
            expected="H.264 units behind start codes",
            got=f"{len(content):,} bytes that begin with {content[:8].hex(' ')}",
            do="copy the file again from the acquisition computer; if the original is the same, its frames are timed "
            "by the AVI, which stays as it is",
        )
    return b"".join(_START_CODE + unit for unit in units)


def _as_in_mp4(stream: VideoStream, content: bytes) -> bytes:
    return with_lengths(nal_units(content)) if _has_start_codes(stream) else content


# -- comparing ---------------------------------------------------------------------------------------------


def _first_difference(before: PacketDigests, after: PacketDigests) -> str:
    pairs = zip(before.digests, before.frames, after.digests, after.frames, strict=True)
    position, frame = next((n, f) for n, (a, f, b, g) in enumerate(pairs) if (a, f) != (b, g))
    return f"others from packet {position:,} on, that of frame {frame:,}"


def _require_same_pixels(source: Path, index: FrameIndex, target: Path, copied: FrameIndex) -> None:
    """Require the first frame to decode to the same pixels.

    Decoders of MPEG-4 adapt to the encoder. If the stream does not name it, the tag of an AVI does, which an MP4 cannot
    hold: FFmpeg uses another inverse transform for `XVID`, for instance.
    """
    if _first_pixels(source, index) != _first_pixels(target, copied):
        raise UnusableFile(
            "the same packets show other pixels in an MP4, so this AVI is left as it is",
            where=str(source),
            expected="a stream that decodes alike in both containers",
            got=f"another frame 0; the tag in the AVI is {_tag(source)}",
            do=_COMPRESS,
        )


def _first_pixels(path: Path, index: FrameIndex) -> str | None:
    with FrameReader(path, index) as reader:
        ((_, frame),) = reader.frames(0, 1)
        return None if frame is None else luma_digest(luma(frame))


def _tag(path: Path) -> str:
    container, stream = open_video(path)
    with container:
        return str(stream.codec_context.codec_tag)


def _missing_packets(path: Path, n_packets: int, got: str) -> UnusableFile:
    return UnusableFile(
        "reading this video gives other packets than its index lists",
        where=str(path),
        expected=f"{n_packets:,} packets, each once",
        got=got,
        do="a part of it is damaged: copy it again from the acquisition computer; if the original is the same, repair "
        "it with ffmpeg -i in.avi -c copy out.avi, and check its number of frames",
    )


def _differs(path: Path, expected: str, got: str) -> CorruptOutput:
    return CorruptOutput(
        "the MP4 differs from the AVI",
        where=str(path),
        expected=expected,
        got=got,
        do="run again; if it happens again, look for a failing disk, and report this: the AVI stays as it is",
    )
