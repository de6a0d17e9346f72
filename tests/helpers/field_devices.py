"""What rigs with other devices leave behind: widefield microscopes, photometry systems, other protocols."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from field_recordings import line
from scipy.ndimage import gaussian_filter

from ibl_dask.synth.bpod_files import to_ticks

if TYPE_CHECKING:
    from pathlib import Path

    from field_recordings import Floats, Fronts
    from numpy.typing import NDArray

SCREEN_HZ = 60
SPACER = np.array([1, 2, 4, 8, 16, 32, 64, 128, 192, 224, 240, 248, 252, 254, 255, 256]) / SCREEN_HZ
"""When the screen changes in what the field shows before each part of a passive session, s."""
SPACER_QUIET_S = 4.0
PASSIVE = "_iblrig_tasks_passiveChoiceWorld"
HABITUATION = "_iblrig_tasks_habituationChoiceWorld"
PHOTOMETRY_START_S = 1000.0
"""What the clock of the photometry system shows at its first frame."""
DAQAMI_HZ = 10_000
VIOLET, BLUE = 6, 5
"""LEDs of a widefield microscope, as labcams numbers them."""


# -- a widefield microscope --------------------------------------------------------------------------------------------


def record_widefield(folder: Path, n_frames: int, size: tuple[int, int] = (96, 80)) -> Fronts:
    """Write frames of both colours and their log as labcams does, and return the pulses that the NI-DAQ sees.

    A spot glows and fades in blue; blood brightens and darkens both colours alike.
    """
    folder.mkdir(parents=True)
    width, height = size
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(4)
    spot = np.exp(-((x - width / 3) ** 2 + (y - height / 2) ** 2) / 60)
    vessel = np.exp(-((x - 2 * width / 3) ** 2) / 20)
    at = np.arange(n_frames)[:, None, None] / n_frames
    blood = 200 * np.sin(40 * at) * vessel
    tissue = 4000 * gaussian_filter(rng.normal(size=(height, width)), 1.5)
    blue = 9000 + tissue + 500 * np.sin(25 * at) * spot + blood
    frames = np.stack([blue, 8000 + tissue + np.zeros_like(at) + blood], axis=1)
    name = f"frames_2_{height}_{width}_uint16"
    np.rint(frames + rng.normal(0, 8, frames.shape)).astype(np.uint16).tofile(folder / f"{name}.dat")
    lines = ["# labcams version: 0.7", "# Log header:frame_id,timestamp"]
    for number in range(2 * n_frames):
        lines += [f"{number + 1},{number / 60:.7f},0", f"#LED:{(BLUE, VIOLET)[number % 2]},{number},{number * 16}"]
    (folder / "frames.camlog").write_text("\n".join(lines) + "\n")
    (folder / "widefield_wiring.htsv").write_text(f"LED\twavelength\n{BLUE}\t470\n{VIOLET}\t405\n")
    rises = 0.5 + np.arange(2 * n_frames) / 60
    return line("frame_trigger", np.stack([rises, rises + 0.005], axis=1).ravel())


# -- a photometry system -----------------------------------------------------------------------------------------------


def record_photometry(folder: Path, duration_s: float) -> Floats:
    """Write the frames of a Neurophotometrics system, three colours in turn; return when they were taken, s."""
    folder.mkdir(parents=True)
    n = round(duration_s * SCREEN_HZ)
    times = np.arange(n) / SCREEN_HZ
    rng = np.random.default_rng(5)
    frames = {
        "FrameCounter": np.arange(n),
        "SystemTimestamp": PHOTOMETRY_START_S + times,
        "LedState": np.resize(np.array([1, 2, 4], np.int16), n),
        "ComputerTimestamp": times * 1000,
        "G0": 0.01 + rng.normal(0, 1e-4, n),
        "G1": 0.02 + rng.normal(0, 1e-4, n),
    }
    pd.DataFrame(frames).to_parquet(folder / "_neurophotometrics_fpData.raw.pqt")
    return times


def note_pulses(folder: Path, pulses_s: Floats) -> None:
    """Write the pulses of a Bpod that a Neurophotometrics system notes itself."""
    times = PHOTOMETRY_START_S + pulses_s
    pulses = {
        "ChannelName": ["Input1"] * times.size,
        "Channel": np.ones(times.size, np.int8),
        "AlwaysTrue": np.ones(times.size, bool),
        "SystemTimestamp": times,
        "ComputerTimestamp": times * 1000,
    }
    pd.DataFrame(pulses).to_parquet(folder / "_neurophotometrics_fpData.digitalInputs.pqt")


def sample_pulses(frames_s: Floats, pulses_s: Floats, duration_s: float) -> tuple[Floats, NDArray[np.int8]]:
    """Return what a DAQ of 10 kHz samples: volts at each frame of a photometry system, and pulses of a Bpod on DI1."""
    volts, bits = (np.zeros(round(duration_s * DAQAMI_HZ)) for _ in range(2))
    for times, samples, level in ((frames_s, volts, 5.0), (pulses_s, bits, 2)):
        for number in np.rint((times + 0.1) * DAQAMI_HZ).astype(int):
            samples[number : number + 50] = level
    return volts, bits.astype(np.int8)


# -- other protocols ---------------------------------------------------------------------------------------------------


def record_passive(folder: Path, start_s: float) -> tuple[Fronts, float]:
    """Write the files of a passive session without replay; return what a NI-DAQ sees of its screen, and its end."""
    folder.mkdir(parents=True)
    settings = {"IBLRIG_VERSION": "7.1.0", "PYBPOD_PROTOCOL": PASSIVE, "SKIP_EVENT_REPLAY": True}
    (folder / "_iblrig_taskSettings.raw.json").write_text(json.dumps(settings))
    spacer_s = SPACER[-1] + 2 * SPACER_QUIET_S
    rng = np.random.default_rng(6)
    lit = np.cumsum(rng.integers(20, 40, 12))
    frames = rng.integers(0, 2, (int(lit[-1]) + 60, 225), np.uint8) * 255
    frames[:, 0] = 0
    for number in lit:
        frames[number : number + 12, 0] = 255
    frames.tofile(folder / "_iblrig_RFMapStim.raw.bin")
    map_s = len(frames) / SCREEN_HZ
    spacers = start_s + SPACER_QUIET_S + np.array([0, spacer_s + 5, 2 * spacer_s + 6 + map_s])
    shown = spacers[1] + SPACER[-1] + SPACER_QUIET_S + 0.5
    flips = shown + np.stack([lit, lit + 12], axis=1).ravel() / SCREEN_HZ
    times = np.sort(np.concatenate([*(at + SPACER for at in spacers), flips]))
    return line("frame2ttl", times), float(times[-1] + SPACER_QUIET_S + 1)


def record_habituation(folder: Path, n_trials: int = 6) -> None:
    """Write the trials of a habituation session: a stimulus that comes, goes to the centre, and a drop of water."""
    folder.mkdir(parents=True)
    settings = {
        "IBLRIG_VERSION_TAG": "6.4.2",
        "PYBPOD_PROTOCOL": HABITUATION,
        "PYBPOD_BOARD": "_iblrig_synthetic_behaviour_0",
        "BPOD_BNC_PORTS_ENABLED": [True, True],
    }
    (folder / "_iblrig_taskSettings.raw.json").write_text(json.dumps(settings))
    rng = np.random.default_rng(7)
    start, lines = 1.0, []
    for number in range(n_trials):
        delay, hold = (float(t) for t in to_ticks(rng.uniform(0.5, 2.0, 2)))
        on, centre = 1.0 + delay, 2.0 + delay + hold
        reward, stop = centre + 0.5, centre + 3.0
        states = {
            "trial_start": [[0, 1.0]],
            "stim_on": [[on, on + 0.1]],
            "stim_center": [[centre, centre + 0.5]],
            "reward": [[reward, reward + 0.05]],
            "iti": [[reward + 0.05, stop]],
        }
        events = {
            "BNC1High": [0.03, centre + 0.03],
            "BNC1Low": [on + 0.03],
            "BNC2High": [on + 0.002],
            "BNC2Low": [on + 0.102],
        }
        trial = {
            "Bpod start timestamp": 1.0,
            "Trial start timestamp": start,
            "Trial end timestamp": start + stop,
            "States timestamps": rounded(states),
            "Events timestamps": rounded(events),
        }
        contrast = {"contrast": (1.0, 0.25)[number % 2], "position": (-35, 35)[number % 3 % 2], "stim_phase": 0.0}
        lines.append(json.dumps({**contrast, "reward_amount": 3.0, "behavior_data": trial}) + "\n")
        start += round(stop, 4)
    (folder / "_iblrig_taskData.raw.jsonable").write_text("".join(lines))


def rounded(times: object) -> object:
    """Return times as a Bpod notes them."""
    if isinstance(times, dict):
        return {name: rounded(value) for name, value in times.items()}
    return [rounded(value) for value in times] if isinstance(times, list) else round(float(times), 4)  # type: ignore[arg-type]
