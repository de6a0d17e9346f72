"""Route by which a camera is timed: its clock, the files and settings that the times depend on, and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ibl_dask.model.description import Camera
from ibl_dask.store import alf
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import BpodFiles, SyncFiles, camera_file_paths
from ibl_dask.tasks.video_sync.pulse_times import TimeCamera


@dataclass(frozen=True, slots=True)
class Timing:
    """Route by which a camera is timed."""

    make_step: Callable[..., TimeCamera]
    """Builds the step from the fields of `TimeCamera`."""
    clock: SyncFiles | BpodFiles
    """Files of the main clock."""
    files: Mapping[str, Sequence[Path]]
    """Files of the main clock that the times depend on, by their contents."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings that the times depend on; JSON."""

    def inputs(self, workspace: Workspace, camera: Camera) -> dict[str, object]:
        """Return the identities of all files that the times depend on, and the settings; JSON."""
        paths = {**camera_file_paths(workspace, camera), **self.files}
        named = {name: alf.identities(found) for name, found in paths.items()}
        return {**named, **self.settings, "sync_label": camera.sync_label, "nominal_hz": camera.fps}
