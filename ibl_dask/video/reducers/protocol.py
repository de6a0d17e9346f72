"""Protocol of the reducers: a reducer computes one product from the frames of a camera, chunk by chunk.

A reducer chooses the frames that it measures (`wanted`) and describes its arrays (`variables`). Its accumulator is
given the frames of one chunk and no others; its joiner combines the chunks of a video, and computes the values that
depend on frames of two chunks from the frames that the accumulators kept of their ends. The result is the same to the
byte for every chunk plan.

Brightness is on one scale for all pixel formats: 16 is black, 235 is white (`pixels.levels`). The measurements of the
reference implementation (`QcSamples`, `FaceMatch`) keep its scale, 0 to 255, to which its thresholds apply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    import av

    from ibl_dask.model.chunk import Chunk

Values = NDArray[Any]
"""Array of one variable; its element type is `Variable.dtype`, known at run time only."""


@dataclass(frozen=True, slots=True)
class Variable:
    """Description of one array of a reducer."""

    name: str
    """Name in the per-frame store."""
    dtype: str
    """NumPy type of the values."""
    units: str
    """Units, as written in the CF conventions where these define them."""
    long_name: str
    """Description for people."""
    shape: tuple[int, ...] = ()
    """Shape of the value of one frame."""
    dims: tuple[str, ...] = ()
    """Names of the dimensions of `shape`."""


class Accumulator(Protocol):
    """Measurement of the frames of one chunk."""

    def add(self, number: int, luma: NDArray[np.uint8], frame: av.VideoFrame) -> None:
        """Measure one frame; numbers increase, frames that do not decode are skipped.

        Parameters
        ----------
        number : int
            Frame number in the video.
        luma : (y, x) uint8
            Luma as stored; a view of the frame's memory, to be copied if it is kept.
        frame : av.VideoFrame
            The decoded frame.
        """

    def arrays(self) -> dict[str, Values]:
        """Return the values at the wanted frames of this chunk, NaN at those that were skipped.

        Arrays beyond `variables` are for the joiner: frames kept of both ends of the chunk.
        """


class Joiner(Protocol):
    """Combination of the arrays of consecutive chunks."""

    def add(self, chunk: Chunk, arrays: Mapping[str, Values]) -> None:
        """Add the arrays of the next chunk."""

    def arrays(self) -> dict[str, Values]:
        """Return the values of each variable at the wanted frames of the whole video."""


@runtime_checkable
class Reducer(Protocol):
    """Measurement of the frames of a camera."""

    @property
    def name(self) -> str:
        """Return the name, unique within a pass."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Return the descriptions of its arrays."""

    @property
    def frame_dim(self) -> str:
        """Return the name of its frame dimension; `frame` for one value per frame of the video."""

    def fingerprint(self) -> str:
        """Return a digest of everything that its values depend on, apart from the video."""

    def wanted(self, chunk: Chunk) -> NDArray[np.int64]:
        """Return the numbers of the frames of a chunk that it measures, increasing. (n,)"""

    def start(self, chunk: Chunk) -> Accumulator:
        """Return an empty accumulator for a chunk."""

    def join(self) -> Joiner:
        """Return an empty joiner."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """Result of a frame pass over one chunk."""

    chunk: Chunk
    """Frames of the pass."""
    arrays: dict[str, Values]
    """`reducer/array` -> values of the reducer's accumulator."""
    decode_error: NDArray[np.bool_]
    """True for a frame that did not decode. (frame,)"""
    n_decoded: int = 0
    """Number of frames of the chunk that decoded."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Reducer -> its fingerprint."""
