"""Motion of the wheel: its velocity at an even rate, computed as in the field.

The angle is interpolated linearly at 1 kHz, filtered by a Butterworth low pass of order 8 at 20 Hz run both ways, and
differenced.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.wheel.trace import Wheel

    Floats = NDArray[np.float64]


RATE_HZ = 1000.0
"""Rate at which the angle is interpolated, Hz: the reference's."""
CUTOFF_HZ = 20.0
"""Cut-off of the low pass, Hz: the reference's."""
FILTER_ORDER = 8
"""Order of the low pass: the reference's."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Velocity of the wheel at `RATE_HZ`."""

    start_s: float
    """Time of the first sample, s on the main clock."""
    velocity: Floats
    """rad/s (sample,)."""

    @cached_property
    def times_s(self) -> Floats:
        """Return the time of each sample, s. (sample,)"""
        return even_times(self.start_s, self.velocity.size)

    @property
    def stop_s(self) -> float:
        """Return the time of the last sample, s."""
        return self.start_s + (self.velocity.size - 1) / RATE_HZ

    @cached_property
    def acceleration(self) -> Floats:
        """Return differences of the velocity, rad/s², the first one zero. (sample,)"""
        return np.diff(self.velocity, prepend=self.velocity[0]) * RATE_HZ

    def speed_at(self, times_s: Floats) -> Floats:
        """Return the speed at some times, rad/s, never negative: zero where the wheel was not noted.

        An encoder notes changes alone: before its first and after its last the wheel stood.
        """
        return np.interp(times_s, self.times_s, np.abs(self.velocity), left=0.0, right=0.0)


def even_times(start_s: float, n: int) -> Floats:
    """Return `n` times from `start_s` on at `RATE_HZ`, s, rounded as the reference rounds them (`arange`)."""
    return start_s + np.arange(n) / RATE_HZ


def motion(wheel: Wheel) -> Motion | None:
    """Return the motion of a wheel; None where it was noted for too short a time to be filtered.

    Notes
    -----
    Interpolation, filter and differences are those of `brainbox.behavior.wheel`: `interpolate_position` and
    `velocity_filtered` at 1 kHz.
    """
    from scipy.signal import butter, sosfiltfilt

    if len(wheel) < 2:
        return None
    start, stop = float(wheel.times_s[0]), float(wheel.times_s[-1])
    n = int(np.ceil((stop - start) * RATE_HZ))
    times = even_times(start, n)
    times = times[times <= stop]
    sections = butter(FILTER_ORDER, 2 * CUTOFF_HZ / RATE_HZ, "lowpass", output="sos")
    if times.size <= 3 * (2 * len(sections) + 1):  # sosfiltfilt pads both ends by as many samples
        return None
    position = sosfiltfilt(sections, np.interp(times, wheel.times_s, wheel.position_rad))
    return Motion(start, np.diff(position, prepend=position[0]) * RATE_HZ)
