"""What other devices record around the real trials of a Bpod: a NI-DAQ, a probe, a microphone, a photometry system."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from spikeglx_files import write_recording

from ibl_dask.synth.wheel import encoder_edges, quadrature, simulate_behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Floats = NDArray[np.float64]

TASK_DATA = "_iblrig_taskData.raw.jsonable"
LINES = {
    "imec_sync": 3,
    "frame_trigger": 3,
    "frame2ttl": 4,
    "rotary_encoder_0": 5,
    "rotary_encoder_1": 6,
    "audio": 7,
    "bpod": 16,
}
"""Lines of the NI-DAQ, as the field's default maps have them: ephys rigs have a probe's on 3, widefield rigs frames."""
DAQ_START_S = 1.5
"""How long the NI-DAQ ran before the Bpod."""
DRIFT = 1 + 2e-5
"""Seconds of the NI-DAQ in one of the Bpod."""
PROBE_RATE_HZ = {"ap": 30_000.0, "lf": 2_500.0}
TONE_HZ = 5_000
MIC_RATE_HZ = 48_000


# -- the Bpod ----------------------------------------------------------------------------------------------------------


def take_trials(source: Path, target: Path, n_trials: int) -> None:
    """Copy a Bpod's folder with its first trials."""
    shutil.copytree(source, target)
    lines = (source / TASK_DATA).read_text().splitlines(keepends=True)
    (target / TASK_DATA).write_text("".join(lines[:n_trials]))


def trials_of(folder: Path) -> Iterator[tuple[float, dict[str, Any], dict[str, Any]]]:
    """Yield start (s since the Bpod's start), states and events (s since the trial's) of each trial."""
    for line in (folder / TASK_DATA).read_text().splitlines():
        trial = json.loads(line)["behavior_data"]
        start = trial["Trial start timestamp"] - trial["Bpod start timestamp"]
        yield start, trial["States timestamps"], trial["Events timestamps"]


def states_of(folder: Path, name: str) -> Floats:
    """Return when a state began and ended in each trial that had it (trial, 2); s since the start of the Bpod."""
    found = np.array([start + np.array(states[name][0]) for start, states, _ in trials_of(folder)])
    return found[np.isfinite(found[:, 0])]


def edges_of(folder: Path, port: str) -> tuple[Floats, NDArray[np.int64]]:
    """Return times and polarities of what a port of the Bpod saw."""
    found = [
        (start + time, polarity)
        for start, _, events in trials_of(folder)
        for kind, polarity in (("High", 1), ("Low", -1))
        for time in events.get(port + kind, ())
    ]
    found.sort()
    return np.array([time for time, _ in found]), np.array([polarity for _, polarity in found])


# -- the NI-DAQ --------------------------------------------------------------------------------------------------------


def on_daq(times_s: Floats) -> Floats:
    """Return times of the Bpod on the clock of the NI-DAQ."""
    return DAQ_START_S + times_s * DRIFT


Fronts = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
"""Times, lines and polarities."""


def fronts_of_trials(task_folder: Path) -> Fronts:
    """Return what a NI-DAQ sees of some trials.

    The Bpod's line is high for the start of a trial, for the open valve and for the pause at its end, as the field's
    state machines have it.
    """
    starts = np.array([start for start, *_ in trials_of(task_folder)])
    pulses = [np.stack([starts, starts + 1e-4], axis=1), *(states_of(task_folder, s) for s in ("reward", "exit_state"))]
    bpod = np.concatenate(pulses)
    behaviour = simulate_behaviour(float(on_daq(bpod.max())), on_daq(starts), np.random.default_rng(1))
    turns, counts = encoder_edges(behaviour)
    encoder, direction = quadrature(counts)
    return join(
        line("bpod", on_daq(np.sort(bpod.ravel()))),
        *(
            line(name, on_daq(changes_of(*edges_of(task_folder, port))))
            for port, name in (("BNC1", "frame2ttl"), ("BNC2", "audio"))
        ),
        (turns, LINES["rotary_encoder_0"] + encoder, direction),
    )


def line(name: str, times_s: Floats) -> Fronts:
    """Return the fronts of a line that rises and falls in turn."""
    return times_s, np.full(times_s.size, LINES[name]), np.resize([1, -1], times_s.size)


def join(*fronts: Fronts) -> Fronts:
    """Return the fronts of several lines together."""
    times, lines, polarities = (np.concatenate(column) for column in zip(*fronts, strict=True))
    return times, lines, polarities


def probe_pulses(duration_s: float) -> Floats:
    """Return the fronts of the line that NI-DAQ and probe share: 1 Hz."""
    return np.arange(0.25, duration_s - 0.6, 0.5)


def record_daq(folder: Path, fronts: Fronts, header: Path, duration_s: float, third: str = "imec_sync") -> None:
    """Write what a NI-DAQ records, with the map of its lines; the third is that of a probe or of a microscope."""
    digital = {f"P0.{number}": name for name, number in LINES.items() if number not in (LINES["bpod"], LINES[third])}
    wiring = {
        "SYSTEM": "3B",
        "SYNC_WIRING_DIGITAL": {**digital, f"P0.{LINES[third]}": third},
        "SYNC_WIRING_ANALOG": {"AI0": "bpod"},
    }
    folder.mkdir(parents=True)
    path = write_recording(folder, *fronts, header, duration_s=duration_s)
    path.with_suffix(".wiring.json").write_text(json.dumps(wiring))


def changes_of(times_s: Floats, polarities: NDArray[np.int64]) -> Floats:
    """Return the times of the edges that change a line which starts low."""
    return times_s[np.flatnonzero(np.diff(polarities, prepend=-1))]


# -- a probe -----------------------------------------------------------------------------------------------------------


def record_probe(folder: Path, duration_s: float, n_channels: int = 384) -> None:
    """Write a Neuropixels 1.0 probe's recording as SpikeGLX does: noise, and `probe_pulses` on bit 6."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(2)
    for band, rate in PROBE_RATE_HZ.items():
        n_samples = round(duration_s * rate)
        words = np.zeros((n_samples, n_channels + 1), np.int16)
        words[:, :-1] = rng.integers(-8, 9, (n_samples, 1)) + np.arange(n_channels) % 3
        turns = np.searchsorted(probe_pulses(duration_s), np.arange(n_samples) / rate, side="right")
        words[:, -1] = (turns % 2) << 6
        path = folder / f"_spikeglx_ephysData_g0_t0.imec0.{band}.bin"
        words.tofile(path)
        path.with_suffix(".meta").write_text(_probe_header(path, band, rate, n_samples, n_channels))


def _probe_header(path: Path, band: str, rate: float, n_samples: int, n_channels: int) -> str:
    """Return a header with what readers of SpikeGLX's files look at."""
    counts = f"{n_channels},0,1" if band == "ap" else f"0,{n_channels},1"
    sites = "".join(f"(0:{i % 2}:{i // 2}:1)" for i in range(n_channels))
    gains = "".join(f"({i} 0 0 500 250 1)" for i in range(384))
    lines = {
        "appVersion": 20190327,
        "fileCreateTime": "2023-05-01T14:00:00",
        "fileName": f"D:/{path.name}",
        "fileSizeBytes": path.stat().st_size,
        "fileTimeSecs": repr(n_samples / rate),
        "firstSample": 0,
        "imAiRangeMax": 0.6,
        "imAiRangeMin": -0.6,
        "imDatPrb_pn": "PRB_1_4_0480_1",
        "imDatPrb_port": 2,
        "imDatPrb_slot": 3,
        "imDatPrb_sn": 18005116811,
        "imDatPrb_type": 0,
        "imSampRate": repr(rate),
        "nSavedChans": n_channels + 1,
        "snsApLfSy": counts,
        "syncSourcePeriod": 1,
        "typeThis": "imec",
        "~imroTbl": f"(0,384){gains}",
        "~snsShankMap": f"(1,2,480){sites}",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


# -- a microphone ------------------------------------------------------------------------------------------------------


def record_sound(path: Path, cues_s: Floats, duration_s: float) -> None:
    """Write a WAV file with the go cues, which start at the given times of the microphone's clock."""
    times = np.arange(round(duration_s * MIC_RATE_HZ)) / MIC_RATE_HZ
    sound = np.random.default_rng(3).normal(0, 1e-4, times.size)
    for cue in cues_s:
        heard = (times >= cue) & (times < cue + 0.1)
        sound[heard] += 0.3 * np.sin(2 * np.pi * TONE_HZ * times[heard])
    wavfile.write(path, MIC_RATE_HZ, np.rint(sound * 32767).astype(np.int16))
