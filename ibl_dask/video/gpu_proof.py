"""Proof that NVIDIA's decoder (NVDEC) gives the pixels of the CPU, before a chunk is decoded by it.

NVDEC does not report damage but draws over it, so a video has to be one that a CPU decoded without an error; its frames
are then compared at two places of each chunk, as pictures of red, green and blue. Codecs are those whose pixels their
standards fix to the bit; of the others, such as MPEG-4 part 2, drift would show late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.video.colour import rgb_frames
from ibl_dask.video.container.tracks import NoGpuDecoder

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.container.index import FrameIndex

CODECS = ("h264", "hevc", "vp9")
"""Codecs whose pixels are exact by their standards, and that FFmpeg decodes by NVDEC. AV1 goes to another library."""
FORMATS = ("yuv420p", "yuvj420p")
"""Formats that NVDEC gives back without a change of bits."""
COMPARED_FRAMES = 8
"""Frames that are compared at each place: some with references to others before and after."""


def refusal(path: Path, index: FrameIndex, frames: Chunk) -> str:
    """Return why NVDEC is not to decode a chunk; empty if it gave the pixels of the CPU.

    Parameters
    ----------
    path : Path
        The video, which a CPU has decoded without an error.
    index : FrameIndex
        Its index.
    frames : Chunk
        The chunk. Its first frames are compared, and those at its keyframe next to the middle.
    """
    if index.codec not in CODECS or index.pixel_format not in FORMATS:
        return f"{index.codec} in {index.pixel_format} is left to the CPU"
    middle = (frames.start + frames.stop) // 2
    within = index.keyframes[(index.keyframes > frames.start) & (index.keyframes < frames.stop)]
    starts = [frames.start, *within[np.abs(within - middle).argsort()[:1]].tolist()]
    try:
        for start in starts:
            stop = min(start + COMPARED_FRAMES, frames.stop)
            pairs = zip(
                rgb_frames(path, index, start, stop), rgb_frames(path, index, start, stop, on_gpu=True), strict=True
            )
            for (number, of_cpu), (_, of_gpu) in pairs:
                if of_cpu is None or of_gpu is None:
                    return f"the CPU does not decode frame {number:,}"
                if not np.array_equal(of_cpu, of_gpu):
                    return f"frame {number:,} differs from that of the CPU"
    except NoGpuDecoder as error:
        return str(error)
    return ""
