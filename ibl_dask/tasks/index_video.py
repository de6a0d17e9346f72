"""Index a video once, for every other step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.model.description import Camera
from ibl_dask.store import alf, arrays
from ibl_dask.store.identity import content_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import Facts, Records, find_video, video_pattern
from ibl_dask.video.container.index import INDEX_VERSION, FrameIndex, index_video
from ibl_dask.video.decoder import decoder_build

COPY_VIDEO = "copy the video from the acquisition computer, or take the camera out of the experiment description"


def index_camera(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """Index a camera's video and keep the index for the other steps.

    What is decoded stands for the bytes of the file and the decoder: both are looked at each time.
    """
    video = find_video(workspace, camera)
    if video is None:
        video = alf.require(workspace.session, camera.collection, video_pattern(camera.label, "mp4"), COPY_VIDEO)
    cached = workspace.index_file(camera.label)
    sha256 = content_of(video, workspace.content_note(camera.label, video))
    content = video_content(alf.identity(video) or {}, sha256)
    found = _cached_index(cached, video, content)
    if found is None:
        found = replace(index_video(video), content=content)
        keep_index(cached, found)
    return {
        "video": str(video),
        "frames": len(found),
        "hidden": found.n_hidden,
        "absent": found.n_absent,
        "empty_places": found.n_empty,
        "notes": list(found.notes),
        "keyframes": len(found.keyframes),
        "codec": found.codec,
        "width": found.width,
        "height": found.height,
        "fps": found.fps,
        "identity": found.identity(),
    }


def video_content(identity: Mapping[str, Any], sha256: str) -> dict[str, str]:
    """Return what tells the bytes of a video, and what decodes them here, from others; see `FrameIndex.content`."""
    return {"sha256": sha256, "sample": str(identity["content"]), "decoder": decoder_build()}


def keep_index(path: Path, frame_index: FrameIndex) -> None:
    """Keep an index for other steps."""
    content, facts = frame_index.to_arrays()
    arrays.write_arrays(path, "frame-index", INDEX_VERSION, content, facts)


def load_index(path: Path) -> FrameIndex:
    """Read a cached index."""
    return FrameIndex.from_arrays(*arrays.read_arrays(path, "frame-index", INDEX_VERSION))


def _cached_index(path: Path, video: Path, content: Mapping[str, str]) -> FrameIndex | None:
    try:
        found = load_index(path)
    except (FileNotFoundError, CorruptOutput, FormatTooNew):
        return None
    stat = video.stat()
    is_same = (found.size_bytes, found.mtime_ns, found.content) == (stat.st_size, stat.st_mtime_ns, content)
    return found if is_same else None
