"""Frame times of cameras of labcams, by their logs.

Rigs with labcams write no pin states, so the log alone ties frames to pulses. It does so in two ways. The frame ids
count the exposures from the first frame to the last, those that never became a frame included. And the camera's clock
and the DAQ both noted each exposure: where intervals are uneven, by microseconds of jitter or by a pause, they are
uneven alike on both, which gives the pulse of the first frame (`interval_matching`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.model.outcome import Outcome
from ibl_dask.timing.alignment.camera_times import Quality
from ibl_dask.timing.alignment.clock_policy import CAMLOG
from ibl_dask.timing.alignment.exposure_index import index_by_counter
from ibl_dask.timing.alignment.frame_times import times_from_pulses
from ibl_dask.timing.alignment.interval_matching import PulseIndex, frame_numbers, start_by_intervals
from ibl_dask.timing.alignment.rates import require_one_rate
from ibl_dask.timing.alignment.spurious_pulses import drop_spurious
from ibl_dask.timing.clocks.pulses import camera_pulses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ibl_dask.timing.alignment.camera_times import CameraTimes
    from ibl_dask.timing.camera.camlog import Camlog
    from ibl_dask.timing.clocks.nidq import Fronts
    from ibl_dask.timing.clocks.pulses import Pulses


def camlog_times(
    n_frames: int,
    fronts: Fronts,
    log: Camlog | None,
    *,
    where: str,
    nominal_hz: float | None = None,
    fronts_per_channel: Mapping[int, int] | None = None,
) -> CameraTimes:
    """Time every frame of a video on the clock of a DAQ, by the camera's log.

    Parameters
    ----------
    n_frames : int
        Frames of the video.
    fronts : Fronts
        Fronts of the camera's line.
    log : Camlog or None
        The camera's log; None where there is none, so that numbers alone decide.
    where : str
        Camera and session, for messages.
    nominal_hz : float or None
        Frame rate that the camera was set to, Hz; None where it is not known.
    fronts_per_channel : mapping of int to int, or None
        Fronts on every channel of the sync, for the message where there are no pulses.

    Raises
    ------
    NoPulses, ClocksDisagree, UnequalLengths, PulseCountMismatch
        See `frame_times.frame_times`.

    Notes
    -----
    Where the intervals do not show which pulse is that of the first frame, it is the first one: these cameras start to
    expose with the recording, and labcams stops saving before they stop. The reference assumes the same.
    """
    files = None if log is None else log.camera_files
    recorded = camera_pulses(fronts, where=where, fronts_per_channel=fronts_per_channel)
    clean = drop_spurious(recorded)
    require_one_rate(clean, files, nominal_hz, where)
    pulses = PulseIndex.of(clean)
    frames = frame_numbers(n_frames, files)
    agreed = None if files is None else start_by_intervals(pulses, frames, files.camera_time_s)
    first_s, last_s = pulses.span(agreed or 0, frames, has_clock=files is not None and files.camera_time_s is not None)
    half = pulses.period_s / 2
    time = partial(times_from_pulses, n_frames, where=where, policy=CAMLOG, fronts_per_channel=fronts_per_channel)
    cut = _cut(recorded, first_s, last_s, half)
    # One pulse has no period. Of two, `times_from_pulses` takes the first for the one in excess, so it is padding.
    n_padded = int(cut.times_s.size < 2)
    cut = _cut(recorded, first_s - n_padded * pulses.period_s, last_s, half)
    result = time(cut, None, files)
    if result.n_surplus_start > n_padded:
        # A pause of half a period too much, rounded otherwise: the first pulse stays that of the first frame.
        last_s = float(cut.times_s[n_padded - 1 - result.n_surplus_start])
        result = time(_cut(recorded, first_s, last_s, half), None, files)
    n_before = int(np.count_nonzero(pulses.times_s < first_s - half))
    n_after = int(np.count_nonzero(pulses.times_s > last_s + half))
    is_early = result.times_s < pulses.times_s[0] - half
    n_early = int(np.count_nonzero(is_early))
    is_guess = agreed is None and n_after > 0
    quality = np.where(is_early, np.uint8(Quality.EXTRAPOLATED), result.pulse_quality)
    # The pulses are cut to the frames, so that numbers agree in any case.
    assumed_count = index_by_counter(n_frames, files, n_frames, where).assumed
    why = (
        ""
        if agreed is not None
        else "no interval says which pulse is that of frame 0, so the first one is taken for it"
    )
    assumed = "; ".join(filter(None, (why, assumed_count)))
    outcome = max(result.outcome_if_confirmed, Outcome.WARNING if is_early.any() else Outcome.PASS)
    return replace(
        result,
        method="counts" if agreed is None else "intervals",
        quality=np.full_like(quality, Quality.ASSUMED) if assumed else quality,
        pulse_quality=quality,
        assumed=assumed,
        start=result.start - n_padded + n_before - n_early,
        n_pulses=result.n_pulses - n_padded + n_before + n_after,
        n_surplus_start=result.n_surplus_start - n_padded + n_before,
        n_surplus_end=result.n_surplus_end + n_after,
        n_missing_start=result.n_missing_start + n_early,
        notes=(*result.notes, *_notes_on_start(n_before, n_after, n_early, is_guess, agreed is not None)),
        outcome_hint=Outcome.FAIL if assumed else outcome,
        outcome_if_confirmed=outcome,
    )


def _cut(pulses: Pulses, first_s: float, last_s: float, half_s: float) -> Pulses:
    """Return the pulses of the video's frames, which leaves only gaps for `times_from_pulses` to fill.

    Pulses are inserted for all first frames without one, and one for the last frame where it has none and others
    follow. (One for the first frame alone, far before the others, would pass for a glitch.)

    Parameters
    ----------
    pulses : Pulses
        All pulses, glitches included.
    first_s, last_s : float
        Times of the first and the last frame, s.
    half_s : float
        Half a period, s: pulses up to this much outside still belong to the video.
    """
    inside = (pulses.times_s > first_s - half_s) & (pulses.times_s < last_s + half_s)
    times, measured = pulses.times_s[inside], pulses.measured[inside]
    inserted: list[float] = []
    if not times.size:
        inserted.append(first_s)
    elif times[0] > first_s + half_s:
        n_early = round((float(times[0]) - first_s) / (2 * half_s))
        inserted += np.linspace(first_s, float(times[0]), n_early, endpoint=False).tolist()
    if (not times.size or times[-1] < last_s - half_s) and pulses.times_s[-1] > last_s:
        inserted.append(last_s)
    times = np.concatenate([times, inserted])
    order = np.argsort(times, kind="stable")
    measured = np.concatenate([measured, np.zeros(len(inserted), np.bool_)])[order]
    return replace(pulses, times_s=times[order], measured=measured, n_inserted=pulses.n_inserted + len(inserted))


def _notes_on_start(n_before: int, n_after: int, n_early: int, is_guess: bool, is_agreed: bool) -> list[str]:
    notes = []
    if is_agreed:
        notes.append("intervals between frames by the camera's clock agree with those between pulses")
    if is_guess:
        notes.append(
            f"{n_after:,} pulses are in excess and nothing shows where; the first pulse is taken for that of frame 0"
        )
    elif n_before or n_after:
        notes.append(f"{n_before:,} pulses come before the first frame and {n_after:,} after the last")
    if n_early:
        notes.append(f"the first {n_early:,} frames come before the first pulse; their times are extrapolated")
    return notes
