"""Input of the alignment: cleaned pulses, gaps between them, and the exposure index of the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import NoPulses
from ibl_dask.timing.alignment.exposure_index import (
    ExposureIndex,
    UnusableClock,
    index_by_clock,
    index_by_counter,
    longest_gap_periods,
    repair_cycles,
)
from ibl_dask.timing.alignment.fitting_channels import format_fitting_channels
from ibl_dask.timing.alignment.rates import require_one_rate, same_period
from ibl_dask.timing.alignment.spurious_pulses import drop_spurious
from ibl_dask.timing.camera.camera_clock import CYCLE_S
from ibl_dask.timing.clocks.pulses import drop_pulses, fill_gaps, find_gaps
from ibl_dask.timing.tolerance import tolerated_frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.clock_policy import ClockPolicy
    from ibl_dask.timing.camera.camera_files import CameraFiles
    from ibl_dask.timing.clocks.nidq import Fronts
    from ibl_dask.timing.clocks.pulses import Gap, Pulses

_ECHO = 0.3
"""Pulses within this fraction of the camera's period after another may be echoes; those of a camera that is twice as
fast (0.5) are not."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentInput:
    """Everything that is known before frames are assigned to pulses."""

    pulses: Pulses
    """Pulses without glitches, with gaps."""
    gaps: tuple[Gap, ...]
    """Gaps that are short enough to lie within the recording of the camera."""
    counter: ExposureIndex
    """Exposures by the camera's own counter."""
    clock: ExposureIndex | None
    """Exposures by the camera's clock; None where the camera has no usable clock."""
    camera: CameraFiles | None
    ttl: Fronts | None
    policy: ClockPolicy
    noted_s: NDArray[np.float64]
    """Times of all recorded pulses before any was left out, s (pulse,)."""

    def filled(self, gaps: tuple[Gap, ...]) -> Pulses:
        """Return the pulses with one inserted for each missing period of the gaps."""
        return self.pulses if not gaps else replace(fill_gaps(self.pulses, gaps), notes=self.pulses.notes)


def prepare_input(
    n_frames: int,
    pulses: Pulses,
    ttl: Fronts | None,
    camera: CameraFiles | None,
    policy: ClockPolicy,
    where: str,
    nominal_hz: float | None,
    fronts_per_channel: Mapping[int, int] | None,
) -> AlignmentInput:
    """Clean the pulses, and number the exposures of the frames.

    Parameters
    ----------
    n_frames, pulses, ttl, camera, policy, where, nominal_hz, fronts_per_channel
        See `frame_times.times_from_pulses`.

    Raises
    ------
    NoPulses
        If the pulses have neither the period nor the number of the camera's exposures: those of another camera.
    ClocksDisagree
        If the pulses come at another rate than the camera's clock, or else its nominal rate.
    UnequalLengths
        If the camera's files describe fewer frames than the video has, beyond the tolerance.
    """
    noted = pulses.times_s[pulses.measured]
    if not policy.gaps_are_filled:
        pulses = _without_glitches(pulses, camera)
    camera = repair_cycles(camera, pulses, CYCLE_S)
    n_tolerated = tolerated_frames(n_frames, pulses.period_s)
    counter = index_by_counter(n_frames, camera, n_tolerated, where)
    longest = longest_gap_periods(counter, camera, pulses.period_s)
    gaps = () if policy.gaps_are_filled else tuple(gap for gap in find_gaps(pulses) if gap.n_periods <= longest)
    clock = index_by_clock(counter, camera, pulses, gaps)
    if isinstance(clock, UnusableClock):
        if clock.period_s is not None:
            # A clock of another period with as many exposures is a bad clock; with another number, another camera.
            n_near = max(n_tolerated, round(1 / clock.period_s))
            if abs(len(pulses) - counter.n_exposures) > n_near:
                raise _other_camera(pulses, counter, clock.period_s, n_tolerated, where, fronts_per_channel)
        counter = replace(counter, notes=(*counter.notes, *clock.notes))
    require_one_rate(pulses, camera, nominal_hz, where)
    usable = clock if isinstance(clock, ExposureIndex) else None
    return AlignmentInput(pulses, gaps, counter, usable, camera, ttl, policy, noted)


def _without_glitches(pulses: Pulses, camera: CameraFiles | None) -> Pulses:
    """Leave out pulses that are no exposures; where every pulse has an echo, the camera's own period shows it."""
    clean = drop_spurious(pulses)
    period = None if camera is None else camera.period_s
    if period is None or same_period(clean.period_s, period):
        return clean
    # With an echo after each pulse, the median interval is no period, and `drop_spurious` has none to go by.
    echoes = np.flatnonzero(np.diff(pulses.times_s) < _ECHO * period) + 1
    without = drop_pulses(pulses, echoes)
    if 2 * echoes.size > len(pulses) or not same_period(without.period_s, period):
        return clean
    note = f"{echoes.size:,} pulses came right after another and were left out"
    return drop_spurious(replace(without, notes=(*without.notes, note)))


def _other_camera(
    pulses: Pulses,
    counter: ExposureIndex,
    period_s: float,
    n_tolerated: int,
    where: str,
    fronts_per_channel: Mapping[int, int] | None,
) -> NoPulses:
    return NoPulses(
        "the pulses on this channel are not those of this camera",
        where=where,
        expected=f"{counter.n_exposures:,} pulses, one every {1e3 * period_s:.2f} ms by the camera's own clock",
        got=f"{len(pulses):,} pulses, one every {1e3 * pulses.period_s:.2f} ms",
        do="correct the camera's channel in the rig's wiring.json"
        + format_fitting_channels(counter.n_exposures, n_tolerated, fronts_per_channel),
    )
