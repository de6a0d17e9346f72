"""Frames by number, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np

from ibl_dask.errors import DecodeFailed, UnreadableVideo, UsageError
from ibl_dask.video.index import index_video, open_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from ibl_dask.video.index import FrameIndex

_LUMA_FIRST = (
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuvj422p",
    "yuv444p",
    "yuvj444p",
    "nv12",
    "nv21",
    "gray",
    "yuv440p",
)
"""Pixel formats whose first plane is 8-bit luma."""


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the luma plane of a frame as stored, without a copy where the format allows. (y, x)"""
    if frame.format.name not in _LUMA_FIRST:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]  # PyAV planes have a buffer, their stubs do not say so
    return rows[: frame.height, : frame.width]  # type: ignore[no-any-return]  # follows from the line above


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
    UnreadableVideo
        If the file is not the one that was indexed.
    """

    def __init__(self, path: Path, index: FrameIndex | None = None) -> None:
        self.path = path
        self.index = index_video(path) if index is None else index
        size = path.stat().st_size
        if size != self.index.size_bytes:
            raise UnreadableVideo(
                "this video changed since it was indexed",
                where=str(path),
                expected=f"{self.index.size_bytes:,} bytes",
                got=f"{size:,} bytes",
                do="wait until the copy has finished, then run again: the index is made anew",
            )
        self._container = open_video(path)
        self._stream = self._container.streams.video[0]
        self._prime()

    def _prime(self) -> None:
        """Show the decoder the first packet of the file before it starts anywhere else.

        Encoders write their name and build into the first packet only, and decoders work around the bugs of some:
        FFmpeg decodes 4:4:4 H.264 of x264 before build 151 to other pixels when it has not seen that packet.
        """
        for packet in self._container.demux(self._stream):
            if packet.size:
                try:
                    self._stream.codec_context.decode(packet)
                except av.error.FFmpegError:
                    # A damaged first packet is reported when its own frame is asked for.
                    return
                return

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

        The frame is None where the decoder does not give it, or says that it is damaged.

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
        pts = self.index.pts
        expected = start
        for frame in self._decode_from(int(pts[start])):
            if frame.pts is None or frame.pts < pts[expected]:
                continue
            number = int(np.searchsorted(pts, frame.pts))
            if number >= len(pts) or pts[number] != frame.pts:
                continue
            while expected < min(number, stop):
                yield expected, None
                expected += 1
            if expected == stop:
                return
            yield number, None if frame.is_corrupt else frame
            expected = number + 1
            if expected == stop:
                return
        while expected < stop:
            yield expected, None
            expected += 1

    def _decode_from(self, pts: int) -> Iterator[av.VideoFrame]:
        """Yield frames from the last keyframe shown at or before a time, in presentation order."""
        key = int(np.searchsorted(self.index.key_pts, pts, side="right")) - 1
        target = int(self.index.key_dts[key])
        self._container.seek(target, stream=self._stream, backward=True, any_frame=False)
        begun = False
        for packet in self._container.demux(self._stream):
            stamp = packet.dts if packet.dts is not None else packet.pts
            if not begun and packet.size:
                # A demuxer may land earlier than asked for; frames between belong to other chunks.
                if stamp is None or stamp < target:
                    continue
                if stamp > target or not packet.is_keyframe:
                    raise UnreadableVideo(
                        "the container cannot seek to a keyframe that its own index lists",
                        where=str(self.path),
                        expected=f"a keyframe with decode time {target}",
                        got=f"a packet with decode time {stamp}",
                        do="convert the file to MP4 with ffmpeg -c copy, and run again",
                    )
                begun = True
            try:
                yield from self._stream.codec_context.decode(packet if packet.size else None)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                # The frame of this packet is missing from the run, and is reported as such.
                continue
