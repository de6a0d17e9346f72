"""Motion energy of the region that pose estimation finds: `{camera}Camera.ROIMotionEnergy.npy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.model.region import Region
from ibl_dask.video.pixels import OpenCvPictures
from ibl_dask.video.reducers.defaults import DefaultReducer
from ibl_dask.video.reducers.frame_differences import DifferencesOfChunk, DifferencesOfVideo
from ibl_dask.video.reducers.protocol import Variable

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Accumulator, Joiner, Values

_VARIABLE = "roi_motion_energy"


@dataclass(frozen=True, slots=True)
class RoiMotionEnergy(DefaultReducer):
    """Mean absolute difference of grey levels of a region between a frame and the next, as iblvideo computes it.

    Grey is that of `cv2.cvtColor` (BGR to grey) of the pictures that `cv2.VideoCapture` reads, 0 to 255. The last frame
    of the video repeats the value before it. Where one of the two frames does not decode the value is NaN; iblvideo
    takes such frames for black ones.

    The region comes from the keypoints of the whole video (`ibl_dask.pose.motion_region`), so this is a pass of its
    own; it is the same to the bit however the video is cut into chunks. Pixels of the region beyond the frame do not
    count.
    """

    region: Region
    lag: ClassVar[int] = 1
    name: ClassVar[str] = _VARIABLE
    frame_dim: ClassVar[str] = "frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        text = "mean absolute difference of grey levels of the region found by pose estimation to the next frame"
        return (Variable(_VARIABLE, "float64", "1", text),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(chunk.start, chunk.stop)

    def start(self, chunk: Chunk) -> Accumulator:
        size = (self.region.bottom - self.region.top, self.region.right - self.region.left)
        return DifferencesOfChunk(self, chunk, size, _Grey(self.region))

    def join(self) -> Joiner:
        return _LastRepeated(self)

    def value(self, difference: float, n_pixels: int) -> float:
        """Return the mean difference in single precision, as the reference's arrays have it; NaN of no pixels."""
        return float(np.float32(difference) / np.float32(n_pixels)) if n_pixels else float("nan")


class _Grey:
    """Converter of frames to the grey levels of a region."""

    def __init__(self, region: Region) -> None:
        self._region, self._pictures = region, OpenCvPictures()

    def __call__(self, luma: NDArray[np.uint8], frame: av.VideoFrame) -> tuple[NDArray[np.uint8], float]:
        import cv2

        part = np.ascontiguousarray(self._region.of(self._pictures(frame)))
        grey = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY) if part.size else np.empty(part.shape[:2], np.uint8)
        return np.asarray(grey, np.uint8), 1.0


class _LastRepeated(DifferencesOfVideo):
    def arrays(self) -> dict[str, Values]:
        values = super().arrays()
        if values[_VARIABLE].size > 1:
            values[_VARIABLE][-1] = values[_VARIABLE][-2]
        return values
