"""Steps that give every frame a time on the main clock, by the pulses alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import FormatTooNew, NoPulses, UnequalLengths
from ibl_dask.model.description import Camera
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.result import Result, VideoIndexed
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.store import alf, arrays
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import (
    BpodFiles,
    SyncFiles,
    camera_file_paths,
    read_camera,
    read_channels,
    read_fronts,
)
from ibl_dask.tasks.video_sync.timing_summary import FramesTimed, TimingSummary
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
"""2: times may be of quality 3, assumed. Files of version 1 are read as they are."""
_OLDER_VERSION = 1
PULSE_TIMES = "pulse-times"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeCamera(Step):
    """Give every frame a time on the main clock; subclasses differ in the clock."""

    kind: ClassVar[str] = "times"
    version: ClassVar[int] = 8
    """4: pins that are read late are doubted where the intervals of the pulses are short. 5: few frames beyond lost
    samples are doubted. 7: a part that fits a frame off is doubted, 8: a start that leads by few coincidences."""
    result_form: ClassVar[type[Result]] = FramesTimed

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""
    video_identity: Mapping[str, object]
    """Identity of its video."""
    inputs: Mapping[str, object]
    """Identities of the files of camera and clock, and settings; JSON."""
    index: StepKey
    """Indexes the video."""

    def identity(self) -> Mapping[str, object]:
        return {"camera": self.camera, "video": self.video_identity, "inputs": self.inputs}

    @property
    def where(self) -> str:
        """Return the place that messages name."""
        return f"{self.described.label} camera of {self.workspace.session.reference}"

    def video(self, upstream: Upstream) -> VideoIndexed:
        """Return the indexed video."""
        return upstream.result(self.index, VideoIndexed)

    def keep(
        self,
        video: VideoIndexed,
        result: CameraTimes,
        ttl: Fronts | None,
        pulses: Pulses,
        notes: Sequence[str],
    ) -> FramesTimed:
        """Write times for the step that publishes them (`wheel_times.py`), with the pulses for a correction.

        Parameters
        ----------
        video
            The video.
        result
            Times and how they were obtained.
        ttl
            Line that is wired to the camera's pin; None without one.
        pulses
            Pulses of the camera; those that no frame shows are needed where the wheel decides.
        notes
            Further remarks.
        """
        timing = _summarise(result, ttl, (*result.notes, *notes, *video.notes))
        path = self.workspace.pulse_times_file(self.described.label)
        content = _arrays_of(result, pulses)
        arrays.write_arrays(path, PULSE_TIMES, TIMING_VERSION, content, timing.to_json())
        return FramesTimed(frames=result.times_s.size, timing=timing, outputs=(path,))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeByDaq(TimeCamera):
    """Time a camera by its pulses on a DAQ and by its own files."""

    sync: SyncFiles
    """Files of the main clock."""

    def run(self, upstream: Upstream) -> FramesTimed:
        video, camera = self.video(upstream), self.described
        fronts = read_fronts(self.workspace, self.sync)
        channels = read_channels(self.workspace, self.sync, fronts)
        pulses = fronts.fronts(_camera_channel(channels, camera, self.where))
        ttl, notes = _sync_line(fronts, channels, camera)
        files = read_camera(self.workspace, camera, video.frames)
        _require_places(video, None if files is None else files.n_frames, self.where)
        result = frame_times(
            video.frames,
            pulses,
            ttl,
            files,
            where=self.where,
            nominal_hz=camera.fps,
            fronts_per_channel=fronts.counts(),
        )
        return self.keep(video, result, ttl, camera_pulses(pulses, where=self.where), notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeByCamlog(TimeCamera):
    """Time a camera by its pulses on a DAQ and the log that labcams wrote."""

    sync: SyncFiles
    """Files of the main clock."""

    def run(self, upstream: Upstream) -> FramesTimed:
        video, camera = self.video(upstream), self.described
        fronts = read_fronts(self.workspace, self.sync)
        channel = _camera_channel(read_channels(self.workspace, self.sync, fronts), camera, self.where)
        path = alf.only_one(camera_file_paths(self.workspace, camera)["camlog"])
        log = None if path is None else read_camlog(path)
        _require_places(video, None if log is None else log.n_frames, self.where)
        result = camlog_times(
            video.frames,
            fronts.fronts(channel),
            log,
            where=self.where,
            nominal_hz=camera.fps,
            fronts_per_channel=fronts.counts(),
        )
        notes = [] if log is not None else ["labcams left no log of this camera, so numbers alone decide"]
        pulses = camera_pulses(fronts.fronts(channel), where=self.where)
        return self.keep(video, result, None, pulses, notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeByBpod(TimeCamera):
    """Time a camera by its pulses on a Bpod."""

    bpod: BpodFiles
    """Files of the trials."""
    longest_extrapolation_s: float
    """Longest time before the first and after the last trial together, s."""
    clock_notes: tuple[str, ...] = ()
    """Remarks on the choice of the clock."""

    def run(self, upstream: Upstream) -> FramesTimed:
        video, camera, bpod = self.video(upstream), self.described, self.bpod
        do = "copy the folder of the task from the acquisition computer, or name another one (argument `collection`)"
        events = read_bpod(alf.require(self.workspace.session, bpod.collection, bpod.pattern, do))
        pulses = bpod_pulses(events, where=self.where)
        ttl = None if camera.sync_label is None else events.ttl
        policy = replace(BPOD, outside_s=self.longest_extrapolation_s)
        files = read_camera(self.workspace, camera, video.frames)
        _require_places(video, None if files is None else files.n_frames, self.where)
        result = times_from_pulses(
            video.frames, pulses, ttl, files, where=self.where, policy=policy, nominal_hz=camera.fps
        )
        return self.keep(video, result, ttl, pulses, self.clock_notes)


def _require_places(video: VideoIndexed, n_noted: int | None, where: str) -> None:
    """Refuse a video with empty places for which the camera noted no frames: frames after them have other numbers."""
    if video.empty_places and n_noted == video.frames - video.empty_places:
        raise UnequalLengths(
            "the camera noted as many frames as the video has pictures, not as it has places, of which some are empty",
            where=f"{where}: {video.video}",
            expected=f"{video.frames:,} frames, as many as there are places",
            got=f"{n_noted:,} frames, and {video.empty_places:,} empty places",
            do=EMPTY_PLACES,
        )


def _summarise(result: CameraTimes, ttl: Fronts | None, notes: tuple[str, ...]) -> TimingSummary:
    return TimingSummary(
        method=result.method,
        start=result.start,
        n_pulses=result.n_pulses,
        n_surplus_start=result.n_surplus_start,
        n_surplus_end=result.n_surplus_end,
        n_missing_start=result.n_missing_start,
        n_missing_end=result.n_missing_end,
        n_dropped=result.n_dropped,
        n_not_measured=int((result.quality != 0).sum()),
        period_s=result.period_s,
        drift_ppm=result.drift_ppm,
        assumed=result.assumed,
        n_assumed=int((result.quality == Quality.ASSUMED).sum()),
        notes=notes,
        hint=result.outcome_hint.name,
        hint_if_confirmed=result.outcome_if_confirmed.name,
        flagged=bool(result.flagged),
        n_ttl_rises=None if ttl is None else len(ttl.rises_s),
    )


def _arrays_of(result: CameraTimes, pulses: Pulses) -> dict[str, arrays.Array]:
    exposures, numbers = _exposures(result, pulses)
    return {
        "times_s": result.times_s,
        "quality": result.quality,
        "pulse_quality": result.pulse_quality,
        "residual_frames": result.residual_frames,
        "residuals_s": result.residuals_s,
        "exposures_s": exposures.times_s,
        "measured": exposures.measured,
        "numbers": numbers,
    }


def _exposures(result: CameraTimes, pulses: Pulses) -> tuple[Pulses, NDArray[np.int64]]:
    """Return all pulses, with those that no frame shows, and the number of the pulse of each frame (frame,).

    Frames without a pulse have numbers beyond the ends.
    """
    shown = result.pulse_quality != Quality.EXTRAPOLATED
    times, measured = result.times_s[shown], result.pulse_quality[shown] == Quality.MEASURED
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
    content: Mapping[str, arrays.Array],
    timing: TimingSummary,
    wheel: Mapping[str, object],
) -> FramesTimed:
    """Write the frame times of a camera, and how they were obtained.

    Parameters
    ----------
    workspace, camera
        The session and the camera.
    content
        `times_s` (frame,), s on the main clock; `quality` and `pulse_quality` (frame,); `residual_frames` and
        `residuals_s` (match,).
    timing
        Summary of the alignment.
    wheel
        Comparison with the wheel; JSON.
    """
    wanted, times_s = workspace.times_file(camera.label), content["times_s"]
    path = alf.publish_npy(wanted, times_s, workspace.overwrite)
    if path != wanted:
        note = f"{wanted.name} was there with other times, which stay: these are in {path.parent.name}"
        timing = replace(timing, notes=(*timing.notes, note))
    details = {name: content[name] for name in ("quality", "pulse_quality", "residual_frames", "residuals_s")}
    target = workspace.timing_file(camera.label)
    arrays.write_arrays(target, "camera-timing", TIMING_VERSION, details, {**timing.to_json(), "wheel": dict(wheel)})
    return FramesTimed(frames=int(times_s.size), timing=timing, wheel=wheel, outputs=(path, target))


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
    """Return the line that is also wired to the camera's pin, and remarks where there is none."""
    if camera.sync_label is None:
        return None, []
    if camera.sync_label not in channels:
        return None, [f"the wiring names no channel {camera.sync_label!r}, so pin changes cannot be matched"]
    return fronts.fronts(channels[camera.sync_label]), []


def load_times(workspace: Workspace, camera: str) -> NDArray[np.float64] | None:
    """Return the published frame times of a camera; None where there are none. (frame,)"""
    path = workspace.published_times(camera)
    return None if path is None else np.asarray(np.load(path), np.float64)


def load_pulse_times(path: Path) -> tuple[dict[str, arrays.Array], TimingSummary]:
    """Read the times of a camera by its pulses alone, with the pulses; see `TimeCamera.keep`."""
    content, facts = arrays.read_arrays(path, PULSE_TIMES, TIMING_VERSION)
    return content, TimingSummary.from_json(facts)


def load_timing(path: Path) -> tuple[dict[str, arrays.Array], JsonObject]:
    """Read how the times of a camera were obtained, by this version or the one before."""
    try:
        return arrays.read_arrays(path, "camera-timing", TIMING_VERSION)
    except FormatTooNew:
        return arrays.read_arrays(path, "camera-timing", _OLDER_VERSION)
