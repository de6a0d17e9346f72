"""Frames by number, exactly.

Decoders hide damage: they go on with pixels copied from elsewhere, and every frame predicted from those is wrong, too,
until the next keyframe. Here a frame is given only if its packet and all those decoded before it since the keyframe
went through the decoder without a complaint. At the first complaint the rest of the group of pictures is left out, and
decoding starts afresh at the next keyframe, as it would for a chunk that begins there, so that what is left out does
not depend on the chunks. A decoder that has met damage is not used again: it may keep wrong ideas of the stream.

No codec here carries a checksum, so damage that still reads as a valid stream passes. Of 120 damages each to random
packets of a drawn and of a real clip of 160 x 128 pixels, counting those that changed any pixel, these went unnoticed:

===================  ===========  ===========  ===========  ==========
damage               H.264        MPEG-4       MPEG-4       MJPEG
                     B-frames,    AVI          B-frames,    AVI
                     MP4                       MP4
===================  ===========  ===========  ===========  ==========
one bit flipped      26 of 115    31 of 114    39 of 119    71 of 113
64 bytes zeroed      0 of 120     1 of 120     0 of 120     0 of 120
512 bytes random     0 of 120     0 of 120     0 of 120     1 of 120
end of packet lost   0 of 119     0 of 120     0 of 120     3 of 120
===================  ===========  ===========  ===========  ==========

A flipped bit that goes unnoticed changes 4 to 8 frames on average, 1 in MJPEG. In 47 % (H.264) to 88 % (MJPEG) of all
these cases OpenCV gives wrong pixels without a word.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import chain
from typing import TYPE_CHECKING

import av
import numpy as np

from ibl_dask.errors import DecodeFailed, UsageError
from ibl_dask.video.container.avi import NO_PLACE
from ibl_dask.video.container.bitstream import is_referred_to, length_bytes
from ibl_dask.video.container.index import index_video
from ibl_dask.video.container.tracks import open_video
from ibl_dask.video.pixels import luma

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from fractions import Fraction
    from pathlib import Path
    from types import TracebackType

    from av.packet import Packet
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from ibl_dask.video.container.index import FrameIndex

_HOLE = bytes(4)
"""No H.264 or HEVC packet contains this, as the stream escapes zeros, except as padding between units that start codes
separate; blocks of a file that were lost do."""
_TIMES_SHOWN = {"mpeg4": 18}
"""How often a decoder is shown the first packet. That of MPEG-4 part 2 lets an odd end of a frame pass until it has
seen enough proper ones, an end without padding counting as much as 16; without this, damage would be noticed in the
middle of a chunk that goes unnoticed at its start."""
_LATEST_PACKETS = 34
"""Packets after which a frame that has not come out will not: 16 may wait for decoding and 16 for display."""


class DamageMet(Exception):  # not an error: `FrameReader.frames` can tell
    """Frames that were given may not be exact."""


class FrameReader:
    """Decode any run of frames of a video, by number.

    Parameters
    ----------
    path : Path
        The video.
    index : FrameIndex, optional
        Its index; made where not given.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the file is not the one that was indexed.
    """

    def __init__(self, path: Path, index: FrameIndex | None = None) -> None:
        self.path = path
        self.index = index_video(path) if index is None else index
        self.index.require_unchanged(path)
        self._pts: memoryview[int] = np.ascontiguousarray(self.index.pts).data
        self._key_pts = self.index.key_pts.tolist()
        order = np.argsort(self.index.places, kind="stable")
        order = order[self.index.places[order] != NO_PLACE]
        self._places: memoryview[int] = self.index.places[order].data
        self._stamps: memoryview[int] = self.index.pts[order].data
        self._open()
        self._prime()

    def _open(self) -> None:
        self._container, self._stream = open_video(self.path)
        context = self._stream.codec_context
        self._decode = context.decode
        self._is_escaped = context.name in ("h264", "hevc")
        self._has_lengths = length_bytes(context.name, context.extradata) > 0
        self._is_sound = True

    def _prime(self) -> None:
        """Show the decoder the first packet of the file before it starts anywhere else.

        Encoders write their name and build into the first packet only, and decoders work around the bugs of some:
        FFmpeg decodes 4:4:4 H.264 of x264 before build 151 to other pixels when it has not seen that packet.
        """
        first = next(self._packets(), None)
        if first is not None and not self._shows(first):
            # Damage in the first packet is reported when its own frame is asked for.
            self._container.close()
            self._open()

    def _shows(self, packet: Packet[VideoStream]) -> bool:
        """Show the decoder the first packet; return whether it makes anything of it."""
        times = _TIMES_SHOWN.get(self._stream.codec_context.name, 1)
        try:
            for _ in range(times):
                self._decode(packet)
        except av.error.FFmpegError:
            return False
        return True

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Return width over height of a pixel, as the stream says it; None where it does not."""
        return self._stream.codec_context.sample_aspect_ratio or None

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, start: int, stop: int) -> Iterator[tuple[int, av.VideoFrame | None]]:
        """Yield `(number, frame)` for every number in `[start, stop)`, in order.

        The frame is None where its packet, or one that it builds on, is missing or damaged.

        Raises
        ------
        UsageError
            If the run does not lie within the video.
        """
        if not 0 <= start < stop <= len(self.index):
            raise UsageError(
                "these frames do not lie within the video",
                where=str(self.path),
                expected=f"0 <= start < stop <= {len(self.index):,}",
                got=f"[{start:,}, {stop:,})",
            )
        return self._run(start, stop)

    def frames_while_sound(self, start: int, stop: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield what `frames` does, each frame as soon as it comes out of the decoder.

        `frames` holds a frame back until all that it may build on is known to be sound, which takes memory for several
        frames more, and with it the processor's caches. Here the doubt comes afterwards.

        Raises
        ------
        DamageMet
            At the first sign of damage, or of an odd order, in what was decoded for this run: nothing that was yielded
            can be relied on; ask `frames`.
        """
        if not (yield from self._eagerly(start, stop)):
            self._is_sound = False
            raise DamageMet

    def _eagerly(self, start: int, stop: int) -> Generator[tuple[int, av.VideoFrame], None, bool]:
        """Yield frames as they come out; return whether all that they may build on turned out to be sound."""
        pts = self._pts
        key = self._key_before(start)
        key_pts, first_pts, latest = self._key_pts[key], pts[start], -1
        expected: dict[int, int] = {}
        n = newest = 0
        for packet in chain(self._from(key), (None,)):
            if packet is None:
                frames: list[av.VideoFrame] | None = self._delayed()
            elif _stamp(packet) < key_pts:
                frames = (self._decode_now(packet) or []) if self._is_referred_to(packet) else []
            else:
                expected[_stamp(packet)] = n
                n += 1
                frames = self._decode_now(packet)
            if frames is None:
                return False
            for frame in frames:
                shown = frame.pts
                position = expected.pop(shown, None)  # type: ignore[arg-type]  # None is no key
                if position is None or shown is None:
                    continue
                if frame.is_corrupt or shown <= latest:
                    return False
                latest = shown
                if shown >= first_pts and start < stop:
                    if shown != pts[start]:
                        return False
                    newest = max(newest, position)
                    yield start, frame
                    start += 1
            oldest = next(iter(expected.values()), n)
            if start == stop and oldest > newest:
                return True
            if n - oldest > _LATEST_PACKETS:
                return False
        return False

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the luma of a run of frames. (frame, y, x)

        Raises
        ------
        DecodeFailed
            If a frame does not decode.
        """
        out = np.empty((stop - start, self.index.height, self.index.width), np.uint8)
        for number, frame in self.frames(start, stop):
            if frame is None:
                raise DecodeFailed(
                    f"frame {number:,} does not decode",
                    where=str(self.path),
                    expected="every frame of the index",
                    got="a frame that the decoder drops or marks as damaged",
                    do="read around it, or copy the file again if the original is whole",
                )
            out[number - start] = luma(frame)
        return out

    def _run(self, start: int, stop: int) -> Iterator[tuple[int, av.VideoFrame | None]]:
        expected = start
        for number, frame in self._sound_frames(start, stop):
            while expected < min(number, stop):
                yield expected, None
                expected += 1
            if expected == stop:
                return
            yield number, frame
            expected = number + 1
            if expected == stop:
                return
        while expected < stop:
            yield expected, None
            expected += 1

    def _sound_frames(self, start: int, stop: int) -> Generator[tuple[int, av.VideoFrame]]:
        """Yield the frames of a run that are exact, and perhaps some after it."""
        last_pts = self._pts[stop - 1]
        is_closed = self.index.key_is_closed
        key = self._key_before(start)
        doubted: set[int] = set()
        while key < len(self._key_pts) and self._key_pts[key] <= last_pts:
            damaged_pts, start = yield from self._until_damage(key, start)
            if damaged_pts is None:
                return
            self._is_sound = False
            following = bisect_right(self._key_pts, damaged_pts)
            if following == key + 1 and not is_closed[key] and key not in doubted:
                # Where pictures may refer further back, a decoder that starts afresh may complain about sound ones.
                doubted.add(key)
                key = int(np.flatnonzero(is_closed[:key])[-1])
            else:
                key = following

    def _until_damage(self, key: int, start: int) -> Generator[tuple[int, av.VideoFrame], None, tuple[int | None, int]]:
        """Yield frames from a number on, decoding from a keyframe on; return where damage is, and the next number."""
        pts, key_pts, decode = self._pts, self._key_pts[key], self._decode_now
        line = _Line(in_order=len(self._places) > 0)
        for packet in self._from(key):
            stamp = _stamp(packet)
            if stamp < key_pts:
                # It builds on what is before the keyframe, so complaints about it mean nothing. The decoder sees it
                # only to count it among the pictures that can be referred to.
                frames = (decode(packet) or []) if self._is_referred_to(packet) else []
            else:
                line.expect(stamp)
                decoded = decode(packet)
                if decoded is None:
                    line.spoil(stamp)
                    break
                frames = decoded
            for frame in frames:
                line.take(frame)
            if line.is_spoilt:
                break
            for shown, frame in line.ready():
                if shown != pts[start]:
                    number = bisect_left(pts, shown)
                    if number < start or number == len(pts) or pts[number] != shown:
                        continue
                    start = number
                yield start, frame
                start += 1
                if start == len(pts):
                    return None, start
        if line.is_spoilt and self._places:
            # Without times in the container, a damaged packet leaves open when the picture before it is shown.
            line.abandon()
        else:
            for frame in self._delayed():
                line.take(frame)
            line.finish()
        for shown, frame in line.ready():
            number = bisect_left(pts, shown)
            if start <= number < len(pts) and pts[number] == shown:
                yield number, frame
                start = number + 1
        return line.damaged_pts, start

    def _is_referred_to(self, packet: Packet[VideoStream]) -> bool:
        context = self._stream.codec_context
        return is_referred_to(context.name, context.extradata, bytes(packet))

    def _decode_now(self, packet: Packet[VideoStream]) -> list[av.VideoFrame] | None:
        """Return the frames that come out after a packet went in; None if there is anything wrong with it."""
        if not packet.size or packet.is_corrupt or (self._is_escaped and self._has_hole(bytes(packet))):
            return None
        if packet.is_discard:
            # The decoder would keep the frame for itself, and with it whether it is sound.
            packet = _visible(packet)
        try:
            return self._decode(packet)
        except av.error.FFmpegError:
            return None

    def _has_hole(self, content: bytes) -> bool:
        at = content.find(_HOLE)
        if at < 0 or self._has_lengths:
            return at >= 0
        # Padding ends with the packet or the next start code.
        rest = content[at:].lstrip(b"\x00")
        return bool(rest) and (rest[0] != 1 or self._has_hole(rest))

    def _delayed(self) -> list[av.VideoFrame]:
        """Return the frames that the decoder still holds back."""
        try:
            return self._decode(None)
        except av.error.FFmpegError:
            return []

    def _from(self, key: int) -> Iterator[Packet[VideoStream]]:
        """Yield the packets from a keyframe on; an empty one in its place if the file does not give it."""
        place, key_pts = self._place_of(key), self._key_pts[key]
        for open_there in (self._sought, self._from_the_start):
            packets = open_there(key)
            for packet in packets:
                if (packet.pos if self._places else packet.pts) == place:
                    yield packet
                    yield from packets
                    return
                if packet.is_keyframe and _stamp(packet) > key_pts:
                    # Beyond it: the container has landed in the wrong place, or has not got it.
                    break
        yield _lost(key_pts)

    def _key_before(self, frame: int) -> int:
        """Return the keyframe to decode from; the first one where a file begins with empty places."""
        return max(0, bisect_right(self._key_pts, self._pts[frame]) - 1)

    def _place_of(self, key: int) -> int:
        """Return by what the packet of a keyframe is known."""
        pts: int = self._key_pts[key]
        return int(self.index.places[bisect_left(self._pts, pts)]) if self._places else pts

    def _sought(self, key: int) -> Iterator[Packet[VideoStream]]:
        if not self._is_sound:
            self._container.close()
            self._open()
            self._prime()
        try:
            target = int(self.index.key_dts[key])
            self._container.seek(target, stream=self._stream, backward=True, any_frame=False)
        except av.error.FFmpegError:
            # A container without an index, such as an AVI whose recording died.
            return iter(())
        return self._packets()

    def _from_the_start(self, key: int) -> Iterator[Packet[VideoStream]]:
        self._container.close()
        self._open()
        packets = self._packets()
        first = next(packets, None)
        if first is None:
            return iter(())
        self._shows(first)
        self._stream.codec_context.flush_buffers()
        return chain((first,), packets)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield packets with the presentation times of the index, up to where the file ends or was cut."""
        places, stamps = self._places, self._stamps
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
                        # The container has lost its way: let an empty packet stand for those it passed over.
                        yield _lost(stamps[following])
                    packet.pts, following = stamps[at], at + 1
                elif packet.pts is None:
                    packet.pts = packet.dts
                yield packet
        except (av.error.InvalidDataError, av.error.EOFError):
            return


def _stamp(packet: Packet[VideoStream]) -> int:
    """Return the presentation time of a packet, which `_packets` has seen to."""
    return packet.pts  # type: ignore[return-value]  # a packet with neither time would not have been indexed


def _lost(pts: int) -> Packet[VideoStream]:
    packet: Packet[VideoStream] = av.Packet()  # type: ignore[assignment]  # it has no stream
    packet.pts = pts
    return packet


def _visible(packet: Packet[VideoStream]) -> Packet[VideoStream]:
    copy: Packet[VideoStream] = av.Packet(bytes(packet))  # type: ignore[assignment]  # it has no stream
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    return copy


class _Line:
    """Frames between the decoder and the caller, until it is known that all they build on is sound.

    A frame may be shown before one that was decoded earlier, and the decoder says that a frame is damaged only when it
    is shown. So a frame waits until everything decoded before it has come out.

    Parameters
    ----------
    in_order
        Whether frames that come out in another order than that of their times are damage: where these times are not the
        container's but the order that the index expects.
    """

    def __init__(self, in_order: bool) -> None:
        self._in_order = in_order
        self._latest: int | None = None
        self._expected: dict[int, int] = {}
        """Position in decode order of each frame that has not come out, by presentation time; oldest first."""
        self._held: list[tuple[int, int, av.VideoFrame]] = []
        """Presentation time, position and frame of those that wait; in presentation order."""
        self._n = 0
        self._end: int | None = None
        """Position of the first packet that is damaged."""
        self.damaged_pts: int | None = None
        """Presentation time of the first packet, in decode order, that is damaged."""

    @property
    def is_spoilt(self) -> bool:
        """Whether damage was met."""
        return self._end is not None

    def expect(self, pts: int) -> None:
        """Note that a packet goes into the decoder."""
        self._expected[pts] = self._n
        self._n += 1

    def spoil(self, pts: int) -> None:
        """Note that a packet is damaged."""
        self._spoil(pts, self._expected.pop(pts))

    def _spoil(self, pts: int, position: int) -> None:
        if self._end is None or position < self._end:
            self._end, self.damaged_pts = position, pts

    def take(self, frame: av.VideoFrame) -> None:
        """Take what comes out of the decoder."""
        pts = frame.pts
        position = self._expected.pop(pts, None)  # type: ignore[arg-type]  # None is no key
        if position is None or pts is None:
            return
        is_late = self._in_order and self._latest is not None and pts < self._latest
        self._latest = pts
        if frame.is_corrupt or is_late:
            self._spoil(pts, position)
        else:
            insort(self._held, (pts, position, frame))
        if self._expected:
            oldest = next(iter(self._expected))
            if self._n - self._expected[oldest] > _LATEST_PACKETS:
                self._spoil(oldest, self._expected[oldest])

    def finish(self) -> None:
        """Note that nothing more will come out."""
        for pts, position in self._expected.items():
            self._spoil(pts, position)
        self.abandon()

    def abandon(self) -> None:
        """Give up what has not come out, and what was decoded after it or after the damage."""
        end = min(self._expected.values(), default=self._n)
        end = end if self._end is None else min(end, self._end)
        self._held = [each for each in self._held if each[1] < end]
        self._expected.clear()

    def ready(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the frames that need not wait any longer, with their presentation times."""
        held, expected = self._held, self._expected
        while held:
            pts, position, frame = held[0]
            if expected and (position > next(iter(expected.values())) or pts > min(expected)):
                return
            del held[0]
            yield pts, frame
