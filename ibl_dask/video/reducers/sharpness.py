"""Sharpness of sampled frames: variance of the Laplacian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.video.pixels import levels
from ibl_dask.video.reducers.defaults import DefaultReducer, WantedFrames
from ibl_dask.video.reducers.protocol import Variable

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Accumulator


@dataclass(frozen=True, slots=True)
class Sharpness(DefaultReducer):
    """Variance of the Laplacian of the half-resolution luma, every `stride` frames."""

    version: ClassVar[int] = 2

    stride: int = 50
    name: str = "sharpness"
    frame_dim: ClassVar[str] = "sharpness_frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (Variable(self.name, "float32", "1", "variance of the Laplacian of the luma at half resolution"),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(-(-chunk.start // self.stride) * self.stride, chunk.stop, self.stride)

    def start(self, chunk: Chunk) -> Accumulator:
        return _SharpnessOfChunk(self, chunk)


class _SharpnessOfChunk(WantedFrames):
    def __init__(self, reducer: Sharpness, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.stride = reducer.stride
        self.values = self._arrays[reducer.name]

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        if number % self.stride == 0:
            self.values[(number - self.first) // self.stride] = levels(frame).variance(sharpness(luma))


def sharpness(luma: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a frame at half resolution."""
    import cv2

    height, width = luma.shape
    half = cv2.resize(luma, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(half, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2
