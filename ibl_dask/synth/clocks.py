"""Clocks of a rig: true times of events, and their readings on each device.

Truth is time on the DAQ's clock, seconds. Everything else is a measurement of it, with the resolution, the drift and
the arbitrary origin of the device that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DAQ_RATE_HZ = 30003.0003
"""Sampling rate of the DAQ."""

TICKS_PER_S = 10_000_000
"""Ticks of the acquisition PC's clock, 100 ns each, since 0001-01-01 UTC."""

PIN_4 = 1 << 28
"""Bit of the GPIO word that carries pin 4."""

_CYCLES_PER_S = 8000
_OFFSETS_PER_CYCLE = 3072
_TIMER_WRAP_S = 128
_UNIX_EPOCH_TICKS = 621_355_968_000_000_000


@dataclass(frozen=True, slots=True)
class CameraClock:
    """Clock of a free-running camera."""

    fps: float
    """Nominal frame rate, Hz."""
    start_s: float
    """Time of the first exposure, DAQ clock."""
    drift_ppm: float = 0.0
    """Excess of the period over its nominal value, parts per million."""
    jitter_s: float = 20e-6
    """Standard deviation of an exposure about its due time; it does not add up."""

    def exposure_times(self, count: int, rng: np.random.Generator) -> Floats:
        """Return the times of the first exposures, strictly increasing."""
        period = (1 + self.drift_ppm * 1e-6) / self.fps
        jitter = np.clip(rng.normal(0, self.jitter_s, count), -0.3 * period, 0.3 * period)
        return self.start_s + period * np.arange(count) + jitter


@dataclass(frozen=True, slots=True)
class CameraTimer:
    """The cycle timer inside a camera (IEEE 1394): steps of 125 us, a turn of 128 s, its own drift."""

    phase_s: float
    """Reading at DAQ time zero, 0 to 128 s."""
    drift_ppm: float = 0.0
    """Excess of its rate over that of the DAQ clock, parts per million."""

    def read(self, times_s: Floats) -> NDArray[np.uint32]:
        """Return the words written at some times: seconds in bits 31-25, cycles in 24-12, offset in 11-0."""
        shown = (self.phase_s + times_s * (1 + self.drift_ppm * 1e-6)) % _TIMER_WRAP_S
        offsets = np.floor(shown * (_CYCLES_PER_S * _OFFSETS_PER_CYCLE)).astype(np.int64)
        cycles, offset = np.divmod(offsets, _OFFSETS_PER_CYCLE)
        seconds, cycle = np.divmod(cycles, _CYCLES_PER_S)
        return ((seconds % _TIMER_WRAP_S) << 25 | cycle << 12 | offset).astype(np.uint32)


def unwrap_timer(words: NDArray[np.uint32]) -> Floats:
    """Return seconds since the first word, at 125 us; each step back is a turn of 128 s."""
    words = words.astype(np.int64)
    shown = (words >> 25) + ((words >> 12) & 0x1FFF) / _CYCLES_PER_S
    turns = np.concatenate([[0], np.cumsum(np.diff(shown) < 0)])[: words.size]
    unwrapped: Floats = shown + _TIMER_WRAP_S * turns
    return unwrapped - unwrapped[0] if words.size else unwrapped


def pc_ticks(times_s: Floats, zero: datetime, drift_ppm: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return arrival times of frames on the acquisition PC: late by a few ms, sometimes by more, in order.

    Parameters
    ----------
    times_s
        True times of the frames.
    zero
        Time of day at DAQ time zero; carries its UTC offset.
    drift_ppm
        Excess of the rate of the PC's clock, parts per million.
    rng
        Chooses the delays.

    Returns
    -------
    ticks
        .NET ticks, UTC.
    """
    delays_s = 2e-3 + rng.exponential(0.4e-3, times_s.size) + 8e-3 * (rng.random(times_s.size) < 0.002)
    seen_s = np.maximum.accumulate(times_s + delays_s) * (1 + drift_ppm * 1e-6)
    origin = round(zero.timestamp() * 1000) * (TICKS_PER_S // 1000) + _UNIX_EPOCH_TICKS
    ticks: NDArray[np.int64] = origin + np.rint(seen_s * TICKS_PER_S).astype(np.int64)
    return ticks


def iso_wall_clock(ticks: int, utc_offset_h: int) -> str:
    """Return a time as Bonsai writes it: ISO 8601, seven decimals, UTC offset.

    >>> iso_wall_clock(637334521777903616, -4)
    '2020-08-19T12:42:57.7903616-04:00'
    """
    whole, rest = divmod(ticks - _UNIX_EPOCH_TICKS + utc_offset_h * 3600 * TICKS_PER_S, TICKS_PER_S)
    local = np.datetime_as_string(np.datetime64(whole, "s"))
    sign = "-" if utc_offset_h < 0 else "+"
    return f"{local}.{rest:07d}{sign}{abs(utc_offset_h):02d}:00"


def sample_on_daq(times_s: Floats, rate_hz: float = DAQ_RATE_HZ) -> Floats:
    """Return the times of the samples at which the DAQ sees some edges: the next one, at most one period later."""
    return np.ceil(times_s * rate_hz) / rate_hz


def pin_words(frame_times_s: Floats, edge_times_s: Floats) -> NDArray[np.uint32]:
    """Return the GPIO word of each frame: pin 4 as it is at exposure, low before the first edge."""
    passed = np.searchsorted(edge_times_s, frame_times_s, side="right")
    return np.where(passed % 2 == 1, PIN_4, 0).astype(np.uint32)
