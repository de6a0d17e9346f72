"""Frames of a video as a lazy array, decoded when they are computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ibl_dask.model.chunk import Chunk
from ibl_dask.video.chunking import split_video
from ibl_dask.video.container.index import FrameIndex, index_video
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

VIEW_PIXELS = 100_000_000
"""Pixels of one chunk of the view: about 100 MB."""


def open_frames(
    path: Path,
    index: FrameIndex | None = None,
    times_s: NDArray[np.float64] | None = None,
    chunk_pixels: int = VIEW_PIXELS,
) -> xr.DataArray:
    """Return the luma of a video as a lazy array with dimensions (frame, y, x).

    Dask chunks are keyframe-aligned, so no frame is decoded twice.

    Parameters
    ----------
    path : Path
        The video.
    index : FrameIndex, optional
        Its index; computed if not given.
    times_s : (frame,) float64, optional
        Frame times on the main clock, s; they become the coordinate `time`.
    chunk_pixels : int
        Size of one Dask chunk, pixels.

    Raises
    ------
    MissingFile, UnreadableVideo
        If the video cannot be indexed; a frame that does not decode raises `DecodeFailed` when it is computed.
    """
    import dask.array as da
    import xarray as xr
    from dask import delayed

    index = index_video(path) if index is None else index
    shape = (index.height, index.width)
    chunks = split_video(index.keyframes, len(index), index.width, index.height, chunk_pixels)
    read = delayed(_read, pure=True)
    blocks = [
        da.from_delayed(read(str(path), chunk, index.identity()), (len(chunk), *shape), np.uint8) for chunk in chunks
    ]
    coordinates: dict[str, object] = {"frame": np.arange(len(index))}
    if times_s is not None and len(times_s) == len(index):
        coordinates["time"] = ("frame", times_s, {"long_name": "frame time on the main clock, s from its start"})
    return xr.DataArray(
        da.concatenate(blocks),
        dims=("frame", "y", "x"),
        coords=coordinates,
        name="luma",
        attrs={"units": "1", "long_name": "luma as stored, 0 to 255", "video": path.name, "fps": index.fps},
    )


def _read(path: str, chunk: Chunk, identity: Mapping[str, object]) -> NDArray[np.uint8]:
    """Decode one chunk. (frame, y, x)

    The identity of the video is part of the key that Dask derives from the arguments, which thus changes with the file.
    """
    with FrameReader(Path(path)) as reader:
        return reader.read(chunk.start, chunk.stop)
