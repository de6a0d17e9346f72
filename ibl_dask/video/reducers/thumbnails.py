"""Small pictures of a few frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.video.pixels import levels
from ibl_dask.video.reducers.defaults import DefaultReducer, WantedFrames, frames_in_chunk
from ibl_dask.video.reducers.protocol import Variable

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Accumulator


@dataclass(frozen=True, slots=True)
class Thumbnails(DefaultReducer):
    """Luma of a few frames at reduced size, for the report."""

    version: ClassVar[int] = 2

    frames: tuple[int, ...]
    width: int
    height: int
    name: str = "thumbnails"
    frame_dim: ClassVar[str] = "thumbnail_frame"

    @property
    def variables(self) -> tuple[Variable, ...]:
        shape, dims = (self.height, self.width), ("thumbnail_y", "thumbnail_x")
        return (Variable("thumbnail", "uint8", "1", "luma, reduced", shape, dims),)

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        return frames_in_chunk(self.frames, chunk)

    def start(self, chunk: Chunk) -> Accumulator:
        return _ThumbnailsOfChunk(self, chunk)


class _ThumbnailsOfChunk(WantedFrames):
    def __init__(self, reducer: Thumbnails, chunk: Chunk) -> None:
        wanted = reducer.wanted(chunk)
        super().__init__(wanted, reducer.variables)
        self.row = {int(number): i for i, number in enumerate(wanted)}
        self.size = (reducer.width, reducer.height)

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        import cv2

        i = self.row.get(number)
        if i is not None:
            small = np.asarray(cv2.resize(luma, self.size, interpolation=cv2.INTER_AREA), np.uint8)
            self._arrays["thumbnail"][i] = levels(frame).picture(small)
