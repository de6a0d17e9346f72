"""Region whose motion energy is measured after pose estimation: whisker pad, or the back of the animal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingKeypoints, UnusableFile
from ibl_dask.model.region import Region
from ibl_dask.pose.keypoints import Keypoints, require_keypoints
from ibl_dask.pose.known_values import known_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOSE, TAIL = "nose_tip", "tail_start"
EYE = ("pupil_top_r", "pupil_left_r", "pupil_right_r", "pupil_bottom_r")
"""Points of the eye; the first that is ever likely counts."""
BODY_HEIGHT_PX, BODY_ABOVE_TAIL_PX = 210, 120


def motion_region(keypoints: Keypoints, camera: str) -> Region:
    """Return the region of a camera's frames whose motion energy is published, px.

    It is one region for the whole video, found from the mean places of likely points: beside the line from nose to
    eye for the side cameras (whisker pad), and beside the tail for the body camera. The size of the frame does not
    limit it: pixels beyond the frame do not count.

    Parameters
    ----------
    keypoints : Keypoints
        Keypoints of the whole video, likely or not.
    camera : str
        left, right or body.

    Raises
    ------
    MissingKeypoints
        If a point is missing, or never likely.
    UnusableFile
        If the region begins outside of the frame or has no pixels: the points are not where they should be.

    Notes
    -----
    After `iblvideo.motion_energy` (3.2): mean places are cut to whole pixels first.
    """
    likely = keypoints.likely()
    if camera == "body":
        require_keypoints(keypoints, (TAIL,), "the region of motion energy")
        (x, y), where = _midpoint(likely, TAIL, camera), TAIL
        width, height = int(x * 3 / 5), BODY_HEIGHT_PX
        left, top = int(x - x * 3 / 5), y - BODY_ABOVE_TAIL_PX
    else:
        require_keypoints(keypoints, (NOSE,), "the region of motion energy")
        nose, (eye, eye_name) = _midpoint(likely, NOSE, camera), _eye(likely, camera)
        where = f"{NOSE} and {eye_name}"
        distance = float(np.hypot(nose[0] - eye[0], nose[1] - eye[1]))
        width, height = int(distance / 2), int(distance / 3)
        left, top = int((nose[0] + eye[0]) / 2 - distance / 4), int((nose[1] + eye[1]) / 2)
    if left < 0 or top < 0 or width < 1 or height < 1:
        raise UnusableFile(
            "the region of motion energy does not lie in the frame",
            where=f"{camera} camera",
            expected="a region of at least one pixel that begins in the frame",
            got=f"{width} x {height} px at x {left}, y {top}, found from {where}",
            do="look at the keypoints in the report: the camera may be turned, or the network the wrong one",
        )
    return Region(top, top + height, left, left + width)


def region_position(region: Region) -> NDArray[np.int64]:
    """Return the content of `{camera}ROIMotionEnergy.position.npy`: width, height, left, top, px. (4,)"""
    return np.array([region.right - region.left, region.bottom - region.top, region.left, region.top], np.int64)


def _eye(likely: Keypoints, camera: str) -> tuple[tuple[int, int], str]:
    for name in EYE:
        if likely.has(name) and not np.isnan(likely.of(name)).all():
            return _midpoint(likely, name, camera), name
    raise _never_likely(" or ".join(EYE), camera)


def _midpoint(likely: Keypoints, name: str, camera: str) -> tuple[int, int]:
    """Return the mean place of a point, cut to whole pixels."""
    mean = known_mean(likely.of(name).astype(np.float64))
    if not np.isfinite(mean).all():
        raise _never_likely(name, camera)
    return int(mean[0]), int(mean[1])


def _never_likely(name: str, camera: str) -> MissingKeypoints:
    return MissingKeypoints(
        f"{name} is never likely: there is no region of motion energy",
        where=f"{camera} camera",
        expected="a likelihood of 0.9 in some frames at least",
        got="none",
        do="look at the video: the point may be hidden or out of the picture",
    )
