"""Whole sessions of a mesoscope rig: left, right and belly cameras, and a Timeline DAQ that is sampled slowly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.model.session import Session
from ibl_dask.synth.camera_files import camera_records, write_frame_data
from ibl_dask.synth.plan import CameraFaults, camera_rng, frame_size, plan_camera
from ibl_dask.synth.render import CameraVideo, VideoStyle, write_videos
from ibl_dask.synth.rig_files import VIDEO_FOLDER, SyncFronts, camera_entry, sync_fronts, write_wheel, write_yaml
from ibl_dask.synth.session import simulate_trials
from ibl_dask.synth.truth import CameraTruth, Truth
from ibl_dask.synth.wheel import encoder_edges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ibl_dask.synth.wheel import Behaviour

MESOSCOPE_FPS = {"left": 60.0, "right": 60.0, "belly": 30.0}
"""Frame rates of the rig that is made here, Hz."""
TIMELINE_RATE_HZ = 1000.0
"""Sampling rate of the DAQ: imaging rigs sample slowly."""
SYNC_FOLDER = "raw_sync_data"
"""Folder of the DAQ's files."""
META = "_timeline_DAQdata.meta.json"
"""Name of the file that maps lines to columns."""
INPUTS = {
    "chrono": "Voltage",
    "left_camera": "Voltage",
    "right_camera": "Voltage",
    "belly_camera": "Voltage",
    "neural_frames": "EdgeCount",
    "audio": "Voltage",
    "rotary_encoder": "Position",
}
"""Inputs of the DAQ and how it measures them, in the order of the columns, which MATLAB numbers from 1."""


@dataclass(frozen=True, slots=True)
class MesoscopeFaults:
    """Deviations of a recording from one pulse per frame, and from fronts with a meta file."""

    cameras: Mapping[str, CameraFaults] = field(default_factory=dict)
    """See `CameraFaults`; by label."""
    without_meta: bool = False
    """Leave out the meta file of the DAQ."""
    samples: bool = False
    """Leave the samples of the DAQ instead of the fronts in them."""


def write_mesoscope_session(
    folder: Path,
    *,
    duration_s: float = 10.0,
    cameras: Sequence[str] = ("left", "right", "belly"),
    seed: int = 0,
    scale: float = 1.0,
    faults: MesoscopeFaults | None = None,
    burn: bool = True,
    gop: int = 250,
) -> Truth:
    """Write a session of a mesoscope rig and return its ground truth.

    Parameters
    ----------
    folder
        Session folder, ending in `subject/YYYY-MM-DD/NNN`; made if need be.
    duration_s
        Length of the videos.
    cameras
        Some of left, right and belly.
    seed
        Chooses everything that varies; equal arguments give equal sessions.
    scale
        Scales the frames.
    faults
        Deviations of the recording; none by default.
    burn
        Burn frame numbers into the pixels.
    gop
        Greatest distance of keyframes, frames.

    Raises
    ------
    UsageError, NotASession
        If arguments contradict each other, or the folder's name is not that of a session.
    """
    faults = faults or MesoscopeFaults()
    folder.mkdir(parents=True, exist_ok=True)
    zero = datetime.fromisoformat(Session(folder).date).replace(hour=14, tzinfo=UTC)
    rngs = {label: camera_rng(seed, label) for label in cameras}
    planned = {
        label: plan_camera(
            label,
            round(duration_s * MESOSCOPE_FPS[label]),
            frame_size("body" if label == "belly" else label, scale),
            faults.cameras.get(label, CameraFaults()),
            rngs[label],
            MESOSCOPE_FPS[label],
        )
        for label in cameras
    }
    behaviour, edges = simulate_trials(planned, np.random.default_rng(seed))
    truth = Truth(planned, behaviour.times_s, behaviour.wheel_rad, edges)
    _write_description(folder, planned)
    _write_timeline(folder / SYNC_FOLDER, truth, behaviour, faults.samples)
    if faults.without_meta:
        (folder / SYNC_FOLDER / META).unlink()
    write_wheel(folder / "alf", behaviour)
    videos = folder / VIDEO_FOLDER
    videos.mkdir(exist_ok=True)
    for label, camera in planned.items():
        write_frame_data(videos, label, camera_records(camera, edges, zero, rngs[label]))
    camera_videos = [CameraVideo(camera, behaviour, None, seed, burn, None) for camera in planned.values()]
    write_videos(videos, camera_videos, VideoStyle(gop=gop), workers=2)
    truth.save(folder)
    return truth


def _write_timeline(folder: Path, truth: Truth, behaviour: Behaviour, samples: bool) -> None:
    """Write the triplet, float64, uint8 and int8, or the samples, and the meta file of the DAQ."""
    columns = {name: column for column, name in enumerate(INPUTS, 1)}
    channels = {name.removesuffix("_camera"): column for name, column in columns.items()}
    turns, counts = encoder_edges(behaviour)
    before = np.concatenate([counts[:1] - 1, counts[:-1]])
    # A position counter goes up and down instead of having two lines.
    wheel = SyncFronts(turns, np.full(turns.size, channels["rotary_encoder"]), np.where(counts >= before, 1, -1))
    fronts = sync_fronts(truth, channels, wheel, TIMELINE_RATE_HZ)
    if samples:
        _write_samples(folder, fronts)
    else:
        fronts.save(folder, "timeline", {"times": "f8", "channels": "u1", "polarities": "i1"})
    inputs = [
        {"name": name, "arrayColumn": columns[name], "daqChannelID": f"ai{column}", "measurement": kind, "axesScale": 1}
        for column, (name, kind) in enumerate(INPUTS.items())
    ]
    inputs.append(
        {"name": "unused", "arrayColumn": [], "daqChannelID": "ai9", "measurement": "Voltage", "axesScale": 1}
    )
    meta = {"daqSampleRate": TIMELINE_RATE_HZ, "inputs": inputs}
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")


def _write_samples(folder: Path, fronts: SyncFronts) -> None:
    """Write the samples of the DAQ: voltages with an offset and some noise, and counters."""
    folder.mkdir(exist_ok=True)
    at = np.rint(fronts.times_s * TIMELINE_RATE_HZ).astype(np.int64)
    n_samples = int(at[-1]) + 1000
    raw = np.zeros((n_samples, len(INPUTS)))
    np.add.at(raw, (at, fronts.channels - 1), fronts.polarities)
    raw = np.cumsum(raw, axis=0)
    is_voltage = np.array([kind == "Voltage" for kind in INPUTS.values()])
    noise = np.random.default_rng(0).normal(0.2, 0.01, (n_samples, int(is_voltage.sum())))
    raw[:, is_voltage] = 4.8 * raw[:, is_voltage] + noise
    raw[:, ~is_voltage] %= 2.0**32  # a counter of 32 bits that goes below zero turns around
    np.save(folder / "_timeline_DAQdata.raw.npy", raw)
    np.save(folder / "_timeline_DAQdata.timestamps.npy", np.arange(n_samples) / TIMELINE_RATE_HZ)


def _write_description(folder: Path, cameras: Mapping[str, CameraTruth]) -> None:
    content = {
        "version": "1.0.0",
        "sync": {"nidq": {"collection": SYNC_FOLDER, "extension": "npy", "acquisition_software": "timeline"}},
        "devices": {
            "cameras": {label: camera_entry(camera) for label, camera in cameras.items()},
            "mesoscope": {"mesoscope": {"collection": "raw_imaging_data*", "sync_label": "neural_frames"}},
        },
        "tasks": [{"_iblrig_tasks_ImagingChoiceWorld": {"collection": "raw_task_data_00", "sync_label": "bpod"}}],
    }
    write_yaml(folder, content)
