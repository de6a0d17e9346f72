"""Files of a Bpod: one JSON object per trial, and the settings of the task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TICK_S = 1e-4
"""A Bpod notes when something happened in steps of 100 us."""
BPOD_START_S = 1.767_91
"""Reading of the Bpod's clock at the start of the session; times of the session are relative to it."""
TRIALS = "_iblrig_taskData.raw.jsonable"
SETTINGS = "_iblrig_taskSettings.raw.json"
PROTOCOL = "_iblrig_tasks_trainingChoiceWorld"

_EXIT_STATE_S = 0.5


@dataclass(frozen=True, slots=True)
class NotedTrial:
    """One trial, as the Bpod noted it."""

    start_s: float
    """When its state machine started, s since the start of the Bpod."""
    stop_s: float
    """When it ended."""
    cue_s: float
    """When the go cue was due."""
    events: dict[str, Floats]
    """Times of its events, s since the start of the Bpod; those that did not happen are absent."""


def to_ticks(times_s: Floats) -> Floats:
    """Return times as a Bpod notes them: to the nearest tick."""
    return np.rint(times_s / TICK_S) * TICK_S


def write_bpod(folder: Path, trials: Sequence[NotedTrial]) -> None:
    """Write trials and settings."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(_content(number, trial)) + "\n" for number, trial in enumerate(trials, 1)]
    (folder / TRIALS).write_text("".join(lines), encoding="ascii", newline="\n")
    settings = {
        "IBLRIG_VERSION_TAG": "6.4.2",
        "PYBPOD_PROTOCOL": PROTOCOL,
        "PYBPOD_BOARD": "_iblrig_synthetic_behaviour_0",
        "RECORD_VIDEO": True,
        "RECORD_SOUND": True,
        "BPOD_BEHAVIOR_PORTS_ENABLED": [True, False, False, False],
        "BPOD_BNC_PORTS_ENABLED": [True, True],
        "DEVICE_SOUND": "harp",
    }
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1), encoding="ascii")


def _content(number: int, trial: NotedTrial) -> dict[str, Any]:
    start = trial.start_s
    cue, stop = trial.cue_s - start, trial.stop_s - start
    states = {
        "trial_start": [[0, 0.0001]],
        "quiescent_period": [[0.0001, round(cue, 4)]],
        "play_tone": [[round(cue, 4), round(cue + 0.001, 4)]],
        "closed_loop": [[round(cue + 0.001, 4), round(stop - _EXIT_STATE_S, 4)]],
        "exit_state": [[round(stop - _EXIT_STATE_S, 4), round(stop, 4)]],
        "no_go": [[float("nan"), float("nan")]],
    }
    events = {name: [round(float(t), 4) for t in times - start] for name, times in trial.events.items()}
    return {
        "task_protocol": PROTOCOL,
        "trial_num": number,
        "position": [-35, 35][number % 2],
        "contrast": 1.0,
        "behavior_data": {
            "Bpod start timestamp": BPOD_START_S,
            "Trial start timestamp": BPOD_START_S + start,
            "Trial end timestamp": BPOD_START_S + trial.stop_s,
            "States timestamps": states,
            "Events timestamps": {"Tup": [0.0001, round(stop, 4)], **events},
        },
    }
