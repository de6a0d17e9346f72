"""Exact access to the frames of a video by number.

Decoders hide damage: they continue with pixels copied from elsewhere, and every frame predicted from those is wrong as
well, until the next keyframe. The reader returns a frame only if its packet and all those decoded before it since the
keyframe passed the decoder without an error. At the first error the rest of the group of pictures is dropped, and
decoding restarts with a new decoder at the next keyframe, as it would for a chunk that begins there, so the frames that
are dropped do not depend on the chunk plan. A decoder that has met damage is not used again: it may keep a wrong state.

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
these cases OpenCV returns wrong pixels without an error.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import DecodeFailed, UsageError
from ibl_dask.video.container.index import index_video
from ibl_dask.video.frame_buffer import LATEST_PACKETS, FrameBuffer
from ibl_dask.video.pixels import luma
from ibl_dask.video.stream_decoder import StreamDecoder, stamp

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from fractions import Fraction
    from pathlib import Path
    from types import TracebackType

    import av
    from numpy.typing import NDArray

    from ibl_dask.video.container.index import FrameIndex


class DamageMet(Exception):  # not an error: `FrameReader.frames` finds the frames that are exact
    """Frames that were yielded may not be exact."""


class FrameReader:
    """Reader of the frames of a video, by number.

    Parameters
    ----------
    path : Path
        The video.
    index : FrameIndex, optional
        Its index; computed if not given.
    on_gpu : bool
        Decode by NVDEC, see `gpu_proof`.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the file is not the one that was indexed.
    NoGpuDecoder
        If NVDEC is asked for and does not take it.
    """

    def __init__(self, path: Path, index: FrameIndex | None = None, *, on_gpu: bool = False) -> None:
        self.path = path
        self.index = index_video(path) if index is None else index
        self.index.require_unchanged(path)
        self._decoder = StreamDecoder(path, self.index, on_gpu=on_gpu)
        self._pts, self._key_pts = self._decoder.pts, self._decoder.key_pts

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Return width over height of a pixel; None if the stream does not specify it."""
        return self._decoder.pixel_aspect

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def frames(self, start: int, stop: int) -> Iterator[tuple[int, av.VideoFrame | None]]:
        """Yield `(number, frame)` for every number in `[start, stop)`, in order.

        The frame is None if its packet, or one that it may depend on, is missing or damaged.

        Raises
        ------
        UsageError
            If the range does not lie within the video.
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
        """Yield the same frames as `frames`, each as soon as it comes out of the decoder.

        `frames` holds a frame back until everything it may depend on is known to be sound, which takes the memory of
        several more frames, and room in the processor's caches. Here damage is reported after the frames.

        Raises
        ------
        DamageMet
            At the first sign of damage, or of an unexpected order, in the packets decoded for this range: none of the
            yielded frames can be relied on; use `frames`.
        """
        if not (yield from self._eagerly(start, stop)):
            self._decoder.discard()
            raise DamageMet

    def _eagerly(self, start: int, stop: int) -> Generator[tuple[int, av.VideoFrame], None, bool]:
        """Yield frames as they come out; return True if everything they may depend on turned out to be sound."""
        pts, decoder = self._pts, self._decoder
        key = self._key_before(start)
        key_pts, first_pts, latest = self._key_pts[key], pts[start], -1
        expected: dict[int, int] = {}
        n = newest = 0
        for packet in chain(decoder.packets_from(key), (None,)):
            if packet is None:
                frames: list[av.VideoFrame] | None = decoder.delayed()
            elif stamp(packet) < key_pts:
                # Shown before the keyframe and decoded after it: see `_until_damage`.
                frames = (decoder.decode(packet) or []) if decoder.is_referred_to(packet) else []
            else:
                expected[stamp(packet)] = n
                n += 1
                frames = decoder.decode(packet)
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
            # Done once everything decoded before the newest frame of the range has come out, undamaged.
            oldest = next(iter(expected.values()), n)
            if start == stop and oldest > newest:
                return True
            if n - oldest > LATEST_PACKETS:
                return False
        return False

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the luma of the frames `[start, stop)`, as stored. (frame, y, x)

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
        """Yield every number of a range, with None for the frames that are not sound."""
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
        """Yield the exact frames of a range, and possibly some after it."""
        last_pts = self._pts[stop - 1]
        is_closed = self.index.key_is_closed
        key = self._key_before(start)
        doubted: set[int] = set()
        while key < len(self._key_pts) and self._key_pts[key] <= last_pts:
            damaged_pts, start = yield from self._until_damage(key, start)
            if damaged_pts is None:
                return
            self._decoder.discard()
            following = bisect_right(self._key_pts, damaged_pts)
            if following == key + 1 and not is_closed[key] and key not in doubted:
                # Pictures after an open keyframe may refer to earlier ones, which a new decoder lacks, so its errors
                # may concern sound packets. Try once more from the last closed keyframe before it.
                doubted.add(key)
                key = int(np.flatnonzero(is_closed[:key])[-1])
            else:
                key = following

    def _until_damage(self, key: int, start: int) -> Generator[tuple[int, av.VideoFrame], None, tuple[int | None, int]]:
        """Yield frames from a number on, decoding from a keyframe on; return the damaged time and the next number.

        The time is the presentation time of the first damaged packet, ticks, or None at the end of the video.
        """
        pts, key_pts, decoder = self._pts, self._key_pts[key], self._decoder
        buffer = FrameBuffer(in_order=not decoder.has_times)
        for packet in decoder.packets_from(key):
            packet_pts = stamp(packet)
            if packet_pts < key_pts:
                # It depends on pictures before the keyframe, so its errors mean nothing. It is decoded only where later
                # pictures refer to it, which are counted among those that the decoder holds.
                frames = (decoder.decode(packet) or []) if decoder.is_referred_to(packet) else []
            else:
                buffer.expect(packet_pts)
                decoded = decoder.decode(packet)
                if decoded is None:
                    buffer.reject(packet_pts)
                    break
                frames = decoded
            for frame in frames:
                buffer.add(frame)
            if buffer.is_damaged:
                break
            for shown, frame in buffer.released():
                if shown != pts[start]:
                    number = bisect_left(pts, shown)
                    if number < start or number == len(pts) or pts[number] != shown:
                        continue
                    start = number
                yield start, frame
                start += 1
                if start == len(pts):
                    return None, start
        if buffer.is_damaged and not decoder.has_times:
            # Without times in the container, a damaged packet leaves open when the picture before it is shown.
            buffer.abandon()
        else:
            for frame in decoder.delayed():
                buffer.add(frame)
            buffer.finish()
        for shown, frame in buffer.released():
            number = bisect_left(pts, shown)
            if start <= number < len(pts) and pts[number] == shown:
                yield number, frame
                start = number + 1
        return buffer.damaged_pts, start

    def _key_before(self, frame: int) -> int:
        """Return the number of the keyframe to decode from; the first one if the file begins with empty places."""
        return max(0, bisect_right(self._key_pts, self._pts[frame]) - 1)
