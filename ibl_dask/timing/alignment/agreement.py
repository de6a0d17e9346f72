"""Evidence of a camera's own clock about frame times, and the times that agree with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.nidq import Fronts

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Records that the times of a camera are compared with."""

    clock_s: Floats
    """The camera's clock, s (frame,)."""
    period_s: float
    """Usual time between exposures on the main clock, s."""
    pulses_s: Floats
    """All recorded pulses, before any was left out, s (pulse,)."""
    pins: Bools | None = None
    """Pin states (frame, 4); None where frames were assigned without them."""
    ttl: Fronts | None = None
    """Fronts of the line on the pin; None where none is wired."""
    delay_periods: float = 0.0
    """Delay between the start of an exposure and the reading of the pin, periods."""
    by_trials: bool = False
    """True where the pulses were noted trial by trial, on a clock that loses no samples."""


@dataclass(slots=True, eq=False)
class Agreement:
    """Frame times corrected by the camera's clock."""

    times_s: Floats
    """s on the main clock (frame,)."""
    is_measured: Bools
    """True where a time is that of a recorded pulse (frame,)."""
    is_assumed: Bools
    """True where the main clock lost an unknown number of samples (frame,)."""
    is_moved: Bools
    """True where the time was corrected (frame,)."""
    steps: list[int] = field(default_factory=list)
    """Frames before which the main clock lost samples."""
    n_confirmed: int = 0
    """Stretches between them that the sync line places."""
    n_levels: int = 1
    """Stretches between them."""
    notes: list[str] = field(default_factory=list)
    """Remarks on the corrections, for the user."""

    @property
    def why(self) -> str:
        """Return the reason why times of some frames are an assumption; empty where none are."""
        frames = np.flatnonzero(self.is_assumed)
        if not frames.size:
            return ""
        if not self.steps:
            return self.notes[-1] if self.notes else f"the clocks put {frames.size:,} frames in another order"
        if self.is_settled:
            return f"{frames.size:,} frames were exposed while samples were lost (first {int(frames[0]):,})"
        return (
            f"how many samples were lost is not known for {frames.size:,} frames (first {int(frames[0]):,}), "
            "since too few changes of the sync line come beyond"
        )

    @property
    def is_settled(self) -> bool:
        """Return whether samples were lost, and the sync line places every stretch."""
        return bool(self.steps) and self.n_confirmed == self.n_levels

    @property
    def is_whole(self) -> bool:
        """Return whether the main clock lost no samples."""
        return not self.steps
