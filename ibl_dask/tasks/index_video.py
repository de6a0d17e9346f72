"""Index of a camera's video, made once for every other step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.model.description import Camera
from ibl_dask.model.result import VideoIndexed
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord, Upstream
from ibl_dask.store import alf, arrays
from ibl_dask.store.identity import content_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import find_video, video_paths, video_pattern
from ibl_dask.video.container.index import INDEX_VERSION, FrameIndex, index_video
from ibl_dask.video.decoder import decoder_build

COPY_VIDEO = "copy the video from the acquisition computer, or take the camera out of the experiment description"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexVideo(Step):
    """Index a camera's video and keep the index for the other steps.

    Values that are decoded later depend on the bytes of the file and on the decoder: both are checked in each run.
    """

    kind: ClassVar[str] = "index"

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""
    files: object
    """Identities of the files of its video; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"camera": self.camera, "video": self.files}

    def run(self, upstream: Upstream) -> VideoIndexed:
        workspace, camera = self.workspace, self.described
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
        return describe_index(camera.label, video, found)


def describe_index(camera: str, video: Path, found: FrameIndex, *, is_raw: bool = False) -> VideoIndexed:
    """Return the result of indexing a video.

    Parameters
    ----------
    camera
        Label.
    video
        The file.
    found
        Its index.
    is_raw
        True for the source of a compression.
    """
    return VideoIndexed(
        camera=camera,
        is_raw=is_raw,
        video=video,
        frames=len(found),
        identity=found.identity(),
        width=found.width,
        height=found.height,
        codec=found.codec,
        empty_places=found.n_empty,
        notes=tuple(found.notes),
        facts={
            "hidden": found.n_hidden,
            "absent": found.n_absent,
            "keyframes": len(found.keyframes),
            "fps": found.fps,
        },
    )


def video_content(identity: Mapping[str, object], sha256: str) -> dict[str, str]:
    """Return the identity of the bytes of a video and of the decoder here; see `FrameIndex.content`."""
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


class IndexSteps:
    """The steps of a task that index the videos of its cameras.

    Each is made once: its key must stay the same where the video changes meanwhile.

    Parameters
    ----------
    session : str
        Reference of the session.
    workspace : Workspace
        Its folders.
    resources : Resources
        What each step needs.
    """

    def __init__(self, session: str, workspace: Workspace, resources: Resources) -> None:
        self._session, self._workspace, self._resources = session, workspace, resources
        self._steps: dict[str, IndexVideo] = {}

    def step(self, camera: Camera) -> IndexVideo:
        """Return the step of a camera."""
        if camera.label not in self._steps:
            self._steps[camera.label] = IndexVideo(
                session=self._session,
                camera=camera.label,
                resources=self._resources,
                workspace=self._workspace,
                described=camera,
                files=alf.identities(video_paths(self._workspace, camera)),
            )
        return self._steps[camera.label]

    def result(self, camera: Camera, records: Mapping[StepKey, StepRecord]) -> VideoIndexed | None:
        """Return the result of the step of a camera; None where its video could not be indexed.

        Parameters
        ----------
        camera : Camera
            The camera.
        records : mapping
            Records of the steps.
        """
        key = self.step(camera).key
        return Upstream([records[key]]).result(key, VideoIndexed) if records[key].is_ok else None
