"""Motion energy of a region: mean absolute difference between frames a few frames apart."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ibl_dask.model.region import Region
from ibl_dask.video.pixels import levels
from ibl_dask.video.reducers.defaults import Concatenation, DefaultReducer, WantedFrames
from ibl_dask.video.reducers.protocol import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Accumulator, Joiner, Values


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
        return _MotionEnergyOfChunk(self, chunk)

    def join(self) -> Joiner:
        return _MotionEnergyOfVideo(self)


class _MotionEnergyOfChunk(WantedFrames):
    def __init__(self, reducer: MotionEnergy, chunk: Chunk) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.region, self.lag = reducer.region, reducer.lag
        self.values = self._arrays[reducer.name]
        self.inner = range(chunk.start + reducer.lag, chunk.stop - reducer.lag)
        # Copies: a view would keep the decoder from reusing the memory of its whole frame.
        self.recent: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=reducer.lag + 1)
        self.ends: dict[int, NDArray[np.uint8]] = {}
        self.gains: list[float] = []
        """Brightness per level of stored luma, of each frame in `ends`."""

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        now, gain = self.region.of(luma).copy(), levels(frame).gain
        if number not in self.inner:
            self.ends[number] = now
            self.gains.append(gain)
        self.recent.append((number, now))
        # Frames that do not decode leave gaps, so the oldest frame held may be older than `lag`.
        earlier, before = self.recent[0]
        while earlier < number - self.lag:
            self.recent.popleft()
            earlier, before = self.recent[0]
        if earlier == number - self.lag:
            self.values[earlier - self.first] = gain * _mean_difference(now, before)

    def arrays(self) -> dict[str, Values]:
        height, width = (self.region.bottom - self.region.top, self.region.right - self.region.left)
        pictures = np.empty((len(self.ends), height, width), np.uint8)
        for i, picture in enumerate(self.ends.values()):
            pictures[i] = picture
        ends = {"end_frames": np.array(list(self.ends), np.int64), "end_gains": np.array(self.gains, np.float64)}
        return {**self._arrays, **ends, "end_pictures": pictures}


class _MotionEnergyOfVideo(Concatenation):
    """Differences within and across chunks; holds at most `2 * lag` frames of the region."""

    def __init__(self, reducer: MotionEnergy) -> None:
        super().__init__(reducer.variables)
        self.name, self.lag = reducer.name, reducer.lag
        self.recent: dict[int, NDArray[np.uint8]] = {}
        self.across: dict[int, float] = {}

    def add(self, chunk: Chunk, arrays: Mapping[str, Values]) -> None:
        super().add(chunk, {self.name: arrays[self.name]})
        ends = (arrays["end_frames"].tolist(), arrays["end_gains"].tolist(), arrays["end_pictures"])
        for number, gain, now in zip(*ends, strict=True):
            before = self.recent.get(number - self.lag)
            if before is not None and number - self.lag < chunk.start:
                self.across[number - self.lag] = gain * _mean_difference(now, before)
            self.recent[number] = now
        self.recent = {number: now for number, now in self.recent.items() if number >= chunk.stop - self.lag}

    def arrays(self) -> dict[str, Values]:
        values = super().arrays()
        for number, value in self.across.items():
            values[self.name][number] = value
        return values


def _mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    import cv2

    return cv2.norm(one, other, cv2.NORM_L1) / one.size
