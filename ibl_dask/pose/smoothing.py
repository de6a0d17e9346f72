"""Smoothing of keypoints over frames, and their names across networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ibl_dask.errors import UsageError
from ibl_dask.pose.keypoints import Keypoints

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE_FRAMES = 100_000


def median_filtered(values: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    """Return the median over a window of frames, with zeros beyond the ends, as `scipy.signal.medfilt` does.

    DeepLabCut's `filterpredictions` filters x and y so. A value that is NaN stays NaN, and does not count in the
    windows of its neighbours.

    Parameters
    ----------
    values : (frame,) ndarray
        Values of one column.
    window : int
        Number of frames, odd.

    >>> median_filtered(np.array([5.0, 1.0, 9.0, 2.0]), 3).tolist()
    [1.0, 5.0, 2.0, 2.0]
    """
    if window % 2 != 1:
        raise UsageError("a median filter needs a window with a middle", expected="an odd number", got=str(window))
    values = np.asarray(values, np.float64)
    padded = np.pad(values, window // 2)
    windows = sliding_window_view(padded, window)
    out = np.empty_like(values)
    for start in range(0, len(values), _PIECE_FRAMES):
        out[start : start + _PIECE_FRAMES] = np.median(windows[start : start + _PIECE_FRAMES], axis=1)
    for frame in np.flatnonzero(np.isnan(out) & ~np.isnan(values)).tolist():
        out[frame] = np.nanmedian(windows[frame])
    out[np.isnan(values)] = np.nan
    return out


def require_distinct(keypoints: Mapping[str, Sequence[str]], where: str) -> None:
    """Raise if two networks of a camera have a keypoint of the same name: one column would hide the other.

    Parameters
    ----------
    keypoints : mapping
        Network -> its keypoints.
    where : str
        Camera, for the message.

    Raises
    ------
    UsageError
        If a name occurs twice.
    """
    owners: dict[str, str] = {}
    for network, names in keypoints.items():
        for name in names:
            other = owners.setdefault(name, network)
            if other != network:
                raise UsageError(
                    f"two networks of one camera have the keypoint {name}",
                    where=where,
                    expected="keypoints with a name each",
                    got=f"{name} of {other} and of {network}",
                    do="give the networks different cameras, or name the keypoint otherwise in one of them",
                )


def smoothed(keypoints: Keypoints, median_frames: int) -> Keypoints:
    """Return keypoints whose x and y went through a median filter over all frames of the video.

    Parameters
    ----------
    keypoints : Keypoints
        Keypoints of the whole video.
    median_frames : int
        Window, frames, odd; 0 or 1 for none.
    """
    if median_frames < 2:
        return keypoints
    values = keypoints.values.astype(np.float64)
    for number in range(values.shape[1]):
        for axis in range(2):
            values[:, number, axis] = median_filtered(values[:, number, axis], median_frames)
    return replace(keypoints, values=values)
