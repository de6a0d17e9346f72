"""Give every frame a time on the main clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.model.description import Camera
from ibl_dask.store import alf, arrays
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.steps.inputs import Facts, Records, SyncFiles, camera_file_paths, sync_paths

TIMING_VERSION = 1


def time_camera(*, records: Records, workspace: Workspace, camera: Camera, sync: SyncFiles) -> Facts:
    """Give every frame a time on the main clock, and say how it was obtained."""
    from ibl_dask.timing.align import frame_times
    from ibl_dask.timing.camera_files import read_camera_files
    from ibl_dask.timing.nidq import channel_map, read_sync

    n_frames = next(int(r.value["frames"]) for r in records.values() if "frames" in r.value)
    where = f"{camera.label} camera of {workspace.session.reference}"
    triplet = []
    for part in ("times", "channels", "polarities"):
        do = "extract the sync pulses first (SyncPulses), or copy raw_ephys_data from the acquisition computer"
        triplet.append(alf.require(workspace.session, sync.collection, f"_{sync.namespace}_sync.{part}.npy", do))
    fronts = read_sync(*triplet)
    channels = channel_map(sync_paths(workspace, sync)["wiring"])
    pulses = fronts.fronts(channels[f"{camera.label}_camera"])
    ttl_channel = channels.get(camera.sync_label or "")
    ttl = None if ttl_channel is None else fronts.fronts(ttl_channel)
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
        "notes": list(result.notes),
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


def load_times(workspace: Workspace, camera: str) -> NDArray[np.float64] | None:
    """Return the published frame times of a camera; None where there are none. (frame,)"""
    path = workspace.published_times(camera)
    return None if path is None else np.asarray(np.load(path), np.float64)


def load_timing(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read how the times of a camera were obtained."""
    return arrays.read_arrays(path, "camera-timing", TIMING_VERSION)
