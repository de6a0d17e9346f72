"""Files of a camera and of the main clock: their names, where they are, and their contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ibl_dask.errors import CorruptOutput, FormatTooNew
from ibl_dask.model.description import Camera
from ibl_dask.model.result import Result
from ibl_dask.model.step import Resources, Step, Upstream
from ibl_dask.store import alf, arrays
from ibl_dask.store.recordings import Recording, find_recordings, select_recording, stem_of
from ibl_dask.store.workspace import Workspace
from ibl_dask.timing.camera.camera_files import CameraFiles, read_camera_files
from ibl_dask.timing.camera.camlog import read_camlog
from ibl_dask.timing.clocks.nidq import Sync, channel_map, read_sync
from ibl_dask.timing.clocks.spikeglx_binary import SYNC_PULSES, read_binary_sync
from ibl_dask.timing.clocks.timeline import read_timeline_recording, timeline_channel_map

TRIPLET = ("times", "channels", "polarities")
"""Arrays of extracted fronts: one value per front each."""
CAMERA_FILES = {
    "frame_data": "frameData.bin",
    "timestamps": "timestamps.ssv",
    "gpio": "GPIO.bin",
    "counter": "frame_counter.bin",
    "camlog": "raw.camlog",
}
"""Contents of the camera's own files -> end of their names."""
FRONTS_VERSION = 1
"""Version of how fronts are extracted, and kept."""


@dataclass(frozen=True, slots=True)
class SyncFiles:
    """Place and form of the main clock's fronts."""

    collection: str
    """Folder relative to the session."""
    namespace: str
    """spikeglx or timeline: the first part of the file names."""
    extension: str | None = None
    """bin or cbin, as the description gives it; None where it does not."""
    recording: str | None = None
    """Stem of the recording, or name of one of its files, as the description gives it; None where it does not."""

    @property
    def is_timeline(self) -> bool:
        """Return True for a Timeline DAQ, of a mesoscope rig."""
        return self.namespace == "timeline"


@dataclass(frozen=True, slots=True)
class BpodFiles:
    """Place of the trials of a session's Bpod."""

    collection: str
    """Folder relative to the session."""
    pattern: str
    """Name of the file of trials."""


def video_pattern(label: str, extension: str) -> str:
    """Return the name of a camera's raw video."""
    return f"_iblrig_{label}Camera.raw.{extension}"


def labcams_pattern(label: str, extension: str) -> str:
    """Return the name that labcams gives a camera's file."""
    return f"{label}_cam*.{extension}"


def find_video(workspace: Workspace, camera: Camera) -> Path | None:
    """Return a camera's video: compressed where there is one, else as recorded.

    Raises
    ------
    UnusableFile
        If there are several that differ.
    """
    return alf.only_one(video_paths(workspace, camera))


def video_paths(workspace: Workspace, camera: Camera) -> list[Path]:
    """Return the files of a camera's video: one, unless several with UUIDs have its name."""
    names = [video_pattern(camera.label, extension) for extension in ("mp4", "avi")]
    names.append(labcams_pattern(camera.label, "avi"))
    each = (alf.find_each(workspace.session, camera.collection, name) for name in names)
    return next((found for found in each if found), [])


def camera_file_paths(workspace: Workspace, camera: Camera) -> dict[str, list[Path]]:
    """Return the camera's own files by their contents: one of each, unless several with UUIDs have its name."""
    found = {
        key: alf.find_each(workspace.session, camera.collection, f"_iblrig_{camera.label}Camera.{name}")
        for key, name in CAMERA_FILES.items()
    }
    if not found["camlog"]:
        found["camlog"] = alf.find_each(workspace.session, camera.collection, labcams_pattern(camera.label, "camlog"))
    return found


def has_camlog_only(workspace: Workspace, camera: Camera) -> bool:
    """Return True if labcams recorded a camera: it left a log, and no clock of another kind."""
    found = camera_file_paths(workspace, camera)
    return bool(found["camlog"]) and not found["frame_data"] and not found["timestamps"]


def read_camera(workspace: Workspace, camera: Camera, n_frames: int | None = None) -> CameraFiles | None:
    """Read a camera's own files about its frames; None where there are none.

    Parameters
    ----------
    n_frames
        Frames of the video: records beyond them are counted and not looked at. None for all records.

    Raises
    ------
    InputError
        If a file cannot be used, or there are several of a kind that differ.
    """
    found = {key: alf.only_one(paths) for key, paths in camera_file_paths(workspace, camera).items()}
    camlog = found.pop("camlog")
    if camlog is not None and found["frame_data"] is None and found["timestamps"] is None:
        return read_camlog(camlog).camera_files
    return read_camera_files(**found, n_frames=n_frames) if any(found.values()) else None


def sync_paths(workspace: Workspace, sync: SyncFiles) -> dict[str, list[Path]]:
    """Return the files of the main clock by their contents: extracted fronts, else the recording; the wiring.

    One of each, unless several with UUIDs have its name or there are several recordings: `one_sync` refuses these. The
    recording is listed only where the fronts are missing.
    """
    find = partial(alf.find_each, workspace.session, sync.collection)
    found = {part: find(f"_{sync.namespace}_sync.{part}.npy") for part in TRIPLET}
    extracted = all(found.values())
    if sync.is_timeline:
        found["meta"] = find("_timeline_DAQdata.meta.json")
        if not extracted:
            found["recording"] = find("_timeline_DAQdata.raw.npy")
            found["clock"] = find("_timeline_DAQdata.timestamps.npy")
        return found
    recordings = _recordings(workspace, sync)
    own = [path for recording in recordings for path in recording.wiring]
    found["wiring"] = own or find(f"_{sync.namespace}_*.wiring.json") or find("*.wiring.json")
    if not extracted:
        found["recording"] = [path for recording in recordings for path in recording.samples]
        found["header"] = [path for recording in recordings for path in recording.header]
        channels = [path for recording in recordings for path in recording.channels]
        found |= {"channels_of_recording": channels} if channels else {}
    return found


def _recordings(workspace: Workspace, sync: SyncFiles) -> list[Recording]:
    """Return the candidate recordings: the one that is named, else all."""
    found = find_recordings(workspace.session, sync.collection, sync.extension)
    named = [each for each in found if sync.recording is not None and each.stem == stem_of(sync.recording)]
    return named or found


def one_sync(workspace: Workspace, sync: SyncFiles) -> dict[str, Path | None]:
    """Return the files of `sync_paths`, one of each kind.

    Raises
    ------
    InputError
        If there are several recordings, or files of one kind that differ.
    """
    found = sync_paths(workspace, sync)
    if found.get("recording") and not sync.is_timeline:
        recordings = find_recordings(workspace.session, sync.collection, sync.extension)
        select_recording(recordings, sync.recording, found["recording"][0].parent)
    return {part: alf.only_one(paths) for part, paths in found.items()}


def must_extract(workspace: Workspace, sync: SyncFiles) -> bool:
    """Return True if the fronts of the main clock must be read from its recording first."""
    paths = sync_paths(workspace, sync)
    return bool(paths.get("recording")) and _kept_fronts(workspace, recording_identity(paths)) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSync(Step):
    """Read the fronts of the main clock from its recording, once for all cameras, and keep them."""

    kind: ClassVar[str] = "sync"
    version: ClassVar[int] = FRONTS_VERSION

    workspace: Workspace
    """The session."""
    sync: SyncFiles
    """Files of the main clock."""
    recording: Mapping[str, object]
    """Identity of the recording."""
    resources: Resources = Resources(cpu=1, memory_gb=1)
    """One core."""

    def identity(self) -> Mapping[str, object]:
        return {"recording": self.recording}

    def run(self, upstream: Upstream) -> Result:
        fronts = read_fronts(self.workspace, self.sync)
        return Result(facts={"fronts": int(fronts.times_s.size)}, outputs=(self.workspace.fronts_file,))


def read_fronts(workspace: Workspace, sync: SyncFiles) -> Sync:
    """Return the fronts of the main clock: the extracted ones, else those of the recording.

    Raises
    ------
    InputError
        If there are none, or files cannot be used.
    """
    found, paths = sync_paths(workspace, sync), one_sync(workspace, sync)
    recording = paths.get("recording")
    if recording is None:
        do = f"{SYNC_PULSES}, or copy {sync.collection} from the acquisition computer"
        names = [f"_{sync.namespace}_sync.{part}.npy" for part in TRIPLET]
        return read_sync(*(alf.require(workspace.session, sync.collection, name, do) for name in names))
    identity = recording_identity(found)
    kept = _kept_fronts(workspace, identity)
    if kept is None:
        if sync.is_timeline:
            kept = read_timeline_recording(recording, paths["clock"], paths["meta"])
        else:
            kept = read_binary_sync(recording, paths["header"], paths.get("channels_of_recording"))
        content: dict[str, arrays.Array] = {
            "times": kept.times_s,
            "channels": kept.channels.astype(np.uint8),
            "polarities": kept.polarities,
        }
        arrays.write_arrays(workspace.fronts_file, "sync-fronts", FRONTS_VERSION, content, identity)
    return kept


def read_channels(workspace: Workspace, sync: SyncFiles, fronts: Sync) -> dict[str, int]:
    """Return the channel of each named line of the main clock.

    Parameters
    ----------
    workspace
        The session.
    sync
        Files of the main clock.
    fronts
        Fronts of its lines.

    Raises
    ------
    InputError
        If the rig's wiring is missing or cannot be read.
    """
    paths = one_sync(workspace, sync)
    if sync.is_timeline:
        return timeline_channel_map(paths["meta"], fronts, where=str(workspace.session.path / sync.collection))
    return channel_map(paths["wiring"], "sync" if sync.collection == "raw_sync_data" else "nidq")


def recording_identity(paths: Mapping[str, Sequence[Path]]) -> dict[str, object]:
    """Return the identity of a recording of the main clock; JSON."""
    parts = ["recording", "header", "clock", "meta"]
    parts += ["channels_of_recording"] if "channels_of_recording" in paths else []
    return {part: alf.identities(paths.get(part, ())) for part in parts}


def _kept_fronts(workspace: Workspace, identity: Mapping[str, object]) -> Sync | None:
    """Return the cached fronts of this recording; None where there are none."""
    try:
        content, facts = arrays.read_arrays(workspace.fronts_file, "sync-fronts", FRONTS_VERSION)
    except (FileNotFoundError, CorruptOutput, FormatTooNew):
        return None
    if facts != dict(identity):
        return None
    return Sync(content["times"], content["channels"].astype(np.int64), content["polarities"])
