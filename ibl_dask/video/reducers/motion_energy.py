"""Motion energy of a region: mean absolute difference between frames a few frames apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.model.region import Region
from ibl_dask.video.pixels import levels
from ibl_dask.video.reducers.defaults import DefaultReducer
from ibl_dask.video.reducers.frame_differences import DifferencesOfChunk, DifferencesOfVideo
from ibl_dask.video.reducers.protocol import Variable

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Accumulator, Joiner


@dataclass(frozen=True, slots=True)
class MotionEnergy(DefaultReducer):
    """Mean absolute luma difference of a region between a frame and the one `lag` frames later.

    The value belongs to the earlier frame; the last `lag` frames of the video have none. An accumulator keeps the
    region of the first and last `lag` frames of its chunk, from which the joiner computes the differences across the
    border of two chunks: no frame is decoded twice.
    """

    version: ClassVar[int] = 3

    region: Region
    label: str = "wheel"
    lag: int = 2
    frame_dim: ClassVar[str] = "frame"

    @property
    def name(self) -> str:
        return f"motion_energy_{self.label}"

    @property
    def variables(self) -> tuple[Variable, ...]:
        text = f"mean absolute luma difference of the {self.label} region to the frame {self.lag} later"
        return (Variable(self.name, "float32", "1", text),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(chunk.start, chunk.stop)

    def start(self, chunk: Chunk) -> Accumulator:
        size = (self.region.bottom - self.region.top, self.region.right - self.region.left)
        return DifferencesOfChunk(self, chunk, size, self._look)

    def join(self) -> Joiner:
        return DifferencesOfVideo(self)

    def _look(self, luma: NDArray[np.uint8], frame: av.VideoFrame) -> tuple[NDArray[np.uint8], float]:
        # A copy: a view would keep the decoder from reusing the memory of its whole frame. The gain is brightness per
        # level of stored luma.
        return self.region.of(luma).copy(), levels(frame).gain

    def value(self, difference: float, n_pixels: int) -> float:
        """Return the mean difference."""
        return difference / n_pixels
