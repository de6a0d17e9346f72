"""One time per frame: camera pulses on the main clock, the camera's own count, and the evidence that ties the two.

Both sides number exposures: a pulse that the sync missed and a frame that the camera dropped leave a number unused, and
so does every period of a pause, by the clock of either side. Then frame `f` with exposure number `e[f]` belongs to
pulse `start + e[f]`, and the alignment has a single unknown, `start`. The sync line on the camera's pin gives it
(`pin_matching`), else the numbers of pulses and frames (`assignment`). The camera's clock then shows where single
frames, or all beyond some frame, belong to another pulse (`clock_comparison`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import PulseCountMismatch, UsageError
from ibl_dask.model.outcome import Outcome
from ibl_dask.timing.alignment.alignment_input import prepare_input
from ibl_dask.timing.alignment.assignment import assign_frames
from ibl_dask.timing.alignment.camera_times import CameraTimes, Quality
from ibl_dask.timing.alignment.clock_policy import DAQ
from ibl_dask.timing.alignment.fitting_channels import format_fitting_channels
from ibl_dask.timing.alignment.pin_delay import EDGE_PERIODS
from ibl_dask.timing.clocks.pulses import camera_pulses
from ibl_dask.timing.tolerance import TOLERATED_SHARE, tolerated_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.agreement import Agreement
    from ibl_dask.timing.alignment.alignment_input import AlignmentInput
    from ibl_dask.timing.alignment.assignment import Assignment
    from ibl_dask.timing.alignment.clock_policy import ClockPolicy
    from ibl_dask.timing.alignment.pin_changes import PinMatch
    from ibl_dask.timing.camera.camera_files import CameraFiles
    from ibl_dask.timing.clocks.nidq import Fronts
    from ibl_dask.timing.clocks.pulses import Pulses

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


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
    """Time every frame of a video on the main clock.

    Parameters
    ----------
    n_frames : int
        Frames of the video.
    pulses : Fronts
        Fronts of the camera's line.
    ttl : Fronts or None
        Fronts of the line that is wired to the camera's pin 4; None where none is.
    camera : CameraFiles or None
        Counter, clocks and pins that the camera recorded with its frames; None where it left no files.
    where : str
        Camera and session, for messages.
    nominal_hz : float or None
        Frame rate that the camera was set to, Hz; None where it is not known.
    fronts_per_channel : mapping of int to int, or None
        Fronts on every channel of the sync, for the message where there are no pulses.

    Raises
    ------
    NoPulses
        If the camera's line rises fewer than two times, or its pulses are those of another camera.
    ClocksDisagree
        If the pulses come at another rate than the camera's own clock, or else the nominal one.
    UnequalLengths
        If the camera's files describe fewer frames than the video has, beyond 1 s or 0.5 % of them.
    PulseCountMismatch
        If more than 1 s or 0.5 % of the frames lie before the first or after the last pulse.
    """
    return times_from_pulses(
        n_frames,
        camera_pulses(pulses, where=where, fronts_per_channel=fronts_per_channel),
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
    policy: ClockPolicy = DAQ,
    nominal_hz: float | None = None,
    fronts_per_channel: Mapping[int, int] | None = None,
) -> CameraTimes:
    """Time every frame of a video from pulses that are already extracted (see `frame_times`).

    Pulses that were inserted before, such as those bridging the time between trials, carry `measured` False; their
    frames come out as interpolated.

    Parameters
    ----------
    n_frames, ttl, camera, where, nominal_hz, fronts_per_channel
        See `frame_times`.
    pulses : Pulses
        One per exposure, as far as they are known.
    policy : ClockPolicy
        Number of frames that may lie outside the pulses, and whether the gaps between these are filled.

    Raises
    ------
    NoPulses, ClocksDisagree, UnequalLengths, PulseCountMismatch
        See `frame_times`.
    """
    if n_frames < 1:
        raise UsageError("a video without frames has no times", where, "at least one frame", f"{n_frames}")
    inputs = prepare_input(n_frames, pulses, ttl, camera, policy, where, nominal_hz, fronts_per_channel)
    return _camera_times(assign_frames(inputs), inputs, where, fronts_per_channel)


def _camera_times(
    assignment: Assignment, inputs: AlignmentInput, where: str, fronts_per_channel: Mapping[int, int] | None
) -> CameraTimes:
    """Collect the result, or refuse it where too many frames lie outside the pulses."""
    pulses, index, match, camera = assignment.pulses, assignment.index, assignment.match, inputs.camera
    n_before, n_after = assignment.n_outside()
    n_tolerated = tolerated_frames(index.size, pulses.period_s, inputs.policy.outside_s)
    if n_before + n_after > n_tolerated:
        raise _too_few_pulses(assignment, n_tolerated, inputs.policy, where, fronts_per_channel)
    times, quality, agreement = assignment.times(), assignment.quality(), assignment.agreement
    residuals = _residuals(match, agreement)
    is_odd = assignment.is_odd or quality.any() or (camera is not None and camera.damaged)
    notes = (
        *pulses.notes,
        *(camera.notes if camera is not None else ()),
        *assignment.notes,
        *_notes_on_residuals(match, pulses.period_s),
        *_notes_on_quality(quality, n_before, n_after),
    )
    outcome = Outcome.WARNING if is_odd else Outcome.PASS
    is_assumed = np.full(index.size, bool(assignment.assumed))
    if agreement is not None and agreement.is_assumed.any() and assignment.assumed == agreement.why:
        # Lost samples are the only doubt, and it concerns the frames beyond them alone.
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
        assumed=assignment.assumed,
        outcome_hint=Outcome.FAIL if assignment.assumed else outcome,
        outcome_if_confirmed=outcome,
    )


def _residuals(match: PinMatch | None, agreement: Agreement | None) -> tuple[IntArray, FloatArray]:
    """Return the frames that show a matched change, and the change minus their time, s. (match,)"""
    if match is None or match.frames is None or match.residuals_s is None:
        return np.empty(0, dtype=np.int64), np.empty(0)
    # The residual of a frame that was moved to another pulse is that of its old time.
    stay = np.ones(match.frames.size, np.bool_) if agreement is None else ~agreement.is_moved[match.frames]
    return match.frames[stay], match.residuals_s[stay]


def _drift_ppm(times: FloatArray, quality: NDArray[np.uint8], camera: CameraFiles | None) -> float | None:
    """Return the slope of main clock against camera clock over measured frames, minus one, parts per million."""
    if camera is None or camera.camera_time_s is None:
        return None
    known = min(times.size, camera.camera_time_s.size)
    measured = quality[:known] == Quality.MEASURED
    x, y = camera.camera_time_s[:known][measured], times[:known][measured]
    if x.size < 2:
        return None
    # Least squares through the means: with times of 1e4 s, their squares would leave no digits for 1e-6.
    x, y = x - x.mean(), y - y.mean()
    spread = float(x @ x)
    return (float(x @ y) / spread - 1) * 1e6 if spread > 0 else None


def _notes_on_residuals(match: PinMatch | None, period_s: float) -> tuple[str, ...]:
    if match is None or match.residuals_s is None:
        return ()
    lags = match.residuals_s / period_s - match.delay_periods
    n_off = int(np.count_nonzero((lags > EDGE_PERIODS) | (lags <= -1.5)))
    note = (
        f"{match.n_matched:,} of {match.n_pin_edges:,} pin changes coincide with one of "
        f"{match.n_ttl_edges:,} sync changes"
    )
    if n_off:
        note += f"; {n_off:,} are off by a frame or more"
    late = f"the camera reads its pin {match.delay_periods:.2f} periods after an exposure began"
    return (note, late) if match.delay_periods else (note,)


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
    assignment: Assignment,
    n_tolerated: int,
    policy: ClockPolicy,
    where: str,
    fronts_per_channel: Mapping[int, int] | None,
) -> PulseCountMismatch:
    method = "counts" if assignment.match is None else "pins"
    pulses, index = assignment.pulses, assignment.index
    n_before, n_after = assignment.n_outside()
    n_needed = int(index[-1] - index[0]) + 1
    return PulseCountMismatch(
        f"{n_before + n_after:,} frames have no pulse",
        where=where,
        expected=f"at most {n_tolerated:,} frames ({policy.outside_s:g} s or {TOLERATED_SHARE:.1%}) outside the pulses",
        got=f"{index.size:,} frames, {n_needed - index.size:,} dropped by the camera, "
        f"{len(pulses):,} pulses of which {pulses.n_inserted:,} were put in; "
        f"{n_before:,} frames before the first pulse and {n_after:,} after the last (method {method})",
        do=policy.do + format_fitting_channels(n_needed, n_tolerated, fronts_per_channel),
    )
