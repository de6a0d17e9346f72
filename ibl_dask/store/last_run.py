"""Record of the last run that took a session to its end, for other drivers with the same list of sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ibl_dask.store.atomic import make_folder, write_text

FILE_NAME = "last_run.json"
LAST_RUN_VERSION = 1


@dataclass(frozen=True, slots=True)
class LastRun:
    """End of a session in a run."""

    run: str
    """Name of the run."""
    request: str
    """Fingerprint of what was asked for: tasks, options, folders."""
    finished_s: float
    """Unix time."""
    is_success: bool
    """Nothing was left to do or to mend."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Task -> status."""
    qc: Mapping[str, str] = field(default_factory=dict)
    """Camera -> outcome of its checks."""
    report: str = ""
    """Path of the report; empty without one."""


def read_last_run(own: Path) -> LastRun | None:
    """Return the record in a session's own folder; None where it is missing or damaged."""
    try:
        content = json.loads((own / FILE_NAME).read_text(encoding="utf-8"))
        return LastRun(**content) if content.pop("version") == LAST_RUN_VERSION else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_last_run(own: Path, record: LastRun) -> None:
    """Write the record. For the holder of the session."""
    make_folder(own)
    write_text(own / FILE_NAME, json.dumps({"version": LAST_RUN_VERSION, **asdict(record)}, indent=1))
