"""Raw videos of a camera: which files there are, their index, and a comparison with the camera's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ibl_dask.errors import InputError, UnequalLengths, UnusableFile
from ibl_dask.model.description import Camera
from ibl_dask.model.result import VideoIndexed
from ibl_dask.model.step import Step, Upstream
from ibl_dask.store import alf
from ibl_dask.store.compression_record import read_record
from ibl_dask.store.identity import looks_like
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import describe_index, keep_index
from ibl_dask.tasks.session_files import labcams_pattern, read_camera, video_pattern
from ibl_dask.timing.tolerance import tolerated_frames
from ibl_dask.video.container.index import EMPTY_PLACES, index_video


@dataclass(frozen=True, slots=True)
class RawVideo:
    """Video files of a camera."""

    raw: Path | None
    """As recorded; the first where there are several."""
    compressed: Path | None
    """The MP4, among the results or beside the raw video."""
    is_proven: bool
    """True if a record names both as source and result, as far as size and times show; a removal requires more
    (`raw_video_removal.py`)."""
    others: tuple[Path, ...] = ()
    """More raw videos of the camera."""


def find_raw_video(workspace: Workspace, camera: Camera) -> RawVideo:
    """Return the video files of a camera."""
    names = (video_pattern(camera.label, "avi"), labcams_pattern(camera.label, "avi"))
    raws = [path for name in names for path in alf.find_all(workspace.session, camera.collection, name)]
    raw = next(iter(raws), None)
    copies = alf.find_each(workspace.session, camera.collection, video_pattern(camera.label, "mp4"))
    record = read_record(workspace, camera.label)
    recorded = (path for path in copies if record is not None and record.result.file == alf.identity(path))
    compressed = next(recorded, next(iter(copies), None))
    is_proven = (
        record is not None
        and compressed is not None
        and looks_like(compressed, record.result.file)
        and (raw is None or looks_like(raw, record.source.file))
    )
    return RawVideo(raw, compressed, is_proven, tuple(raws[1:]))


def require_one(found: Sequence[Path], kind: str) -> None:
    """Refuse to choose among several videos or logs of a camera."""
    if len(found) > 1:
        raise UnusableFile(
            f"this camera has more than one {kind}",
            where=str(found[0].parent),
            expected=f"one {kind}",
            got=", ".join(path.name for path in found),
            do="move all but one out of the folder; if labcams split the recording, join its parts first (ffmpeg -f "
            "concat -c copy), and check the number of frames",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RawVideoStep(Step):
    """Step on a camera's raw video."""

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRaw(RawVideoStep):
    """Index the raw video, where its copy may be written."""

    kind: ClassVar[str] = "rawindex"

    video: Path
    """The raw video."""
    file: object
    """Its identity; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"camera": self.camera, "video": self.file}

    def run(self, upstream: Upstream) -> VideoIndexed:
        return index_raw(self.workspace, self.described, self.video)


def index_raw(workspace: Workspace, camera: Camera, video: Path) -> VideoIndexed:
    """Index a raw video and keep the index.

    Parameters
    ----------
    workspace, camera
        The session and the camera.
    video
        The raw video.

    Raises
    ------
    UnusableFile
        If there are several, or no faithful copy of it can be made.
    """
    workspace.require_own(workspace.video_file(camera).parent)
    require_one([video, *find_raw_video(workspace, camera).others], "video")
    found = index_video(video)
    keep_index(workspace.raw_index_file(camera.label), found)
    if found.n_empty:
        raise UnusableFile(
            "this raw video has empty places, and is left as it is: no faithful copy of it can be made",
            where=str(video),
            expected=f"a picture in each of {len(found):,} places",
            got="; ".join(found.notes),
            do=EMPTY_PLACES,
        )
    if found.n_absent:
        raise UnusableFile(
            "this raw video was cut short, and is left as it is",
            where=str(video),
            expected=f"{len(found) + found.n_absent:,} frames",
            got=f"{found.n_absent:,} of them are not in the file",
            do="copy the file again from the acquisition computer; if the original is the same, repair it with "
            "ffmpeg -i in.avi -c copy out.avi",
        )
    return describe_index(camera.label, video, found, is_raw=True)


def compare_with_rows(workspace: Workspace, camera: Camera, video: Path, n_frames: int) -> list[str]:
    """Compare the number of frames with the camera's own records of them; return remarks.

    Parameters
    ----------
    workspace, camera
        The session and the camera.
    video
        The raw video.
    n_frames
        Its frames.

    Raises
    ------
    UnequalLengths
        If they are too far apart to be of one recording.
    """
    try:
        files = read_camera(workspace, camera)
    except InputError as error:
        return [f"the camera's own files cannot be read, so its frames were not counted by them: {error.what}"]
    if files is None:
        return ["the camera left no file about its frames, so they were not counted by one"]
    if files.n_frames == n_frames:
        return []
    most = tolerated_frames(n_frames, files.period_s or 1 / 30)
    if abs(files.n_frames - n_frames) > most:
        raise UnequalLengths(
            "the raw video and the camera's own files are not of one recording, or one of them is not whole",
            where=f"{video} and {', '.join(files.sources)}",
            expected=f"numbers of frames within {most:,} of each other",
            got=f"{n_frames:,} frames in the video, {files.n_frames:,} in the files",
            do="copy both again from the acquisition computer; the raw video stays as it is",
        )
    return [f"the camera noted {files.n_frames:,} frames, the video has {n_frames:,}"]
