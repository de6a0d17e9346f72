"""Parts that forecasts of tasks on cameras share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibl_dask.errors import IblDaskError
from ibl_dask.model.description import Camera
from ibl_dask.model.forecast import CameraForecast
from ibl_dask.store import alf
from ibl_dask.store.identity import noted_content
from ibl_dask.store.workspace import Workspace
from ibl_dask.video.container.summary import ContainerSummary, read_container_summary
from ibl_dask.video.decoder import may_be_installed

Identity = Mapping[str, Any]  # identity of a video, as JSON holds it

_MEASURED_BYTES_PER_FRAME = 40
_MEASURED_BYTES = 1_100_000
"""Size of a camera's frame pass in the scratch folder, of which thumbnails are the larger part
(benchmarks/results/run_bytes.md)."""


def measured_bytes(n_frames: int) -> int:
    """Return the size of the frame pass of some frames of a camera in the scratch folder, bytes."""
    return _MEASURED_BYTES + _MEASURED_BYTES_PER_FRAME * n_frames if n_frames else 0


def outline_or_problem(path: Path) -> ContainerSummary | str:
    """Return frames, size and keyframes of a video; the message of the error if it cannot be read.

    The tables of the container suffice for MP4 and AVI. Any other file is indexed, which reads it whole.
    """
    try:
        found = read_container_summary(path)
        if found is not None:
            return found
        from ibl_dask.video.container.index import index_video  # loads FFmpeg, which most plans do without

        index = index_video(path)
    except (IblDaskError, OSError) as error:
        return str(error)
    return ContainerSummary(len(index), index.width, index.height, index.keyframes)


def without_video(camera: Camera) -> CameraForecast:
    """Return the forecast of a camera that has no video file."""
    return CameraForecast(camera.label, "no input", f"no video in {camera.collection}")


def format_kept(n_chunks: int, n_left: int) -> str:
    """Return the number of finished chunks, as an addition to a sentence; empty if there are none.

    >>> format_kept(5, 3), format_kept(5, 5)
    (', 2 chunks kept', '')
    """
    return f", {n_chunks - n_left} chunks kept" if n_left < n_chunks else ""


def share_of_bytes(path: Path, n_left: int, n_chunks: int) -> int:
    """Return the part of a file that some of its chunks take up, bytes.

    Parameters
    ----------
    path : Path
        The file.
    n_left, n_chunks : int
        Number of these chunks, and of all.
    """
    return int(path.stat().st_size * n_left / max(1, n_chunks))


def cached_identity(workspace: Workspace, label: str, video: Path) -> Identity:
    """Return the identity of a video from the index of an interrupted run; empty if there is none."""
    from ibl_dask.tasks.index_video import load_index  # loads FFmpeg, which most plans do without

    try:
        identity = load_index(workspace.index_file(label)).identity()
    except (IblDaskError, OSError):
        return {}
    return identity if is_of(identity, video, workspace.content_note(label, video)) else {}


def is_of(identity: Identity, video: Path, note: Path) -> bool:
    """Return whether an identity is that of a file and of the decoder installed here, without reading the file.

    A large file that was copied or written to, and looks the same, is taken for the same: a run reads it whole.
    """
    now = alf.identity(video) or {}
    looks = (identity.get("size"), identity.get("sample")) == (now["size"], now["content"])
    if not looks or not may_be_installed(str(identity.get("decoder"))):
        return False
    return noted_content(video, note) in (None, identity.get("sha256"))
