"""Candidates for the assignment: ways to fill gaps and to count exposures, ranked by how many pin changes coincide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.timing.alignment.pin_matching import match_pins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.alignment_input import AlignmentInput
    from ibl_dask.timing.alignment.exposure_index import ExposureIndex
    from ibl_dask.timing.alignment.pin_changes import PinMatch
    from ibl_dask.timing.clocks.nidq import Fronts
    from ibl_dask.timing.clocks.pulses import Gap, Pulses

    BoolArray = NDArray[np.bool_]
    FloatArray = NDArray[np.float64]

_MOST_SINGLE_GAPS = 8
"""Gaps that are tried one by one, besides all and none of them: each costs one match."""
_NEARLY_HALF = 0.3
"""A pause this far from a whole number of periods may be rounded either way: by two clocks, or from another pulse."""
_CLEARLY_BETTER = 8
"""Lead in score that decides between two candidates: two sounds, each with a rise and a fall that coincide on the very
frame (counted twice)."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Filled pulses and numbered exposures, with the start that the pins give them."""

    pulses: Pulses
    exposures: ExposureIndex
    match: PinMatch
    doubt: str = ""
    """Reason why another candidate may be right; empty where none may."""

    @property
    def score(self) -> int:
        """Return the number of coinciding changes; those on the very frame count twice."""
        return self.match.n_matched + self.match.n_exact

    @property
    def is_sure(self) -> bool:
        """Return whether the match is usable and without doubt."""
        return not self.match.reason and not self.match.doubt

    def weighed_against(self, other: Candidate, why: str) -> Candidate:
        """Return this candidate, in doubt if another gives other times and is nearly as good."""
        if self.score - other.score >= _CLEARLY_BETTER or np.array_equal(self.times_s(), other.times_s()):
            return self
        return replace(self, doubt=f"{why}, and too few changes tell which times are right")

    def times_s(self) -> FloatArray:
        """Return the time of each frame, s. (frame,)"""
        return self.pulses.at(self.match.start + self.exposures.numbers)


def best_candidate(inputs: AlignmentInput, pins: BoolArray, ttl: Fronts) -> Candidate:
    """Return the candidate in which most changes coincide.

    By the camera's clock, pauses are periods without exposure in both series, and every gap is filled. Where there is
    no clock, or the changes contradict it, exposures are those of the camera's counter, and pauses are the gaps that
    are better left unfilled.

    Parameters
    ----------
    inputs : AlignmentInput
        Pulses, gaps, and exposures by counter and clock.
    pins : ndarray of bool
        State of pins 1 to 4 (frame, 4).
    ttl : Fronts
        Fronts of the line that is wired to pin 4.
    """
    if inputs.clock is None:
        return _best_by_counter(inputs, pins, ttl)
    best = _best_by_clock(inputs, inputs.clock, pins, ttl)
    if np.array_equal(inputs.clock.numbers, inputs.counter.numbers) and (best.is_sure or not inputs.gaps):
        return best
    other = _best_by_counter(inputs, pins, ttl)
    if other.score - best.score >= _CLEARLY_BETTER:
        return other
    return best.weighed_against(other, "the camera's counter and its clock disagree")


def _best_by_clock(inputs: AlignmentInput, clock: ExposureIndex, pins: BoolArray, ttl: Fronts) -> Candidate:
    """Fill all gaps; where one is about half a period more than a whole number of them, try both numbers."""

    def candidate(gaps: list[Gap]) -> Candidate:
        pulses = inputs.filled(tuple(gaps))
        return Candidate(pulses, clock, match_pins(pulses, clock.numbers, pins, ttl))

    gaps = list(inputs.gaps)
    best = candidate(gaps)
    excess = np.array([gap.duration_s for gap in gaps]) / inputs.pulses.period_s - [gap.n_periods for gap in gaps]
    for at in np.flatnonzero(np.abs(excess) > _NEARLY_HALF)[:_MOST_SINGLE_GAPS].tolist():
        others = list(gaps)
        others[at] = replace(gaps[at], n_periods=gaps[at].n_periods + (1 if excess[at] > 0 else -1))
        other = candidate(others)
        if other.score > best.score:
            gaps, best, other = others, other, best
        best = best.weighed_against(other, "a pause of the camera is no whole number of periods long")
    return best


def _best_by_counter(inputs: AlignmentInput, pins: BoolArray, ttl: Fronts) -> Candidate:
    """Fill the gaps that make most changes coincide: all, none, then each by itself.

    On a tie a gap is filled: the sync misses pulses more often than the camera pauses.
    """
    none, everything = frozenset[int](), frozenset(range(len(inputs.gaps)))

    def candidate(filled: frozenset[int]) -> Candidate:
        pulses = inputs.filled(tuple(inputs.gaps[i] for i in sorted(filled)))
        return Candidate(pulses, inputs.counter, match_pins(pulses, inputs.counter.numbers, pins, ttl))

    chosen, best = everything, candidate(everything)
    if inputs.gaps and (other := candidate(none)).score > best.score:
        chosen, best = none, other
    for gap in range(min(len(inputs.gaps), _MOST_SINGLE_GAPS) if len(inputs.gaps) > 1 else 0):
        if best.is_sure:
            break
        if (other := candidate(chosen ^ {gap})).score > best.score:
            best, chosen = other, chosen ^ {gap}
    return best
