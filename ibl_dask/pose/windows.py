"""Windows of networks: frames of the sparse pass, and where its keypoints place each window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import UnusableFile
from ibl_dask.model.region import Region
from ibl_dask.pose.geometry import PictureMap, clamped, mirrored
from ibl_dask.pose.networks import LEAST_LIKELIHOOD, Network, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_FRAMES, MOST_FRAMES = 20, 500
"""Frames of the sparse pass: one per second, within these limits (iblvideo 3.2.0, step 01)."""

Place = tuple[float, float]
"""x and y, px of the frame as stored."""


def sparse_frames(n_frames: int, fps: float, keyframes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the frames that locate the windows: evenly spread, on keyframes if there are enough of them.

    A frame between keyframes costs decoding from the one before, on average half a group of pictures.

    Parameters
    ----------
    n_frames : int
        Frames of the video.
    fps : float
        Rate of the header, Hz.
    keyframes : (n,) int64
        Frames from which decoding may start, increasing.

    Returns
    -------
    (n,) int64
        Numbers of frames, increasing.

    >>> sparse_frames(216_000, 60.0, np.arange(0, 216_000, 250))[:3].tolist()
    [0, 500, 750]
    >>> sparse_frames(30, 60.0, np.array([0])).tolist() == sorted(set(np.linspace(0, 29, 20).round().astype(int)))
    True
    """
    duration_s = n_frames / fps if fps > 0 else 0.0
    wanted = min(max(int(duration_s), FEWEST_FRAMES), MOST_FRAMES, n_frames)
    even = np.unique(np.linspace(0, n_frames - 1, wanted).round().astype(np.int64))
    if len(keyframes) < len(even):
        return even
    later = np.searchsorted(keyframes, even).clip(1, len(keyframes) - 1)
    is_earlier = even - keyframes[later - 1] <= keyframes[later] - even
    nearest = np.unique(keyframes[np.where(is_earlier, later - 1, later)])
    return nearest if len(nearest) == len(even) else even


def mean_places(
    keypoints: Sequence[str], points: NDArray[np.floating], least: float = LEAST_LIKELIHOOD
) -> dict[str, Place]:
    """Return the mean place of each keypoint over the frames in which it is likely; none for one that never is.

    Parameters
    ----------
    keypoints : sequence of str
        Names.
    points : (frame, keypoint, 3) ndarray
        x, y and likelihood.
    least : float
        Likelihood from which on a point counts.
    """
    found: dict[str, Place] = {}
    for number, name in enumerate(keypoints):
        x, y, likelihood = np.asarray(points[:, number], np.float64).T
        is_likely = (likelihood >= least) & np.isfinite(x) & np.isfinite(y)
        if is_likely.any():
            found[name] = (float(x[is_likely].mean()), float(y[is_likely].mean()))
    return found


def place_window(
    network: Network, places: Mapping[str, Place], view: View, width: int, height: int, where: str
) -> Region:
    """Return the part of the frame that a network gets, px of the frame as stored.

    Parameters
    ----------
    network : Network
        The network.
    places : mapping
        Keypoint of the locating network -> mean place.
    view : View
        View of the camera.
    width, height : int
        Size of the frame, px.
    where : str
        The video, for messages.

    Raises
    ------
    UnusableFile
        If an anchor of the window was not found in the video.
    """
    crop = network.crop
    if crop is None:
        return Region(0, height, 0, width)
    lost = [name for name in crop.anchors if name not in places]
    if lost:
        raise UnusableFile(
            f"the window of network {network.name} cannot be placed: {', '.join(lost)} was found nowhere",
            where=where,
            expected=f"a likelihood of {LEAST_LIKELIHOOD:g} or more in some of the frames looked at",
            got="none" if not places else f"such points only for {', '.join(sorted(places))}",
            do="look at the video: lights off, another camera, or nothing but a lid before it; if it shows the animal, "
            "the locating network is not made for this view",
        )
    x = sum(places[name][0] for name in crop.anchors) / len(crop.anchors)
    y = sum(places[name][1] for name in crop.anchors) / len(crop.anchors)
    x = width - 1 - x if view.flip else x
    scale = view.scale
    seen = clamped(
        int(x + crop.left / scale),
        int(y + crop.top / scale),
        max(1, round(crop.width / scale)),
        max(1, round(crop.height / scale)),
        width,
        height,
    )
    return mirrored(seen, width) if view.flip else seen


def picture_map(network: Network, region: Region, view: View) -> PictureMap:
    """Return the map from frames to the pictures of a network.

    Parameters
    ----------
    network : Network
        The network.
    region : Region
        Part of the frame that it gets.
    view : View
        View of the camera.
    """
    size = network.size
    if size is None and view.enlarge:
        size = (
            round((region.bottom - region.top) * view.scale),
            round((region.right - region.left) * view.scale),
        )
    factor = None if network.factor is None else network.factor / view.scale
    return PictureMap(region, view.flip, size, network.gain, factor)
