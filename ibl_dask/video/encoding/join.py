"""Segments become one MP4 without being encoded again, and the file is checked against them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from ibl_dask.errors import CorruptOutput
from ibl_dask.video.container.h264 import parameter_sets_of_mp4
from ibl_dask.video.container.index import index_video
from ibl_dask.video.container.mp4 import has_tables_in_front
from ibl_dask.video.encoding.encode import ENCODER, luma_digest
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.container.index import FrameIndex
    from ibl_dask.video.encoding.encode import Segment
    from ibl_dask.video.encoding.profiles import EncodingProfile


@dataclass(slots=True)
class Written:
    """What went into a file: enough to tell whether it is still in there."""

    path: Path
    """The file."""
    parameter_sets: bytes = b""
    """Those that every packet was made with."""
    packets: list[str] = field(default_factory=list)
    """Digest of the packets of each chunk, in decode order."""
    frames: list[np.ndarray[Any, np.dtype[np.int64]]] = field(default_factory=list)
    """The frame that each packet shows, per chunk, in decode order."""
    first_frames: dict[int, str] = field(default_factory=dict)
    """First frame of each chunk -> digest of its luma."""


def write_mp4(
    path: Path, segments: Iterable[tuple[Chunk, Segment]], source: FrameIndex, profile: EncodingProfile
) -> Written:
    """Write segments behind each other, with the frame timing of one encoder that made them all.

    Parameters
    ----------
    path
        The file; any older one is replaced.
    segments
        In order, beginning with frame 0; one is needed at a time.
    source
        The raw video's index: when frames are shown.
    profile
        How they were encoded.

    Raises
    ------
    CorruptOutput
        If they do not tile the video, or were made with different settings.
    """
    written = Written(path)
    n_frames = n_packets = 0
    tick = 1 / source.rate
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = None  # the stubs do not tell a video stream's attributes
        for chunk, segment in segments:
            if stream is None:
                stream = _add_stream(container, segment, source.rate, profile)
                written.parameter_sets = bytes(segment.parameter_sets)
            _require_order(path, chunk, segment, n_frames, written.parameter_sets)
            ends = np.cumsum(segment.sizes)
            for start, end, frame, is_key in zip(
                ends - segment.sizes, ends, segment.frames, segment.is_key, strict=True
            ):
                packet: Any = av.Packet(segment.data[start:end].tobytes())
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


def _add_stream(container: Any, segment: Segment, rate: Fraction, profile: EncodingProfile) -> Any:
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
    """Read a file back, and insist that it holds what was verified: these packets, at these frames, and no others.

    Returns
    -------
    FrameIndex
        Its index.

    Raises
    ------
    CorruptOutput
        If it does not.
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
            found = hashlib.sha256()
            for frame in frames.tolist():
                packet = next(packets, None)
                if packet is None or packet.pts != index.pts[frame]:
                    raise _differs(path, f"frame {frame:,} where it was written", "nothing, or another")
                found.update(bytes(packet))
            if found.hexdigest() != digest:
                raise _differs(path, f"the packets of frames {frames.min():,} to {frames.max():,}", "other bytes")
        if next(packets, None) is not None:
            raise _differs(path, f"{len(index):,} packets", "more")


def _differs(path: Path, expected: str, got: str) -> CorruptOutput:
    return CorruptOutput(
        "the compressed video is not what was verified",
        where=str(path),
        expected=expected,
        got=got,
        do="run again; if it happens again, look for a failing disk, and report this: the raw video stays as it is",
    )
