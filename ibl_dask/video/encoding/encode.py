"""One chunk of raw video becomes H.264, and is compared with what it was made from.

The source is decoded once. While the encoder looks ahead, the frames that it has not finished wait here; as soon as a
packet comes out it is decoded again, compared with its source, and shown to every reducer: the frame pass of the
compressed video is over when the chunk is compressed.

One encoder with one thread per chunk, and without x264's code for AVX-512: its bytes then depend on frames, settings
and build alone (`instructions`).
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np

from ibl_dask.errors import DecodeFailed, RunError
from ibl_dask.model.frame_ranges import find_runs, format_runs
from ibl_dask.video.container.h264 import nal_units, parameter_sets, with_lengths
from ibl_dask.video.encoding.fidelity import (
    SSIM_STRIDE,
    Claim,
    Fidelity,
    error_energy,
    fits_neighbour,
    lost_share,
    psnr_db,
    ssim,
)
from ibl_dask.video.framepass import FramePass
from ibl_dask.video.pixels import Pixels, luma, peak_of, stored_luma
from ibl_dask.video.reader import DamageMet, FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from av.packet import Packet
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.container.index import FrameIndex
    from ibl_dask.video.encoding.fidelity import Plane
    from ibl_dask.video.encoding.profiles import EncodingProfile
    from ibl_dask.video.reducers.base import PassResult, Reducer

ENCODER = "libx264"
_KIND_B = 3
"""FFmpeg's number of that kind of picture."""
_AVX_512F = 13
"""OpenCV's number of that instruction set; Python has no name for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The packets of one chunk, in decode order."""

    parameter_sets: bytes
    """Sequence and picture parameter sets, each behind a start code."""
    data: NDArray[np.uint8]
    """All packets, as the encoder made them: units behind start codes (byte,)."""
    sizes: NDArray[np.int64]
    """Bytes of each packet (packet,)."""
    frames: NDArray[np.int64]
    """The frame that each packet shows, counted from the start of the video (packet,)."""
    is_key: NDArray[np.bool_]
    """Whether decoding may start there (packet,)."""
    delay: int
    """Frames that are decoded before the first one is shown."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    pixel_format: str
    """As FFmpeg says it."""
    pixel_aspect: str | None
    """Width over height of a pixel, as a fraction; None where the source does not say."""
    colours: Mapping[str, int]
    """How pixels stand for colours, as FFmpeg numbers it: `color_range`, `colorspace`, and so on."""
    digest: str
    """Of the packets as they are in an MP4: units behind their lengths."""
    first_luma: str
    """Digest of the luma of the first frame, decoded."""

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and facts that a file may hold; `from_arrays` builds the same segment."""
        content: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _SEGMENT_ARRAYS}
        facts = {name: getattr(self, name) for name in _SEGMENT_FACTS}
        return content, {**facts, "parameter_sets": self.parameter_sets.hex(), "colours": dict(self.colours)}

    @classmethod
    def from_arrays(cls, content: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Segment:
        """Build a segment from what `to_arrays` returned."""
        found: dict[str, Any] = {name: content[name] for name in _SEGMENT_ARRAYS}
        found |= {name: facts[name] for name in _SEGMENT_FACTS}
        return cls(**found, parameter_sets=bytes.fromhex(facts["parameter_sets"]), colours=facts["colours"])


_SEGMENT_ARRAYS = ("data", "sizes", "frames", "is_key")
_SEGMENT_FACTS = ("delay", "width", "height", "pixel_format", "pixel_aspect", "digest", "first_luma")


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What became of one chunk."""

    segment: Segment
    """Its packets."""
    fidelity: Fidelity
    """How they compare with the source."""
    result: PassResult
    """What the reducers say of the compressed frames."""


@cache
def instructions() -> dict[str, str]:
    """Return the option by which x264 leaves AVX-512 alone, where the processor has it.

    With it the build in PyAV's wheels (core 165) makes other bytes of the same frames from one time to the next, for
    instance of 320x256 on an AMD EPYC; its code for AVX2 and for SSE4.2 makes the same ones always, and is as fast
    (within 3 % on 640x512). Other processors keep x264's own choice.
    """
    has_it = cv2.checkHardwareSupport(_AVX_512F)
    return {"x264-params": "asm=avx2,fma3,lzcnt,bmi1,bmi2"} if has_it else {}


@cache
def encoder_build() -> str:
    """Return what else than settings the bytes of a result depend on: the builds of x264 and of FFmpeg's wrapper.

    x264 writes its own into the first packet that it makes.
    """
    context: Any = av.CodecContext.create(ENCODER, "w")  # the stubs do not tell its video attributes
    context.width, context.height, context.pix_fmt, context.time_base = 64, 64, "yuv420p", Fraction(1, 60)
    packets = [*context.encode(av.VideoFrame(64, 64, "yuv420p")), *context.encode(None)]
    found = re.search(rb"x264 - (core \d+[^-]*?) - ", b"".join(map(bytes, packets)))
    build = found[1].decode("ascii", "replace") if found else "of unknown build"
    return f"x264 {build}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def encode_chunk(
    path: Path, index: FrameIndex, chunk: Chunk, profile: EncodingProfile, reducers: Sequence[Reducer] = ()
) -> Encoded:
    """Compress a chunk, decode the result, and compare it with its source frame by frame.

    Parameters
    ----------
    path, index
        The raw video.
    chunk
        Frames to compress.
    profile
        How.
    reducers
        What to compute of the compressed frames.

    Raises
    ------
    DecodeFailed
        If a frame of the source does not decode: a faithful copy cannot be made.
    RunError
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
    runs = [(first + chunk.start, last + chunk.start) for first, last in find_runs(lost)]
    return DecodeFailed(
        f"{int(lost.sum()):,} frames of this video do not decode, so no faithful copy of it can be made",
        where=str(path),
        expected=f"every frame of {chunk.start:,} to {chunk.stop - 1:,} (of {len(index):,})",
        got=f"nothing exact for frames {format_runs(runs)}",
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
    checker: _Checker | None = None
    for number, frame in frames:
        if encoder is None or checker is None:
            encoder = Encoder(reader, frame, profile)
            checker = _Checker(reader.path, chunk, encoder.parameter_sets, reducers)
        made = encoder.add(number, frame)
        checker.expect(number, encoder.last)
        checker.take(made)
    if encoder is None or checker is None:
        raise RunError("a chunk without frames cannot be compressed", where=str(reader.path))
    checker.take(encoder.flush())
    fidelity, first_luma = checker.finish()
    return Encoded(encoder.segment(first_luma), fidelity, checker.frame_pass.result())


class Encoder:
    """x264 with one thread; keeps the packets that it makes."""

    def __init__(self, reader: FrameReader, first: av.VideoFrame, profile: EncodingProfile) -> None:
        rate, aspect = reader.index.rate, reader.pixel_aspect
        context: Any = av.CodecContext.create(ENCODER, "w")  # the stubs do not tell its video attributes
        self._pixels = Pixels.of(first, [form.name for form in context.codec.video_formats])
        self._format = self._pixels.format
        context.width, context.height, context.pix_fmt = first.width, first.height, self._format
        context.time_base, context.framerate = 1 / rate, rate
        context.thread_count = 1
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        self._colours = self._pixels.colours(first)
        for name, value in self._colours.items():
            setattr(context, name, value)
        context.options = profile.options() | instructions()
        flags = av.codec.context.Flags
        context.flags |= flags.global_header.value | flags.psnr.value
        context.open()
        self._context = context
        self._time_base, self._aspect = 1 / rate, aspect
        self.parameter_sets: bytes = parameter_sets(bytes(context.extradata))
        self.last: av.VideoFrame = first
        self._packets: list[bytes] = []
        self._digest = hashlib.sha256()
        self._frames: list[int] = []
        self._is_key: list[bool] = []

    def add(self, number: int, frame: av.VideoFrame) -> list[Packet[Any]]:
        frame = self._pixels.take(frame)
        # The encoder would choose kinds of frames, and times, as the source had them.
        frame.pict_type = av.video.frame.PictureType.NONE
        frame.pts, frame.time_base = number, self._time_base
        self.last = frame
        return self._keep(self._context.encode(frame))

    def flush(self) -> list[Packet[Any]]:
        return self._keep(self._context.encode(None))

    def _keep(self, packets: list[Packet[Any]]) -> list[Packet[Any]]:
        for packet in packets:
            content = bytes(packet)
            self._packets.append(content)
            self._digest.update(with_lengths(nal_units(content)))
            self._frames.append(int(packet.pts or 0))
            self._is_key.append(packet.is_keyframe)
        return packets

    def segment(self, first_luma: str) -> Segment:
        return Segment(
            parameter_sets=self.parameter_sets,
            data=np.frombuffer(b"".join(self._packets), np.uint8),
            sizes=np.array([len(packet) for packet in self._packets], np.int64),
            frames=np.array(self._frames, np.int64),
            is_key=np.array(self._is_key, np.bool_),
            pixel_aspect=None if self._aspect is None else str(self._aspect),
            delay=int(self._context.reorder_depth),
            width=self._context.width,
            height=self._context.height,
            pixel_format=self._format,
            colours=self._colours,
            digest=self._digest.hexdigest(),
            first_luma=first_luma,
        )


class _Checker:
    """Decodes packets as they come, and compares each frame with its source."""

    def __init__(self, path: Path, chunk: Chunk, parameters: bytes, reducers: Sequence[Reducer]) -> None:
        self._path = path
        decoder: Any = av.CodecContext.create("h264", "r")
        decoder.extradata = parameters
        decoder.thread_count = 1
        decoder.options = {"err_detect": "explode"}
        self._decoder = decoder
        self._chunk = chunk
        self._sources: deque[tuple[int, Plane, av.VideoFrame]] = deque()
        """Frames that wait for their compressed copy, and the one before them."""
        self._next = chunk.start
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._misplaced: list[bool] = []
        self._first_luma = ""
        self._apart_before = np.inf
        self._claims: dict[int, Claim] = {}
        """What the encoder says that it lost, of frames that are not compared yet."""
        self._lost_share: list[float] = []
        self._unaccounted: list[bool] = []
        self.frame_pass = FramePass(chunk, reducers)
        self._ready: deque[av.VideoFrame] = deque()

    def expect(self, number: int, source: av.VideoFrame) -> None:
        self._sources.append((number, stored_luma(source), source))

    def take(self, packets: Iterable[Packet[Any]]) -> None:
        for packet in packets:
            self._claims[int(packet.pts or 0)] = claim_of(packet)
            self._decode(packet)
        # A frame is compared with the one after it as well, so the last waits.
        while self._ready and self._sources[-1][0] > self._next:
            self._compare(self._ready.popleft())

    def finish(self) -> tuple[Fidelity, str]:
        self._decode(None)
        while self._ready and self._next < self._chunk.stop:
            self._compare(self._ready.popleft())
        if self._next != self._chunk.stop or self._ready:
            raise _not_decoded(self._path, self._chunk, self._next)
        fidelity = Fidelity(
            np.array(self._psnr, np.float32),
            np.array(self._ssim, np.float32),
            np.array(self._misplaced, np.bool_),
            np.array(self._lost_share, np.float32),
            np.array(self._unaccounted, np.bool_),
        )
        return fidelity, self._first_luma

    def _decode(self, packet: Packet[Any] | None) -> None:
        try:
            self._ready.extend(self._decoder.decode(packet))
        except av.error.FFmpegError as error:
            raise _not_decoded(self._path, self._chunk, self._next) from error

    def _compare(self, frame: av.VideoFrame) -> None:
        number = self._next
        if frame.is_corrupt or frame.pts != number:
            raise _not_decoded(self._path, self._chunk, number)
        while self._sources[0][0] < number - 1:
            self._sources.popleft()
        near = {n: plane for n, plane, _ in islice(self._sources, 3)}
        result, source = stored_luma(frame), near[number]
        energy = error_energy(result, source)
        apart_after = error_energy(source, near[number + 1]) if number + 1 in near else np.inf
        beside = ((number - 1, self._apart_before), (number + 1, apart_after))
        self._misplaced.append(any(n in near and fits_neighbour(result, energy, near[n], apart) for n, apart in beside))
        self._apart_before = apart_after
        self._psnr.append(psnr_db(energy, source.size, peak_of(frame)))
        self._lost_share.append(lost_share(energy, source))
        self._unaccounted.append(not self._claims.pop(number).accounts_for(energy, source.size, peak_of(frame)))
        of_both = (luma(frame), luma(next(f for n, _, f in self._sources if n == number)))
        self._ssim.append(ssim(*of_both) if number % SSIM_STRIDE == 0 else np.nan)
        if number == self._chunk.start:
            self._first_luma = luma_digest(luma(frame))
        self.frame_pass.add(number, frame)
        self._next += 1


def claim_of(packet: Packet[Any]) -> Claim:
    """Return what the encoder says that it lost of the luma of a frame.

    Notes
    -----
    FFmpeg's quality statistics: quality (4 bytes), kind of picture, number of planes that follow, 2 bytes of nothing,
    then 8 bytes for each plane, all little-endian.
    """
    for side in packet.iter_sidedata():
        content = bytes(side)
        if side.data_type == "quality_stats" and content[5]:
            return Claim(float(int.from_bytes(content[8:16], "little")), content[4] == _KIND_B)
    return Claim(float("nan"), is_b=False)


def luma_digest(plane: NDArray[np.uint8]) -> str:
    """Return what tells the pixels of one frame from another's."""
    return hashlib.sha256(np.ascontiguousarray(plane).tobytes()).hexdigest()


def _not_decoded(path: Path, chunk: Chunk, number: int) -> RunError:
    return RunError(
        "what the encoder made does not decode to the frames that it was given",
        where=str(path),
        expected=f"frames {chunk.start:,} to {chunk.stop - 1:,}",
        got=f"nothing, or another frame, for frame {number:,}",
        do="run again; if it happens again, report this with the versions of PyAV and of this machine's processor: the "
        "raw video stays as it is",
    )
