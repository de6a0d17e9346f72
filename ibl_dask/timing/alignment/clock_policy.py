"""Policies of the main clocks: frames that may lie outside the pulses, and gaps between these."""

from __future__ import annotations

from dataclasses import dataclass

from ibl_dask.timing.tolerance import TOLERATED_S

MOST_LOST_S = 2.5
"""Longest loss of samples that is searched for, s."""


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """Assumptions about the pulses of a camera that hold for one kind of main clock."""

    outside_s: float = TOLERATED_S
    """Frames that may lie before the first and after the last pulse together, s; 0.5 % of the frames where that is
    more (`timing.tolerance`)."""
    gaps_are_filled: bool = False
    """True where the pulses already hold one entry per exposure: none is a glitch, and no gap is left between them."""
    do: str = (
        "check that sync and video are of the same recording and complete, and that the camera's channel in the rig's "
        "wiring.json is right"
    )
    """Next step for the user where more frames lie outside; last part of the error message."""


DAQ = ClockPolicy()
"""A DAQ records from before the camera starts until after it stops, or nearly so."""

CAMLOG = ClockPolicy(
    do="check that sync, video and camlog are of the same recording and complete, and that the camera's channel in the "
    "rig's wiring.json is right",
)
"""A DAQ beside a camera of labcams: the tolerance of a DAQ."""

BPOD = ClockPolicy(
    outside_s=60.0,
    gaps_are_filled=True,
    do="see whether the Bpod stopped long before the camera, or other trials follow in another folder: each protocol "
    "has a Bpod clock of its own, and the camera is timed by one (--collection; `collection` in Python); where the "
    "camera was just left running, allow for it (--longest-extrapolation; `longest_extrapolation_s` in Python) or cut "
    "the video",
)
"""One minute of frames may lie outside the trials.

The Bpod always stops before the camera, and often starts after it: the experimenter answers the questions of the task
before the camera stops. The reference extrapolates any number of frames. Here extrapolation ends at 60 s (0.5 % of the
frames where that is more), for two reasons. A camera runs free on a quartz; its period over the last 200 pulses, noted
in steps of 100 us, is known to about 3e-5, so that after 60 s a time is off by some 2 ms, far less than a frame. And
beyond a minute a Bpod that died, or a video of more than these trials, is likelier than a slow experimenter; times
would then be invented for a part of the video that cannot be checked."""
