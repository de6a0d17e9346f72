"""One time per frame: pulses of the main clock, the camera's own count, and what ties the two together.

Pulses and frames are put on two rulers with a mark per period, one on each side: a pulse that the sync missed and a
frame that the camera dropped are marks without anything, and so is every period of a pause, by the clock of either
side. What is left to find is by how many marks one ruler is ahead of the other. The sync line on the camera's pin tells
(`pins.py`), else the numbers of pulses and frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import NoPulses, PulseCountMismatch, UsageError
from ibl_dask.model.outcome import Outcome
from ibl_dask.timing.alignment.agreement import Agreement, Evidence, agree
from ibl_dask.timing.alignment.exposure_index import (
    NoClock,
    Ruler,
    by_clock,
    by_counter,
    insist_on_one_rate,
    longest_gap,
    mended_cycles,
    same_period,
)
from ibl_dask.timing.alignment.pin_matching import PinMatch, match_pins
from ibl_dask.timing.alignment.pulses import (
    Gap,
    Pulses,
    camera_pulses,
    drop_pulses,
    drop_spurious,
    fill_gaps,
    find_gaps,
)
from ibl_dask.timing.camera.camera_files import CYCLE_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from numpy.typing import NDArray

    from ibl_dask.timing.camera.camera_files import CameraFiles
    from ibl_dask.timing.clocks.nidq import Fronts

    IntArray = NDArray[np.int64]

_TOLERATED_S = 1.0
_TOLERATED_SHARE = 0.005
_MOST_SINGLE_GAPS = 8
"""Gaps that are tried one by one, besides all and none of them."""
_EDGE = 0.02
"""Periods that a change of the pin may lie beyond the period that it belongs to."""
_ECHO = 0.3
"""Pulses within this fraction of the camera's period after another may be echoes; those of a camera that is twice as
fast are not."""
_NEARLY_HALF = 0.3
"""A pause this far from a whole number of periods may be rounded either way: by two clocks, or from another pulse."""
_CLEARLY_BETTER = 8
"""Lead in coincidences that decides between two ways to count: two sounds, each with a rise and a fall that coincide on
the very frame (counted twice)."""


class Quality(IntEnum):
    """How the time of a frame was obtained; a larger one is worse."""

    MEASURED = 0
    """Its pulse was recorded."""
    INTERPOLATED = 1
    """Its pulse is missing between others that were recorded."""
    EXTRAPOLATED = 2
    """Its pulse lies before the first or after the last that was recorded."""
    ASSUMED = 3
    """Which pulse is its own is an assumption: numbers alone decide, or what there is to decide by disagrees."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraTimes:
    """When each frame was exposed, how that is known, and what was odd about it."""

    times_s: NDArray[np.float64]
    """s on the main clock, strictly increasing (frame,)."""
    quality: NDArray[np.uint8]
    """`Quality` of each time (frame,)."""
    pulse_quality: NDArray[np.uint8]
    """The same where frames are taken to be where they are assumed to be (frame,)."""
    method: Literal["pins", "intervals", "counts"]
    """What told the pulse of frame 0: the sync line on the pin, intervals that agree with those of the camera's log, or
    the numbers of pulses and frames."""
    start: int
    """Pulse of frame 0; negative where the camera ran before the pulses were recorded."""
    n_pulses: int
    """Pulses, with those that were put in."""
    n_inserted: int
    """Pulses that were put in by reasoning."""
    n_surplus_start: int
    """Pulses before frame 0."""
    n_surplus_end: int
    """Pulses after the last frame."""
    n_missing_start: int
    """Frames before the first pulse."""
    n_missing_end: int
    """Frames after the last pulse."""
    n_dropped: int
    """Exposures that the camera counted but did not deliver."""
    period_s: float
    """Usual time between exposures, s."""
    drift_ppm: float | None
    """How much faster the main clock runs than the camera's, parts per million; None without camera clock."""
    residual_frames: IntArray
    """Frames that first show a change of the sync line (match,)."""
    residuals_s: NDArray[np.float64]
    """Change minus time of that frame, s, in (-period, 0] where all is right (match,)."""
    notes: tuple[str, ...]
    """What a reader of the times should know."""
    outcome_hint: Outcome
    """FAIL where any frame's place is an assumption; else WARNING where a time is not measured or a file of the camera
    is damaged; else PASS."""

    outcome_if_confirmed: Outcome = Outcome.PASS
    """What `outcome_hint` would be without the assumption."""
    assumed: str = ""
    """Why the place of frames is an assumption; empty where it is none."""

    @property
    def flagged(self) -> bool:
        """Return whether any frame's time is not measured."""
        return bool(self.quality.any())


@dataclass(frozen=True, slots=True)
class Route:
    """What holds for the pulses of a main clock."""

    outside_s: float = _TOLERATED_S
    """Frames that may lie before the first and after the last pulse together, s; 0.5 % of the frames where that is
    more."""
    gaps_are_filled: bool = False
    """True where every pulse stands for an exposure already: none is a glitch, and no gap is left between them."""
    do: str = (
        "check that sync and video are of the same recording and complete, and that the camera's channel in the rig's "
        "wiring.json is right"
    )
    """The next step for whoever reads that more frames lie outside."""


DAQ = Route()
"""A DAQ records from before the camera starts until after it stops, or nearly so."""


@dataclass(frozen=True, slots=True, eq=False)
class _Placement:
    """Pulses, and the one that belongs to each frame."""

    pulses: Pulses
    index: IntArray
    """Pulse of each frame; negative before the first (frame,)."""
    match: PinMatch | None
    """None where it was found by counting."""
    notes: tuple[str, ...] = ()
    assumed: str = ""
    """Why the place of the frames is an assumption; empty where it is none."""
    is_odd: bool = False
    """True where something was mended that a reader should look at."""
    agreement: Agreement | None = None
    """What the camera's clock says otherwise; None where it agrees."""

    def but(self, doubt: str) -> _Placement:
        """Return this placement as an assumption."""
        return replace(self, assumed="; ".join(filter(None, (self.assumed, doubt))), notes=(*self.notes, doubt))

    def times(self) -> NDArray[np.float64]:
        """Return the time of each frame, s."""
        return self.pulses.at(self.index) if self.agreement is None else self.agreement.times_s

    def quality(self) -> NDArray[np.uint8]:
        """Return how each time was obtained, if frames are where they are taken to be."""
        quality = np.full(self.index.size, Quality.EXTRAPOLATED, dtype=np.uint8)
        inside = (self.index >= 0) & (self.index < len(self.pulses))
        quality[inside] = np.where(self.pulses.measured[self.index[inside]], Quality.MEASURED, Quality.INTERPOLATED)
        if self.agreement is not None:
            moved = self.agreement.is_moved | ~inside
            quality[moved & self.agreement.is_measured] = Quality.MEASURED
            quality[moved & ~self.agreement.is_measured & inside] = Quality.INTERPOLATED
        return quality

    def n_outside(self) -> tuple[int, int]:
        """Return the frames before the first pulse and after the last."""
        if self.agreement is not None and self.agreement.is_moved.any():
            outside = np.flatnonzero(self.quality() == Quality.EXTRAPOLATED)
            n_before = int(np.count_nonzero(outside == np.arange(outside.size)))
            return n_before, outside.size - n_before
        return int(np.count_nonzero(self.index < 0)), int(np.count_nonzero(self.index >= len(self.pulses)))


def frame_times(
    n_frames: int,
    pulses: Fronts,
    ttl: Fronts | None,
    camera: CameraFiles | None,
    *,
    where: str,
    nominal_hz: float | None = None,
    fronts_per_channel: Mapping[int, int] | None = None,
) -> CameraTimes:
    """Give every frame of a video its time on the main clock.

    Parameters
    ----------
    n_frames
        Frames of the video.
    pulses
        Fronts of the camera's line.
    ttl
        Fronts of the line that is wired to the camera's pin 4; None where none is.
    camera
        What the camera noted about its frames; None where it left nothing.
    where
        Camera and session, for messages.
    nominal_hz
        The rate that the camera was set to, Hz; None where nobody knows.
    fronts_per_channel
        Fronts on every channel of the sync, for the message where there are no pulses.

    Raises
    ------
    NoPulses
        If the camera's line rises fewer than two times.
    ClocksDisagree
        If the pulses come at another rate than the camera's own clock shows, or else the nominal one.
    UnequalLengths
        If the camera's files describe fewer frames than the video has, beyond 1 s or 0.5 % of them.
    PulseCountMismatch
        If more than 1 s or 0.5 % of the frames lie before the first or after the last pulse.
    """
    found = camera_pulses(pulses, where=where, fronts_per_channel=fronts_per_channel)
    return times_from_pulses(
        n_frames,
        found,
        ttl,
        camera,
        where=where,
        nominal_hz=nominal_hz,
        fronts_per_channel=fronts_per_channel,
    )


def times_from_pulses(
    n_frames: int,
    pulses: Pulses,
    ttl: Fronts | None,
    camera: CameraFiles | None,
    *,
    where: str,
    route: Route = DAQ,
    nominal_hz: float | None = None,
    fronts_per_channel: Mapping[int, int] | None = None,
) -> CameraTimes:
    """Give every frame its time, from pulses that are already found (see `frame_times`).

    Pulses that somebody else put in, such as those bridging the time between trials, carry `measured` False;
    their frames come out as interpolated.

    Parameters
    ----------
    n_frames, ttl, camera, where, nominal_hz, fronts_per_channel
        See `frame_times`.
    pulses
        One per exposure, as far as they are known.
    route
        How many frames may lie outside the pulses, and whether the gaps between these are filled.
    """
    if n_frames < 1:
        raise UsageError("a video without frames has no times", where, "at least one frame", f"{n_frames}")
    scene = _scene(n_frames, pulses, ttl, camera, route, where, nominal_hz, fronts_per_channel)
    return _times(_place(scene), scene, where, fronts_per_channel)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """All that is known before frames and pulses are matched."""

    pulses: Pulses
    """Without glitches, with gaps."""
    gaps: tuple[Gap, ...]
    """Those that may lie within the recording."""
    counter: Ruler
    clock: Ruler | None
    """None where the camera has no clock to go by."""
    camera: CameraFiles | None
    ttl: Fronts | None
    route: Route
    noted_s: NDArray[np.float64]
    """Times of all pulses as they were noted, s (pulse,)."""

    def filled(self, gaps: tuple[Gap, ...]) -> Pulses:
        """Return the pulses with a mark for each period of some gaps."""
        return self.pulses if not gaps else replace(fill_gaps(self.pulses, gaps), notes=self.pulses.notes)


def _scene(
    n_frames: int,
    pulses: Pulses,
    ttl: Fronts | None,
    camera: CameraFiles | None,
    route: Route,
    where: str,
    nominal_hz: float | None,
    fronts_per_channel: Mapping[int, int] | None,
) -> _Scene:
    """Put pulses and frames on their rulers, and refuse pulses of another camera."""
    noted = pulses.times_s[pulses.measured]
    if not route.gaps_are_filled:
        pulses = _clean(pulses, camera)
    camera = mended_cycles(camera, pulses, CYCLE_S)
    n_tolerated = _frames_within(_TOLERATED_S, pulses, n_frames)
    counter = by_counter(n_frames, camera, n_tolerated, where)
    longest = longest_gap(counter, camera, pulses.period_s)
    gaps = () if route.gaps_are_filled else tuple(gap for gap in find_gaps(pulses) if gap.n_periods <= longest)
    clock = by_clock(counter, camera, pulses, gaps)
    few = 0 if isinstance(clock, Ruler) or clock.period_s is None else max(n_tolerated, round(1 / clock.period_s))
    if isinstance(clock, NoClock) and clock.period_s is not None and abs(len(pulses) - counter.n_marks) > few:
        raise _other_pulses(pulses, counter, clock.period_s, n_tolerated, where, fronts_per_channel)
    insist_on_one_rate(pulses, camera, nominal_hz, where)
    if isinstance(clock, Ruler):
        return _Scene(pulses, gaps, counter, clock, camera, ttl, route, noted)
    counter = replace(counter, notes=(*counter.notes, *clock.notes))
    return _Scene(pulses, gaps, counter, None, camera, ttl, route, noted)


def _clean(pulses: Pulses, camera: CameraFiles | None) -> Pulses:
    """Leave out what are no exposures; where every pulse has an echo, the camera's own period shows it."""
    clean = drop_spurious(pulses)
    period = None if camera is None else camera.period_s
    if period is None or same_period(clean.period_s, period):
        return clean
    echoes = np.flatnonzero(np.diff(pulses.times_s) < _ECHO * period) + 1
    without = drop_pulses(pulses, echoes)
    if 2 * echoes.size > len(pulses) or not same_period(without.period_s, period):
        return clean
    note = f"{echoes.size:,} pulses came right after another and were left out"
    return drop_spurious(replace(without, notes=(*without.notes, note)))


def _frames_within(seconds: float, pulses: Pulses, n_frames: int) -> int:
    """Return the frames of some seconds, or 0.5 % of all where that is more."""
    return max(round(seconds / pulses.period_s), int(_TOLERATED_SHARE * n_frames))


# -- where frame 0 is --------------------------------------------------------------------------------------


def _place(scene: _Scene) -> _Placement:
    """Find the pulse of frame 0 by the sync line where the pin shows it, else by counting."""
    camera, ttl = scene.camera, scene.ttl
    if camera is None:
        return _compared(scene, _by_counts(scene, "the camera left no files"))
    if camera.pins is None:
        return _compared(scene, _by_counts(scene, "there are no pin states"))
    if ttl is None:
        return _compared(scene, _by_counts(scene, "no sync line is wired to the pin"))
    found = _best_match(scene, camera.pins, ttl)
    match = found.match
    doubts = (match.unsure,) if match.unsure else ()
    placed = _placed(scene, found.pulses, found.ruler, match.start, match, doubts, match.unsure)
    placed = _compared(scene, placed)
    is_settled = placed.agreement is not None and placed.agreement.is_settled
    if found.doubt and (placed.agreement is None or not placed.agreement.is_whole):
        placed = placed.but(found.doubt)
    if not match.usable and not is_settled:
        return _compared(scene, _by_counts(scene, match.reason))
    elsewhere = match.stretch or ("" if scene.route.gaps_are_filled else match.end)
    if elsewhere and not is_settled:
        placed = placed.but(elsewhere)
    if (
        match.doubt
        and not is_settled
        and sum(placed.n_outside()) > _frames_within(scene.route.outside_s, found.pulses, placed.index.size)
    ):
        reason = f"where pins and sync line fit best there are too few pulses, and {match.doubt}"
        return _compared(scene, _by_counts(scene, reason))
    return placed


def _compared(scene: _Scene, placed: _Placement) -> _Placement:
    """Compare times with the camera's clock, where it is one to go by."""
    camera = scene.camera
    if scene.clock is None or camera is None or camera.camera_time_s is None:
        return placed
    evidence = Evidence(
        camera.camera_time_s,
        placed.pulses.period_s,
        scene.noted_s,
        camera.pins if placed.match is not None else None,
        scene.ttl,
        placed.match.delay_periods if placed.match is not None else 0.0,
        scene.route.gaps_are_filled,
    )
    found = agree(placed.times(), placed.quality() == Quality.MEASURED, evidence)
    if found is None:
        return placed
    notes = list(found.notes)
    n_taken = int(np.count_nonzero(found.is_moved & found.is_measured))
    if n_taken:
        notes.append(
            f"{n_taken:,} frames have the pulse that the camera's clock says, where another was nearer in number"
        )
    if found.steps:
        told = ", ".join(f"{frame:,}" for frame in found.steps[:3])
        notes.append(f"the main clock lost samples before frame {told}: it and the camera's clock step apart there")
    assumed = "; ".join(filter(None, (placed.assumed, found.why)))
    if found.why:
        notes.append(found.why)
    is_odd = placed.is_odd or bool(found.steps) or bool(found.notes)
    return replace(placed, agreement=found, notes=(*placed.notes, *notes), assumed=assumed, is_odd=is_odd)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """The two rulers, and how well changes coincide on them."""

    pulses: Pulses
    ruler: Ruler
    match: PinMatch
    doubt: str = ""
    """Why other rulers may be right."""

    @property
    def worth(self) -> int:
        """Return how many changes coincide; those on the very frame count twice."""
        return self.match.n_matched + self.match.n_exact

    @property
    def is_sure(self) -> bool:
        """Return whether nothing speaks against it."""
        return not self.match.reason and not self.match.doubt

    def weighed_against(self, other: _Fit, why: str) -> _Fit:
        """Return this fit, in doubt if another gives other times and is nearly as good."""
        if self.worth - other.worth >= _CLEARLY_BETTER or np.array_equal(self.times_s(), other.times_s()):
            return self
        return replace(self, doubt=f"{why}, and too few changes tell which times are right")

    def times_s(self) -> NDArray[np.float64]:
        """Return the time of each frame, s."""
        return self.pulses.at(self.match.start + self.ruler.marks)


def _best_match(scene: _Scene, pins: NDArray[np.bool_], ttl: Fronts) -> _Fit:
    """Return the rulers on which most changes coincide.

    By the camera's clock, pauses are marked on both rulers, and every gap is filled. Where there is no clock, or the
    changes say otherwise, the camera's counter is the ruler, and pauses are those gaps that are better not filled.
    """
    if scene.clock is None:
        return _best_match_by_counter(scene, pins, ttl)
    best = _best_match_by_clock(scene, scene.clock, pins, ttl)
    if np.array_equal(scene.clock.marks, scene.counter.marks) and (best.is_sure or not scene.gaps):
        return best
    other = _best_match_by_counter(scene, pins, ttl)
    if other.worth - best.worth >= _CLEARLY_BETTER:
        return other
    return best.weighed_against(other, "the camera's counter and its clock disagree")


def _best_match_by_clock(scene: _Scene, clock: Ruler, pins: NDArray[np.bool_], ttl: Fronts) -> _Fit:
    """Fill all gaps; where one is about half a period more than a whole number of them, try both numbers."""

    def fit(gaps: list[Gap]) -> _Fit:
        pulses = scene.filled(tuple(gaps))
        return _Fit(pulses, clock, match_pins(pulses, clock.marks, pins, ttl))

    gaps = list(scene.gaps)
    best = fit(gaps)
    more = np.array([gap.duration_s for gap in gaps]) / scene.pulses.period_s - [gap.n_periods for gap in gaps]
    for at in np.flatnonzero(np.abs(more) > _NEARLY_HALF)[:_MOST_SINGLE_GAPS].tolist():
        others = list(gaps)
        others[at] = replace(gaps[at], n_periods=gaps[at].n_periods + (1 if more[at] > 0 else -1))
        other = fit(others)
        if other.worth > best.worth:
            gaps, best, other = others, other, best
        best = best.weighed_against(other, "a pause of the camera is no whole number of periods long")
    return best


def _best_match_by_counter(scene: _Scene, pins: NDArray[np.bool_], ttl: Fronts) -> _Fit:
    """Fill the gaps that make most changes coincide: all, none, then each by itself.

    Where nothing tells, a gap is filled: the sync misses pulses more often than the camera pauses.
    """
    none, everything = frozenset[int](), frozenset(range(len(scene.gaps)))

    def fit(filled: frozenset[int]) -> _Fit:
        pulses = scene.filled(tuple(scene.gaps[i] for i in sorted(filled)))
        return _Fit(pulses, scene.counter, match_pins(pulses, scene.counter.marks, pins, ttl))

    chosen, best = everything, fit(everything)
    if scene.gaps and (other := fit(none)).worth > best.worth:
        chosen, best = none, other
    for gap in range(min(len(scene.gaps), _MOST_SINGLE_GAPS) if len(scene.gaps) > 1 else 0):
        if best.is_sure:
            break
        if (other := fit(chosen ^ {gap})).worth > best.worth:
            best, chosen = other, chosen ^ {gap}
    return best


def _by_counts(scene: _Scene, reason: str) -> _Placement:
    """Place frame 0 by the numbers of pulses and frames alone."""
    choices = [(scene.filled(_gaps_by_numbers(scene)), scene.counter)]
    if scene.clock is not None:
        choices.insert(0, (scene.filled(scene.gaps), scene.clock))
    pulses, ruler = min(choices, key=lambda choice: abs(len(choice[0]) - choice[1].n_marks))
    surplus = len(pulses) - ruler.n_marks
    told = ""
    if surplus > 0:
        told = f"; the {surplus:,} pulses in excess are assumed to come before the first frame"
    elif surplus < 0:
        told = f"; there are {-surplus:,} pulses too few, and the first is assumed to be that of frame 0"
    note = f"frames and pulses were matched by their numbers, since {reason}{told}"
    assumed = f"numbers of frames and pulses alone say which pulse is that of frame 0, since {reason}"
    return _placed(scene, pulses, ruler, max(surplus, 0), None, (note,), assumed)


def _placed(
    scene: _Scene,
    pulses: Pulses,
    ruler: Ruler,
    start: int,
    match: PinMatch | None,
    notes: tuple[str, ...],
    assumed: str,
) -> _Placement:
    """Take pauses out of both rulers, and say what was put in and what was not."""
    n_open = 0
    pulses, index, n_pauses = _without_pauses(pulses, start + ruler.marks, ruler.pauses)
    pulses, index = _unfilled_outside(pulses, index, scene.pulses)
    if ruler.pauses is None:
        n_open = n_pauses = _n_open(scene, pulses, index)
    n_put_in = pulses.n_inserted - scene.pulses.n_inserted
    if n_put_in > 0:
        notes = (*notes, f"{n_put_in:,} pulses were missed by the sync and placed evenly in the gaps they left")
    if n_pauses:
        clock = ", though no clock of the camera says so" if n_open else ""
        notes = (*notes, f"{n_pauses:,} gaps between pulses were taken for pauses of the camera{clock}")
    if scene.clock is not None and ruler is scene.counter:
        notes = (*notes, "the camera's clock leaps where its counter does not; the counter fits better and was used")
    assumed = "; ".join(filter(None, (assumed, ruler.assumed)))
    return _Placement(pulses, index, match, (*ruler.notes, *notes), assumed, n_open > 0 or ruler.is_damaged)


def _n_open(scene: _Scene, pulses: Pulses, index: IntArray) -> int:
    """Count the gaps between the first frame and the last that nothing was put into."""
    before = np.array([gap.after for gap in scene.gaps], dtype=np.int64)
    ends = [np.searchsorted(pulses.times_s, scene.pulses.times_s[before + i]) for i in (0, 1)]
    return int(np.count_nonzero((ends[1] - ends[0] == 1) & (ends[0] >= index[0]) & (ends[1] <= index[-1])))


def _without_pauses(pulses: Pulses, index: IntArray, pauses: IntArray | None) -> tuple[Pulses, IntArray, int]:
    """Take the marks of pauses out of both rulers: those where there is neither a frame nor a pulse.

    Where the camera's clock shows a pause and the sync has pulses, the camera went on exposing without counting.
    """
    if pauses is None:
        return pulses, index, 0
    found = []
    for frame in np.flatnonzero(pauses):
        between = np.arange(max(index[frame] + 1, 0), min(index[frame + 1], len(pulses)))
        empty = between[~pulses.measured[between]]
        if empty.size >= pauses[frame]:
            found.append(empty[: pauses[frame]])
    if not found:
        return pulses, index, 0
    marks = np.concatenate(found)
    return drop_pulses(pulses, marks), index - np.searchsorted(marks, index), len(found)


def _unfilled_outside(pulses: Pulses, index: IntArray, found: Pulses) -> tuple[Pulses, IntArray]:
    """Take out what was put between the pulses that were found, before the first frame and after the last."""
    if pulses.n_inserted == found.n_inserted:
        return pulses, index
    marks = np.flatnonzero(~pulses.measured)
    at = np.searchsorted(found.times_s, pulses.times_s[marks])
    is_new = found.times_s[np.minimum(at, len(found) - 1)] != pulses.times_s[marks]
    marks = marks[is_new & ((marks < index[0]) | (marks > index[-1]))]
    return drop_pulses(pulses, marks), index - np.searchsorted(marks, index)


def _gaps_by_numbers(scene: _Scene) -> tuple[Gap, ...]:
    """Return all gaps where that brings the numbers of pulses and frames together, else none."""
    short = scene.counter.n_marks - len(scene.pulses)
    missed = sum(gap.n_periods - 1 for gap in scene.gaps)
    return scene.gaps if short > 0 and abs(short - missed) < short else ()


# -- times -------------------------------------------------------------------------------------------------


def _times(
    placement: _Placement, scene: _Scene, where: str, fronts_per_channel: Mapping[int, int] | None
) -> CameraTimes:
    pulses, index, match, camera = placement.pulses, placement.index, placement.match, scene.camera
    n_before, n_after = placement.n_outside()
    n_tolerated = _frames_within(scene.route.outside_s, pulses, index.size)
    if n_before + n_after > n_tolerated:
        raise _too_few_pulses(placement, n_tolerated, scene.route, where, fronts_per_channel)
    times, quality, agreement = placement.times(), placement.quality(), placement.agreement
    residuals = _residuals(match, agreement)
    is_odd = placement.is_odd or quality.any() or (camera is not None and camera.damaged)
    notes = (
        *pulses.notes,
        *(camera.notes if camera is not None else ()),
        *placement.notes,
        *_notes_on_residuals(match, pulses.period_s),
        *_notes_on_quality(quality, n_before, n_after),
    )
    outcome = Outcome.WARNING if is_odd else Outcome.PASS
    is_assumed = np.full(index.size, bool(placement.assumed))
    if agreement is not None and agreement.is_assumed.any() and placement.assumed == agreement.why:
        is_assumed = agreement.is_assumed
    return CameraTimes(
        times_s=times,
        quality=np.where(is_assumed, np.uint8(Quality.ASSUMED), quality),
        pulse_quality=quality,
        method="counts" if match is None else "pins",
        start=int(index[0]),
        n_pulses=len(pulses),
        n_inserted=pulses.n_inserted,
        n_surplus_start=min(max(int(index[0]), 0), len(pulses)),
        n_surplus_end=max(len(pulses) - int(index[-1]) - 1, 0),
        n_missing_start=n_before,
        n_missing_end=n_after,
        n_dropped=int(index[-1] - index[0]) + 1 - index.size,
        period_s=pulses.period_s,
        drift_ppm=_drift_ppm(times, quality, camera),
        residual_frames=residuals[0],
        residuals_s=residuals[1],
        notes=notes,
        assumed=placement.assumed,
        outcome_hint=Outcome.FAIL if placement.assumed else outcome,
        outcome_if_confirmed=outcome,
    )


def _residuals(match: PinMatch | None, agreement: Agreement | None) -> tuple[IntArray, NDArray[np.float64]]:
    """Return the frames that show a matched change, and the change minus their time, s."""
    if match is None or match.frames is None or match.residuals_s is None:
        return np.empty(0, dtype=np.int64), np.empty(0)
    stay = np.ones(match.frames.size, np.bool_) if agreement is None else ~agreement.is_moved[match.frames]
    return match.frames[stay], match.residuals_s[stay]


def _drift_ppm(times: NDArray[np.float64], quality: NDArray[np.uint8], camera: CameraFiles | None) -> float | None:
    """Return the slope of main clock against camera clock over measured frames, minus one."""
    if camera is None or camera.camera_time_s is None:
        return None
    known = min(times.size, camera.camera_time_s.size)
    measured = quality[:known] == Quality.MEASURED
    x, y = camera.camera_time_s[:known][measured], times[:known][measured]
    if x.size < 2:
        return None
    x, y = x - x.mean(), y - y.mean()
    spread = float(x @ x)
    return (float(x @ y) / spread - 1) * 1e6 if spread > 0 else None


def _notes_on_residuals(match: PinMatch | None, period_s: float) -> tuple[str, ...]:
    if match is None or match.residuals_s is None:
        return ()
    lags = match.residuals_s / period_s - match.delay_periods
    off = int(np.count_nonzero((lags > _EDGE) | (lags <= -1.5)))
    told = (
        f"{match.n_matched:,} of {match.n_pin_edges:,} pin changes coincide with one of "
        f"{match.n_ttl_edges:,} sync changes"
    )
    if off:
        told += f"; {off:,} are off by a frame or more"
    late = f"the camera reads its pin {match.delay_periods:.2f} periods after an exposure began"
    return (told, late) if match.delay_periods else (told,)


def _notes_on_quality(quality: NDArray[np.uint8], n_before: int, n_after: int) -> tuple[str, ...]:
    notes = []
    n_inside = int(np.count_nonzero(quality == Quality.INTERPOLATED))
    if n_inside:
        notes.append(f"{n_inside:,} frames have an interpolated time")
    if n_before:
        notes.append(f"the first {n_before:,} frames come before the first pulse; their times are extrapolated")
    if n_after:
        notes.append(f"the last {n_after:,} frames come after the last pulse; their times are extrapolated")
    return tuple(notes)


def _too_few_pulses(
    placement: _Placement,
    n_tolerated: int,
    route: Route,
    where: str,
    fronts_per_channel: Mapping[int, int] | None,
) -> PulseCountMismatch:
    method = "counts" if placement.match is None else "pins"
    pulses, index = placement.pulses, placement.index
    n_before, n_after = placement.n_outside()
    n_needed = int(index[-1] - index[0]) + 1
    return PulseCountMismatch(
        f"{n_before + n_after:,} frames have no pulse",
        where=where,
        expected=f"at most {n_tolerated:,} frames ({route.outside_s:g} s or {_TOLERATED_SHARE:.1%}) outside the pulses",
        got=f"{index.size:,} frames, {n_needed - index.size:,} dropped by the camera, "
        f"{len(pulses):,} pulses of which {pulses.n_inserted:,} were put in; "
        f"{n_before:,} frames before the first pulse and {n_after:,} after the last (method {method})",
        do=route.do + _fitting_channels(n_needed, n_tolerated, fronts_per_channel),
    )


def _other_pulses(
    pulses: Pulses,
    counter: Ruler,
    period_s: float,
    n_tolerated: int,
    where: str,
    fronts_per_channel: Mapping[int, int] | None,
) -> NoPulses:
    return NoPulses(
        "the pulses on this channel are not those of this camera",
        where=where,
        expected=f"{counter.n_marks:,} pulses, one every {1e3 * period_s:.2f} ms by the camera's own clock",
        got=f"{len(pulses):,} pulses, one every {1e3 * pulses.period_s:.2f} ms",
        do="correct the camera's channel in the rig's wiring.json"
        + _fitting_channels(counter.n_marks, n_tolerated, fronts_per_channel),
    )


def _fitting_channels(n_needed: int, n_tolerated: int, fronts_per_channel: Mapping[int, int] | None) -> str:
    """Return which channels carry about two fronts per exposure, for whoever has to correct the wiring."""
    if fronts_per_channel is None:
        return ""
    fitting = {
        channel: n_fronts
        for channel, n_fronts in sorted(fronts_per_channel.items())
        if abs(n_fronts / 2 - n_needed) <= n_tolerated
    }
    if not fitting:
        told = ", ".join(f"{channel}: {n_fronts:,}" for channel, n_fronts in sorted(fronts_per_channel.items()))
        return f" (no channel has about {2 * n_needed:,} fronts, two per exposure; fronts per channel: {told})"
    told = " or ".join(f"channel {channel} ({n_fronts:,} fronts)" for channel, n_fronts in fitting.items())
    return f" (two fronts per exposure would be about {2 * n_needed:,}: {told} has about as many)"
