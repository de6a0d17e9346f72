"""A stand-in for NVDEC where there is no GPU: the CPU decodes, and frames come as PyAV hands over those of a GPU.

PyAV copies frames of a GPU to the memory of the process in the format nv12, older versions without any tags but the
presentation time (`VideoCodecContext`, transfer of hardware frames). What a GPU does to pixels, times and memory is not
imitated.
"""

from __future__ import annotations

import av
import numpy as np


def interleaved(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a planar frame as nv12, without its tags."""
    made = av.VideoFrame(frame.width, frame.height, "nv12")
    samples(made.planes[0], frame.height, frame.width)[:] = samples(frame.planes[0], frame.height, frame.width)
    n_rows, n_columns = (frame.height + 1) // 2, (frame.width + 1) // 2
    both = samples(made.planes[1], n_rows, 2 * n_columns)
    for plane, first in ((1, 0), (2, 1)):
        both[:, first::2] = samples(frame.planes[plane], n_rows, n_columns)
    made.pts = frame.pts
    return made


def samples(plane, n_rows, n_columns):
    """Return a view of a plane of 8 bits. (y, x)"""
    return np.ndarray((n_rows, n_columns), np.uint8, plane, strides=(plane.line_size, 1))


def install(monkeypatch, change=lambda frames: frames) -> None:
    """Put the stand-in in the place of NVDEC.

    Parameters
    ----------
    monkeypatch
        The fixture of pytest.
    change : callable
        Function of the frames that come out at once, and returns those that are handed over.
    """
    from ibl_dask.video import stream_decoder
    from ibl_dask.video.container import tracks

    monkeypatch.setattr(tracks, "nvdec", lambda: None)
    monkeypatch.setattr(
        stream_decoder,
        "downloaded",
        lambda context, packet: change([interleaved(frame) for frame in context.decode(packet)]),
    )
