"""Keypoints of one camera with everything that a file of another program holds about them."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ibl_dask.errors import MissingEnvironment, MissingFile
from ibl_dask.pose.keypoints import require_times

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ibl_dask.pose.features import Tracker
    from ibl_dask.pose.keypoints import Keypoints

INDIVIDUAL = "mouse"
"""Name of the animal in formats that name several."""
SCORERS = MappingProxyType({"dlc": "DLC_ibl_dask", "lightningPose": "LP_ibl_dask"})
"""Tracker -> scorer, the author of predictions in files of DeepLabCut and Lightning Pose."""
SOFTWARE = MappingProxyType({"dlc": "DeepLabCut", "lightningPose": "LightningPose"})
"""Tracker -> name of the program, as movement and NWB have it."""


@dataclass(frozen=True, slots=True, eq=False)
class PosedCamera:
    """Keypoints of one camera."""

    label: str
    """left, right, body, ..."""
    tracker: Tracker
    """dlc or lightningPose."""
    keypoints: Keypoints
    """Keypoints as published; row *i* is frame *i*."""
    source: str
    """Path of their table relative to the session."""
    times_s: NDArray[np.float64] | None = None
    """Time of each frame on the main clock; None where there are none. (frame,)"""
    video: str = ""
    """Path of the video relative to the session; empty where there is none."""
    frame_size_px: tuple[int, int] | None = None
    """Width and height of the frames; None where they are not known."""

    def __post_init__(self) -> None:
        if self.times_s is not None:
            require_times(self.keypoints, self.times_s)

    @property
    def scorer(self) -> str:
        """Return the author of the predictions."""
        return SCORERS[self.tracker]

    @property
    def stem(self) -> str:
        """Return the name of the video without its extension, by which DeepLabCut finds predictions."""
        name = self.video.rpartition("/")[2] or f"_iblrig_{self.label}Camera.raw.mp4"
        return name.rpartition(".")[0]


def require_camera_times(camera: PosedCamera, purpose: str) -> NDArray[np.float64]:
    """Return the frame times of a camera, s.

    Parameters
    ----------
    camera : PosedCamera
        The camera.
    purpose : str
        The format that needs them.

    Raises
    ------
    MissingFile
        If there are none.
    """
    if camera.times_s is None:
        raise MissingFile(
            f"{purpose} needs a time for each frame of the {camera.label} camera",
            where=f"alf/_ibl_{camera.label}Camera.times.npy",
            expected="a time for each frame",
            got="no such file",
            do="run the task that times the cameras (VideoSyncQC) first, or export to another format",
        )
    return camera.times_s


def missing_package(purpose: str, extra: str, error: ImportError) -> MissingEnvironment:
    """Return the error of a format whose packages are not installed.

    Parameters
    ----------
    purpose : str
        The format.
    extra : str
        Extra of this package that brings them.
    error : ImportError
        What the import raised.
    """
    return MissingEnvironment(
        f"{purpose} needs further packages",
        expected=f"the extra `{extra}` of ibl_dask",
        got=str(error),
        do=f"install it: pip install 'ibl_dask[{extra}]'",
    )
