"""Joining of segments into one MP4 without encoding them again, and verification of the file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from ibl_dask.errors import CorruptOutput
from ibl_dask.video.container.h264 import parameter_sets_of_mp4
from ibl_dask.video.container.index import index_video
from ibl_dask.video.container.mp4 import has_tables_in_front
from ibl_dask.video.encoding.segment import luma_digest
from ibl_dask.video.encoding.x264 import ENCODER
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.container.index import FrameIndex
    from ibl_dask.video.encoding.profiles import EncodingProfile
    from ibl_dask.video.encoding.segment import Segment


@dataclass(slots=True)
class Written:
    """Content of a written file, for `check_mp4`."""

    path: Path
    """The file."""
    parameter_sets: bytes = b""
    """Parameter sets of all packets."""
    packets: list[str] = field(default_factory=list)
    """Digest of the packets of each chunk, in decode order."""
    frames: list[NDArray[np.int64]] = field(default_factory=list)
    """Frame number of each packet, per chunk, in decode order."""
    first_frames: dict[int, str] = field(default_factory=dict)
    """First frame of each chunk -> digest of its luma."""


def write_mp4(
    path: Path, segments: Iterable[tuple[Chunk, Segment]], source: FrameIndex, profile: EncodingProfile
) -> Written:
    """Write segments one after the other, with the frame timing of a single encoder.

    Parameters
    ----------
    path : Path
        The file; any older one is replaced.
    segments : iterable of (Chunk, Segment)
        Segments in order, beginning with frame 0; one is held at a time.
    source : FrameIndex
        Index of the raw video: number and rate of frames.
    profile : EncodingProfile
        Settings of the encoder.

    Raises
    ------
    CorruptOutput
        If the segments do not tile the video, or have different settings.
    """
    written = Written(path)
    n_frames = n_packets = 0
    tick = 1 / source.rate
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: VideoStream | None = None
        for chunk, segment in segments:
            if stream is None:
                stream = _add_stream(container, segment, source.rate, profile)
                written.parameter_sets = bytes(segment.parameter_sets)
            _require_order(path, chunk, segment, n_frames, written.parameter_sets)
            ends = np.cumsum(segment.sizes)
            for start, end, frame, is_key in zip(
                ends - segment.sizes, ends, segment.frames, segment.is_key, strict=True
            ):
                packet = av.Packet(segment.data[start:end].tobytes())
                packet.stream, packet.time_base = stream, tick
                packet.pts, packet.dts, packet.duration = int(frame), n_packets - segment.delay, 1
                packet.is_keyframe = bool(is_key)
                container.mux(packet)
                n_packets += 1
            written.packets.append(segment.digest)
            written.frames.append(segment.frames)
            written.first_frames[chunk.start] = segment.first_luma
            n_frames = chunk.stop
    if n_frames != len(source):
        raise _differs(path, f"{len(source):,} frames", f"{n_frames:,}")
    return written


def _add_stream(container: OutputContainer, segment: Segment, rate: Fraction, profile: EncodingProfile) -> VideoStream:
    stream = container.add_stream(ENCODER, rate=rate, options=profile.options())
    stream.width, stream.height, stream.pix_fmt = segment.width, segment.height, segment.pixel_format
    context = stream.codec_context
    context.thread_count, context.time_base = 1, 1 / rate
    if segment.pixel_aspect is not None:
        context.sample_aspect_ratio = Fraction(segment.pixel_aspect)
    for name, value in segment.colours.items():
        setattr(context, name, value)
    return stream


def _require_order(path: Path, chunk: Chunk, segment: Segment, n_frames: int, parameters: bytes) -> None:
    numbers = np.sort(segment.frames)
    if chunk.start != n_frames or not np.array_equal(numbers, np.arange(chunk.start, chunk.stop)):
        raise _differs(path, f"frames {n_frames:,} to {chunk.stop - 1:,} once each", f"{numbers.size:,} others")
    if segment.parameter_sets != parameters or not segment.is_key[0]:
        raise _differs(path, "segments of one encoder that begin with a keyframe", f"others at frame {chunk.start:,}")


def check_mp4(written: Written, source: FrameIndex) -> FrameIndex:
    """Read a file back, and require it to hold the verified packets, each at its frame, and no others.

    Returns
    -------
    FrameIndex
        Index of the file.

    Raises
    ------
    CorruptOutput
        If the content differs.
    """
    path = written.path
    index = index_video(path)
    if len(index) != len(source):
        raise _differs(path, f"{len(source):,} frames", f"{len(index):,}")
    steps = np.unique(np.diff(index.pts))
    if steps.size > 1 or abs(index.times_s[-1] - (len(source) - 1) / float(source.rate)) > 1e-6:
        raise _differs(path, f"a frame every {1 / float(source.rate):.6f} s", f"steps of {steps.tolist()[:5]} ticks")
    if not has_tables_in_front(path):
        raise _differs(path, "the tables (moov) before the pictures", "behind them")
    _check_packets(written, index)
    with FrameReader(path, index) as reader:
        for number, digest in written.first_frames.items():
            ((_, frame),) = reader.frames(number, number + 1)
            if frame is None or luma_digest(luma(frame)) != digest:
                raise _differs(path, f"frame {number:,} as it was verified", "other pixels")
    return index


def _check_packets(written: Written, index: FrameIndex) -> None:
    path = written.path
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if parameter_sets_of_mp4(bytes(stream.codec_context.extradata or b"")) != written.parameter_sets:
            raise _differs(path, "the parameter sets of its segments", "others")
        packets = (packet for packet in container.demux(stream) if packet.size)
        for digest, frames in zip(written.packets, written.frames, strict=True):
            read = hashlib.sha256()
            for frame in frames.tolist():
                packet = next(packets, None)
                if packet is None or packet.pts != index.pts[frame]:
                    raise _differs(path, f"frame {frame:,} where it was written", "nothing, or another")
                read.update(bytes(packet))
            if read.hexdigest() != digest:
                raise _differs(path, f"the packets of frames {frames.min():,} to {frames.max():,}", "other bytes")
        if next(packets, None) is not None:
            raise _differs(path, f"{len(index):,} packets", "more")


def _differs(path: Path, expected: str, got: str) -> CorruptOutput:
    return CorruptOutput(
        "the compressed video differs from the verified one",
        where=str(path),
        expected=expected,
        got=got,
        do="run again; if it happens again, look for a failing disk, and report this: the raw video stays as it is",
    )
