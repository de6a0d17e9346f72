"""Record of a session for Alyx, from the settings and trials that its rig left.

Source of the fields: `IBLRegistrationClient.register_session` of ibllib 4.1.0. Weights and water are left to the
acquisition software.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ibl_dask.errors import DescriptionError, MissingFile, UnusableFile
from ibl_dask.model.description_reader import read_content
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.legacy_protocols import legacy_content, read_protocol
from ibl_dask.model.session import Session, find_description
from ibl_dask.model.text import read_text

_SETTINGS = "_iblrig_taskSettings.raw*.json"
_TRIALS = "_iblrig_taskData.raw*.jsonable"
_LONGEST_S = 6 * 3600
"""Longest session that counts, s; a later trial has a corrupt time."""
NARRATIVE = "narrative.txt"


@dataclass(frozen=True, slots=True)
class RigFiles:
    """Records of the rig about one protocol of a session."""

    settings: JsonObject
    """Settings of the task."""
    trials: Sequence[JsonObject] = field(default=(), repr=False)
    """Trials, in order."""

    @property
    def version(self) -> str:
        """Return the version of the acquisition software."""
        return str(self.settings.get("IBLRIG_VERSION") or self.settings.get("IBLRIG_VERSION_TAG") or "")

    @property
    def start(self) -> datetime:
        """Return the start of the protocol."""
        return datetime.fromisoformat(str(self.settings["SESSION_DATETIME"]))

    @property
    def end(self) -> datetime | None:
        """Return the end: that of the settings, else that of the last trial with a time that makes sense."""
        if self.settings.get("SESSION_END_TIME"):
            return datetime.fromisoformat(str(self.settings["SESSION_END_TIME"]))
        for trial in reversed(self.trials):
            data = trial.get("behavior_data")
            if isinstance(data, Mapping):
                seconds = data.get("Trial end timestamp", 0) - data.get("Bpod start timestamp", 0)
                if 0 < seconds < _LONGEST_S:
                    return self.start + timedelta(seconds=seconds)
        return None

    @property
    def n_correct(self) -> int:
        """Return the number of correct trials; habituation has none."""
        if not self.trials or "habituation" in str(self.settings.get("PYBPOD_PROTOCOL", "")):
            return 0
        known = self.trials[-1].get("ntrials_correct")
        return int(known) if known is not None else sum(bool(trial.get("trial_correct")) for trial in self.trials)


def read_rig_files(session: Session) -> tuple[RigFiles, ...]:
    """Read settings and trials of each protocol of a session, in the order of their folders.

    Raises
    ------
    MissingFile
        If a protocol has no settings.
    UnusableFile
        If a file makes no sense.
    """
    return tuple(_read_one(session.path / folder) for folder in sorted(session.description.collections))


def _read_one(folder: Path) -> RigFiles:
    found = sorted(folder.glob(_SETTINGS))
    if not found:
        raise MissingFile(
            "the settings of a task are not there",
            where=str(folder),
            expected=_SETTINGS,
            got="no such file",
            do="copy them from the acquisition computer",
        )
    settings = _loaded(read_text(found[0]), found[0])
    try:
        datetime.fromisoformat(str(settings["SESSION_DATETIME"]))
    except (KeyError, ValueError) as error:
        raise _unusable(found[0], f"SESSION_DATETIME: {settings.get('SESSION_DATETIME')!r}") from error
    return RigFiles(settings, tuple(_trials(folder)))


def _trials(folder: Path) -> Iterator[JsonObject]:
    for path in sorted(folder.glob(_TRIALS))[:1]:
        lines = read_text(path).splitlines()
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield _loaded(line, path)
                except UnusableFile:
                    if number < len(lines):  # the last line may be torn
                        raise


def _loaded(text: str, path: Path) -> JsonObject:
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise _unusable(path, " ".join(str(error).split())) from error
    if not isinstance(content, dict):
        raise _unusable(path, f"a {type(content).__name__}")
    return content


def _unusable(path: Path, got: str) -> UnusableFile:
    return UnusableFile(
        "a file of the task cannot be used",
        where=str(path),
        expected="JSON, with the time of the session",
        got=got,
        do="copy it again from the acquisition computer",
    )


def read_narrative(session: Session) -> str:
    """Return the experimenter's note on a session; empty where there is none."""
    path = session.path / NARRATIVE
    return read_text(path) if path.is_file() else ""


def is_inferred(session: Session) -> bool:
    """Return whether the description of a session is inferred from its protocol, also one that was written since."""
    path = find_description(session.path)
    if path is None:
        return True
    try:
        protocol = read_protocol(session.path)
        return protocol is not None and read_content(path) == legacy_content(protocol)
    except DescriptionError:  # the settings stand for no description
        return False


def changes_of(session: Session, rig: Sequence[RigFiles], narrative: str = "") -> dict[str, Any]:
    """Return the fields of a session that its files determine.

    An inferred description names the project of its time, which need not be that of the session: then there is none.

    Parameters
    ----------
    session : Session
        The session.
    rig : sequence of RigFiles
        Records of the rig, see `read_rig_files`; empty for a session without tasks.
    narrative : str
        See `read_narrative`.
    """
    found: dict[str, Any] = {
        "procedures": sorted(session.description.procedures),
        "projects": [] if is_inferred(session) else sorted(session.description.projects),
    }
    if narrative:
        found["narrative"] = narrative
    if not rig:
        return found
    ends = [each.end for each in rig if each.end is not None]
    return found | {
        "task_protocol": "/".join(f"{each.settings.get('PYBPOD_PROTOCOL', '')}{each.version}" for each in rig),
        "start_time": min(each.start for each in rig).isoformat(),
        **({"end_time": max(ends).isoformat()} if ends else {}),
        "n_trials": sum(len(each.trials) for each in rig),
        "n_correct_trials": sum(each.n_correct for each in rig),
    }


def json_of(rig: Sequence[RigFiles]) -> dict[str, Any]:
    """Return the entries of the session's `json` that the settings determine."""
    first = rig[0].settings
    found: dict[str, Any] = {"IS_MOCK": bool(first.get("IS_MOCK")), "IBLRIG_VERSION": rig[0].version}
    found |= {key: first[key] for key in ("PROJECT_EXTRACTION_VERSION", "TASK_VERSION") if first.get(key)}
    for key in ("POOP_COUNT", "SESSION_DELAY_START"):
        counts = [each.settings[key] for each in rig if isinstance(each.settings.get(key), int | float)]
        if counts:
            found[key] = int(sum(counts))
    return found


def body_of_session(session: Session, rig: Sequence[RigFiles], subject: JsonObject, users: Sequence[str]) -> JsonObject:
    """Return the row of a new session, as it is sent to Alyx.

    Parameters
    ----------
    session : Session
        The session.
    rig : sequence of RigFiles
        Records of the rig, of one protocol at least.
    subject : mapping
        Row of the subject.
    users : sequence of str
        Names of its users in Alyx.
    """
    found = changes_of(session, rig, read_narrative(session))
    return {
        "narrative": "",
        "end_time": None,
        **found,
        "projects": found["projects"] or subject.get("projects") or [],
        "subject": session.subject,
        "users": list(users) or [subject["responsible_user"]],
        "location": rig[0].settings.get("PYBPOD_BOARD") or rig[0].settings.get("RIG_NAME"),
        "lab": subject.get("lab"),
        "type": "Experiment",
        "number": session.number,
        "json": json_of(rig),
    }


def mismatch(session: Session, rig: Sequence[RigFiles]) -> str:
    """Return in which way settings belong to another session than their folder; empty where they fit."""
    for each in rig:
        for key, wanted in (
            ("SUBJECT_NAME", session.subject),
            ("SESSION_DATE", session.date),
            ("SESSION_NUMBER", session.number),
        ):
            value = each.settings.get(key)
            is_number = key == "SESSION_NUMBER"
            if value is not None and (str(value).zfill(3) if is_number else str(value)) != wanted.zfill(3 * is_number):
                return f"{key} is {value}, and the folder is that of {wanted}"
    return ""
