"""Events of a run, for the journal, progress bars and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from ibl_dask.model.failure import Failure
from ibl_dask.model.result import WorkKind
from ibl_dask.model.step import StepRecord


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Start of the driver."""

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
    job: str = ""
    """Number of the batch job that the driver runs in; empty outside of one."""
    request: Mapping[str, str] = field(default_factory=dict)
    """Tasks and options that were asked for, as text; those left at their defaults are missing."""
    n_to_come: int = 0
    """Number of sessions that come while the run goes on; 0 where it is not known, or all are listed."""


@dataclass(frozen=True, slots=True)
class SessionPutOff:
    """Delay of a session that cannot start yet: it is put last and tried again."""

    session: str
    """Session folder."""
    reason: str
    """Reason of the delay."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionPlanned:
    """Planning of all or some more steps of a session."""

    session: str
    """Session folder."""
    steps: Mapping[str, int]
    """Name of the steps -> their number."""
    time_s: float
    """Unix time."""
    chunks: Mapping[str, WorkKind] = field(default_factory=dict)
    """Name of those steps that are one chunk of a video each -> their work."""


@dataclass(frozen=True, slots=True)
class StepFinished:
    """End of a step."""

    session: str
    """Session folder."""
    record: StepRecord
    """Record of the step."""


@dataclass(frozen=True, slots=True)
class StepRetried:
    """Failure of an attempt at a step that is made again."""

    session: str
    """Session folder."""
    step: tuple[str, str, str, int]
    """Key of the step."""
    attempt: int
    """Number of the attempt that failed, from 1."""
    failure: Failure
    """Its error."""
    pause_s: float
    """Time until the next attempt, s."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class RunPaused:
    """Pause of the run, or of a part of it: no more steps are given out there."""

    place: str
    """Disk, node, environment, or empty for the whole run."""
    failure: Failure
    """The reason, and what to do."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """End of a pause."""

    place: str
    """As in `RunPaused`."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """End of a task."""

    session: str
    """Session folder."""
    task: str
    """Name of the task."""
    status: str
    """Value of a `Status`."""
    outputs: tuple[str, ...]
    """Files of its results."""
    failures: tuple[Failure, ...]
    """Errors, each once; empty where it succeeded."""
    time_s: float
    """Unix time."""
    seconds: float = 0.0
    """Time that its steps took in this run, s; those of workers side by side are added up."""
    version: str = ""
    """Version of the code that did its work."""
    log: str = ""
    """Folder of its logs; empty where it has none."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """File of its results -> MD5, as databases of the field keep it; empty in a run that was not asked for them."""
    is_required: bool = True
    """False if the session is done without it: it waits for an environment or a database that is not here."""


@dataclass(frozen=True, slots=True)
class SessionFinished:
    """End of a session."""

    session: str
    """Session folder."""
    is_success: bool
    """True if every task is complete or legitimately empty."""
    qc: Mapping[str, str]
    """Camera -> overall outcome of its checks."""
    report: str
    """Path of the report; empty where there is none."""
    failure: Failure | None
    """Error for which the session could not be planned; None otherwise."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class SessionInterrupted:
    """Interruption of a session that had begun."""

    session: str
    """Session folder."""
    time_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """End of the driver."""

    run: str
    """Name of the run."""
    n_success: int
    """Sessions that are finished without failures."""
    n_failed: int
    """Sessions that ended with failures or with unfinished tasks."""
    seconds: float
    """Duration of the run, s."""
    time_s: float
    """Unix time."""
    interrupted: bool = field(default=False)
    """True if the run was stopped from outside."""
    n_interrupted: int = 0
    """Sessions that had begun and did not end."""
    n_not_started: int = 0
    """Sessions that had not begun."""


Event = (
    RunStarted
    | SessionPutOff
    | SessionPlanned
    | StepFinished
    | StepRetried
    | TaskFinished
    | SessionFinished
    | RunPaused
    | RunResumed
    | SessionInterrupted
    | RunFinished
)


def to_json(event: Event) -> dict[str, object]:
    """Return an event as a mapping for JSON, its class under `event`."""
    return {
        "event": type(event).__name__,
        **{field.name: _plain(getattr(event, field.name)) for field in fields(event)},
    }


def _plain(value: object) -> object:
    """Return a part of an event as JSON holds it; a failure with its whole message beside its parts."""
    if isinstance(value, Failure | StepRecord):
        return value.to_json()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
