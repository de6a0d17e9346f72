"""Where the files of a camera are, and what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibl_dask.model.description import Camera
from ibl_dask.model.step import Key, StepRecord
from ibl_dask.store import alf
from ibl_dask.store.workspace import Workspace

Records = Mapping[Key, StepRecord]
"""Records of the steps that a step needs."""
Facts = Mapping[str, Any]
"""What a step returns: counts and short facts; JSON."""


@dataclass(frozen=True, slots=True)
class SyncFiles:
    """Where the main clock's fronts of a session are."""

    collection: str
    """Folder relative to the session."""
    namespace: str
    """spikeglx or timeline: the first part of the file names."""


@dataclass(frozen=True, slots=True)
class BpodFiles:
    """Where the trials of a session's Bpod are."""

    collection: str
    """Folder relative to the session."""
    pattern: str
    """Name of the file of trials."""


def video_pattern(label: str, extension: str) -> str:
    """Return the name of a camera's raw video."""
    return f"_iblrig_{label}Camera.raw.{extension}"


def find_video(workspace: Workspace, camera: Camera) -> Path | None:
    """Return a camera's video: compressed where there is one, else as recorded."""
    for extension in ("mp4", "avi"):
        found = alf.find(workspace.session, camera.collection, video_pattern(camera.label, extension))
        if found is not None:
            return found
    return None


def camera_file_paths(workspace: Workspace, camera: Camera) -> dict[str, Path | None]:
    """Return the camera's own files, by what they hold."""
    names = {
        "frame_data": "frameData.bin",
        "timestamps": "timestamps.ssv",
        "gpio": "GPIO.bin",
        "counter": "frame_counter.bin",
    }
    return {
        key: alf.find(workspace.session, camera.collection, f"_iblrig_{camera.label}Camera.{name}")
        for key, name in names.items()
    }


def sync_paths(workspace: Workspace, sync: SyncFiles) -> dict[str, Path | None]:
    """Return the files of the main clock's fronts, by what they hold."""
    names = {part: f"_{sync.namespace}_sync.{part}.npy" for part in ("times", "channels", "polarities")}
    names["wiring"] = f"_{sync.namespace}_*.wiring.json"
    return {part: alf.find(workspace.session, sync.collection, name) for part, name in names.items()}


def register_camera(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """List a camera's raw files, and insist on a clock of its own."""
    found = {key: path for key, path in camera_file_paths(workspace, camera).items() if path is not None}
    if "frame_data" not in found and "timestamps" not in found:
        alf.require(
            workspace.session,
            camera.collection,
            f"_iblrig_{camera.label}Camera.frameData.bin",
            "copy frameData.bin (or timestamps.ssv) of this camera from the acquisition computer",
        )
    video = find_video(workspace, camera)
    files = [*found.values(), *([video] if video is not None else [])]
    return {"files": [alf.identity(path) for path in files]}
