"""Step that copies a camera's packets from AVI to MP4, verifies the copy, and then renames the camera's log."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ibl_dask.errors import UnusableFile
from ibl_dask.model.description import Camera
from ibl_dask.model.places import below
from ibl_dask.model.result import Result
from ibl_dask.model.step import Upstream
from ibl_dask.store import alf
from ibl_dask.store.atomic import is_one_file, move, writing_path
from ibl_dask.store.compression_record import read_record
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.session_files import CAMERA_FILES, labcams_pattern
from ibl_dask.tasks.video_mp4.compress_steps import keep_compressed, record_video, recorded_result
from ibl_dask.tasks.video_mp4.raw_video import (
    RawVideoStep,
    compare_with_rows,
    find_raw_video,
    index_raw,
    require_one,
)
from ibl_dask.tasks.video_mp4.trash import set_aside

_PROFILE = {"name": "stream copy"}


def is_wanted(workspace: Workspace, camera: Camera) -> bool:
    """Return True if there is anything to convert or to rename."""
    found = find_raw_video(workspace, camera)
    logs = find_camlogs(workspace, camera)
    is_left = found.raw is not None and (workspace.overwrite or not found.is_proven)
    return is_left or (bool(logs) and _named_camlog(workspace, camera) is None)


def find_camlogs(workspace: Workspace, camera: Camera) -> list[Path]:
    """Return the camera's logs under the names that labcams gives them."""
    return alf.find_all(workspace.session, camera.collection, labcams_pattern(camera.label, "camlog"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertCamera(RawVideoStep):
    """Make the MP4 of a camera from its AVI, and rename its log; see `convert_camera`."""

    kind: ClassVar[str] = "convert"

    videos: Sequence[object]
    """Identities of its videos; JSON."""
    logs: Sequence[object]
    """Identities of its logs; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"videos": self.videos, "logs": self.logs}

    def run(self, upstream: Upstream) -> Result:
        return convert_camera(self.workspace, self.described)


def convert_camera(workspace: Workspace, camera: Camera) -> Result:
    """Make the MP4 of a camera where there is none that is proven, then give its log the name that all logs have.

    A video whose AVI is gone stays as it is. Results of an earlier run are kept.

    Raises
    ------
    MissingFile
        If there is no video.
    UnusableFile
        If there are several, or an MP4 without a record, or a copy cannot be faithful.
    CorruptOutput
        If the copy differs from its source; it got no name then.
    """
    found = find_raw_video(workspace, camera)
    require_one([] if found.raw is None else [found.raw, *found.others], "video")
    require_one(find_camlogs(workspace, camera), "log")
    if found.raw is None and found.compressed is None:
        alf.require(
            workspace.session,
            camera.collection,
            labcams_pattern(camera.label, "avi"),
            "copy the video from the acquisition computer, or take the camera out of the experiment description",
        )
    if found.raw is not None and (found.compressed is None or workspace.overwrite):
        result = _convert(workspace, camera, found.raw)
    else:
        result = keep_compressed(workspace, camera)
    log = _name_camlog(workspace, camera)
    return result if log is None else replace(result, outputs=(*result.outputs, log), is_kept=False)


def _convert(workspace: Workspace, camera: Camera, video: Path) -> Result:
    """Copy the packets, compare both files, record the copy, and give it its name, in this order."""
    from ibl_dask.video.encoding.remux import check_copy, copy_notes, copy_to_mp4

    index_raw(workspace, camera, video)
    source = load_index(workspace.raw_index_file(camera.label))
    notes = [*compare_with_rows(workspace, camera, video, len(source)), *copy_notes(video, source)]
    target, before = workspace.video_file(camera), read_record(workspace, camera.label)
    with writing_path(target, video.stat().st_size) as unfinished:
        copy_to_mp4(video, source, unfinished)
        index, packets = check_copy(video, source, unfinished)
        source.require_unchanged(video)
        made = {"profile": _PROFILE, "packets": {"codec": source.codec, "sha256": packets}, "notes": notes}
        record = record_video(workspace, camera, (video, source), (unfinished, index), made)
        set_aside(workspace, target, before)
    return recorded_result(record, (target, workspace.compression_file(camera.label)))


def _named_camlog(workspace: Workspace, camera: Camera) -> Path | None:
    found = alf.find_each(workspace.session, camera.collection, _log_name(camera))
    return found[0] if found else None


def _log_name(camera: Camera) -> str:
    return f"_iblrig_{camera.label}Camera.{CAMERA_FILES['camlog']}"


def _name_camlog(workspace: Workspace, camera: Camera) -> Path | None:
    """Rename the log, or copy it where results go elsewhere; return it, or None where nothing was to be done."""
    log = next(iter(find_camlogs(workspace, camera)), None)
    if log is None:
        return None
    named = _named_camlog(workspace, camera)
    if named is not None and not is_one_file(log, named):
        if not filecmp.cmp(log, named, shallow=False):
            raise UnusableFile(
                "this camera has two logs that differ",
                where=str(log.parent),
                expected="one log, or two that are alike",
                got=f"{log.name} and {named}",
                do="compare them with the one on the acquisition computer, and move the other out of the folder",
            )
        return None
    target = below(workspace.session.outputs, camera.collection, _log_name(camera))
    workspace.require_own(target.parent)
    if workspace.session.outputs == workspace.session.path:
        try:
            move(log, target)
        except FileExistsError as error:
            raise UnusableFile(
                "this camera's log cannot have its name, which is taken",
                where=str(target),
                expected="no such file",
                got=f"a link to {target.readlink()}" if target.is_symlink() else "another file",
                do=f"move one of {target.name} and {log.name} out of the folder",
            ) from error
    else:
        with writing_path(target, log.stat().st_size) as unfinished:
            shutil.copyfile(log, unfinished)
    return target
