"""Sequences of pictures to an engine: batches with their halo, and one row per frame of a chunk.

An engine with a halo sees a picture together with those before and after it. A frame that does not decode ends a
sequence, and the next one begins another: no picture stands in for it. So the values of a frame follow from the video
alone, whatever the chunks and batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.pose.engine import Engine


class PoseSequence:
    """Values of one engine for the frames of a chunk, from pictures that come one by one.

    Parameters
    ----------
    engine : Engine
        The engine.
    chunk : Chunk
        Frames of the chunk; pictures of its halo are context only.
    n_frames : int
        Frames of the video.
    batch : int
        Largest number of rows of a batch.
    """

    def __init__(self, engine: Engine, chunk: Chunk, n_frames: int, batch: int) -> None:
        self._engine = engine
        self._chunk = chunk
        info = engine.info
        self._halo = info.halo
        self._batch = max(1, batch)
        self.start = max(0, chunk.start - info.halo)
        self.stop = min(n_frames, chunk.stop + info.halo)
        self._values = np.full((len(chunk), len(info.keypoints), 3), np.nan, np.float32)
        self._values[..., 2] = 0
        self._held: list[NDArray[np.uint8]] = []
        self._first, self._next = self.start, chunk.start

    def add(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Take the picture of a frame; numbers outside the chunk and its halo are passed over.

        Parameters
        ----------
        number : int
            Number of the frame; numbers increase, and those that are left out do not decode.
        picture : (y, x, 3) uint8
            Its picture.
        """
        if not self.start <= number < self.stop:
            return
        if number != self._first + len(self._held):
            self._end(number)
        self._held.append(picture)
        # A row is due once the pictures after it are there.
        if min(number + 1 - self._halo, self._chunk.stop) - self._next >= self._batch:
            self._predict(self._next + self._batch, is_end=False)

    def result(self) -> NDArray[np.float32]:
        """Return x, y and likelihood of the frames of the chunk; NaN and likelihood 0 where one does not decode."""
        self._end(self.stop)
        return self._values

    def _end(self, following: int) -> None:
        """End the sequence; the next one begins with a frame that follows."""
        stop = min(self._first + len(self._held), self._chunk.stop)
        while self._next < stop:
            self._predict(min(self._next + self._batch, stop), is_end=True)
        self._held = []
        self._first = following
        self._next = max(following, self._chunk.start)

    def _predict(self, stop: int, *, is_end: bool) -> None:
        """Predict the rows from the next one on."""
        start = self._next
        low = max(self._first, start - self._halo)
        high = min(self._first + len(self._held), stop + self._halo)
        pictures = np.stack(self._held[low - self._first : high - self._first])
        rows = self._engine.predict(pictures, start - low, high - stop)
        expected = (stop - start, *self._values.shape[1:])
        if rows.shape != expected:
            raise RunError(
                "an engine returned another number of rows than it was asked for",
                expected=f"{expected[0]} frames, {expected[1]} keypoints, 3 values",
                got=" x ".join(map(str, rows.shape)),
                do="mend the engine's adapter: rows that are not of their frames would shift all later ones",
            )
        self._values[start - self._chunk.start : stop - self._chunk.start] = rows
        self._next = stop
        if not is_end:
            spent = max(0, stop - self._halo - self._first)
            del self._held[:spent]
            self._first += spent
