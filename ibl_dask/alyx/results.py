"""Results of tasks on their way to Alyx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.model.events import TaskFinished
from ibl_dask.model.failure import Failure
from ibl_dask.model.status import Status
from ibl_dask.store.task_log_reader import find_attempts, read_attempt

LONGEST_LOG = 200_000
"""Characters of a log that go to Alyx: of a longer one the beginning and the end."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """End of a claimed row."""

    row: TaskRow
    """The row, as it was claimed."""
    session: Path
    """Session folder."""
    status: Status
    """New state of the row."""
    log: str
    """Text of its log."""
    version: str = ""
    """Version of the code that ran."""
    seconds: float | None = None
    """Time that it took, s; None where it did not run."""
    outputs: tuple[Path, ...] = ()
    """Files to register."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """File -> MD5."""


class Outbox(Protocol):
    """Receives results and has them sent; see `ibl_dask.alyx.outbox`."""

    def put(self, result: TaskResult) -> None:
        """Take a result; it is on disk when this returns."""

    def is_spooled(self, task: str) -> bool:
        """Return whether a result of a row waits to be sent."""


def result_of(row: TaskRow, session: Path, event: TaskFinished) -> TaskResult:
    """Return the result of a row from the end of its task.

    Parameters
    ----------
    row : TaskRow
        The claimed row.
    session : Path
        Session folder.
    event : TaskFinished
        End of the task.
    """
    status = Status(event.status)
    is_done = status in (Status.COMPLETE, Status.INCOMPLETE, Status.EMPTY)
    text = "\n".join([log_text(event.log), *(failure.message for failure in event.failures)]).strip()
    return TaskResult(
        row,
        session,
        status,
        for_alyx(text or f"{row.name}: {status}"),
        event.version,
        event.seconds if status not in (Status.HELD, Status.WAITING) else None,
        tuple(Path(path) for path in event.outputs) if is_done or status is Status.ERRORED else (),
        dict(event.hashes),
    )


def unplanned(row: TaskRow, session: Path, failure: Failure) -> TaskResult:
    """Return the result of a row whose session could not be planned; another run that holds it makes the row wait."""
    is_passing = failure.category in ("locked", "network", "disk", "killed")
    status = Status.WAITING if is_passing else Status.ERRORED
    return TaskResult(row, session, status, for_alyx(failure.message))


def log_text(folder: str) -> str:
    """Return the text of the latest attempt in a folder of logs; empty where there is none, or it cannot be read."""
    try:
        attempts = find_attempts(Path(folder)) if folder else []
        latest = max((attempt.number for attempt in attempts), default=0)
        return "".join(record for each in attempts if each.number == latest for record in read_attempt(each))
    except OSError:
        return ""


def for_alyx(text: str) -> str:
    """Return a text that PostgreSQL takes, without NUL, of bounded length."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    if len(text) <= LONGEST_LOG:
        return text
    half = LONGEST_LOG // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters are left out ...\n{text[-half:]}"
