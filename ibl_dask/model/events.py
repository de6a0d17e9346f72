"""What happens during a run, as values: the journal, progress bars and reports listen to these."""

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
    """A session cannot start yet: it was put last, and is tried again."""

    session: str
    """Session folder."""
    reason: str
    """Why."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionPlanned:
    """The steps of a session are known, or some more of them."""

    session: str
    """Session folder."""
    steps: Mapping[str, int]
    """Name of the steps -> how many."""
    time_s: float
    """Unix time."""
    chunks: Mapping[str, WorkKind] = field(default_factory=dict)
    """Name of those steps that are one chunk of a video each -> their work."""


@dataclass(frozen=True, slots=True)
class StepFinished:
    """One step ended, well or not."""

    session: str
    """Session folder."""
    record: StepRecord
    """How it went."""


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """One task ended, well or not."""

    session: str
    """Session folder."""
    task: str
    """Name of the task."""
    status: str
    """As in `Status`."""
    outputs: tuple[str, ...]
    """Files it left."""
    failures: tuple[Failure, ...]
    """Why it did not succeed; each error once."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionFinished:
    """Everything of a session ended."""

    session: str
    """Session folder."""
    is_success: bool
    """Whether every task is complete or legitimately empty."""
    qc: Mapping[str, str]
    """Camera -> overall outcome of its checks."""
    report: str
    """Path of the report; empty where there is none."""
    failure: Failure | None
    """Why the session could not be planned."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionInterrupted:
    """A session that had begun will not come to its end in this run."""

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
    """Sessions without anything left to do or to mend."""
    n_failed: int
    """Sessions that ended with something left to do or to mend."""
    seconds: float
    """How long it took."""
    time_s: float
    """Unix time."""
    interrupted: bool = field(default=False)
    """Whether somebody stopped it."""
    n_interrupted: int = 0
    """Sessions that had begun and did not come to their end."""
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
    """Return an event as a mapping, its class under `event`."""
    if isinstance(event, StepFinished):
        return {"event": "StepFinished", "session": event.session, "record": event.record.to_json()}
    return {"event": type(event).__name__, **asdict(event)}
