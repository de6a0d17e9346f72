"""Diameter of the pupil from four points on its rim, raw and smooth."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingKeypoints, UnusableFile
from ibl_dask.model.frame_ranges import find_ranges
from ibl_dask.pose.keypoints import Keypoints, require_keypoints
from ibl_dask.pose.known_values import known_median, known_std
from ibl_dask.pose.rig import NOMINAL_RATE_HZ
from ibl_dask.pose.uneven_savgol import smooth_uneven

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PUPIL = tuple(f"pupil_{side}_r" for side in ("top", "bottom", "left", "right"))
"""Points on the rim of the pupil."""
SMOOTHING_WINDOW = MappingProxyType({"left": 31, "right": 75})
"""Samples of a window of the smoothing filter, "works well empirically" in `brainbox.behavior.dlc`; half a second."""
SMOOTHING_ORDER = 3
MOST_MISSING = 0.9
"""Share of frames without a diameter beyond which there is nothing to smooth (`brainbox.behavior.dlc`)."""
OUTLIER_STD = 5
"""Distance from the smooth trace, in standard deviations of all distances, beyond which a diameter is an outlier."""
LONGEST_BRIDGE_S = 1.0
"""Longest gap that is interpolated, s."""
_BY_CIRCLE = ((0, 2), (0, 3), (1, 2), (1, 3))
"""Neighbours on the rim, as places in `PUPIL`: a quarter of a circle apart."""


def diameter(keypoints: Keypoints) -> Floats:
    """Return the diameter of the pupil in each frame, px. (frame,)

    The median of six estimates: the distances of opposite points, and those of neighbours times the square root of 2,
    as on a circle. Estimates with a point that is NaN do not count; use `Keypoints.likely` first.

    Raises
    ------
    MissingKeypoints
        If one of the four points is missing.
    """
    require_keypoints(keypoints, PUPIL, "the diameter of the pupil")
    return _diameter([keypoints.of(name) for name in PUPIL])


def diameter_of_medians(keypoints: Keypoints) -> Floats:
    """Return the diameter by the medians of an ensemble, before any smoother, px. (frame,)

    Raises
    ------
    MissingKeypoints
        If a point has no column of medians: `{point}_{x|y}_ens_median`.
    """
    columns = [[f"{name}_{axis}_ens_median" for axis in "xy"] for name in PUPIL]
    absent = [name for pair in columns for name in pair if name not in keypoints.further]
    if absent:
        raise MissingKeypoints(
            "a table of keypoints lacks the medians of an ensemble",
            expected="medians of all points of the pupil",
            got=f"no column {', '.join(absent)}",
            do="predict with two networks or more",
        )
    return _diameter([np.column_stack([keypoints.further[name] for name in pair]) for pair in columns])


def has_medians(keypoints: Keypoints) -> bool:
    """Return whether a table has the medians of an ensemble for all points of the pupil."""
    return all(f"{name}_{axis}_ens_median" in keypoints.further for name in PUPIL for axis in "xy")


def _diameter(points: list[NDArray[np.floating]]) -> Floats:
    pairs = [(0, 1, 1.0), (2, 3, 1.0), *((one, other, 2**0.5) for one, other in _BY_CIRCLE)]
    estimates = [factor * np.linalg.norm(points[one] - points[other], axis=1) for one, other, factor in pairs]
    return known_median(np.stack(estimates)).astype(np.float64)


def smooth_diameter(raw: Floats, camera: str, rate_hz: float | None = None) -> Floats:
    """Smooth the diameter of the pupil, and interpolate short gaps.

    Twice a Savitzky-Golay filter over the frames with a diameter, with linear interpolation between them; in between,
    diameters far from the smooth trace are taken out. Gaps over a second, in the beginning and at the end too, stay
    NaN.

    Parameters
    ----------
    raw : (frame,) float64
        Diameter, px; NaN where there is none.
    camera : str
        left or right.
    rate_hz : float, optional
        Nominal rate of the camera; that of ephys rigs by default.

    Returns
    -------
    (frame,) float64

    Raises
    ------
    UnusableFile
        If over 90 % of the frames have no diameter, or fewer have one than a window of the filter, or the camera
        does not show the pupil.

    Notes
    -----
    The same as `brainbox.behavior.dlc.get_smooth_pupil_diameter`, apart from gaps: there those at the end, and long
    gaps after one in the beginning, are filled by interpolation or extrapolation.
    """
    if camera not in SMOOTHING_WINDOW:
        raise UnusableFile(
            "this camera does not show the pupil", where=f"{camera} camera", expected="left or right", got=camera
        )
    _require_enough(raw, raw, camera)
    rate_hz = NOMINAL_RATE_HZ[camera] if rate_hz is None else rate_hz
    difference = raw - _interpolated(raw, camera)
    kept = np.where(np.abs(difference) > OUTLIER_STD * known_std(difference), np.nan, raw)
    _require_enough(kept, raw, camera)
    smooth = _interpolated(kept, camera)
    for first, last in find_ranges(np.isnan(kept)):
        if last - first + 1 > rate_hz * LONGEST_BRIDGE_S:
            smooth[first : last + 1] = np.nan
    return smooth


def _require_enough(diameters: Floats, raw: Floats, camera: str) -> None:
    """Require a diameter in as many frames as the filter needs, and in a tenth of all before outliers are removed."""
    n_known, least = int(np.count_nonzero(~np.isnan(diameters))), SMOOTHING_WINDOW[camera]
    if n_known < least or np.mean(np.isnan(raw)) > MOST_MISSING:
        raise UnusableFile(
            "the diameter of the pupil is known in too few frames to be smoothed",
            where=f"{camera} camera",
            expected=f"at least {1 - MOST_MISSING:.0%} of the frames, and {least} frames",
            got=f"{n_known:,} of {len(diameters):,} frames",
            do="look whether the eye is in the picture and open",
        )


def _interpolated(diameters: Floats, camera: str) -> Floats:
    """Return the smooth trace at every frame: fitted where there is a diameter, linear in between and beyond."""
    known = np.flatnonzero(~np.isnan(diameters))
    fitted = smooth_uneven(known, diameters[known], SMOOTHING_WINDOW[camera], SMOOTHING_ORDER)
    frames = np.arange(len(diameters))
    out = np.interp(frames, known, fitted)
    # Beyond the first and the last one the line through the two next to it goes on.
    for beyond, (one, other) in ((frames < known[0], (0, 1)), (frames > known[-1], (-1, -2))):
        slope = (fitted[other] - fitted[one]) / (known[other] - known[one])
        out[beyond] = fitted[one] + slope * (frames[beyond] - known[one])
    return out
