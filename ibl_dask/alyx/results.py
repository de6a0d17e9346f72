"""Results of claimed rows, made from the ends of their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ibl_dask.alyx.figures import with_figures
from ibl_dask.alyx.session_results import with_checks
from ibl_dask.alyx.task_result import Output, TaskResult
from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.model.events import TaskFinished
from ibl_dask.model.failure import Failure
from ibl_dask.model.status import Status
from ibl_dask.store.task_log_reader import find_attempts, read_attempt

_PASSING = ("locked", "network", "disk", "killed")
"""Categories of failures of a whole session after which its rows wait for another try."""

RERUN = "=" * 29 + "RERUN" + "=" * 29
"""Line between the logs of two attempts, that of the reference."""


class Outbox(Protocol):
    """Receives results and has them sent; see `ibl_dask.alyx.outbox`."""

    def put(self, result: TaskResult) -> None:
        """Take a result; it is on disk when this returns."""

    def is_spooled(self, task: str) -> bool:
        """Return whether a result of a row waits to be sent."""


def result_of(
    row: TaskRow,
    session: Path,
    status: Status,
    log: str,
    *,
    version: str = "",
    seconds: float | None = None,
    outputs: Iterable[Path] = (),
    hashes: Mapping[str, str] | None = None,
) -> TaskResult:
    """Return the result of a claimed row.

    Parameters
    ----------
    row : TaskRow
        The row.
    session : Path
        Session folder.
    status : Status
        New state of the row.
    log : str
        Text of its log.
    version : str
        Version of the code that ran.
    seconds : float, optional
        Time that it took, s; None where it did not run.
    outputs : iterable of Path
        Files to register; those that are not below the session are left out.
    hashes : mapping, optional
        File -> MD5.
    """
    known = hashes or {}
    inside = [path for path in outputs if path.is_relative_to(session) and path.is_file()]
    return TaskResult(
        session="/".join(session.parts[-3:]),
        task=row.name,
        status=str(status),
        task_id=row.id,
        session_id=row.session,
        folder=str(session),
        log=log,
        version=version,
        seconds=seconds,
        outputs=tuple(
            Output(path.relative_to(session).as_posix(), path.stat().st_size, known.get(str(path))) for path in inside
        ),
        repository=row.data_repository,
    )


def with_earlier(result: TaskResult, log: str) -> TaskResult:
    """Return a result with the log of an earlier attempt before its own, as the reference does with `clobber=False`.

    Parameters
    ----------
    result : TaskResult
        The result.
    log : str
        The earlier log; empty for none.
    """
    if not log:
        return result
    has_run = result.status not in (Status.WAITING, Status.HELD)
    between = f"\n\n{RERUN}\n" if has_run else "\n"
    return replace(result, log=f"{log}{between}{result.log}")


def result_of_event(row: TaskRow, session: Path, event: TaskFinished) -> TaskResult:
    """Return the result of a claimed row from the end of its task in a run."""
    status = Status(event.status)
    text = "\n".join([log_text(event.log), *(failure.message for failure in event.failures)]).strip()
    has_run = status not in (Status.HELD, Status.WAITING)
    result = result_of(
        row,
        session,
        status,
        text or f"{row.name}: {status}",
        version=event.version,
        seconds=event.seconds if has_run else None,
        outputs=map(Path, event.outputs) if has_run else (),
        hashes=event.hashes,
    )
    return with_figures(with_checks(result, row.executable), row.executable)


def result_of_failure(row: TaskRow, session: Path, failure: Failure) -> TaskResult:
    """Return the result of a row whose session could not be planned; where that may pass, the row waits."""
    status = Status.WAITING if failure.category in _PASSING else Status.ERRORED
    return result_of(row, session, status, failure.message)


def log_text(folder: str) -> str:
    """Return the text of the latest attempt in a folder of logs; empty where there is none, or it cannot be read."""
    try:
        attempts = find_attempts(Path(folder)) if folder else []
        latest = max((attempt.number for attempt in attempts), default=0)
        return "".join(record for each in attempts if each.number == latest for record in read_attempt(each))
    except OSError:
        return ""
