"""Give every frame a time on the main clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import FormatTooNew, NoPulses, UnequalLengths
from ibl_dask.model.description import Camera
from ibl_dask.store import alf, arrays
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import (
    BpodFiles,
    Facts,
    Records,
    SyncFiles,
    camera_file_paths,
    read_camera,
    read_channels,
    read_fronts,
)
from ibl_dask.timing.alignment.camera_times import CameraTimes, Quality
from ibl_dask.timing.alignment.camlog_route import camlog_times
from ibl_dask.timing.alignment.clock_policy import BPOD
from ibl_dask.timing.alignment.frame_times import frame_times, times_from_pulses
from ibl_dask.timing.camera.camlog import read_camlog
from ibl_dask.timing.clocks.bpod import bpod_pulses, read_bpod
from ibl_dask.timing.clocks.nidq import Fronts, Sync
from ibl_dask.timing.clocks.pulses import Pulses, camera_pulses
from ibl_dask.video.container.index import EMPTY_PLACES

TIMING_VERSION = 2
"""2: times may be of quality 3, assumed. What version 1 says holds as it stands."""
_OLDER_VERSION = 1
PULSE_TIMES = "pulse-times"


def time_camera(*, records: Records, workspace: Workspace, camera: Camera, sync: SyncFiles) -> Facts:
    """Give every frame a time on the clock of a DAQ, and say how it was obtained."""
    where = _where(workspace, camera)
    fronts = read_fronts(workspace, sync)
    channels = read_channels(workspace, sync, fronts)
    pulses = fronts.fronts(_camera_channel(channels, camera, where))
    ttl, notes = _sync_line(fronts, channels, camera)
    files = read_camera(workspace, camera, _n_frames(records))
    _insist_on_places(records, None if files is None else files.n_frames, where)
    result = frame_times(
        _n_frames(records),
        pulses,
        ttl,
        files,
        where=where,
        nominal_hz=camera.fps,
        fronts_per_channel=fronts.counts(),
    )
    notes = [*notes, *_video_notes(records)]
    return _keep(workspace, camera, result, ttl, notes, camera_pulses(pulses, where=where))


def time_camera_by_camlog(*, records: Records, workspace: Workspace, camera: Camera, sync: SyncFiles) -> Facts:
    """Give every frame a time on the clock of a DAQ, by the log that labcams wrote, and say how it was obtained."""
    where = _where(workspace, camera)
    fronts = read_fronts(workspace, sync)
    channel = _camera_channel(read_channels(workspace, sync, fronts), camera, where)
    path = alf.only_one(camera_file_paths(workspace, camera)["camlog"])
    log = None if path is None else read_camlog(path)
    _insist_on_places(records, None if log is None else log.n_frames, where)
    result = camlog_times(
        _n_frames(records),
        fronts.fronts(channel),
        log,
        where=where,
        nominal_hz=camera.fps,
        fronts_per_channel=fronts.counts(),
    )
    notes = [] if log is not None else ["labcams left no log of this camera, so numbers alone decide"]
    pulses = camera_pulses(fronts.fronts(channel), where=where)
    return _keep(workspace, camera, result, None, [*notes, *_video_notes(records)], pulses)


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
    policy = replace(BPOD, outside_s=longest_extrapolation_s)
    files = read_camera(workspace, camera, _n_frames(records))
    _insist_on_places(records, None if files is None else files.n_frames, where)
    result = times_from_pulses(
        _n_frames(records), pulses, ttl, files, where=where, policy=policy, nominal_hz=camera.fps
    )
    return _keep(workspace, camera, result, ttl, [*notes, *_video_notes(records)], pulses)


def _where(workspace: Workspace, camera: Camera) -> str:
    return f"{camera.label} camera of {workspace.session.reference}"


def _video(records: Records) -> Mapping[str, Any]:
    """Return what the step found that indexed the video."""
    return next(r.value for r in records.values() if "frames" in r.value)


def _n_frames(records: Records) -> int:
    return int(_video(records)["frames"])


def _video_notes(records: Records) -> list[str]:
    return list(_video(records).get("notes", ()))


def _insist_on_places(records: Records, n_noted: int | None, where: str) -> None:
    """Refuse a video whose empty places the camera noted no frames for: then those after them have other numbers."""
    video = _video(records)
    n_empty = int(video.get("empty_places", 0))
    if n_empty and n_noted == int(video["frames"]) - n_empty:
        raise UnequalLengths(
            "the camera noted as many frames as the video has pictures, not as it has places, of which some are empty",
            where=f"{where}: {video['video']}",
            expected=f"{int(video['frames']):,} frames, as many as there are places",
            got=f"{n_noted:,} frames, and {n_empty:,} empty places",
            do=EMPTY_PLACES,
        )


def _keep(
    workspace: Workspace,
    camera: Camera,
    result: CameraTimes,
    ttl: Fronts | None,
    notes: Sequence[str],
    pulses: Pulses | None = None,
) -> Facts:
    """Keep times for the step that publishes them (`wheel_times.py`), with what it may correct them by.

    Parameters
    ----------
    workspace, camera, result, ttl, notes
        Whose times, how they came out, and what there is to say.
    pulses
        Those that the times were made from; those that no frame shows are wanted where the wheel decides.
    """
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
        "assumed": result.assumed,
        "n_assumed": int((result.quality == Quality.ASSUMED).sum()),
        "notes": [*result.notes, *notes],
        "hint": result.outcome_hint.name,
        "hint_if_confirmed": result.outcome_if_confirmed.name,
        "flagged": bool(result.flagged),
        "n_ttl_rises": None if ttl is None else len(ttl.rises_s),
    }
    exposures, numbers = _exposures(result, pulses)
    path = workspace.pulse_times_file(camera.label)
    content: dict[str, NDArray[Any]] = {
        "times_s": result.times_s,
        "quality": result.quality,
        "pulse_quality": result.pulse_quality,
        "residual_frames": result.residual_frames,
        "residuals_s": result.residuals_s,
        "exposures_s": exposures.times_s,
        "measured": exposures.measured,
        "numbers": numbers,
    }
    arrays.write_arrays(path, PULSE_TIMES, TIMING_VERSION, content, facts)
    return {"frames": result.times_s.size, **facts, "outputs": [str(path)]}


def _exposures(result: CameraTimes, pulses: Pulses | None) -> tuple[Pulses, NDArray[np.int64]]:
    """Return the pulses behind some times, with those that no frame shows, and which of them each frame shows.

    Frames that have none are numbered on beyond the ends.
    """
    shown = result.pulse_quality != Quality.EXTRAPOLATED
    times, measured = result.times_s[shown], result.pulse_quality[shown] == Quality.MEASURED
    if pulses is not None:
        near = np.searchsorted(times, pulses.times_s - result.period_s / 2)
        free = near == np.searchsorted(times, pulses.times_s + result.period_s / 2)
        times = np.concatenate([times, pulses.times_s[free]])
        measured = np.concatenate([measured, pulses.measured[free]])
        order = np.argsort(times, kind="stable")
        times, measured = times[order], measured[order]
    exposures = Pulses(times, measured)
    # A quarter of a period early, so that the first pulse from there on is that of the frame itself.
    return exposures, exposures.number_at(result.times_s - result.period_s / 4)


def publish_times(
    workspace: Workspace,
    camera: Camera,
    times_s: NDArray[np.float64],
    details: Mapping[str, NDArray[Any]],
    facts: Mapping[str, Any],
) -> Facts:
    """Write the frame times of a camera, and how they were obtained.

    Parameters
    ----------
    workspace, camera
        Where, and whose.
    times_s
        One per frame, s on the main clock (frame,).
    details, facts
        What is kept beside them: `quality` and `pulse_quality` (frame,), `residual_frames` and `residuals_s` (match,),
        and what `_keep` lists.
    """
    wanted = workspace.times_file(camera.label)
    path = alf.publish_npy(wanted, times_s, workspace.overwrite)
    told = dict(facts)
    if path != wanted:
        note = f"{wanted.name} was there with other times, which stay: these are in {path.parent.name}"
        told["notes"] = [*told["notes"], note]
    timing = workspace.timing_file(camera.label)
    arrays.write_arrays(timing, "camera-timing", TIMING_VERSION, details, told)
    return {**told, "outputs": [str(path), str(timing)]}


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


def load_pulse_times(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the times of a camera as the pulses alone tell them, and what they were made from."""
    return arrays.read_arrays(path, PULSE_TIMES, TIMING_VERSION)


def load_timing(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read how the times of a camera were obtained, by this version or the one before."""
    try:
        return arrays.read_arrays(path, "camera-timing", TIMING_VERSION)
    except FormatTooNew:
        return arrays.read_arrays(path, "camera-timing", _OLDER_VERSION)
