"""Frame pass: a chunk is decoded once, for all reducers of a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import DamageMet, FrameReader
from ibl_dask.video.reducers.protocol import PassResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import av

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.container.index import FrameIndex
    from ibl_dask.video.reducers.protocol import Reducer, Values


def run_pass(path: Path, index: FrameIndex, chunk: Chunk, reducers: Sequence[Reducer]) -> PassResult:
    """Decode a chunk once and give each of its frames to every reducer.

    Parameters
    ----------
    path : Path
        The video.
    index : FrameIndex
        Its index.
    chunk : Chunk
        Frames to decode.
    reducers : sequence of Reducer
        Measurements of the frames.

    Returns
    -------
    PassResult
        Arrays of every reducer; `join_passes` combines those of all chunks of a video.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the file is not the one that was indexed.
    """
    cv2.setNumThreads(1)  # one core per task: Dask runs as many tasks as there are cores
    with FrameReader(path, index) as reader:
        try:
            return _pass(chunk, reader.frames_while_sound(chunk.start, chunk.stop), reducers)
        except DamageMet:
            return _pass(chunk, reader.frames(chunk.start, chunk.stop), reducers)


class FramePass:
    """Accumulators of all reducers over the frames of one chunk.

    Parameters
    ----------
    chunk : Chunk
        Frames of the chunk.
    reducers : sequence of Reducer
        Measurements of the frames.
    """

    def __init__(self, chunk: Chunk, reducers: Sequence[Reducer]) -> None:
        self._chunk = chunk
        self._reducers = reducers
        self._accumulators = [reducer.start(chunk) for reducer in reducers]
        self._adders = [accumulator.add for accumulator in self._accumulators]
        self._decode_error = np.ones(len(chunk), np.bool_)

    def add(self, number: int, frame: av.VideoFrame) -> None:
        """Measure one frame; numbers increase, those that are skipped count as not decoded."""
        self._decode_error[number - self._chunk.start] = False
        plane = luma(frame)
        for add in self._adders:
            add(number, plane, frame)

    def result(self) -> PassResult:
        """Return the arrays of all reducers."""
        arrays = {
            f"{reducer.name}/{name}": values
            for reducer, accumulator in zip(self._reducers, self._accumulators, strict=True)
            for name, values in accumulator.arrays().items()
        }
        fingerprints = {reducer.name: reducer.fingerprint() for reducer in self._reducers}
        n_decoded = len(self._chunk) - int(self._decode_error.sum())
        return PassResult(self._chunk, arrays, self._decode_error, n_decoded, fingerprints)


def _pass(chunk: Chunk, frames: Iterable[tuple[int, av.VideoFrame | None]], reducers: Sequence[Reducer]) -> PassResult:
    frame_pass = FramePass(chunk, reducers)
    for number, frame in frames:
        if frame is not None:
            frame_pass.add(number, frame)
    return frame_pass.result()


def join_passes(reducers: Sequence[Reducer], parts: Iterable[tuple[Chunk, Mapping[str, Values]]]) -> dict[str, Values]:
    """Combine the passes over all chunks of a video.

    Parameters
    ----------
    reducers : sequence of Reducer
        Reducers to combine; others in `parts` are ignored.
    parts : iterable of (Chunk, mapping)
        The chunks in order, each with the `arrays` of its pass; one is held at a time.

    Returns
    -------
    dict
        `reducer/variable` -> values at the reducer's frames of the video, the same to the byte for every chunk plan.
    """
    joiners = {reducer.name: reducer.join() for reducer in reducers}
    for chunk, arrays in parts:
        for name, joiner in joiners.items():
            prefix = f"{name}/"
            joiner.add(chunk, {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
    return {f"{name}/{key}": values for name, joiner in joiners.items() for key, values in joiner.arrays().items()}
