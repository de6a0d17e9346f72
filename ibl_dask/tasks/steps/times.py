"""Give every frame a time on the main clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import NoPulses
from ibl_dask.model.description import Camera
from ibl_dask.store import alf, arrays
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.steps.inputs import BpodFiles, Facts, Records, SyncFiles, camera_file_paths, sync_paths
from ibl_dask.timing.align import CameraTimes, frame_times, times_from_pulses
from ibl_dask.timing.bpod import ROUTE, bpod_pulses, read_bpod
from ibl_dask.timing.camera_files import CameraFiles, read_camera_files
from ibl_dask.timing.nidq import Fronts, Sync, channel_map, read_sync

TIMING_VERSION = 1


def time_camera(*, records: Records, workspace: Workspace, camera: Camera, sync: SyncFiles) -> Facts:
    """Give every frame a time on the clock of a DAQ, and say how it was obtained."""
    where = _where(workspace, camera)
    triplet = []
    for part in ("times", "channels", "polarities"):
        do = "extract the sync pulses first (SyncPulses), or copy raw_ephys_data from the acquisition computer"
        triplet.append(alf.require(workspace.session, sync.collection, f"_{sync.namespace}_sync.{part}.npy", do))
    fronts = read_sync(*triplet)
    channels = channel_map(sync_paths(workspace, sync)["wiring"])
    pulses = fronts.fronts(_camera_channel(channels, camera, where))
    ttl, notes = _sync_line(fronts, channels, camera)
    result = frame_times(
        _n_frames(records),
        pulses,
        ttl,
        _camera_files(workspace, camera),
        where=where,
        fronts_per_channel=fronts.counts(),
    )
    return _publish(workspace, camera, result, ttl, notes)


def time_camera_by_bpod(
    *,
    records: Records,
    workspace: Workspace,
    camera: Camera,
    bpod: BpodFiles,
    longest_extrapolation_s: float,
    notes: Sequence[str] = (),
) -> Facts:
    """Give every frame a time on the clock of a Bpod, and say how it was obtained."""
    where = _where(workspace, camera)
    do = "copy the folder of the task from the acquisition computer, or name another one (argument `collection`)"
    events = read_bpod(alf.require(workspace.session, bpod.collection, bpod.pattern, do))
    pulses = bpod_pulses(events, where=where)
    ttl = None if camera.sync_label is None else events.ttl
    route = replace(ROUTE, outside_s=longest_extrapolation_s)
    files = _camera_files(workspace, camera)
    result = times_from_pulses(_n_frames(records), pulses, ttl, files, where=where, route=route)
    return _publish(workspace, camera, result, ttl, notes)


def _where(workspace: Workspace, camera: Camera) -> str:
    return f"{camera.label} camera of {workspace.session.reference}"


def _n_frames(records: Records) -> int:
    return next(int(r.value["frames"]) for r in records.values() if "frames" in r.value)


def _camera_files(workspace: Workspace, camera: Camera) -> CameraFiles | None:
    found = camera_file_paths(workspace, camera)
    return read_camera_files(**found) if any(found.values()) else None


def _publish(
    workspace: Workspace, camera: Camera, result: CameraTimes, ttl: Fronts | None, notes: Sequence[str]
) -> Facts:
    """Write times, and how they were obtained."""
    wanted = workspace.times_file(camera.label)
    path = alf.publish_npy(wanted, result.times_s, workspace.overwrite)
    if path != wanted:
        notes = [*notes, f"{wanted.name} was there with other times, which stay: these are in {path.parent.name}"]
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
    n_frames = result.times_s.size
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
