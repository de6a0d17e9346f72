"""Offset between video and wheel: motion energy of the wheel's region against the speed of the wheel.

Over a whole session, windows slide along the exposures. In each, motion energy is compared with the speed at every
shift in a range, all shifts over as many exposures; the steps from window to window that explain most of it are the
result, with a confidence. Shifts are in exposures (frames, where the camera lost none), positive where the video is
late: a frame shows the wheel as it was that many exposures before the frame's time.

The reference's short alignment, of one bout of movement, is in `wheel.bout`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.wheel.traces import Traces, energy_per_exposure
from ibl_dask.timing.wheel.window_shifts import (
    CORRELATION_S,
    best_steps,
    covered_exposures,
    mean_along_steps,
    peak_confidence,
    peak_offset,
    shift_evidence,
    sliding_windows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.pulses import Pulses
    from ibl_dask.timing.wheel.motion import Motion

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


CONFIDENT = 0.4
"""Confidence from which a session's shift counts; see `Alignment.confidence`."""
PEAK, PEAK_OF_SHORT = 0.35, 3.3
"""Correlation from which a session's shift counts: the first, and the second over the root of the compared seconds.

Of 60 made-up recordings each, whose energies have nothing to do with the wheel, the highest peak was 0.59 in 20 s, 0.51
in 30 s, 0.40 in 60 s and 0.31 in 180 s: a few turns fit anywhere. Where they have, the lowest was over 0.7, and 0.41
after two minutes with three times the noise and a hand in a third of the frames."""
AGREEING = 0.6
"""Share of windows that must find the shift by themselves for it to count."""
_GUARD_S = 0.5
"""Least distance of a rival shift from the best, s: nearer ones share its movement."""
_KNOWN = 0.5
"""Share of the motion energies of a window that must be known."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Offset between video and wheel over a session, with its confidence."""

    times_s: Floats
    """Middle of each window in which the wheel turned, s on the main clock (window,)."""
    shifts: Floats
    """Shift of each window by itself, exposures, to a fraction of one (window,)."""
    confidences: Floats
    """Confidence of the peak of each window, 0 to 1; see `confidence` (window,)."""
    steps: Ints
    """Shift at each window that explains all of them best with few changes, whole exposures (window,)."""
    changes: tuple[int, ...]
    """Exposure from which on each further shift holds, in order; none where it is the same throughout."""
    shift_frames: float
    """Shift of the session, exposures, to a fraction of one: the median of `steps`, and the distance of the
    peak from it; NaN without windows."""
    shift_s: float
    """The same, s."""
    peak: float
    """Correlation at `steps`, all windows together, -1 to 1."""
    confidence: float
    """Height of that peak above the rest, 0 to 1: 1 - (highest correlation elsewhere) / peak.

    Elsewhere is at least half a second away, and up to 8 s: also where no shift is searched. If energy is unrelated to
    the wheel, the best of the searched shifts is seldom above all others, and the confidence mostly zero, in one
    made-up session of ten above 0.3 or 0.4, but then under half of the windows agree. If it is related, the rest
    cancels over the windows: 0.4 to 0.7 after 20 s, over 0.8 after three minutes, over 0.6 with a hand in a fifth of
    the frames. So 0.4 is required, and that 60 % of the windows agree."""
    agreeing: float
    """Share of windows whose own shift is within a tenth of a second of `steps`: the same peak, 0 to 1."""
    looked_at_s: float
    """Time in the windows that count, s."""
    n_windows: int
    """Windows of the session."""
    n_still: int
    """Windows left out since the wheel stood."""
    n_unknown: int
    """Windows left out since too few of their frames decode."""

    @property
    def is_confident(self) -> bool:
        """Return whether frames may be moved by the shift."""
        return self.confidence >= CONFIDENT and self.agreeing >= AGREEING and self.peak >= self.needed_peak

    @property
    def needed_peak(self) -> float:
        """Return the correlation required for recordings of this length."""
        return float(max(PEAK, PEAK_OF_SHORT / np.sqrt(self.looked_at_s))) if self.looked_at_s else 1.0

    @property
    def why_not(self) -> str:
        """Return the reason why the shift is not confident; empty where it is."""
        if self.is_confident:
            return ""
        if not self.steps.size:
            return _no_windows(self.n_still, self.n_unknown)
        return (
            f"motion energy and wheel do not tell a shift: confidence {self.confidence:.2f} of {CONFIDENT:g} needed, "
            f"{self.agreeing:.0%} of {self.steps.size:,} windows agree, correlation {self.peak:.2f} of "
            f"{self.needed_peak:.2f} needed"
        )


def _no_windows(n_still: int, n_unknown: int) -> str:
    still = f"the wheel stood in {n_still:,} windows"
    return still + (f", and in {n_unknown:,} too few frames decode" if n_unknown else "")


def align(
    energy: NDArray[np.floating],
    pulses: Pulses,
    numbers: Ints,
    motion: Motion,
    late: int = 0,
    early: int = 0,
) -> Alignment:
    """Compare motion energy with the wheel over a whole session.

    Parameters
    ----------
    energy : ndarray of float
        Motion energy of the wheel's region; the value at frame i compares it with frame i + 2. NaN where one of them
        did not decode (frame,).
    pulses : Pulses
        Exposures on the main clock.
    numbers : ndarray of int
        Exposure that each frame is assumed to show, increasing; negative, or beyond the last, where it left no pulse
        (frame,).
    motion : Motion
        Velocity of the wheel.
    late, early : int
        Exposures by which the video may be late, or early, beyond the usual range: surplus, or missing,
        pulses at the other end than the one at which frames were assigned.

    Notes
    -----
    Other movement in the region (a paw, a hand) makes energies far above the wheel's, for whole runs of frames.
    Three things keep them from deciding. Energies count by rank within their window, so that none weighs more than its
    place in the order, however large; a run of them is a plateau, which the high pass reduces to its two edges; and the
    remainder is added up over windows, in which a hand is each time elsewhere relative to the wheel.
    Ranks also do away with brightness, contrast and the shape of the relation between speed and energy.
    """
    period = pulses.period_s
    first = int(numbers[0])
    traces = Traces.make(energy_per_exposure(energy, numbers - first), first, pulses, motion, late, early)
    windows, every = sliding_windows(traces.energy.size, period)
    moves = np.array([traces.moves(window) for window in windows])
    known = np.array([np.mean(np.isfinite(traces.energy[start:stop])) >= _KNOWN for start, stop in windows])
    kept = [window for window, use in zip(windows, moves & known, strict=True) if use]
    rows = np.array([traces.correlations(window) for window in kept], np.float32).reshape(len(kept), traces.lags.size)
    places = best_steps(shift_evidence(rows[:, traces.searched], every * period)) + traces.searched.start
    guard = max(1, round(_GUARD_S / period))
    own = traces.searched.start + np.argmax(rows[:, traces.searched], axis=1)
    shifts = np.array([traces.lags[at] - peak_offset(row, at) for row, at in zip(rows, own, strict=True)])
    shift, peak, confidence, agreeing = float("nan"), 0.0, 0.0, 0.0
    if kept:
        mean, centre = mean_along_steps(rows, places)
        near = centre + int(np.argmax(mean[centre - 1 : centre + 2])) - 1
        shift = float(np.median(traces.lags[places])) - (near - centre) - peak_offset(mean, near)
        peak, confidence = float(mean[near]), peak_confidence(mean, near, guard)
        agreeing = float(np.mean(np.abs(shifts - traces.lags[places]) <= max(1.5, CORRELATION_S / period)))
    middles = np.array([(start + stop) // 2 for start, stop in kept], np.int64)
    return Alignment(
        times_s=pulses.at(first + middles),
        shifts=shifts,
        confidences=np.array([peak_confidence(row, at, guard) for row, at in zip(rows, own, strict=True)]),
        steps=traces.lags[places],
        changes=tuple(first + change for change in traces.changes(kept, places)),
        shift_frames=shift,
        shift_s=shift * period,
        peak=peak,
        confidence=confidence,
        agreeing=agreeing,
        looked_at_s=float(covered_exposures(kept) * period),
        n_windows=len(windows),
        n_still=int(np.count_nonzero(~moves)),
        n_unknown=int(np.count_nonzero(moves & ~known)),
    )


def corrected_numbers(numbers: Ints, alignment: Alignment) -> Ints | None:
    """Return the exposure of each frame by the wheel; None where no loss of frames explains the shift. (frame,)

    The shift may fall in the course of a session, where the camera lost frames that it did not count. Were it to rise,
    two frames would share an exposure.
    """
    levels = [int(alignment.steps[0])]
    levels += [int(step) for before, step in zip(alignment.steps, alignment.steps[1:], strict=False) if step != before]
    which = np.searchsorted(np.array(alignment.changes, np.int64), numbers, side="right")
    corrected = numbers - np.array(levels, np.int64)[which]
    return corrected if bool((np.diff(corrected) > 0).all()) else None
