"""Sessions of rigs with many devices: what the field's own tasks of every family read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from field_devices import (
    note_pulses,
    record_habituation,
    record_passive,
    record_photometry,
    record_widefield,
    sample_pulses,
)
from field_recordings import (
    DAQ_START_S,
    fronts_of_trials,
    join,
    line,
    probe_pulses,
    record_daq,
    record_probe,
    record_sound,
    states_of,
    take_trials,
)

from ibl_dask.synth.rig_files import write_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from field_recordings import Floats

TRIALS, PASSIVE = "raw_behavior_data", "raw_passive_data"
NIDQ = {"nidq": {"collection": "raw_ephys_data", "extension": "bin", "acquisition_software": "spikeglx"}}
MICROPHONE = {"microphone": {"microphone": {"collection": TRIALS, "sync_label": None}}}
BPOD = {"bpod": {"collection": TRIALS}}


def write_ephys(folder: Path, data_folder: Path) -> None:
    """Write a session of an ephys rig: a NI-DAQ, a probe, a microphone, and real trials."""
    take_trials(data_folder / "bpod" / "session_biased_ge5" / TRIALS, folder / TRIALS, 5)
    fronts = fronts_of_trials(folder / TRIALS)
    duration_s = float(fronts[0].max()) + 1
    fronts = join(fronts, line("imec_sync", probe_pulses(duration_s)))
    record_daq(folder / "raw_ephys_data", fronts, header_in(data_folder), duration_s)
    record_probe(folder / "raw_ephys_data" / "probe00", duration_s, n_channels=16)
    record_sound(folder / TRIALS / "_iblrig_micData.raw.wav", states_of(folder / TRIALS, "play_tone")[:, 0], duration_s)
    probe = {"probe00": {"collection": "raw_ephys_data/probe00", "sync_label": "imec_sync"}}
    describe(folder, NIDQ, {"neuropixel": probe, **MICROPHONE}, {"_iblrig_tasks_biasedChoiceWorld": TRIALS})


def write_passive(folder: Path, data_folder: Path) -> None:
    """Write a session of an ephys rig in which nothing but stimuli was shown."""
    screen, end_s = record_passive(folder / PASSIVE, start_s=DAQ_START_S)
    record_daq(folder / "raw_ephys_data", screen, header_in(data_folder), end_s)
    daq = photometry(sync_mode="daqami", sync_channel=1)
    describe(folder, NIDQ, daq, {"_iblrig_tasks_passiveChoiceWorld": PASSIVE})


def write_widefield(folder: Path, data_folder: Path) -> None:
    """Write a session of a widefield rig without cameras."""
    pulses = record_widefield(folder / "raw_widefield_data", n_frames=256)
    record_daq(folder / "raw_sync_data", pulses, header_in(data_folder), float(pulses[0][-1]) + 1, "frame_trigger")
    sync = {"nidq": {**NIDQ["nidq"], "collection": "raw_sync_data"}}
    widefield = {"widefield": {"widefield": {"collection": "raw_widefield_data", "sync_label": "frame_trigger"}}}
    describe(folder, sync, widefield, {})


def write_training(folder: Path, data_folder: Path) -> None:
    """Write a session of a training rig with a microphone and a photometry system that notes the Bpod's pulses."""
    task = folder / TRIALS
    take_trials(data_folder / "bpod" / "session_training_ge5" / TRIALS, task, 8)
    cues = states_of(task, "play_tone")[:, 0]
    record_sound(task / "_iblrig_micData.raw.wav", cues + 2, float(cues[-1]) + 4)
    pulses = starts_of(task, "trial_start", "reward", "exit_state")
    record_photometry(folder / "raw_photometry_data", float(pulses[-1]) + 5)
    note_pulses(folder / "raw_photometry_data", pulses + 2)
    devices = {**MICROPHONE, **photometry(sync_mode="bpod", sync_channel=1)}
    describe(folder, BPOD, devices, {"_iblrig_tasks_trainingChoiceWorld": TRIALS})


def write_habituation(folder: Path, data_folder: Path) -> None:
    """Write a habituation session of a training rig, all of whose devices are synthetic.

    What the DAQ of its photometry system samples is left as arrays, for those who can write its format.
    """
    record_habituation(folder / TRIALS)
    pulses = starts_of(folder / TRIALS, "iti", "reward")
    duration_s = float(pulses[-1]) + 5
    place = folder / "raw_photometry_data"
    frames = record_photometry(place, duration_s)
    volts, bits = sample_pulses(frames, pulses + 2, duration_s + 0.2)
    np.savez(place / "samples.npz", volts=volts, bits=bits)
    daq = photometry(sync_mode="daqami", sync_channel=1, sync_metadata={"frameclock_channel": 7})
    describe(folder, BPOD, daq, {"_iblrig_tasks_habituationChoiceWorld": TRIALS})


def starts_of(task_folder: Path, *states: str) -> Floats:
    """Return when some states began in any trial, s since the start of the Bpod."""
    return np.sort(np.concatenate([states_of(task_folder, name)[:, 0] for name in states]))


def header_in(data_folder: Path) -> Path:
    return data_folder / "nidq" / "sample3B_g0_t0.nidq.meta"


def photometry(**sync: Any) -> dict[str, Any]:
    fibers = {"G0": {"location": "VTA"}, "G1": {"location": "DMS"}}
    return {"neurophotometrics": {"collection": "raw_photometry_data", "fibers": fibers, **sync}}


def describe(folder: Path, sync: dict[str, Any], devices: dict[str, Any], tasks: dict[str, str]) -> None:
    """Write the description of a session."""
    protocols = [{name: {"collection": place, "sync_label": "bpod"}} for name, place in tasks.items()]
    write_yaml(folder, {"version": "1.0.0", "sync": sync, "devices": devices, "tasks": protocols})
