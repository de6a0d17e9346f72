"""Log of a task, as its steps carry it to where they run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 20_000_000
"""Largest log of one attempt on one host, bytes: of a longer one the beginning and the end are kept."""


@dataclass(frozen=True, slots=True)
class TaskLog:
    """Attempt at a task, and the folder of its logs."""

    folder: Path
    """Folder of the logs of the task, `ibl_dask/logs/<task>` of the session's results."""
    task: str
    """Name of the task within the session."""
    attempt: int
    """Number of the attempt at the task, from 1, over all runs."""
    run: str = ""
    """Name of the run; empty without a driver."""
    executable: str = ""
    """Dotted path of the class."""
    trial: int = 1
    """Number of the trial at a step within this attempt."""
    is_echoed: bool = False
    """Show what a step prints as well, as a task does that is run by hand."""
    most_bytes: int = MOST_BYTES
    """See `MOST_BYTES`."""

    @property
    def command(self) -> str:
        """Return the command that prints the log."""
        results = self.folder.parents[2]
        return f"ibl-dask logs {shlex.quote(str(results))} {shlex.quote(self.task)}"

    @property
    def number(self) -> str:
        """Return attempt and trial for a line: `#3`, or `#3.2` in the second trial."""
        return f"#{self.attempt}" if self.trial == 1 else f"#{self.attempt}.{self.trial}"
