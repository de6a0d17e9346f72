"""Packets of an indexed video from any keyframe on, and the decoder that takes them."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import av
import numpy as np

from ibl_dask.video.container.avi import NO_PLACE
from ibl_dask.video.container.bitstream import is_referred_to, length_bytes
from ibl_dask.video.container.tracks import NoGpuDecoder, open_video
from ibl_dask.video.pixels import planar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from pathlib import Path

    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from ibl_dask.video.container.index import FrameIndex

_HOLE = bytes(4)
"""Zeros of a lost block of the file. No H.264 or HEVC packet contains four of them, as the stream escapes zeros, except
as padding between units that start codes separate."""
_TIMES_SHOWN = {"mpeg4": 18}
"""Codec -> number of times that its decoder is given the first packet. The decoder of MPEG-4 part 2 tolerates an odd
end of a frame until it has decoded enough proper ones, an end without padding counting as much as 16; without these,
damage would be reported in the middle of a chunk and missed at its start."""


class StreamDecoder:
    """An open video: its packets with the presentation times of the index, and one decoder.

    Parameters
    ----------
    path : Path
        The video.
    index : FrameIndex
        Its index.
    on_gpu : bool
        Decode by NVDEC, see `gpu_proof`.

    Raises
    ------
    NoGpuDecoder
        If NVDEC is asked for and does not take the video, also when it is opened again after damage.
    """

    def __init__(self, path: Path, index: FrameIndex, *, on_gpu: bool = False) -> None:
        self._path = path
        self._index = index
        self._on_gpu = on_gpu
        self.pts: memoryview[int] = np.ascontiguousarray(index.pts).data
        """Presentation time of each frame, ticks. A view: one value of it is read faster than one of an array."""
        self.key_pts: list[int] = index.key_pts.tolist()
        """Presentation time of each keyframe, ticks."""
        order = np.argsort(index.places, kind="stable")
        order = order[index.places[order] != NO_PLACE]
        self._places: memoryview[int] = index.places[order].data
        self._place_pts: memoryview[int] = index.pts[order].data
        self._open()
        self._prime()

    @property
    def has_times(self) -> bool:
        """Return whether the container has presentation times; if not, file positions identify packets."""
        return not self._places

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Return width over height of a pixel; None if the stream does not specify it."""
        return self._stream.codec_context.sample_aspect_ratio or None

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def discard(self) -> None:
        """Use a new decoder from the next keyframe on: one that has decoded damage may keep a wrong state."""
        self._is_sound = False

    # -- decoding --------------------------------------------------------------------------------------------

    def decode(self, packet: Packet[VideoStream]) -> list[av.VideoFrame] | None:
        """Return the frames that come out after a packet went in; None if the packet is damaged."""
        if not packet.size or packet.is_corrupt or (self._is_escaped and self._has_hole(bytes(packet))):
            return None
        if packet.is_discard:
            # The decoder would keep the frame, and with it any report of damage.
            packet = _visible(packet)
        try:
            return self._decode(packet)
        except av.error.FFmpegError:
            return None

    def delayed(self) -> list[av.VideoFrame]:
        """Return the frames that the decoder still holds back, at the end of the input."""
        try:
            return self._decode(None)
        except av.error.FFmpegError:
            return []

    def is_referred_to(self, packet: Packet[VideoStream]) -> bool:
        """Return whether later pictures may refer to the picture of a packet; see `bitstream.is_referred_to`."""
        context = self._stream.codec_context
        return is_referred_to(context.name, context.extradata, bytes(packet))

    def _has_hole(self, content: bytes) -> bool:
        at = content.find(_HOLE)
        if at < 0 or self._has_lengths:
            return at >= 0
        # Padding ends with the packet or the next start code.
        rest = content[at:].lstrip(b"\x00")
        return bool(rest) and (rest[0] != 1 or self._has_hole(rest))

    # -- packets ---------------------------------------------------------------------------------------------

    def packets_from(self, key: int) -> Iterator[Packet[VideoStream]]:
        """Yield the packets from a keyframe on; an empty one in place of a keyframe that the file lacks.

        Parameters
        ----------
        key : int
            Number of the keyframe in `key_pts`.
        """
        mark, key_pts = self._mark_of(key), self.key_pts[key]
        for open_there in (self._seek, self._from_the_start):
            packets = open_there(key)
            for packet in packets:
                if (packet.pos if self._places else packet.pts) == mark:
                    yield packet
                    yield from packets
                    return
                if packet.is_keyframe and stamp(packet) > key_pts:
                    # Beyond it: the container's seek ended in the wrong place, or the packet is missing.
                    break
        yield _empty_packet(key_pts)

    def _mark_of(self, key: int) -> int:
        """Return the file position of a keyframe's packet, or its presentation time where the container has times."""
        pts = self.key_pts[key]
        return int(self._index.places[bisect_left(self.pts, pts)]) if self._places else pts

    def _seek(self, key: int) -> Iterator[Packet[VideoStream]]:
        if not self._is_sound:
            self._container.close()
            self._open()
            self._prime()
        try:
            # Containers seek by decode time. Landing on an earlier keyframe is fine: packets before the one that is
            # wanted are skipped.
            target = int(self._index.key_dts[key])
            self._container.seek(target, stream=self._stream, backward=True, any_frame=False)
        except av.error.FFmpegError:
            # A container without an index, such as an AVI whose recording was interrupted.
            return iter(())
        return self._packets()

    def _from_the_start(self, key: int) -> Iterator[Packet[VideoStream]]:
        self._container.close()
        self._open()
        packets = self._packets()
        first = next(packets, None)
        if first is None:
            return iter(())
        self._show(first)
        self._stream.codec_context.flush_buffers()
        return chain((first,), packets)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield packets with the presentation times of the index, up to the end of the file or of its readable part."""
        places, place_pts = self._places, self._place_pts
        following = len(places)
        try:
            for packet in self._container.demux(self._stream):
                if not packet.size:
                    continue
                if places:
                    place = -1 if packet.pos is None else packet.pos
                    at = bisect_left(places, place)
                    if at == len(places) or places[at] != place:
                        continue
                    if at > following:
                        # The demuxer resynchronised after damage: an empty packet stands for those it skipped.
                        yield _empty_packet(place_pts[following])
                    packet.pts, following = place_pts[at], at + 1
                elif packet.pts is None:
                    packet.pts = packet.dts
                yield packet
        except (av.error.InvalidDataError, av.error.EOFError):
            return

    # -- opening ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._container, self._stream = open_video(self._path, on_gpu=self._on_gpu)
        context = self._stream.codec_context
        # Not a method of this object: a decoder, and its memory on a GPU, is to end with the last name for it.
        self._decode = partial(_decode_on_gpu, context, self._index.pixel_format) if self._on_gpu else context.decode
        self._is_escaped = context.name in ("h264", "hevc")
        self._has_lengths = length_bytes(context.name, context.extradata) > 0
        self._is_sound = True

    def _prime(self) -> None:
        """Give the decoder the first packet of the file before it starts anywhere else.

        Encoders write their name and build into the first packet only, and decoders work around the bugs of some:
        FFmpeg decodes 4:4:4 H.264 of x264 before build 151 to other pixels if it has not seen that packet.
        """
        first = next(self._packets(), None)
        if first is not None and not self._show(first):
            # Damage of the first packet is reported when its own frame is read.
            self._container.close()
            self._open()

    def _show(self, packet: Packet[VideoStream]) -> bool:
        """Give the decoder the first packet, without using its frames; return False if it is damaged."""
        times = _TIMES_SHOWN.get(self._stream.codec_context.name, 1)
        try:
            for _ in range(times):
                self._decode(packet)
        except av.error.FFmpegError:
            return False
        return True


def _decode_on_gpu(
    context: VideoCodecContext, pixel_format: str, packet: Packet[VideoStream] | None
) -> list[av.VideoFrame]:
    """Return frames of NVDEC as the CPU gives them."""
    frames = downloaded(context, packet)
    if any(frame.is_corrupt or frame.format.name != "nv12" for frame in frames):
        raise NoGpuDecoder(f"NVDEC gives frames that are damaged, or not in nv12: {[f.format.name for f in frames]}")
    made = [planar(frame, pixel_format) for frame in frames]
    for frame in made:
        frame.color_range, frame.colorspace = context.color_range, context.colorspace
    return made


def downloaded(context: VideoCodecContext, packet: Packet[VideoStream] | None) -> list[av.VideoFrame]:
    """Return the frames that NVDEC decoded, in the memory of this process."""
    return context.decode(packet)


def stamp(packet: Packet[VideoStream]) -> int:
    """Return the presentation time of a packet, which `StreamDecoder.packets_from` has set."""
    return packet.pts  # type: ignore[return-value]  # a packet with neither time would not have been indexed


def _empty_packet(pts: int) -> Packet[VideoStream]:
    packet: Packet[VideoStream] = av.Packet()  # type: ignore[assignment]  # it has no stream
    packet.pts = pts
    return packet


def _visible(packet: Packet[VideoStream]) -> Packet[VideoStream]:
    copy: Packet[VideoStream] = av.Packet(bytes(packet))  # type: ignore[assignment]  # it has no stream
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    return copy
