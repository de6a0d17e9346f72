"""Rates of camera and pulses: one camera gives frames and pulses at one rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibl_dask.errors import ClocksDisagree
from ibl_dask.timing.clocks.pulses import typical_period_s

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ibl_dask.timing.camera.camera_files import CameraFiles
    from ibl_dask.timing.clocks.pulses import Pulses


_SAME_PERIOD = 0.01
"""Relative difference up to which two periods are of one camera: quartzes agree to 0.0002, cameras differ by more."""
MOST_DRIFT = 0.002
"""Share by which camera clock and pulses may differ: data sheets of cameras and DAQs promise 50 to 100 parts per
million, a tenth of it for both. A sync that was scaled by 1 % is not of the same time."""
_NOMINAL_OFF = 0.018
"""Share by which cameras are off the rate that they were set to: those of real sessions of 60 Hz run at 59.77 to 60.13,
and 59 has been seen."""
_COMPUTER_OFF = 0.05
"""Share by which a computer's clock may be off: it notes frames milliseconds late."""
_TICK_S = 1.25e-4
"""Resolution of the camera's clock, s."""
_FEW = 30
"""Pulses below which the rate is not known to a percent."""


def require_one_rate(pulses: Pulses, camera: CameraFiles | None, nominal_hz: float | None, where: str) -> None:
    """Require pulses at the rate of the camera's own clock, or else at its nominal rate, or else at its computer's.

    The camera's clock decides where there is one: a rig may be set to another rate than its description gives.

    Parameters
    ----------
    pulses : Pulses
        Pulses of the main clock.
    camera : CameraFiles or None
        Files of the camera, with its clocks.
    nominal_hz : float or None
        Rate that the camera was set to, Hz; None where it is not known.
    where : str
        Camera and session, for messages.

    Raises
    ------
    ClocksDisagree
        If the rates differ by more than 0.2 % (camera's clock), 1.8 % (nominal rate) or 5 % (computer's clock). The
        message has the rates by the camera's clock, as it was set, and by the pulses.
    """
    clock = _period_of(None if camera is None else camera.camera_time_s)
    computer = _period_of(None if camera is None else camera.pc_time_s)
    period = pulses.period_s
    if clock is not None and camera is not None and camera.camera_time_s is not None:
        # Of few frames, the mean interval is known no better than two ticks at either end.
        few = 4 * _TICK_S / (min(camera.camera_time_s.size, len(pulses)) * clock)
        is_one = abs(period / clock - 1) <= MOST_DRIFT + few
    elif nominal_hz:
        is_one = abs(period * nominal_hz - 1) <= _NOMINAL_OFF or len(pulses) < _FEW
    else:
        is_one = computer is None or abs(period / computer - 1) <= _COMPUTER_OFF
    if is_one:
        return
    own = f"{1 / clock:.5g} Hz by the camera's own clock" if clock is not None else "no clock of the camera"
    if clock is None and computer is not None:
        own += f" ({1 / computer:.4g} Hz by its computer's)"
    rates = f"{own}, {'no nominal rate' if not nominal_hz else f'{nominal_hz:g} Hz as the rig was set'}"
    raise ClocksDisagree(
        "the camera and its pulses are not on clocks of one rate",
        where=where,
        expected=f"pulses at one rate with the camera, to {MOST_DRIFT:.1%}: {rates}",
        got=f"{1 / period:.5g} Hz by the pulses",
        do="see whether the times of the sync are in seconds (not samples, ms or us) by the rate in the header of the "
        "recording, and whether the channel in wiring.json is this camera's; where the nominal rate is wrong, correct "
        "`fps` in the experiment description",
    )


def _period_of(clock: NDArray[np.float64] | None) -> float | None:
    """Return the usual time between frames by a clock, s; None where it stands still or has under three times."""
    if clock is None or clock.size < 3:
        return None
    period = typical_period_s(clock)
    return period if period > 0 else None


def same_period(a_s: float, b_s: float) -> bool:
    """Return whether two periods are those of one camera: equal to 1 %."""
    return abs(a_s - b_s) <= _SAME_PERIOD * b_s
