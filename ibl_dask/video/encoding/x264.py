"""Encoder of chunks: x264 with one thread, whose bytes depend on frames, settings and build alone."""

from __future__ import annotations

import hashlib
import re
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Final

import av
import cv2
import numpy as np

from ibl_dask.video.container.h264 import nal_units, parameter_sets, with_lengths
from ibl_dask.video.encoding.segment import Segment
from ibl_dask.video.pixels import EncoderFormat

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from ibl_dask.video.encoding.profiles import EncodingProfile
    from ibl_dask.video.reader import FrameReader

ENCODER: Final = "libx264"
_AVX_512F = 13
"""OpenCV's number of that instruction set; Python has no name for it."""


@cache
def instructions() -> dict[str, str]:
    """Return the option that keeps x264 from using AVX-512, on processors that have it.

    With AVX-512 the build in PyAV's wheels (core 165) encodes the same frames to other bytes from one run to the next,
    for instance frames of 320x256 on an AMD EPYC; its code for AVX2 and for SSE4.2 is deterministic, and as fast
    (within 3 % on 640x512). On other processors x264 chooses its instructions itself.
    """
    has_it = cv2.checkHardwareSupport(_AVX_512F)
    return {"x264-params": "asm=avx2,fma3,lzcnt,bmi1,bmi2"} if has_it else {}


@cache
def encoder_build() -> str:
    """Return the builds of x264 and of FFmpeg's wrapper, on which the bytes of a result depend besides the settings.

    x264 writes its build into the first packet of a stream.
    """
    context: VideoCodecContext = av.CodecContext.create(ENCODER, "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 64, "yuv420p", Fraction(1, 60)
    packets = [*context.encode(av.VideoFrame(64, 64, "yuv420p")), *context.encode(None)]
    match = re.search(rb"x264 - (core \d+[^-]*?) - ", b"".join(map(bytes, packets)))
    build = match[1].decode("ascii", "replace") if match else "of unknown build"
    return f"x264 {build}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


class Encoder:
    """x264 with one thread; collects its packets.

    Parameters
    ----------
    reader : FrameReader
        The raw video: frame rate and pixel aspect.
    first : av.VideoFrame
        First frame to encode: size, pixel format and colours.
    profile : EncodingProfile
        Settings.
    """

    def __init__(self, reader: FrameReader, first: av.VideoFrame, profile: EncodingProfile) -> None:
        rate, aspect = reader.index.rate, reader.pixel_aspect
        context: VideoCodecContext = av.CodecContext.create(ENCODER, "w")
        self._pixels = EncoderFormat.of(first, [form.name for form in context.codec.video_formats or ()])
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
        self.parameter_sets: bytes = parameter_sets(bytes(context.extradata or b""))
        self.last: av.VideoFrame = first
        self._packets: list[bytes] = []
        self._digest = hashlib.sha256()
        self._frames: list[int] = []
        self._is_key: list[bool] = []

    def add(self, number: int, frame: av.VideoFrame) -> list[Packet[VideoStream]]:
        """Encode a frame; return the packets that the encoder has finished."""
        frame = self._pixels.convert(frame)
        # Otherwise the encoder would repeat the picture types and times of the source.
        frame.pict_type = av.video.frame.PictureType.NONE
        frame.pts, frame.time_base = number, self._time_base
        self.last = frame
        return self._keep(self._context.encode(frame))

    def flush(self) -> list[Packet[VideoStream]]:
        """Return the packets of the frames that the encoder has held back."""
        return self._keep(self._context.encode(None))

    def _keep(self, packets: list[Packet[VideoStream]]) -> list[Packet[VideoStream]]:
        for packet in packets:
            content = bytes(packet)
            self._packets.append(content)
            self._digest.update(with_lengths(nal_units(content)))
            self._frames.append(int(packet.pts or 0))
            self._is_key.append(packet.is_keyframe)
        return packets

    def segment(self, first_luma: str) -> Segment:
        """Return all packets; `first_luma` is the digest of the decoded first frame."""
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
