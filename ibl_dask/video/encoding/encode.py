"""Compression of one chunk of raw video to H.264, with a comparison of every frame with its source.

The source is decoded once. Frames wait in memory until the encoder has finished them; each packet is decoded at once,
compared with its source, and given to every reducer, so the frame pass of the compressed video ends with the chunk.

A chunk has one encoder with one thread, without x264's code for AVX-512: its bytes then depend on frames, settings and
build alone (`x264.instructions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.errors import DecodeFailed
from ibl_dask.model.frame_ranges import find_ranges, format_ranges
from ibl_dask.video.encoding.verification import ChunkVerifier
from ibl_dask.video.encoding.x264 import Encoder
from ibl_dask.video.reader import DamageMet, FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.container.index import FrameIndex
    from ibl_dask.video.encoding.fidelity import Fidelity
    from ibl_dask.video.encoding.profiles import EncodingProfile
    from ibl_dask.video.encoding.segment import Segment
    from ibl_dask.video.reducers.protocol import PassResult, Reducer


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Result of encoding one chunk."""

    segment: Segment
    """Packets of the chunk."""
    fidelity: Fidelity
    """Comparison of the compressed frames with the source."""
    result: PassResult
    """Frame pass of the compressed frames."""


def encode_chunk(
    path: Path, index: FrameIndex, chunk: Chunk, profile: EncodingProfile, reducers: Sequence[Reducer] = ()
) -> Encoded:
    """Compress a chunk, decode the result, and compare it with its source frame by frame.

    Parameters
    ----------
    path, index
        The raw video and its index.
    chunk : Chunk
        Frames to compress.
    profile : EncodingProfile
        Settings of the encoder.
    reducers : sequence of Reducer
        Measurements of the compressed frames.

    Raises
    ------
    DecodeFailed
        If a frame of the source does not decode, so that a faithful copy is impossible.
    CorruptOutput
        If the encoder's own output does not decode.
    """
    cv2.setNumThreads(1)
    with FrameReader(path, index) as reader:
        try:
            return _encode(reader, reader.frames_while_sound(chunk.start, chunk.stop), chunk, profile, reducers)
        except DamageMet:
            lost = np.array([frame is None for _, frame in reader.frames(chunk.start, chunk.stop)])
        if lost.any():
            raise _undecodable(path, index, chunk, lost)
        frames = ((number, frame) for number, frame in reader.frames(chunk.start, chunk.stop) if frame is not None)
        return _encode(reader, frames, chunk, profile, reducers)


def _undecodable(path: Path, index: FrameIndex, chunk: Chunk, lost: NDArray[np.bool_]) -> DecodeFailed:
    ranges = [(first + chunk.start, last + chunk.start) for first, last in find_ranges(lost)]
    return DecodeFailed(
        f"{int(lost.sum()):,} frames of this video do not decode, so no faithful copy of it can be made",
        where=str(path),
        expected=f"every frame of {chunk.start:,} to {chunk.stop - 1:,} (of {len(index):,})",
        got=f"nothing exact for frames {format_ranges(ranges)}",
        do="compare the file with the original on the acquisition computer, and copy it again if they differ; the raw "
        "video stays as it is",
    )


def _encode(
    reader: FrameReader,
    frames: Iterable[tuple[int, av.VideoFrame]],
    chunk: Chunk,
    profile: EncodingProfile,
    reducers: Sequence[Reducer],
) -> Encoded:
    encoder: Encoder | None = None
    verifier: ChunkVerifier | None = None
    for number, frame in frames:
        if encoder is None or verifier is None:
            encoder = Encoder(reader, frame, profile)
            verifier = ChunkVerifier(reader.path, chunk, encoder.parameter_sets, reducers)
        made = encoder.add(number, frame)
        verifier.expect(number, encoder.last)
        verifier.add(made)
    if encoder is None or verifier is None:
        raise ValueError(f"a chunk without frames cannot be compressed: {reader.path}")
    verifier.add(encoder.flush())
    fidelity, first_luma = verifier.finish()
    return Encoded(encoder.segment(first_luma), fidelity, verifier.frame_pass.result())
