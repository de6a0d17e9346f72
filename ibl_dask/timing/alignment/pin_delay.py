"""Delay between the start of an exposure and the moment at which the camera reads its pin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


LATEST_READING = 0.65
"""Latest reading of a pin, periods after the exposure began: nearer to the next one, the two look alike."""
EDGE_PERIODS = 0.02
"""Periods by which a change may lie beyond its period: sampling of the DAQ, jitter of the camera."""
_STRAY = 0.05
"""Share of the changes, besides one, that may lie outside that period by chance: a pin that is read at once is likelier
than one that is read just before the next exposure and agrees with hardly more of them."""


@dataclass(frozen=True, slots=True)
class PinReading:
    """Moment at which a camera reads its pin, with the evidence."""

    whole: int = 0
    """Exposures by which the frames are off, whole."""
    delay: float = 0.0
    """Delay after the exposure began, periods."""
    n_inside: int = 0
    """Changes that agree: those within one period."""
    doubt: str = ""
    """Reason why another reading is possible; empty where none is."""


def reading_delay(lags: FloatArray, shortest: float = 1.0) -> PinReading:
    """Estimate when a camera reads its pin.

    Parameters
    ----------
    lags : ndarray of float
        Changes minus the exposures of the frames that first show them, periods; with strays among them (change,).
    shortest : float
        Short intervals between exposures, periods: in these a delay is a larger part of the interval.

    Notes
    -----
    For any delay, all lags lie within one period that ends with it. So every end of a period that holds nearly all of
    them is possible: ends from `earliest` to `latest`. A camera reads its pin after the exposure began, and not as late
    as the next: an end shortly before a whole number would be one frame wrong, and two frames are possible where few
    changes leave more than 1 - `LATEST_READING` of a period free.
    """
    lags = np.sort(lags[np.isfinite(lags)])
    if not lags.size:
        return PinReading()
    # Changes in the period that ends with each, and in the one that begins with it, one edge wider at both ends.
    ending = np.arange(1, lags.size + 1) - np.searchsorted(lags, lags - 1 - 2 * EDGE_PERIODS)
    beginning = np.searchsorted(lags, lags + 1 + 2 * EDGE_PERIODS, side="right") - np.arange(lags.size)
    most = int(ending.max())
    enough = max(most - 1 - round(_STRAY * most), 1)
    earliest = float(lags[ending >= enough].min()) - EDGE_PERIODS
    latest = float(lags[beginning >= enough].max()) + 1 + EDGE_PERIODS
    whole = int(np.ceil(earliest))
    if whole <= latest:
        few = whole - float(lags[ending == most].min()) >= 1 - LATEST_READING / min(shortest, 1.0)
        doubt = (
            f"its {lags.size:,} changes are so few that the camera may have read its pin just before the next exposure"
        )
        return PinReading(whole, 0.0, most, doubt if few else "")
    delay = (earliest + latest) / 2 - (whole - 1)
    doubt = f"the camera reads its pin {delay:.2f} periods after an exposure, or before the next one"
    return PinReading(whole - 1, delay, most, doubt if earliest - (whole - 1) > LATEST_READING else "")
