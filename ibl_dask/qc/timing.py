"""Checks of the frame times, beyond those of the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.model.frame_ranges import find_ranges
from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.registry import check
from ibl_dask.timing.alignment.pin_delay import LATEST_READING, reading_delay

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_UNEVEN_SHARE = 0.001
MAX_GAP_S = 1.0
MAX_OFF_SHARE = 0.01
MAX_EXTRAPOLATED_PERIODS = 10_000
_EDGE = 0.02
"""Tolerance of a change beyond its period, periods."""
_INTERPOLATED, _EXTRAPOLATED, _ASSUMED = 1, 2, 3


@check
def check_frame_intervals(evidence: CameraEvidence) -> CheckResult | str:
    """Check every interval between frames, not the median alone.

    An interval is uneven where it differs from the median by over half a period: the frame is then nearer to the time
    of another one. A single uneven interval is a WARNING.

    Notes
    -----
    FAIL from one interval in a thousand on, the share at which the reference fails dropped frames, since a dropped
    frame leaves one uneven interval; and where a gap is a second or longer, half of the usual window around an event
    (2 s), so that whole responses are missing. The reference has no such check: times that jump by a minute pass its
    `framerate` and `timestamps`.
    """
    if evidence.times_s is None:
        return "there are no frame times"
    intervals = np.diff(evidence.times_s)
    finite = np.isfinite(intervals)
    if np.count_nonzero(finite) < 2:
        return "there are fewer than three frame times"
    period = float(np.median(intervals[finite]))
    uneven = finite & (np.abs(intervals - period) > period / 2)
    place = int(np.argmax(np.where(finite, intervals, -np.inf)))
    gap, n_uneven = float(intervals[place]), int(np.count_nonzero(uneven))
    share = n_uneven / int(np.count_nonzero(finite))
    has_gap = bool(uneven[place]) and gap >= MAX_GAP_S
    outcome = Outcome.FAIL if share >= MAX_UNEVEN_SHARE or has_gap else Outcome.WARNING
    return CheckResult(
        "frame_intervals",
        outcome if n_uneven else Outcome.PASS,
        measured=f"{n_uneven:,} of {np.count_nonzero(finite):,} intervals are uneven ({share:.3%}), the longest is "
        f"{gap:.4g} s after frame {place:,}",
        threshold=f"none off the median ({1000 * period:.4g} ms) by over half of it; FAIL from {MAX_UNEVEN_SHARE:.1%} "
        f"or a gap of {MAX_GAP_S:g} s on",
        values={
            "median_s": period,
            "n_uneven": n_uneven,
            "share_uneven": share,
            "longest_s": gap,
            "longest_after_frame": place,
        },
    )


@check
def check_pulse_residuals(evidence: CameraEvidence) -> CheckResult | str:
    """Compare every matched change of the camera's pin with the time of its frame.

    A change on the main clock lies between the times at which the camera read its pin for the frame before and for the
    first frame that shows it. If the pin is read at the exposure, the residual is in (-period, 0]; a delay of the
    reading shifts all residuals. A residual beyond this range, or more than half a period too early, is off by a frame
    or more.

    Notes
    -----
    The delay of the reading is estimated from the residuals: no camera reads the pin before the exposure, or more than
    two thirds of a period after it. Residuals in another period mean that every frame may be off by one.

    A single stray change may be a glitch on the line: WARNING. From one in a hundred on it is a shift of the frames
    against the clock: FAIL. The reference uses the first change alone.
    """
    if evidence.residuals_s is None or evidence.period_s is None:
        return "there are no frame times, or none that pin changes were matched for"
    if len(evidence.residuals_s) == 0:
        return "no change of the camera's pin was matched with the sync line"
    residuals, period = evidence.residuals_s, evidence.period_s
    lags = residuals / period
    reading = reading_delay(lags)
    end = reading.whole + reading.delay
    is_possible = 0 <= end <= LATEST_READING
    edge = _EDGE if end else 0.0
    off = (lags > end + edge) | (lags <= end - 1.5) if is_possible else (lags > 0) | (lags <= -1)
    n_off = int(np.count_nonzero(off))
    share = n_off / len(residuals)
    farthest = float(residuals[np.argmax(np.abs(residuals + period / 2))])
    outcome = Outcome.FAIL if share >= MAX_OFF_SHARE else Outcome.WARNING
    return CheckResult(
        "pulse_residuals",
        outcome if n_off else Outcome.PASS,
        measured=f"{n_off:,} of {len(residuals):,} matched pin changes are off by a frame or more ({share:.2%}), the "
        f"residual farthest from {-500 * period:.3g} ms is {1000 * farthest:.3g} ms",
        threshold=f"every residual in ({1000 * period * (end - 1.5 if is_possible else -1):.3g}, "
        f"{1000 * period * end if is_possible else 0:.3g}] ms; FAIL from {MAX_OFF_SHARE:.0%} on",
        values={
            "n_matched": len(residuals),
            "n_off": n_off,
            "share_off": share,
            "farthest_residual_s": farthest,
            "median_residual_s": float(np.median(residuals)),
        },
    )


@check
def check_reckoned_times(evidence: CameraEvidence) -> CheckResult | str:
    """Count the times without a pulse: interpolated between two pulses, or extrapolated beyond the last.

    A single one is a WARNING. FAIL where the match of frame and pulse is an assumption.

    Notes
    -----
    An interpolated time has a pulse on either side. An extrapolated time drifts: quartz clocks agree to 50 parts per
    million, so that a time 10,000 frames beyond the last pulse may be off by half a frame, at any rate: FAIL from there
    on. The reference extrapolates without notice.
    """
    if evidence.time_quality is None or len(evidence.time_quality) == 0:
        return "there are no frame times"
    quality = evidence.time_quality
    interpolated, extrapolated = quality == _INTERPOLATED, quality == _EXTRAPOLATED
    longest = {name: _longest_run(flags) for name, flags in (("in", interpolated), ("ex", extrapolated))}
    n_in, n_ex = int(np.count_nonzero(interpolated)), int(np.count_nonzero(extrapolated))
    n_assumed = int(np.count_nonzero(quality == _ASSUMED))
    outcome = Outcome.WARNING if n_in or n_ex else Outcome.PASS
    if n_assumed or longest["ex"] > MAX_EXTRAPOLATED_PERIODS:
        outcome = Outcome.FAIL
    return CheckResult(
        "reckoned_times",
        outcome,
        measured=f"{n_in:,} of {len(quality):,} times are interpolated ({n_in / len(quality):.3%}), "
        f"{n_ex:,} extrapolated ({n_ex / len(quality):.3%}), at most {longest['in']:,} and {longest['ex']:,} in a row; "
        f"{n_assumed:,} assumed",
        threshold=f"none; FAIL where any is assumed, or over {MAX_EXTRAPOLATED_PERIODS:,} extrapolated in a row",
        values={
            "share_interpolated": n_in / len(quality),
            "share_extrapolated": n_ex / len(quality),
            "n_interpolated": n_in,
            "n_extrapolated": n_ex,
            "n_assumed": n_assumed,
            "longest_interpolated_frames": longest["in"],
            "longest_extrapolated_frames": longest["ex"],
        },
    )


def _longest_run(flags: NDArray[np.bool_]) -> int:
    return max((last - first + 1 for first, last in find_ranges(flags)), default=0)
