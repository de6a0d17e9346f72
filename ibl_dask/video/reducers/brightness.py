"""Mean brightness of the QC region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.model.region import Region
from ibl_dask.video.pixels import levels
from ibl_dask.video.reducers.defaults import DefaultReducer, WantedFrames
from ibl_dask.video.reducers.protocol import Variable

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Accumulator


@dataclass(frozen=True, slots=True)
class Brightness(DefaultReducer):
    """Mean luma of the QC region, every frame."""

    version: ClassVar[int] = 2

    region: Region
    name: str = "brightness"
    frame_dim: ClassVar[str] = "frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (Variable(self.name, "float32", "1", "mean luma of the QC region, 16 black, 235 white"),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return np.arange(chunk.start, chunk.stop)

    def start(self, chunk: Chunk) -> Accumulator:
        return _BrightnessOfChunk(self, chunk)


class _BrightnessOfChunk(WantedFrames):
    def __init__(self, reducer: Brightness, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.region, self.n_pixels = reducer.region, reducer.region.n_pixels
        self.values = self._arrays[reducer.name]

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        import cv2

        mean = cv2.sumElems(self.region.of(luma))[0] / self.n_pixels
        self.values[number - self.first] = levels(frame).brightness(mean)
