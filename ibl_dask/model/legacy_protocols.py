"""Descriptions of sessions that have none, inferred from the name of the protocol.

Rigs of the time before descriptions were of two kinds, and the protocol determines the kind.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ibl_dask.errors import DescriptionError
from ibl_dask.model.text import read_text

if TYPE_CHECKING:
    from pathlib import Path

TASK_FOLDER = "raw_behavior_data"
_SETTINGS = "_iblrig_taskSettings.raw*.json"
_PROJECT = "ibl_neuropixel_brainwide_01"
_TRAINING = {
    "biased": "biasedChoiceWorld",
    "training": "trainingChoiceWorld",
    "habituation": "habituationChoiceWorld",
}
"""Word in the name of a protocol -> its name in a description; the first that fits counts."""


def read_protocol(session: Path) -> str | None:
    """Return the protocol of a session from the settings of its task; None if there are none.

    Raises
    ------
    DescriptionError
        If they cannot be read, or are there several times and name different protocols.
    """
    paths = sorted((session / TASK_FOLDER).glob(_SETTINGS))
    named = {path.name: _protocol_of(path) for path in paths}
    if len(set(named.values())) > 1:
        raise DescriptionError(
            "the session has no experiment description, and several settings of a task that name different protocols",
            where=str(session / TASK_FOLDER),
            expected="one protocol",
            got=", ".join(f"{protocol} in {name}" for name, protocol in named.items()),
            do="write the description by hand, or move the settings that are not of this session out of the folder",
        )
    return next(iter(named.values()), None)


def _protocol_of(path: Path) -> str | None:
    try:
        settings = json.loads(read_text(path))
    except (ValueError, UnicodeDecodeError) as error:
        raise DescriptionError(
            "the session has no experiment description, and the settings of its task cannot be read",
            where=str(path),
            expected="JSON with PYBPOD_PROTOCOL",
            got=" ".join(str(error).split()),
            do="write the description by hand, or copy the settings again from the acquisition computer",
        ) from error
    protocol = settings.get("PYBPOD_PROTOCOL") if isinstance(settings, dict) else None
    return None if protocol is None else str(protocol)


def legacy_content(protocol: str) -> dict[str, object]:
    """Return the content of the description that a protocol stands for.

    Parameters
    ----------
    protocol : str
        Name of the protocol, for instance `_iblrig_tasks_ephysChoiceWorld6.4.2`.

    Raises
    ------
    DescriptionError
        If no rig of the time ran such a protocol.
    """
    if "ephys" in protocol:
        return {
            "devices": {
                "cameras": {label: _camera() for label in ("right", "body", "left")},
                "neuropixel": {
                    probe: {"collection": f"raw_ephys_data/{probe}", "sync_label": "imec_sync"}
                    for probe in ("probe00", "probe01")
                },
                "microphone": _microphone(),
            },
            "tasks": [
                {"ephysChoiceWorld": {"collection": TASK_FOLDER, "sync_label": "bpod"}},
                {"passiveChoiceWorld": {"collection": "raw_passive_data", "sync_label": "bpod"}},
            ],
            "sync": {"nidq": {"collection": "raw_ephys_data", "extension": "bin", "acquisition_software": "spikeglx"}},
            "procedures": ["Ephys recording with acute probe(s)"],
            "projects": [_PROJECT],
            "version": "1.0.0",
        }
    name = next((name for word, name in _TRAINING.items() if word in protocol), None)
    if name is None:
        raise DescriptionError(
            "the session has no experiment description, and its protocol does not say what was recorded",
            expected="a protocol with ephys, " + ", ".join(_TRAINING) + " in its name",
            got=protocol,
            do="write the description by hand: it names the cameras, the sync and the tasks",
        )
    return {
        "devices": {"cameras": {"left": _camera()}, "microphone": _microphone()},
        "sync": {"bpod": {"collection": TASK_FOLDER}},
        "tasks": [{name: {"collection": TASK_FOLDER, "sync_label": "bpod"}}],
        "procedures": ["Behavior training/tasks"],
        "projects": [_PROJECT],
        "version": "1.0.0",
    }


def _camera() -> dict[str, str]:
    return {"collection": "raw_video_data", "sync_label": "audio"}


def _microphone() -> dict[str, object]:
    return {"microphone": {"collection": TASK_FOLDER, "sync_label": None}}
