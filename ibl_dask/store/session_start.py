"""Start of a session, from the settings that its rig wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ibl_dask.model.text import read_text

if TYPE_CHECKING:
    from pathlib import Path

    from ibl_dask.model.session import Session

_PATTERN = "raw_*_data*/_iblrig_taskSettings.raw*.json"
_KEYS = ("SESSION_START_TIME", "SESSION_DATETIME")
"""Names of the start in settings: of iblrig 8, and of 7."""


def session_start(session: Session) -> datetime | None:
    """Return the earliest start in the settings of a session's tasks; None if there is none on its date.

    Rigs write local time, mostly without a zone: such a time is returned as if it were UTC.
    """
    found = [start for root in session.roots for path in root.glob(_PATTERN) if (start := _start_of(path)) is not None]
    on_day = [start for start in found if start.date().isoformat() == session.date]
    return min(on_day, default=None)


def _start_of(path: Path) -> datetime | None:
    """Return the start of one task; None where the settings cannot be read, or have none."""
    try:
        settings = json.loads(read_text(path))
        text = next(str(settings[key]) for key in _KEYS if settings.get(key))
        start = datetime.fromisoformat(text)
    except (OSError, ValueError, StopIteration, AttributeError, TypeError):
        return None
    return start if start.tzinfo is not None else start.replace(tzinfo=UTC)
