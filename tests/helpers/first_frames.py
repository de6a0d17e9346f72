"""The first frames of a video as they are encoded there, without encoding them again."""

from __future__ import annotations

from pathlib import Path

import av

from ibl_dask.video.container.index import index_video


def write_first_frames(source: Path, path: Path, n_frames: int) -> Path:
    """Write the first frames, or a few more: a frame between two that are shown later does not come alone."""
    times = index_video(source).pts
    with av.open(str(source)) as given, av.open(str(path), "w") as taken:
        stream = given.streams.video[0]
        copy = taken.add_stream_from_template(stream)
        latest = -1
        for n_before, packet in enumerate(given.demux(stream)):
            if packet.dts is None or (n_before >= n_frames and latest == times[n_before - 1]):
                break  # every frame up to the latest is there
            latest = max(latest, packet.pts)
            packet.stream = copy
            taken.mux(packet)
    return path
