"""One decode of a chunk that feeds every reducer of a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ibl_dask.video.reader import FrameReader, luma
from ibl_dask.video.reducers import PassResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.index import FrameIndex
    from ibl_dask.video.reducers import Reducer


def run_pass(path: Path, index: FrameIndex, chunk: Chunk, reducers: Sequence[Reducer]) -> PassResult:
    """Decode a chunk once and give each frame to every reducer.

    Parameters
    ----------
    path : Path
        The video.
    index : FrameIndex
        Its index.
    chunk : Chunk
        The frames to give numbers for.
    reducers : sequence of Reducer
        What to compute.

    Returns
    -------
    PassResult
        Values of every reducer, the same bytes whatever the chunk plan.
    """
    cv2.setNumThreads(1)
    ahead = max((reducer.ahead for reducer in reducers), default=0)
    accumulators = [reducer.start(chunk) for reducer in reducers]
    adders = [accumulator.add for accumulator in accumulators]
    decode_error = np.zeros(len(chunk), np.bool_)
    n_decoded = 0
    with FrameReader(path, index) as reader:
        for number, frame in reader.frames(chunk.start, min(chunk.stop + ahead, len(index))):
            if frame is None:
                if number < chunk.stop:
                    decode_error[number - chunk.start] = True
                continue
            n_decoded += 1
            plane = luma(frame)
            for add in adders:
                add(number, plane, frame)
    arrays = {
        f"{reducer.name}/{name}": values
        for reducer, accumulator in zip(reducers, accumulators, strict=True)
        for name, values in accumulator.arrays().items()
    }
    fingerprints = {reducer.name: reducer.fingerprint() for reducer in reducers}
    return PassResult(chunk, arrays, decode_error, n_decoded, fingerprints)
