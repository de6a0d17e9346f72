"""Mean absolute difference between pictures of frames a few frames apart, within chunks and across their borders."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ibl_dask.video.reducers.defaults import Concatenation, WantedFrames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import av
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.reducers.protocol import Values, Variable

    Picture = NDArray[np.uint8]
    Look = Callable[[Picture, av.VideoFrame], tuple[Picture, float]]


class DifferenceReducer(Protocol):
    """The parts of a reducer of differences that its accumulator and joiner use."""

    @property
    def name(self) -> str: ...
    @property
    def lag(self) -> int: ...
    @property
    def variables(self) -> tuple[Variable, ...]: ...
    def wanted(self, chunk: Chunk) -> NDArray[np.int64]: ...
    def value(self, difference: float, n_pixels: int) -> float:
        """Return the value of a sum of absolute differences of so many pixels."""


class DifferencesOfChunk(WantedFrames):
    """Differences within a chunk, and the pictures at its ends.

    Parameters
    ----------
    reducer : DifferenceReducer
        Lag and value of a difference; one variable.
    chunk : Chunk
        Frames of the chunk.
    size : (int, int)
        Rows and columns of a picture, px, where none of the chunk decodes.
    look : callable
        Picture of a frame, from its luma and the frame itself, and the gain of its differences. It must not be a view.
    """

    def __init__(self, reducer: DifferenceReducer, chunk: Chunk, size: tuple[int, int], look: Look) -> None:
        super().__init__(reducer.wanted(chunk), reducer.variables)
        self.reducer, self.size, self.look = reducer, size, look
        self.values = self._arrays[reducer.variables[0].name]
        self.inner = range(chunk.start + reducer.lag, chunk.stop - reducer.lag)
        self.recent: deque[tuple[int, Picture]] = deque(maxlen=reducer.lag + 1)
        self.ends: dict[int, Picture] = {}
        self.gains: list[float] = []
        """Gain of each frame in `ends`."""

    def add(self, number: int, luma: Picture, frame: av.VideoFrame) -> None:
        now, gain = self.look(luma, frame)
        if number not in self.inner:
            self.ends[number] = now
            self.gains.append(gain)
        self.recent.append((number, now))
        # Frames that do not decode leave gaps, so the oldest frame held may be older than `lag`.
        earlier, before = self.recent[0]
        while earlier < number - self.reducer.lag:
            self.recent.popleft()
            earlier, before = self.recent[0]
        if earlier == number - self.reducer.lag:
            self.values[earlier - self.first] = gain * _difference(self.reducer, now, before)

    def arrays(self) -> dict[str, Values]:
        shape = next(iter(self.ends.values())).shape if self.ends else self.size
        pictures = np.empty((len(self.ends), *shape), np.uint8)
        for i, picture in enumerate(self.ends.values()):
            pictures[i] = picture
        ends = {"end_frames": np.array(list(self.ends), np.int64), "end_gains": np.array(self.gains, np.float64)}
        return {**self._arrays, **ends, "end_pictures": pictures}


class DifferencesOfVideo(Concatenation):
    """Differences within and across chunks; holds at most `2 * lag` pictures."""

    def __init__(self, reducer: DifferenceReducer) -> None:
        super().__init__(reducer.variables)
        self.reducer, self.name = reducer, reducer.variables[0].name
        self.recent: dict[int, Picture] = {}
        self.across: dict[int, float] = {}

    def add(self, chunk: Chunk, arrays: Mapping[str, Values]) -> None:
        super().add(chunk, {self.name: arrays[self.name]})
        lag = self.reducer.lag
        ends = (arrays["end_frames"].tolist(), arrays["end_gains"].tolist(), arrays["end_pictures"])
        for number, gain, now in zip(*ends, strict=True):
            before = self.recent.get(number - lag)
            if before is not None and number - lag < chunk.start:
                self.across[number - lag] = gain * _difference(self.reducer, now, before)
            self.recent[number] = now
        self.recent = {number: now for number, now in self.recent.items() if number >= chunk.stop - lag}

    def arrays(self) -> dict[str, Values]:
        values = super().arrays()
        for number, value in self.across.items():
            values[self.name][number] = value
        return values


def _difference(reducer: DifferenceReducer, one: Picture, other: Picture) -> float:
    import cv2

    return reducer.value(cv2.norm(one, other, cv2.NORM_L1) if one.size else 0.0, one.size)
