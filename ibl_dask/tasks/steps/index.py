"""Index a video once, for every other step."""

from __future__ import annotations

from pathlib import Path

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.model.description import Camera
from ibl_dask.store import alf, arrays
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.steps.inputs import Facts, Records, find_video, video_pattern
from ibl_dask.video.index import INDEX_VERSION, FrameIndex, index_video

COPY_VIDEO = "copy the video from the acquisition computer, or take the camera out of the experiment description"


def index_camera(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """Index a camera's video and keep the index for the other steps."""
    video = find_video(workspace, camera)
    if video is None:
        video = alf.require(workspace.session, camera.collection, video_pattern(camera.label, "mp4"), COPY_VIDEO)
    cached = workspace.index_file(camera.label)
    found = _cached_index(cached, video)
    if found is None:
        found = index_video(video)
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


def keep_index(path: Path, frame_index: FrameIndex) -> None:
    """Keep an index for other steps."""
    content, facts = frame_index.to_arrays()
    arrays.write_arrays(path, "frame-index", INDEX_VERSION, content, facts)


def load_index(path: Path) -> FrameIndex:
    """Read a cached index."""
    return FrameIndex.from_arrays(*arrays.read_arrays(path, "frame-index", INDEX_VERSION))


def _cached_index(path: Path, video: Path) -> FrameIndex | None:
    try:
        found = load_index(path)
    except (FileNotFoundError, CorruptOutput, FormatTooNew):
        return None
    stat = video.stat()
    return found if (found.size_bytes, found.mtime_ns) == (stat.st_size, stat.st_mtime_ns) else None
