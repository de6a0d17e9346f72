"""Changes of the camera's pin and of the sync line that is wired to it, and the match of the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.nidq import Fronts
    from ibl_dask.timing.clocks.pulses import Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


PIN = 3
"""Column of pin states for the pin that carries the sync line: pin 4."""


@dataclass(frozen=True, slots=True, eq=False)
class PinMatch:
    """Match of pin changes and sync changes: pulse of frame 0, and the evidence for it."""

    start: int = 0
    """Pulse of the first frame; negative where the camera started before the pulses were recorded."""
    n_matched: int = 0
    """Changes seen on both sides."""
    n_pin_edges: int = 0
    """Changes of the pin."""
    n_ttl_edges: int = 0
    """Changes of the sync line."""
    n_exact: int = 0
    """Matches on the very frame; the others are off by one."""
    frames: IntArray | None = None
    """Frames that first show a matched change (match,)."""
    ttl_times_s: FloatArray | None = None
    """Times of the same changes on the main clock, s (match,)."""
    residuals_s: FloatArray | None = None
    """Change minus time of its frame, s, in (delay - period, delay] where all is right (match,)."""
    delay_periods: float = 0.0
    """Delay between the start of an exposure and the reading of the pin, periods."""
    confidence: float = 0.0
    """Lead of this start over the next best in votes, 0 (none) to 1 (nothing else matches at all)."""
    reason: str = ""
    """Reason why the pins cannot be used; empty where they can."""
    unsure: str = ""
    """Reason why another start is possible for all frames; empty where it is sure."""
    stretch: str = ""
    """Stretch of frames that fits another start better, as a reason; empty where none does."""
    end: str = ""
    """End at which a sound fits another start, as a reason: where a clock may lose samples, all beyond may fit it."""

    @property
    def doubt(self) -> str:
        """Return the reason why another start is possible, though this one fits best; empty where it is sure."""
        return "; ".join(filter(None, (self.unsure, self.stretch)))

    @property
    def usable(self) -> bool:
        """Return whether `start` can be relied on."""
        return not self.reason


def pin_edges(pins: NDArray[np.bool_], pin: int = PIN) -> tuple[IntArray, NDArray[np.int8]]:
    """Return the frames that first show a new state of a pin, and its direction, up (+1) or down (-1). (change,)

    A pin already up on frame 0 has not been seen to change.
    """
    state = pins[:, pin].astype(np.int8)
    step = np.diff(state)
    frames = np.flatnonzero(step)
    return frames.astype(np.int64) + 1, step[frames].astype(np.int8)


def visible_changes(pulses: Pulses, line: Fronts, delay: float) -> tuple[IntArray, NDArray[np.int8], FloatArray]:
    """Return the changes of a line that a camera can see.

    Of several changes between two readings of the pin only the sum is seen: a pulse that is over before the next frame
    leaves nothing, and two pulses 3 ms apart (the go cue of some sound cards) are one.

    Parameters
    ----------
    pulses : Pulses
        Pulses on the main clock.
    line : Fronts
        Fronts of the line in order of time.
    delay : float
        Delay of the reading after each pulse, periods.

    Returns
    -------
    tuple of ndarray
        Pulse that first shows each change; direction, +1 or -1; time of the change, s (change,).
    """
    times, ups = line.times_s, line.polarities
    numbers = pulses.number_at(times - delay * pulses.period_s)
    first = np.flatnonzero(np.concatenate(([True], np.diff(numbers) > 0)))
    last = np.append(first[1:], numbers.size) - 1
    # Directions alternate: of an odd number, first and last have one direction, that of the sum; an even one cancels.
    first = first[ups[first] == ups[last]]
    return numbers[first], ups[first], times[first]
