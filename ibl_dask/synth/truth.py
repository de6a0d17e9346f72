"""Ground truth of a synthetic session, to compare results with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.synth.clocks import sample_on_daq

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRUTH_FILE = "synth_truth.npz"
"""Name of the file in the session folder."""

_ARRAYS = ("exposure_times_s", "frame_exposures")
_NUMBERS = ("fps", "width", "height", "first_pulse", "stop_pulse")


@dataclass(frozen=True, slots=True, eq=False)
class CameraTruth:
    """Exposures, frames and pulses of one camera."""

    label: str
    """left, right or body."""
    fps: float
    """Nominal frame rate, Hz."""
    width: int
    """Width of its frames, pixels."""
    height: int
    """Height of its frames, pixels."""
    exposure_times_s: Floats
    """True time of every exposure, DAQ clock, whether or not it became a frame or left a pulse."""
    frame_exposures: NDArray[np.int64]
    """Exposure that each frame of the video shows."""
    first_pulse: int
    """First exposure whose pulse the DAQ recorded."""
    stop_pulse: int
    """One past the last exposure whose pulse the DAQ recorded."""

    @property
    def n_frames(self) -> int:
        """Return the number of frames in the video."""
        return self.frame_exposures.size

    @property
    def frame_times_s(self) -> Floats:
        """Return the true time of each frame, DAQ clock."""
        return self.exposure_times_s[self.frame_exposures]

    @property
    def pulse_times_s(self) -> Floats:
        """Return the true times of the recorded pulses."""
        return self.exposure_times_s[self.first_pulse : self.stop_pulse]

    @property
    def recorded_pulse_times_s(self) -> Floats:
        """Return the times at which the DAQ recorded them: at most one sample late."""
        return sample_on_daq(self.pulse_times_s)

    @property
    def has_pulse(self) -> NDArray[np.bool_]:
        """Return for each frame whether the DAQ recorded its pulse."""
        return (self.frame_exposures >= self.first_pulse) & (self.frame_exposures < self.stop_pulse)

    @property
    def n_dropped(self) -> int:
        """Return how many exposures between first and last frame never became a frame."""
        return int(self.frame_exposures[-1] - self.frame_exposures[0]) + 1 - self.n_frames

    @property
    def n_surplus_start(self) -> int:
        """Return how many recorded pulses precede the first frame."""
        return max(0, int(self.frame_exposures[0]) - self.first_pulse)

    @property
    def n_surplus_end(self) -> int:
        """Return how many recorded pulses follow the last frame."""
        return max(0, self.stop_pulse - 1 - int(self.frame_exposures[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Ground truth of a session."""

    cameras: Mapping[str, CameraTruth]
    """Cameras by label."""
    wheel_times_s: Floats
    """1 kHz, DAQ clock."""
    wheel_rad: Floats
    """Angle of the wheel at these times."""
    ttl_times_s: Floats
    """True times of the edges of the audio TTL: rise, fall, rise, ..."""

    def save(self, folder: Path) -> Path:
        """Write everything to `synth_truth.npz` in a folder and return its path."""
        content: dict[str, NDArray[np.generic]] = {
            "labels": np.array(list(self.cameras)),
            "wheel_times_s": self.wheel_times_s,
            "wheel_rad": self.wheel_rad,
            "ttl_times_s": self.ttl_times_s,
        }
        for label, camera in self.cameras.items():
            for name in _ARRAYS + _NUMBERS:
                content[f"{label}_{name}"] = np.asarray(getattr(camera, name))
            content[f"{label}_frame_times_s"] = camera.frame_times_s
            content[f"{label}_n_dropped"] = np.asarray(camera.n_dropped)
        path = folder / TRUTH_FILE
        with path.open("wb") as stream:
            np.savez(stream, **content)  # type: ignore[arg-type]  # numpy types the keywords as one bool
        return path

    @classmethod
    def read(cls, folder: Path) -> Truth:
        """Read the file that `save` writes."""
        with np.load(folder / TRUTH_FILE) as content:
            cameras = {
                label: CameraTruth(
                    label,
                    float(content[f"{label}_fps"]),
                    int(content[f"{label}_width"]),
                    int(content[f"{label}_height"]),
                    content[f"{label}_exposure_times_s"],
                    content[f"{label}_frame_exposures"],
                    int(content[f"{label}_first_pulse"]),
                    int(content[f"{label}_stop_pulse"]),
                )
                for label in content["labels"].tolist()
            }
            return cls(cameras, content["wheel_times_s"], content["wheel_rad"], content["ttl_times_s"])
