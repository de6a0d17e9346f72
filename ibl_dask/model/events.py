"""Events of a run, as values: the journal, progress bars and reports listen to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ibl_dask.model.result import WorkKind
from ibl_dask.model.step import Failure, StepRecord


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The driver begins."""

    run: str
    """Name of the run."""
    sessions: tuple[str, ...]
    """Session folders, in order."""
    host: str
    """Host of the driver."""
    pid: int
    """Process of the driver."""
    n_workers: int
    """Worker processes at the start; 0 where the driver runs the steps itself."""
    version: str
    """Version of ibl_dask."""
    time_s: float
    """Unix time."""
    process: str = ""
    """Identity of that process, as `ibl_dask.store.processes.Process.mark`; empty where an older version wrote this."""


@dataclass(frozen=True, slots=True)
class SessionPutOff:
    """A session cannot start yet: it goes last, and is tried again."""

    session: str
    """Session folder."""
    reason: str
    """Reason of the delay."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionPlanned:
    """The steps of a session are known, or some more of them."""

    session: str
    """Session folder."""
    steps: Mapping[str, int]
    """Name of the steps -> number of steps."""
    time_s: float
    """Unix time."""
    chunks: Mapping[str, WorkKind] = field(default_factory=dict)
    """Name of those steps that are one chunk of a video each -> their work."""


@dataclass(frozen=True, slots=True)
class StepFinished:
    """One step ended, with or without success."""

    session: str
    """Session folder."""
    record: StepRecord
    """Record of the step."""


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """One task ended, with or without success."""

    session: str
    """Session folder."""
    task: str
    """Name of the task."""
    status: str
    """As in `Status`."""
    outputs: tuple[str, ...]
    """Files that it left."""
    failures: tuple[Failure, ...]
    """Errors that it met, each once."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionFinished:
    """Everything of a session ended."""

    session: str
    """Session folder."""
    is_success: bool
    """Every task is complete, or empty as it should be."""
    qc: Mapping[str, str]
    """Camera -> overall outcome of its checks."""
    report: str
    """Path of the report; empty where there is none."""
    failure: Failure | None
    """Error that prevented planning, if any."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionInterrupted:
    """A session that had begun does not end in this run."""

    session: str
    """Session folder."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The driver ends."""

    run: str
    """Name of the run."""
    n_success: int
    """Sessions that are complete."""
    n_failed: int
    """Sessions that ended with a failure or with unfinished work."""
    seconds: float
    """Duration, s."""
    time_s: float
    """Unix time."""
    interrupted: bool = field(default=False)
    """The run was stopped before its end."""
    n_interrupted: int = 0
    """Sessions that had begun and did not end."""
    n_not_started: int = 0
    """Sessions that had not begun."""


Event = (
    RunStarted
    | SessionPutOff
    | SessionPlanned
    | StepFinished
    | TaskFinished
    | SessionFinished
    | SessionInterrupted
    | RunFinished
)


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as plain values, with the name of its class under `event`."""
    if isinstance(event, StepFinished):
        return {"event": "StepFinished", "session": event.session, "record": event.record.to_json()}
    return {"event": type(event).__name__, **asdict(event)}
