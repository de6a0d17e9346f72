"""Buffer between the decoder and the caller: frames wait until everything they may depend on is known to be sound."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

LATEST_PACKETS = 34
"""Packets after which a frame that has not come out of the decoder never will: 16 may wait for decoding and 16 for
display."""


class FrameBuffer:
    """Decoded frames in presentation order, each released once all frames decoded before it have come out.

    A frame may be shown before one that was decoded earlier, and the decoder marks a frame as damaged only when that
    frame is shown. A frame that is released too early may depend on damage that is not reported yet.

    Parameters
    ----------
    in_order : bool
        Treat frames that come out in another order than that of their presentation times as damaged. For containers
        without presentation times, whose times are the order that the index expects.
    """

    def __init__(self, in_order: bool) -> None:
        self._in_order = in_order
        self._latest: int | None = None
        self._expected: dict[int, int] = {}
        """Presentation time -> position in decode order, of each frame that has not come out; oldest first."""
        self._held: list[tuple[int, int, av.VideoFrame]] = []
        """Presentation time, position in decode order and frame, of those that wait; in presentation order."""
        self._n = 0
        self._end: int | None = None
        """Position of the first damaged packet."""
        self.damaged_pts: int | None = None
        """Presentation time of the first damaged packet, in decode order."""

    @property
    def is_damaged(self) -> bool:
        """Return whether a damaged packet or frame was found."""
        return self._end is not None

    def expect(self, pts: int) -> None:
        """Register the frame of a packet that goes into the decoder."""
        self._expected[pts] = self._n
        self._n += 1

    def reject(self, pts: int) -> None:
        """Mark the packet of an expected frame as damaged."""
        self._mark_damaged(pts, self._expected.pop(pts))

    def _mark_damaged(self, pts: int, position: int) -> None:
        if self._end is None or position < self._end:
            self._end, self.damaged_pts = position, pts

    def add(self, frame: av.VideoFrame) -> None:
        """Add a frame that came out of the decoder."""
        pts = frame.pts
        position = self._expected.pop(pts, None)  # type: ignore[arg-type]  # None is no key
        if position is None or pts is None:
            return
        is_late = self._in_order and self._latest is not None and pts < self._latest
        self._latest = pts
        if frame.is_corrupt or is_late:
            self._mark_damaged(pts, position)
        else:
            insort(self._held, (pts, position, frame))
        if self._expected:
            oldest = next(iter(self._expected))
            if self._n - self._expected[oldest] > LATEST_PACKETS:
                self._mark_damaged(oldest, self._expected[oldest])

    def finish(self) -> None:
        """End the input: frames that are still expected count as damaged."""
        for pts, position in self._expected.items():
            self._mark_damaged(pts, position)
        self.abandon()

    def abandon(self) -> None:
        """Stop expecting frames, and drop those decoded after the oldest expected one or after the damage."""
        end = min(self._expected.values(), default=self._n)
        end = end if self._end is None else min(end, self._end)
        self._held = [each for each in self._held if each[1] < end]
        self._expected.clear()

    def released(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield presentation time and frame of those that need not wait any longer."""
        held, expected = self._held, self._expected
        while held:
            pts, position, frame = held[0]
            if expected and (position > next(iter(expected.values())) or pts > min(expected)):
                return
            del held[0]
            yield pts, frame
