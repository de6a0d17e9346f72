"""Assignment of frames to pulses, by the sync line on the camera's pin or by numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.agreement import Evidence
from ibl_dask.timing.alignment.camera_times import Quality
from ibl_dask.timing.alignment.candidates import best_candidate
from ibl_dask.timing.alignment.clock_comparison import compare_with_clock
from ibl_dask.timing.clocks.pulses import drop_pulses
from ibl_dask.timing.tolerance import tolerated_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.agreement import Agreement
    from ibl_dask.timing.alignment.alignment_input import AlignmentInput
    from ibl_dask.timing.alignment.exposure_index import ExposureIndex
    from ibl_dask.timing.alignment.pin_changes import PinMatch
    from ibl_dask.timing.clocks.pulses import Gap, Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Pulses, and the number of the pulse of each frame."""

    pulses: Pulses
    index: IntArray
    """Pulse of each frame; negative before the first (frame,)."""
    match: PinMatch | None
    """Match of pin and sync line; None where frames were assigned by numbers."""
    notes: tuple[str, ...] = ()
    assumed: str = ""
    """Reason why the assignment is an assumption; empty where it is none."""
    is_odd: bool = False
    """True where a repair makes the outcome WARNING."""
    agreement: Agreement | None = None
    """Times corrected by the camera's clock; None without comparison."""

    def with_doubt(self, doubt: str) -> Assignment:
        """Return this assignment as an assumption."""
        return replace(self, assumed="; ".join(filter(None, (self.assumed, doubt))), notes=(*self.notes, doubt))

    def times(self) -> FloatArray:
        """Return the time of each frame, s. (frame,)"""
        return self.pulses.at(self.index) if self.agreement is None else self.agreement.times_s

    def quality(self) -> NDArray[np.uint8]:
        """Return the `Quality` of each time if the assignment holds. (frame,)"""
        quality = np.full(self.index.size, Quality.EXTRAPOLATED, dtype=np.uint8)
        inside = (self.index >= 0) & (self.index < len(self.pulses))
        quality[inside] = np.where(self.pulses.measured[self.index[inside]], Quality.MEASURED, Quality.INTERPOLATED)
        if self.agreement is not None:
            moved = self.agreement.is_moved | ~inside
            quality[moved & self.agreement.is_measured] = Quality.MEASURED
            quality[moved & ~self.agreement.is_measured & inside] = Quality.INTERPOLATED
        return quality

    def n_outside(self) -> tuple[int, int]:
        """Return the numbers of frames before the first pulse and after the last."""
        if self.agreement is not None and self.agreement.is_moved.any():
            outside = np.flatnonzero(self.quality() == Quality.EXTRAPOLATED)
            # Those before the first pulse are frames 0, 1, 2, ...: the i-th of them is frame i.
            n_before = int(np.count_nonzero(outside == np.arange(outside.size)))
            return n_before, outside.size - n_before
        return int(np.count_nonzero(self.index < 0)), int(np.count_nonzero(self.index >= len(self.pulses)))


def assign_frames(inputs: AlignmentInput) -> Assignment:
    """Assign every frame to a pulse: by the sync line where the camera's pin shows it, else by numbers.

    A match in doubt stays, as an assumption, unless the camera's clock and the sync line together place every stretch
    of the recording. It is given up for the numbers where the best start cannot be used, or leaves more frames without
    pulse than the policy allows.
    """
    camera, ttl = inputs.camera, inputs.ttl
    if camera is None:
        return _checked_by_clock(inputs, _by_counts(inputs, "the camera left no files"))
    if camera.pins is None:
        return _checked_by_clock(inputs, _by_counts(inputs, "there are no pin states"))
    if ttl is None:
        return _checked_by_clock(inputs, _by_counts(inputs, "no sync line is wired to the pin"))
    best = best_candidate(inputs, camera.pins, ttl)
    match = best.match
    doubts = (match.unsure,) if match.unsure else ()
    assignment = _assign(inputs, best.pulses, best.exposures, match.start, match, doubts, match.unsure)
    assignment = _checked_by_clock(inputs, assignment)
    is_settled = assignment.agreement is not None and assignment.agreement.is_settled
    if best.doubt and (assignment.agreement is None or not assignment.agreement.is_whole):
        assignment = assignment.with_doubt(best.doubt)
    if not match.usable and not is_settled:
        return _checked_by_clock(inputs, _by_counts(inputs, match.reason))
    elsewhere = match.stretch or ("" if inputs.policy.gaps_are_filled else match.end)
    if elsewhere and not is_settled:
        assignment = assignment.with_doubt(elsewhere)
    n_allowed = tolerated_frames(assignment.index.size, best.pulses.period_s, inputs.policy.outside_s)
    if match.doubt and not is_settled and sum(assignment.n_outside()) > n_allowed:
        reason = f"where pins and sync line fit best there are too few pulses, and {match.doubt}"
        return _checked_by_clock(inputs, _by_counts(inputs, reason))
    return assignment


def _checked_by_clock(inputs: AlignmentInput, assignment: Assignment) -> Assignment:
    """Compare the times with the camera's clock, where it is usable, and return them as corrected by it."""
    camera = inputs.camera
    if inputs.clock is None or camera is None or camera.camera_time_s is None:
        return assignment
    evidence = Evidence(
        camera.camera_time_s,
        assignment.pulses.period_s,
        inputs.noted_s,
        camera.pins if assignment.match is not None else None,
        inputs.ttl,
        assignment.match.delay_periods if assignment.match is not None else 0.0,
        inputs.policy.gaps_are_filled,
    )
    agreement = compare_with_clock(assignment.times(), assignment.quality() == Quality.MEASURED, evidence)
    if agreement is None:
        return assignment
    notes = list(agreement.notes)
    n_taken = int(np.count_nonzero(agreement.is_moved & agreement.is_measured))
    if n_taken:
        notes.append(
            f"{n_taken:,} frames have the pulse that the camera's clock says, where another was nearer in number"
        )
    if agreement.steps:
        frames = ", ".join(f"{frame:,}" for frame in agreement.steps[:3])
        notes.append(f"the main clock lost samples before frame {frames}: it and the camera's clock step apart there")
    assumed = "; ".join(filter(None, (assignment.assumed, agreement.why)))
    if agreement.why and agreement.why not in notes:
        notes.append(agreement.why)
    is_odd = assignment.is_odd or bool(agreement.steps) or bool(agreement.notes)
    return replace(assignment, agreement=agreement, notes=(*assignment.notes, *notes), assumed=assumed, is_odd=is_odd)


def _by_counts(inputs: AlignmentInput, reason: str) -> Assignment:
    """Assign frame 0 by the numbers of pulses and frames alone: surplus pulses come before it.

    Of the two ways to number exposures, by clock and by counter, the one with the nearer number of pulses is taken.
    """
    choices = [(inputs.filled(_gaps_by_numbers(inputs)), inputs.counter)]
    if inputs.clock is not None:
        choices.insert(0, (inputs.filled(inputs.gaps), inputs.clock))
    pulses, exposures = min(choices, key=lambda choice: abs(len(choice[0]) - choice[1].n_exposures))
    surplus = len(pulses) - exposures.n_exposures
    detail = ""
    if surplus > 0:
        detail = f"; the {surplus:,} pulses in excess are assumed to come before the first frame"
    elif surplus < 0:
        detail = f"; there are {-surplus:,} pulses too few, and the first is assumed to be that of frame 0"
    note = f"frames and pulses were matched by their numbers, since {reason}{detail}"
    assumed = f"numbers of frames and pulses alone say which pulse is that of frame 0, since {reason}"
    return _assign(inputs, pulses, exposures, max(surplus, 0), None, (note,), assumed)


def _assign(
    inputs: AlignmentInput,
    pulses: Pulses,
    exposures: ExposureIndex,
    start: int,
    match: PinMatch | None,
    notes: tuple[str, ...],
    assumed: str,
) -> Assignment:
    """Assign frames to pulses with frame 0 at `start`: take out pauses, and note inserted pulses and open gaps."""
    n_open = 0
    pulses, index, n_pauses = _without_pauses(pulses, start + exposures.numbers, exposures.pauses)
    pulses, index = _unfilled_outside(pulses, index, inputs.pulses)
    if exposures.pauses is None:
        n_open = n_pauses = _n_open_gaps(inputs, pulses, index)
    n_inserted = pulses.n_inserted - inputs.pulses.n_inserted
    if n_inserted > 0:
        notes = (*notes, f"{n_inserted:,} pulses were missed by the sync and placed evenly in the gaps they left")
    if n_pauses:
        clock = ", though no clock of the camera says so" if n_open else ""
        notes = (*notes, f"{n_pauses:,} gaps between pulses were taken for pauses of the camera{clock}")
    if inputs.clock is not None and exposures is inputs.counter:
        notes = (*notes, "the camera's clock leaps where its counter does not; the counter fits better and was used")
    assumed = "; ".join(filter(None, (assumed, exposures.assumed)))
    return Assignment(pulses, index, match, (*exposures.notes, *notes), assumed, n_open > 0 or exposures.is_damaged)


def _n_open_gaps(inputs: AlignmentInput, pulses: Pulses, index: IntArray) -> int:
    """Count the gaps between the first frame and the last that were left unfilled."""
    before = np.array([gap.after for gap in inputs.gaps], dtype=np.int64)
    ends = [np.searchsorted(pulses.times_s, inputs.pulses.times_s[before + i]) for i in (0, 1)]
    return int(np.count_nonzero((ends[1] - ends[0] == 1) & (ends[0] >= index[0]) & (ends[1] <= index[-1])))


def _without_pauses(pulses: Pulses, index: IntArray, pauses: IntArray | None) -> tuple[Pulses, IntArray, int]:
    """Take the periods of pauses out of pulses and index: those with neither a frame nor a recorded pulse.

    Where the camera's clock shows a pause and the sync has pulses, the camera went on exposing without counting.

    Returns
    -------
    tuple
        The pulses; the pulse of each frame (frame,); the number of pauses taken out.
    """
    if pauses is None:
        return pulses, index, 0
    removed = []
    for frame in np.flatnonzero(pauses):
        between = np.arange(max(index[frame] + 1, 0), min(index[frame + 1], len(pulses)))
        empty = between[~pulses.measured[between]]
        if empty.size >= pauses[frame]:
            removed.append(empty[: pauses[frame]])
    if not removed:
        return pulses, index, 0
    numbers = np.concatenate(removed)
    # Each frame moves down by the pulses that were removed before its own.
    return drop_pulses(pulses, numbers), index - np.searchsorted(numbers, index), len(removed)


def _unfilled_outside(pulses: Pulses, index: IntArray, recorded: Pulses) -> tuple[Pulses, IntArray]:
    """Take out pulses inserted before the first frame and after the last: there, gaps are of no consequence."""
    if pulses.n_inserted == recorded.n_inserted:
        return pulses, index
    numbers = np.flatnonzero(~pulses.measured)
    at = np.searchsorted(recorded.times_s, pulses.times_s[numbers])
    is_new = recorded.times_s[np.minimum(at, len(recorded) - 1)] != pulses.times_s[numbers]
    numbers = numbers[is_new & ((numbers < index[0]) | (numbers > index[-1]))]
    return drop_pulses(pulses, numbers), index - np.searchsorted(numbers, index)


def _gaps_by_numbers(inputs: AlignmentInput) -> tuple[Gap, ...]:
    """Return all gaps where filling them brings the numbers of pulses and frames together, else none."""
    short = inputs.counter.n_exposures - len(inputs.pulses)
    missed = sum(gap.n_periods - 1 for gap in inputs.gaps)
    return inputs.gaps if short > 0 and abs(short - missed) < short else ()
