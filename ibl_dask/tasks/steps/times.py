"""Give every frame a time on the main clock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import NoPulses
from ibl_dask.model.description import Camera
from ibl_dask.store import alf, arrays
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.steps.inputs import Facts, Records, SyncFiles, camera_file_paths, sync_paths
from ibl_dask.timing.align import frame_times
from ibl_dask.timing.camera_files import read_camera_files
from ibl_dask.timing.nidq import Fronts, Sync, channel_map, read_sync

TIMING_VERSION = 1


def time_camera(*, records: Records, workspace: Workspace, camera: Camera, sync: SyncFiles) -> Facts:
    """Give every frame a time on the main clock, and say how it was obtained."""
    n_frames = next(int(r.value["frames"]) for r in records.values() if "frames" in r.value)
    where = f"{camera.label} camera of {workspace.session.reference}"
    triplet = []
    for part in ("times", "channels", "polarities"):
        do = "extract the sync pulses first (SyncPulses), or copy raw_ephys_data from the acquisition computer"
        triplet.append(alf.require(workspace.session, sync.collection, f"_{sync.namespace}_sync.{part}.npy", do))
    fronts = read_sync(*triplet)
    channels = channel_map(sync_paths(workspace, sync)["wiring"])
    pulses = fronts.fronts(_camera_channel(channels, camera, where))
    ttl, notes = _sync_line(fronts, channels, camera)
    found = camera_file_paths(workspace, camera)
    files = read_camera_files(**found) if any(found.values()) else None
    result = frame_times(n_frames, pulses, ttl, files, where=where, fronts_per_channel=fronts.counts())
    facts: dict[str, Any] = {
        "method": result.method,
        "start": result.start,
        "n_pulses": result.n_pulses,
        "n_surplus_start": result.n_surplus_start,
        "n_surplus_end": result.n_surplus_end,
        "n_missing_start": result.n_missing_start,
        "n_missing_end": result.n_missing_end,
        "n_dropped": result.n_dropped,
        "n_not_measured": int((result.quality != 0).sum()),
        "period_s": result.period_s,
        "drift_ppm": result.drift_ppm,
        "notes": [*result.notes, *notes],
        "hint": result.outcome_hint.name,
        "flagged": bool(result.flagged),
        "n_ttl_rises": None if ttl is None else len(ttl.rises_s),
    }
    arrays.write_arrays(
        workspace.timing_file(camera.label),
        "camera-timing",
        TIMING_VERSION,
        {
            "quality": result.quality,
            "residual_frames": result.residual_frames,
            "residuals_s": result.residuals_s,
        },
        facts,
    )
    path = alf.publish_npy(workspace.times_file(camera.label), result.times_s, workspace.overwrite)
    return {"frames": n_frames, **facts, "outputs": [str(path), str(workspace.timing_file(camera.label))]}


def _camera_channel(channels: Mapping[str, int], camera: Camera, where: str) -> int:
    name = f"{camera.label}_camera"
    if name not in channels:
        raise NoPulses(
            "the wiring names no channel for this camera",
            where=where,
            expected=f"{name} among the channels",
            got=", ".join(sorted(channels)),
            do="say in the wiring file (*.wiring.json beside the recording) which pin carries its pulses",
        )
    return channels[name]


def _sync_line(fronts: Sync, channels: Mapping[str, int], camera: Camera) -> tuple[Fronts | None, list[str]]:
    """Return the line that is also wired to the camera's pin, and what there is to say if there is none."""
    if camera.sync_label is None:
        return None, []
    if camera.sync_label not in channels:
        return None, [f"the wiring names no channel {camera.sync_label!r}, so pin changes cannot be matched"]
    return fronts.fronts(channels[camera.sync_label]), []


def load_times(workspace: Workspace, camera: str) -> NDArray[np.float64] | None:
    """Return the published frame times of a camera; None where there are none. (frame,)"""
    path = workspace.published_times(camera)
    return None if path is None else np.asarray(np.load(path), np.float64)


def load_timing(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read how the times of a camera were obtained."""
    return arrays.read_arrays(path, "camera-timing", TIMING_VERSION)
