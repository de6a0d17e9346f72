"""One time per frame: pulses of the main clock, the camera's own count, and what ties the two together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import PulseCountMismatch, UnequalLengths, UsageError
from ibl_dask.model.outcome import Outcome
from ibl_dask.timing.pins import PinMatch, match_pins
from ibl_dask.timing.pulses import Gap, Pulses, camera_pulses, drop_doubles, fill_gaps, find_gaps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from numpy.typing import NDArray

    from ibl_dask.timing.camera_files import CameraFiles
    from ibl_dask.timing.nidq import Fronts

    IntArray = NDArray[np.int64]

_TOLERATED_S = 1.0
_TOLERATED_SHARE = 0.005
_MOST_SINGLE_GAPS = 8
"""Gaps that are tried one by one, besides all and none of them."""


class Quality(IntEnum):
    """How the time of a frame was obtained; a larger one is worse."""

    MEASURED = 0
    """Its pulse was recorded."""
    INTERPOLATED = 1
    """Its pulse is missing between others that were recorded."""
    EXTRAPOLATED = 2
    """Its pulse lies before the first or after the last that was recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraTimes:
    """When each frame was exposed, how that is known, and what was odd about it."""

    times_s: NDArray[np.float64]
    """s on the main clock, strictly increasing (frame,)."""
    quality: NDArray[np.uint8]
    """`Quality` of each time (frame,)."""
    method: Literal["pins", "counts"]
    """What told the pulse of frame 0: the sync line on the pin, or the numbers of pulses and frames."""
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
    """PASS, or WARNING where a frame's time is not measured or its place is an assumption."""

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
class _Count:
    """The exposures before each frame of the video."""

    values: IntArray
    notes: tuple[str, ...] = ()

    @property
    def needed(self) -> int:
        """Return the exposures from the first frame to the last."""
        return int(self.values[-1]) + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Placement:
    """Pulses, and the one that belongs to frame 0."""

    pulses: Pulses
    start: int
    match: PinMatch | None
    """None where it was found by counting."""
    notes: tuple[str, ...] = ()
    assumed: bool = False
    """True where nothing but an assumption says at which end the surplus pulses are."""


def frame_times(
    n_frames: int,
    pulses: Fronts,
    ttl: Fronts | None,
    camera: CameraFiles | None,
    *,
    where: str,
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
    fronts_per_channel
        Fronts on every channel of the sync, for the message where there are no pulses.

    Raises
    ------
    NoPulses
        If the camera's line rises fewer than two times.
    UnequalLengths
        If the camera's files describe fewer frames than the video has, beyond 1 s or 0.5 % of them.
    PulseCountMismatch
        If more than 1 s or 0.5 % of the frames lie before the first or after the last pulse.
    """
    found = camera_pulses(pulses, where=where, fronts_per_channel=fronts_per_channel)
    return times_from_pulses(n_frames, found, ttl, camera, where=where)


def times_from_pulses(
    n_frames: int,
    pulses: Pulses,
    ttl: Fronts | None,
    camera: CameraFiles | None,
    *,
    where: str,
    route: Route = DAQ,
) -> CameraTimes:
    """Give every frame its time, from pulses that are already found (see `frame_times`).

    Pulses that somebody else put in, such as those bridging the time between trials, carry `measured` False;
    their frames come out as interpolated.

    Parameters
    ----------
    n_frames, ttl, camera, where
        See `frame_times`.
    pulses
        One per exposure, as far as they are known.
    route
        How many frames may lie outside the pulses, and whether the gaps between these are filled.
    """
    if n_frames < 1:
        raise UsageError("a video without frames has no times", where, "at least one frame", f"{n_frames}")
    if camera is not None and camera.n_frames == 0:
        camera = None
    count = _count(n_frames, camera, _frames_within(_TOLERATED_S, pulses, n_frames), where)
    placement = _place(pulses, ttl, camera, count, route)
    return _times(placement, count, camera, route, where)


def _frames_within(seconds: float, pulses: Pulses, n_frames: int) -> int:
    """Return the frames of some seconds, or 0.5 % of all where that is more."""
    return max(round(seconds / pulses.period_s), int(_TOLERATED_SHARE * n_frames))


# -- the camera's count ------------------------------------------------------------------------------------


def _count(n_frames: int, camera: CameraFiles | None, tolerated: int, where: str) -> _Count:
    """Fit the camera's count to the video: cut its tail, or let it go on by ones."""
    if camera is None:
        return _Count(np.arange(n_frames, dtype=np.int64))
    values = camera.count if camera.count is not None else np.arange(camera.n_frames, dtype=np.int64)
    short = n_frames - values.size
    if short > tolerated:
        raise UnequalLengths(
            "the camera's files describe fewer frames than the video has",
            where=f"{where}: {', '.join(camera.sources)}" if camera.sources else where,
            expected=f"{n_frames:,} frames, or at most {tolerated:,} fewer",
            got=f"{values.size:,} frames",
            do="copy the camera's files again from the acquisition computer; if the originals are as short, "
            "they belong to another recording or their disk was full: move them aside to time the video by counts",
        )
    if short > 0:
        values = np.concatenate([values, values[-1] + 1 + np.arange(short, dtype=np.int64)])
        note = f"the camera's files lack the last {short:,} frames of the video, taken to follow one by one"
        return _Count(values, (note,))
    if short < 0:
        note = f"the video lacks the last {-short:,} frames that the camera's files describe"
        return _Count(values[:n_frames], (note,))
    return _Count(values)


# -- where frame 0 is --------------------------------------------------------------------------------------


def _place(pulses: Pulses, ttl: Fronts | None, camera: CameraFiles | None, count: _Count, route: Route) -> _Placement:
    """Find the pulse of frame 0 by the sync line where the pin shows it, else by counting."""
    clean = pulses if route.gaps_are_filled else drop_doubles(pulses)
    found = () if route.gaps_are_filled else find_gaps(clean)
    gaps = tuple(gap for gap in found if gap.n_periods <= count.needed)
    bridged = _gaps_the_camera_bridged(gaps, clean, camera, count)
    if camera is None:
        return _by_counts(clean, gaps, bridged, count, "the camera left no files")
    if camera.pins is None:
        return _by_counts(clean, gaps, bridged, count, "there are no pin states")
    if ttl is None:
        return _by_counts(clean, gaps, bridged, count, "no sync line is wired to the pin")
    filled, mended, match = _best_match(clean, gaps, bridged, count, camera.pins, ttl)
    if len(clean) < len(pulses):
        plain = match_pins(pulses, count.values, camera.pins, ttl)
        if plain.n_matched > match.n_matched:
            filled, mended, match = gaps, pulses, plain
    if not match.usable:
        return _by_counts(clean, gaps, bridged, count, match.reason)
    return _Placement(mended, match.start, match, _note_on_pauses(len(gaps) - len(filled)))


def _best_match(
    pulses: Pulses,
    gaps: tuple[Gap, ...],
    bridged: tuple[Gap, ...],
    count: _Count,
    pins: NDArray[np.bool_],
    ttl: Fronts,
) -> tuple[tuple[Gap, ...], Pulses, PinMatch]:
    """Return the gaps to fill that make most changes coincide, with the pulses and the match.

    What the camera's clock says about gaps comes first and stays where the pins say nothing against it;
    then none, all, and each gap by itself.
    """

    def match(filled: tuple[Gap, ...]) -> tuple[tuple[Gap, ...], Pulses, PinMatch]:
        mended = fill_gaps(pulses, filled)
        return filled, mended, match_pins(mended, count.values, pins, ttl)

    best = match(bridged)
    for filled in ((), gaps):
        if filled != bridged:
            best = max(best, match(filled), key=lambda found: found[2].n_matched)
    for gap in gaps[:_MOST_SINGLE_GAPS] if len(gaps) > 1 else ():
        other = match(tuple(g for g in gaps if (g in best[0]) != (g == gap)))
        best = max(best, other, key=lambda found: found[2].n_matched)
    return best


def _by_counts(
    pulses: Pulses, gaps: tuple[Gap, ...], bridged: tuple[Gap, ...], count: _Count, reason: str
) -> _Placement:
    """Place frame 0 by the numbers of pulses and frames alone."""
    mended = fill_gaps(pulses, bridged)
    surplus = len(mended) - count.needed
    told = ""
    if surplus > 0:
        told = f"; the {surplus:,} pulses in excess are assumed to come before the first frame"
    elif surplus < 0:
        told = f"; there are {-surplus:,} pulses too few, and the first is assumed to be that of frame 0"
    notes = (
        f"frames and pulses were matched by their numbers, since {reason}{told}",
        *_note_on_pauses(len(gaps) - len(bridged)),
    )
    return _Placement(mended, max(surplus, 0), None, notes, assumed=surplus != 0)


def _note_on_pauses(n_open: int) -> tuple[str, ...]:
    return (f"{n_open:,} gaps between pulses were taken for pauses of the camera",) if n_open else ()


def _gaps_the_camera_bridged(
    gaps: tuple[Gap, ...], pulses: Pulses, camera: CameraFiles | None, count: _Count
) -> tuple[Gap, ...]:
    """Return the gaps in which the camera went on, by its own clock; without one, by the numbers.

    Where the camera's clock stood between two frames for as long as the gap lasts, the camera paused.
    """
    if not gaps:
        return ()
    if camera is None or camera.camera_time_s is None or camera.camera_time_s.size < 2:
        short = count.needed - len(pulses)
        missed = sum(gap.n_periods - 1 for gap in gaps)
        return gaps if short > 0 and abs(short - missed) < short else ()
    known = min(camera.camera_time_s.size, count.values.size)
    period = pulses.period_s
    steps = np.diff(count.values[:known])
    pauses = np.sort(np.diff(camera.camera_time_s[:known]) - (steps - 1) * period)
    return tuple(gap for gap in gaps if not _holds_near(pauses, gap.duration_s, period / 2))


def _holds_near(ordered: NDArray[np.float64], value: float, tolerance: float) -> bool:
    low, high = np.searchsorted(ordered, [value - tolerance, value + tolerance])
    return bool(high > low)


# -- times -------------------------------------------------------------------------------------------------


def _times(placement: _Placement, count: _Count, camera: CameraFiles | None, route: Route, where: str) -> CameraTimes:
    pulses, match = placement.pulses, placement.match
    index = placement.start + count.values
    n_before = int(np.count_nonzero(index < 0))
    n_after = int(np.count_nonzero(index >= len(pulses)))
    if n_before + n_after > _frames_within(route.outside_s, pulses, index.size):
        raise _too_few_pulses(placement, count, n_before, n_after, route, where)
    times = pulses.at(index)
    quality = np.full(index.size, Quality.EXTRAPOLATED, dtype=np.uint8)
    inside = (index >= 0) & (index < len(pulses))
    quality[inside] = np.where(pulses.measured[index[inside]], Quality.MEASURED, Quality.INTERPOLATED)
    notes = (
        *pulses.notes,
        *(camera.notes if camera is not None else ()),
        *count.notes,
        *placement.notes,
        *_notes_on_residuals(match, pulses.period_s),
        *_notes_on_quality(quality, n_before, n_after),
    )
    return CameraTimes(
        times_s=times,
        quality=quality,
        method="counts" if match is None else "pins",
        start=placement.start,
        n_pulses=len(pulses),
        n_inserted=pulses.n_inserted,
        n_surplus_start=min(max(placement.start, 0), len(pulses)),
        n_surplus_end=max(len(pulses) - int(index[-1]) - 1, 0),
        n_missing_start=n_before,
        n_missing_end=n_after,
        n_dropped=count.needed - index.size,
        period_s=pulses.period_s,
        drift_ppm=_drift_ppm(times, quality, camera),
        residual_frames=_or_empty_frames(match),
        residuals_s=match.residuals_s if match is not None and match.residuals_s is not None else np.empty(0),
        notes=notes,
        outcome_hint=Outcome.WARNING if placement.assumed or quality.any() else Outcome.PASS,
    )


def _or_empty_frames(match: PinMatch | None) -> IntArray:
    return match.frames if match is not None and match.frames is not None else np.empty(0, dtype=np.int64)


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
    off = int(np.count_nonzero((match.residuals_s > 0) | (match.residuals_s <= -1.5 * period_s)))
    told = (
        f"{match.n_matched:,} of {match.n_pin_edges:,} pin changes coincide with one of "
        f"{match.n_ttl_edges:,} sync changes"
    )
    return (f"{told}; {off:,} are off by a frame or more",) if off else (told,)


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
    placement: _Placement, count: _Count, n_before: int, n_after: int, route: Route, where: str
) -> PulseCountMismatch:
    method = "counts" if placement.match is None else "pins"
    tolerated = _frames_within(route.outside_s, placement.pulses, count.values.size)
    return PulseCountMismatch(
        f"{n_before + n_after:,} frames have no pulse",
        where=where,
        expected=f"at most {tolerated:,} frames ({route.outside_s:g} s or {_TOLERATED_SHARE:.1%}) outside the pulses",
        got=f"{count.values.size:,} frames, {count.needed - count.values.size:,} dropped by the camera, "
        f"{len(placement.pulses):,} pulses of which {placement.pulses.n_inserted:,} were put in; "
        f"{n_before:,} frames before the first pulse and {n_after:,} after the last (method {method})",
        do=route.do,
    )
