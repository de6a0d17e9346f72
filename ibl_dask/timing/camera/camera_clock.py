"""Clock of a camera: a 32-bit register that starts again every 128 s, and the wall clock beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


CYCLE_S = 128.0
"""Cycle of the camera clock, s: it starts again at zero."""
_CYCLES_PER_S = 8000
"""Ticks of the clock in a second, 125 us each (the cycles of the IEEE 1394 bus)."""
_CLOCKS_AGREE_S, _CLOCKS_DRIFT = 2.0, 2e-4
"""Largest delay of the computer's note of a frame, s, and largest drift of its clock against the camera's, s per s."""


def camera_clocks(wall_ns: NDArray[np.int64], register: IntArray, notes: list[str]) -> tuple[FloatArray, FloatArray]:
    """Return wall clock and camera clock, both in s since the first frame.

    Parameters
    ----------
    wall_ns : ndarray of int
        Wall clock, ns of UTC (frame,).
    register : ndarray of int
        Camera clock as written, 32 bits (frame,).
    notes : list of str
        Remarks are added to it.
    """
    pc_time_s = (wall_ns - wall_ns[0]) / 1e9
    return pc_time_s, unwrap_cycles(cycle_seconds(register), pc_time_s, notes)


def cycle_seconds(register: IntArray) -> FloatArray:
    """Convert the 32-bit register to s: 7 bits of seconds, 13 bits of 125 us ticks, 12 bits not used."""
    return (register >> 25) + ((register >> 12) & 0x1FFF) / _CYCLES_PER_S


def unwrap_cycles(time_s: FloatArray, pc_time_s: FloatArray | None, notes: list[str]) -> FloatArray:
    """Undo the 128 s cycle and start at zero.

    A wrap is a fall of more than half a cycle, so that frames a little out of order stay where they are. Over a pause
    of more than half a cycle falls no longer count the cycles; there the wall clock does, unless its interval is no
    whole number of cycles beyond the camera's, to within 2 s and the drift: then it was set, and is not used.

    Parameters
    ----------
    time_s : ndarray of float
        Camera clock within its cycle, s (frame,).
    pc_time_s : ndarray of float or None
        Wall clock, s (frame,).
    notes : list of str
        Remarks on pauses and leaps are added to it.

    Returns
    -------
    ndarray of float
        Camera clock, s since the first frame (frame,).
    """
    if not time_s.size:
        return time_s
    steps = np.diff(time_s)
    wraps = (steps < -CYCLE_S / 2).astype(np.float64)
    if pc_time_s is not None:
        pc_steps = np.diff(pc_time_s)
        cycles = np.round((pc_steps - steps) / CYCLE_S)
        leaps = pc_steps - steps - CYCLE_S * cycles
        was_set = (np.abs(leaps) > _CLOCKS_AGREE_S + _CLOCKS_DRIFT * np.abs(pc_steps)) | (pc_steps < -_CLOCKS_AGREE_S)
        paused = (pc_steps > CYCLE_S / 2) & ~was_set
        wraps[paused] = np.maximum(cycles[paused], 0)
        notes.extend(
            f"no frame for {pc_steps[frame]:.1f} s of the wall clock after frame {int(frame):,}"
            for frame in np.flatnonzero(paused)[:10]
        )
        by_camera = steps + CYCLE_S * wraps
        notes.extend(
            f"the computer's clock leapt by {pc_steps[frame] - by_camera[frame]:+.1f} s after frame {int(frame):,} "
            "(it was set, or the computer was busy); frame times do not depend on it"
            for frame in np.flatnonzero(was_set)[:10]
        )
    unwrapped: FloatArray = time_s - time_s[0]
    unwrapped[1:] += CYCLE_S * np.cumsum(wraps)
    return unwrapped
