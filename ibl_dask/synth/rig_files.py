"""Files of a rig that belong to no camera: sync, wheel and description."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import yaml

from ibl_dask.synth.clocks import DAQ_RATE_HZ, sample_on_daq
from ibl_dask.synth.wheel import COUNTS_PER_TURN, encoder_edges, quadrature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.synth.truth import CameraTruth, Truth
    from ibl_dask.synth.wheel import Behaviour

CHANNELS = {"left": 0, "right": 1, "body": 2, "rotary_encoder_0": 5, "rotary_encoder_1": 6, "audio": 7}
"""Sync channels used, as in the default map of a nidq."""

VIDEO_FOLDER = "raw_video_data"
SYNC_FOLDER = "raw_ephys_data"

_PULSE_WIDTH = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class SyncFronts:
    """Fronts as a DAQ records them, in order of time."""

    times_s: NDArray[np.float64]
    """Time on a sample of the DAQ (front,)."""
    channels: NDArray[np.int64]
    """Channel of the line (front,)."""
    polarities: NDArray[np.int64]
    """+1 up, -1 down (front,)."""

    def save(self, folder: Path, namespace: str, dtypes: Mapping[str, str]) -> None:
        """Write the arrays of times, channels and polarities.

        Parameters
        ----------
        folder : Path
            Folder of the sync files; made if need be.
        namespace : str
            Namespace of the files, such as `spikeglx`.
        dtypes : mapping
            Array -> dtype.
        """
        folder.mkdir(exist_ok=True)
        columns = {"times": self.times_s, "channels": self.channels, "polarities": self.polarities}
        for name, column in columns.items():
            np.save(folder / f"_{namespace}_sync.{name}.npy", column.astype(dtypes[name]))


def write_sync(folder: Path, truth: Truth, behaviour: Behaviour) -> None:
    """Write the sync arrays of an ephys or widefield rig, all float64.

    Parameters
    ----------
    folder : Path
        Folder of the sync files.
    truth : Truth
        Pulses and edges of the session.
    behaviour : Behaviour
        Movements of the wheel.
    """
    fronts = sync_fronts(truth, CHANNELS, encoder_fronts(behaviour, CHANNELS))
    fronts.save(folder, "spikeglx", dict.fromkeys(("times", "channels", "polarities"), "f8"))


def encoder_fronts(behaviour: Behaviour, channels: Mapping[str, int]) -> SyncFronts:
    """Return the fronts of the two lines of the rotary encoder, not sampled yet."""
    turns, counts = encoder_edges(behaviour)
    encoder, polarity = quadrature(counts)
    return SyncFronts(turns, channels["rotary_encoder_0"] + encoder, polarity)


def sync_fronts(
    truth: Truth, channels: Mapping[str, int], wheel: SyncFronts, rate_hz: float = DAQ_RATE_HZ
) -> SyncFronts:
    """Return the fronts of cameras, sounds and wheel as a DAQ of some rate sees them.

    Parameters
    ----------
    truth
        Ground truth of the session.
    channels
        Channel of each camera by label, and of `audio`.
    wheel
        Fronts of the wheel's lines.
    rate_hz
        Sampling rate of the DAQ.
    """
    times: list[NDArray[np.float64]] = []
    lines: list[NDArray[np.int64]] = []
    polarities: list[NDArray[np.int64]] = []
    for label, camera in truth.cameras.items():
        rises = camera.pulse_times_s
        times += [rises, rises + _PULSE_WIDTH / camera.fps]
        lines += [np.full(2 * rises.size, channels[label])]
        polarities += [np.repeat(np.array([1, -1]), rises.size)]
    sounds = truth.ttl_times_s
    times += [sounds]
    lines += [np.full(sounds.size, channels["audio"])]
    polarities += [np.where(np.arange(sounds.size) % 2 == 0, 1, -1)]
    times += [wheel.times_s]
    lines += [wheel.channels]
    polarities += [wheel.polarities]
    seen = sample_on_daq(np.concatenate(times), rate_hz)
    order = np.lexsort((np.arange(seen.size), seen))
    return SyncFronts(seen[order], np.concatenate(lines)[order], np.concatenate(polarities)[order])


def write_wheel(folder: Path, behaviour: Behaviour) -> None:
    """Write the wheel as extraction leaves it: one entry per change of the encoder."""
    turns, counts = encoder_edges(behaviour)
    seen, last = np.unique(sample_on_daq(turns)[::-1], return_index=True)
    folder.mkdir(exist_ok=True)
    np.save(folder / "_ibl_wheel.timestamps.npy", seen)
    np.save(folder / "_ibl_wheel.position.npy", counts[::-1][last] * (2 * math.pi / COUNTS_PER_TURN))


class CameraEntry(TypedDict):
    """Entry of a camera in a description."""

    collection: str
    sync_label: str
    fps: int
    width: int
    height: int


def camera_entry(camera: CameraTruth) -> CameraEntry:
    """Return the entry of a camera in the description of a rig."""
    return {
        "collection": VIDEO_FOLDER,
        "sync_label": "audio",
        "fps": round(camera.fps),
        "width": camera.width,
        "height": camera.height,
    }


def write_description(folder: Path, cameras: Mapping[str, CameraTruth]) -> None:
    """Write the experiment description of a rig with these cameras and a probe."""
    content = {
        "version": "1.0.0",
        "sync": {"nidq": {"collection": SYNC_FOLDER, "extension": "bin", "acquisition_software": "spikeglx"}},
        "devices": {
            "cameras": {label: camera_entry(camera) for label, camera in cameras.items()},
            "neuropixel": {"probe00": {"collection": f"{SYNC_FOLDER}/probe00", "sync_label": "imec_sync"}},
        },
        "tasks": [
            {"_iblrig_tasks_ephysChoiceWorld": {"collection": "raw_task_data_00", "sync_label": "bpod"}},
            {"_iblrig_tasks_passiveChoiceWorld": {"collection": "raw_task_data_01", "sync_label": "bpod"}},
        ],
    }
    write_yaml(folder, content)


def write_yaml(folder: Path, content: Mapping[str, Any]) -> None:
    """Write an experiment description."""
    text = yaml.safe_dump(content, sort_keys=False)
    (folder / "_ibl_experiment.description.yaml").write_text(text, encoding="utf-8")
