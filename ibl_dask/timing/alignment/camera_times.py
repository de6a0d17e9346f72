"""Result of the alignment: one time per frame, with the quality of each and the evidence for all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ibl_dask.model.outcome import Outcome

if TYPE_CHECKING:
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]


class Quality(IntEnum):
    """Origin of the time of a frame; larger values are worse."""

    MEASURED = 0
    """Its pulse was recorded."""
    INTERPOLATED = 1
    """Its pulse is missing between others that were recorded."""
    EXTRAPOLATED = 2
    """Its pulse lies before the first or after the last that was recorded."""
    ASSUMED = 3
    """Its pulse is an assumption: only the numbers of frames and pulses decide, or the evidence disagrees."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraTimes:
    """Exposure times of the frames of a camera on the main clock, their quality, and the evidence for them."""

    times_s: NDArray[np.float64]
    """s on the main clock, strictly increasing (frame,)."""
    quality: NDArray[np.uint8]
    """`Quality` of each time (frame,)."""
    pulse_quality: NDArray[np.uint8]
    """`Quality` of each time if the assumption in `assumed` holds: never ASSUMED (frame,)."""
    method: Literal["pins", "intervals", "counts"]
    """Evidence for the pulse of frame 0: the sync line on the camera's pin, intervals that agree with those of the
    camera's log, or the numbers of pulses and frames."""
    start: int
    """Pulse of frame 0; negative where the camera ran before the pulses were recorded."""
    n_pulses: int
    """Pulses, inserted ones included."""
    n_inserted: int
    """Pulses that were inserted, not recorded."""
    n_surplus_start: int
    """Pulses before frame 0."""
    n_surplus_end: int
    """Pulses after the last frame."""
    n_missing_start: int
    """Frames before the first pulse."""
    n_missing_end: int
    """Frames after the last pulse."""
    n_dropped: int
    """Exposures that the camera counted but did not deliver as frames."""
    period_s: float
    """Usual time between exposures, s."""
    drift_ppm: float | None
    """Rate of the main clock relative to the camera's, minus one, parts per million; None without camera clock."""
    residual_frames: IntArray
    """Frames that first show a change of the sync line (match,)."""
    residuals_s: NDArray[np.float64]
    """Time of the change minus time of that frame, s; in (-period, 0] for correct times (match,)."""
    notes: tuple[str, ...]
    """Remarks on the times, for the user."""
    outcome_hint: Outcome
    """FAIL where the pulse of any frame is an assumption; else WARNING where a time is not measured or a file of the
    camera is damaged; else PASS."""

    outcome_if_confirmed: Outcome = Outcome.PASS
    """`outcome_hint` if another source (the wheel) confirms the assumption."""
    assumed: str = ""
    """Reason why the pulses of frames are an assumption; empty where they are not."""

    @property
    def flagged(self) -> bool:
        """Return whether any frame's time is not measured."""
        return bool(self.quality.any())
