"""Moments of a clip, and the frame of each camera that each of them shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Times = NDArray[np.float64]
    """Frame times on the main clock, s. (frame,)"""

MOST_FRAMES = 216_000
"""Frames of the longest clip: an hour at 60 Hz."""
_HIGHEST_RATE_HZ = 60
"""Rate of the clip at most, Hz: that of most screens."""
_NO_FRAME = -1


@dataclass(frozen=True, slots=True)
class Window:
    """Piece of a session around an event, and the speed at which it is played."""

    event_s: float
    """Time of the event on the main clock, s."""
    before_s: float
    """Time shown before it, s."""
    after_s: float
    """Time shown after it, s."""
    speed: float = 1.0
    """Speed: 0.25 shows one second in four."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {value:g}"
            for name, value, is_right in (
                ("--at", self.event_s, True),
                ("--before", self.before_s, self.before_s >= 0),
                ("--after", self.after_s, self.after_s >= 0),
                ("--speed", self.speed, self.speed > 0),
            )
            if not (math.isfinite(value) and is_right)
        ]
        if wrong:
            raise UsageError(
                "this is no piece of a session",
                expected="a time in s, 0 s or more before and after it, and a speed above 0",
                got=", ".join(wrong),
                do="write for instance --at 1234.5 --before 1 --after 2 --speed 0.25",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Times on the main clock that the frames of a clip stand for."""

    times_s: Times
    """Main clock, s; one of them is exactly that of the event. (clip frame,)"""
    rate: Fraction
    """Frames per second at which the clip is played."""


def moments(window: Window, rate: Fraction) -> Moments:
    """Return the moments of a clip.

    They are counted from the event, so that no rounding shows the frame before the one of the event. Their distance is
    speed / rate; as many as fit best lie before and after the event.

    Parameters
    ----------
    window : Window
        The piece of the session.
    rate : Fraction
        Frames per second of the clip.

    Raises
    ------
    UsageError
        If the clip would have more than `MOST_FRAMES` frames.

    Examples
    --------
    >>> moments(Window(10, 0.1, 0.2), Fraction(10)).times_s.tolist()
    [9.9, 10.0, 10.1, 10.2]
    """
    per_second = float(rate) / window.speed
    if (window.before_s + window.after_s) * per_second > MOST_FRAMES:
        raise UsageError(
            "this clip would be too long",
            expected=f"at most {MOST_FRAMES:,} frames",
            got=f"{(window.before_s + window.after_s) * per_second:,.0f} frames",
            do="show less before and after the event, or play it faster",
        )
    steps = np.arange(-round(window.before_s * per_second), round(window.after_s * per_second) + 1)
    return Moments(np.asarray(window.event_s + steps * window.speed / float(rate), np.float64), rate)


def clip_rate(cameras: Sequence[Times], speed: float) -> Fraction:
    """Return the rate of a clip: that of the fastest camera as it is played, to half a frame per second, from 1 to 60.

    Parameters
    ----------
    cameras : sequence of (frame,) float
        Frame times of each camera, s.
    speed : float
        Speed of the clip.

    Examples
    --------
    >>> times = [np.arange(100) / rate for rate in (60, 150)]
    >>> clip_rate(times, 0.25), clip_rate(times, 1)
    (Fraction(75, 2), Fraction(60, 1))
    """
    intervals_s = [float(np.median(np.diff(times_s))) for times_s in cameras if times_s.size > 1]
    shortest_s = min((each for each in intervals_s if each > 0), default=1 / 30)
    return Fraction(max(2, min(2 * _HIGHEST_RATE_HZ, round(2 * speed / shortest_s))), 2)


def shown_frames(times_s: Times, moments_s: Times) -> NDArray[np.int64]:
    """Return the number of the frame that each moment shows: the last one at or before it; -1 before the first.

    Parameters
    ----------
    times_s : (frame,) float
        Frame times, s, not decreasing.
    moments_s : (clip frame,) float
        Moments, s.

    Examples
    --------
    >>> shown_frames(np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.0, 2.9, 9.0])).tolist()
    [-1, 1, 1, 2]
    """
    return np.asarray(np.searchsorted(times_s, moments_s, side="right") + _NO_FRAME, np.int64)


def require_within(event_s: float, cameras: Sequence[Times], where: str) -> None:
    """Require an event to lie within the frame times of one camera at least.

    Raises
    ------
    UsageError
        If it does not.
    """
    spans = [(float(times_s[0]), float(times_s[-1])) for times_s in cameras if times_s.size]
    if not any(first <= event_s <= last for first, last in spans):
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        raise UsageError(
            "no camera recorded at this time",
            where=where,
            expected=f"a time on the main clock between {first:.4f} and {last:.4f} s",
            got=f"{event_s:.4f} s",
            do="give --at in seconds on the main clock, as the trials and the frame times have it",
        )
