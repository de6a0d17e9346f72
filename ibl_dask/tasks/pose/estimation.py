"""Estimation of a chunk: its frames are decoded once, in threads, for all networks of a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibl_dask.model.chunk import Chunk
from ibl_dask.pose.engine import Engine
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.prefetch import PrefetchedParts
from ibl_dask.pose.sequences import PoseSequence
from ibl_dask.video.container.index import FrameIndex
from ibl_dask.video.container.tracks import NoGpuDecoder

PREFETCH_BYTES = 128 << 20
"""Size of the pictures that a decoder makes ahead of the engines, bytes: 34 whole frames of 1280x1024."""
MOST_DECODERS = 6
"""Threads that decode one chunk at most: beyond, its last frames are waited for."""
PIECES = 3
"""Pieces of a chunk for each decoder, so that all of them end at about the same time."""
LEAST_FRAMES = 24
"""Frames up to which pieces are joined: each opens the video anew."""

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
    """Time of the threads that decode and make pictures, s."""
    infer_s: float
    """Time in the engines, transfer to them included, s."""
    waited_s: float
    """Time for which the engines waited for pictures, s."""
    n_decoders: int
    """Threads that decoded at once."""
    on_gpu: bool = False
    """True where NVDEC decoded."""
    gpu_problem: str = ""
    """What went wrong with NVDEC, where it was asked for."""


def estimate(
    video: Path,
    index: FrameIndex,
    chunk: Chunk,
    networks: Mapping[str, tuple[Engine, PictureMap]],
    most_bytes: int = PREFETCH_BYTES,
    n_decoders: int = 1,
    on_gpu: bool = False,
) -> Estimated:
    """Decode a chunk and its halo once, and give each frame to every network.

    Several decoders begin at different keyframes of the chunk. They are used where all pictures from one keyframe to
    the next fit into the bound of each; the engines get the frames in order in any case.

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
        Size of the pictures that each decoder makes ahead, bytes.
    n_decoders : int
        Number of threads that decode at once.
    on_gpu : bool
        Decode by NVDEC, of which each decoder occupies an engine; the CPU decodes where that turns out not to work.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the file is not the one that was indexed.
    """
    problem = ""
    if on_gpu:
        try:
            return _estimate(video, index, chunk, networks, most_bytes, n_decoders, on_gpu=True)
        except NoGpuDecoder as error:
            problem = str(error)
    found = _estimate(video, index, chunk, networks, most_bytes, n_decoders, on_gpu=False)
    return replace(found, gpu_problem=problem)


def _estimate(
    video: Path,
    index: FrameIndex,
    chunk: Chunk,
    networks: Mapping[str, tuple[Engine, PictureMap]],
    most_bytes: int,
    n_decoders: int,
    *,
    on_gpu: bool,
) -> Estimated:
    """Estimate a chunk with one of both decoders."""
    sequences = {
        name: PoseSequence(engine, chunk, len(index), engine.info.batch_hint) for name, (engine, _) in networks.items()
    }
    maps = {name: pictures for name, (_, pictures) in networks.items()}
    start = min((sequence.start for sequence in sequences.values()), default=chunk.start)
    stop = max((sequence.stop for sequence in sequences.values()), default=chunk.stop)
    distinct = tuple(dict.fromkeys(maps.values()))
    n_decoders = min(n_decoders, MOST_DECODERS)
    pieces = [Chunk(start, stop)]
    if n_decoders > 1:
        most_frames = most_bytes // max(1, sum(each.n_bytes for each in distinct))
        pieces = pieces_of(index.keyframes, pieces[0], most_frames, n_decoders)
    sources = [_Source(video, index, piece, distinct, on_gpu) for piece in pieces]
    prefetched = PrefetchedParts([source.pictures() for source in sources], _n_bytes, most_bytes, n_decoders)
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
    decode_s = sum(source.seconds for source in sources)
    return Estimated(values, errors, decode_s, infer_s, prefetched.waited_s, min(n_decoders, len(pieces)), on_gpu)


def pieces_of(keyframes: NDArray[np.int64], frames: Chunk, most_frames: int, n_decoders: int) -> list[Chunk]:
    """Return consecutive pieces of a range that begin at keyframes, several for each decoder.

    Parameters
    ----------
    keyframes : (n,) int64
        Numbers of the frames from which decoding may start, increasing.
    frames : Chunk
        The range.
    most_frames : int
        Largest piece. Where keyframes lie further apart, the range is one piece.
    n_decoders : int
        Number of decoders.

    >>> pieces_of(np.arange(0, 1000, 100), Chunk(50, 420), 250, 1)
    [Chunk(start=50, stop=100), Chunk(start=100, stop=200), Chunk(start=200, stop=300), Chunk(start=300, stop=420)]
    """
    wanted = min(most_frames, max(LEAST_FRAMES, len(frames) // (PIECES * n_decoders)))
    inside = [int(each) for each in keyframes if frames.start < each < frames.stop]
    cuts = [frames.start]
    for keyframe, following in pairwise([*inside, frames.stop]):
        if following - cuts[-1] > wanted:
            cuts.append(keyframe)
    pieces = [Chunk(first, last) for first, last in pairwise([*cuts, frames.stop])]
    return pieces if max(map(len, pieces)) <= most_frames else [frames]


class _Source:
    """Pictures of a range of frames, made where they are asked for."""

    def __init__(
        self, video: Path, index: FrameIndex, frames: Chunk, maps: tuple[PictureMap, ...], on_gpu: bool
    ) -> None:
        self._range = (video, index, frames.start, frames.stop)
        self._on_gpu = on_gpu
        self._maps = maps
        self.seconds = 0.0

    def pictures(self) -> Iterator[Pictures]:
        """Yield the pictures of each frame."""
        from ibl_dask.video.colour import plain_frames

        clock = time.perf_counter()
        for number, frame in plain_frames(*self._range, on_gpu=self._on_gpu):
            made = None if frame is None else {each: each.picture(frame) for each in self._maps}
            self.seconds += time.perf_counter() - clock
            yield number, made
            clock = time.perf_counter()


def _n_bytes(item: Pictures) -> int:
    """Return the size of the pictures of a frame, bytes."""
    return 0 if item[1] is None else sum(picture.nbytes for picture in item[1].values())
