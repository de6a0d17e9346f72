"""Estimation of a chunk: its frames are decoded once, in a thread, for all networks of a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibl_dask.model.chunk import Chunk
from ibl_dask.pose.engine import Engine
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.prefetch import Prefetched
from ibl_dask.pose.sequences import PoseSequence
from ibl_dask.video.container.index import FrameIndex

PREFETCH_BYTES = 128 << 20
"""Size of the pictures that are made ahead of the engines, bytes: 34 whole frames of 1280x1024."""

Pictures = tuple[int, dict[PictureMap, NDArray[np.uint8]] | None]
"""Number of a frame, and its picture for each map; None where the frame does not decode."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimated:
    """Values of all networks for the frames of a chunk."""

    values: Mapping[str, NDArray[np.float32]]
    """Name of a network -> x, y of its pictures, and likelihood (frame, keypoint, 3)."""
    decode_error: NDArray[np.bool_]
    """True where a frame of the chunk does not decode. (frame,)"""
    decode_s: float
    """Time of the thread that decodes and makes pictures, s."""
    infer_s: float
    """Time in the engines, transfer to them included, s."""
    waited_s: float
    """Time for which the engines waited for pictures, s."""


def estimate(
    video: Path,
    index: FrameIndex,
    chunk: Chunk,
    networks: Mapping[str, tuple[Engine, PictureMap]],
    most_bytes: int = PREFETCH_BYTES,
) -> Estimated:
    """Decode a chunk and its halo once, and give each frame to every network.

    Parameters
    ----------
    video : Path
        The video.
    index : FrameIndex
        Its index.
    chunk : Chunk
        Frames that get values.
    networks : mapping
        Name -> the engine, and the map from frames to its pictures.
    most_bytes : int
        Size of the pictures that are made ahead, bytes.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the file is not the one that was indexed.
    """
    sequences = {
        name: PoseSequence(engine, chunk, len(index), engine.info.batch_hint) for name, (engine, _) in networks.items()
    }
    maps = {name: pictures for name, (_, pictures) in networks.items()}
    start = min((sequence.start for sequence in sequences.values()), default=chunk.start)
    stop = max((sequence.stop for sequence in sequences.values()), default=chunk.stop)
    source = _Source(video, index, start, stop, tuple(dict.fromkeys(maps.values())))
    prefetched = Prefetched(source.pictures(), source.n_bytes, most_bytes)
    errors = np.ones(len(chunk), np.bool_)
    infer_s = 0.0
    for number, pictures in prefetched:
        if pictures is None:
            continue
        if chunk.start <= number < chunk.stop:
            errors[number - chunk.start] = False
        clock = time.perf_counter()
        for name, sequence in sequences.items():
            sequence.add(number, pictures[maps[name]])
        infer_s += time.perf_counter() - clock
    clock = time.perf_counter()
    values = {name: sequence.result() for name, sequence in sequences.items()}
    infer_s += time.perf_counter() - clock
    return Estimated(values, errors, source.seconds, infer_s, prefetched.waited_s)


class _Source:
    """Pictures of a range of frames, made where they are asked for."""

    def __init__(self, video: Path, index: FrameIndex, start: int, stop: int, maps: tuple[PictureMap, ...]) -> None:
        self._range = (video, index, start, stop)
        self._maps = maps
        self.seconds = 0.0

    def pictures(self) -> Iterator[Pictures]:
        """Yield the pictures of each frame."""
        from ibl_dask.video.colour import rgb_frames

        clock = time.perf_counter()
        for number, frame in rgb_frames(*self._range):
            made = None if frame is None else {each: each.picture(frame) for each in self._maps}
            self.seconds += time.perf_counter() - clock
            yield number, made
            clock = time.perf_counter()

    def n_bytes(self, item: Pictures) -> int:
        """Return the size of the pictures of a frame, bytes."""
        return 0 if item[1] is None else sum(picture.nbytes for picture in item[1].values())
