"""Results of a run: a row of bounded size per session, and the run as a whole."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from ibl_dask.errors import IblDaskError
from ibl_dask.model.failure import Failure
from ibl_dask.model.result import WorkKind
from ibl_dask.model.status import Status
from ibl_dask.model.step import StepKey, StepRecord, StepStatus
from ibl_dask.report.cohort import render_cohort
from ibl_dask.report.notebook import run_html
from ibl_dask.report.session_rows import SessionRow
from ibl_dask.store.atomic import write_text
from ibl_dask.store.journal import Place, read_journal
from ibl_dask.store.last_run import LastRun
from ibl_dask.store.run_folder import RunFolder

SessionState = Literal["done", "failed", "interrupted", "not started"]
"""failed: something is left to do or to mend; interrupted: begun, and not driven to its end."""


class StepRow(TypedDict):
    """A step that ended."""

    session: str
    """subject/date/number."""
    step: str
    """Kind of the step: `framepass`, `times`, `qc`, ..."""
    camera: str
    """Label of the camera; empty for a step of the whole session."""
    chunk: int
    """Number of the chunk; 0 for a step that is not split."""
    status: StepStatus
    """How it ended."""
    worker: str
    """`host:pid` of its process."""
    started_s: float
    """Unix time of its start."""
    seconds: float
    """Duration, s."""


MOST_FAILURES = 20
"""Failures kept per session, with their tracebacks; the journal has all of them."""


@dataclass(slots=True)
class JournalPart:
    """Part of a journal that holds the lines of one session, among those of others."""

    path: Path
    """The journal."""
    start: Place
    """Start of the first line."""
    stop: Place
    """End of the last line."""

    def read_records(self, session: Path) -> dict[StepKey, StepRecord]:
        """Return the records of a session's steps by key, in the order in which they ended."""
        name = str(session)
        mark = json.dumps(name, default=str).encode()
        found: dict[StepKey, StepRecord] = {}
        for event in read_journal(self.path, self.start, self.stop, mark):
            if event.get("event") == "StepFinished" and event.get("session") == name:
                record = StepRecord.from_json(event["record"])
                found[record.key] = record
        return found


@dataclass(slots=True, repr=False)
class SessionOutcome:
    """Result of one session.

    Nothing here grows with the number of steps: their records are in the journal, and read from there on demand.
    """

    path: Path
    """Session folder."""
    tasks: dict[str, Status] = field(default_factory=dict)
    """Status of each task that ended."""
    failures: list[Failure] = field(default_factory=list)
    """Errors, each once, the first `MOST_FAILURES` of them."""
    task_failures: dict[str, tuple[Failure, ...]] = field(default_factory=dict)
    """Task -> its errors, those that are kept."""
    qc: dict[str, str] = field(default_factory=dict)
    """Overall outcome of the checks of each camera."""
    report: Path | None = None
    """The report."""
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of steps by kind and status."""
    work: Counter[tuple[WorkKind, StepStatus]] = field(default_factory=Counter)
    """Number of steps by kind of measured work and status."""
    started: bool = False
    """A step of it was begun, as far as that is known."""
    finished: bool = False
    """It was driven to its end, good or bad."""
    reasons: dict[str, Failure] = field(default_factory=dict)
    """Reason and remedy of each task that did not start."""
    not_required: set[str] = field(default_factory=set)
    """Tasks among these that were not asked for by name, and only wait for inputs that the session does not have."""
    done_by: str = ""
    """Another run with the same request that took it to its end meanwhile; empty where this one did."""
    is_passed_over: bool = False
    """It has none of the tasks that were asked for, so nothing was done."""
    n_more_failures: int = 0
    """Failures beyond those kept."""
    journal: JournalPart | None = None
    """Lines of this session in the journal; None before the first."""

    @property
    def records(self) -> dict[StepKey, StepRecord]:
        """Read the records of all steps from the journal.

        Raises
        ------
        OSError
            If the journal cannot be read.
        """
        return {} if self.journal is None else self.journal.read_records(self.path)

    def add_failures(self, failures: Sequence[Failure], task: str = "") -> None:
        """Add errors that are not among those kept, of a task or of the whole session."""
        fresh = [failure for failure in dict.fromkeys(failures) if failure not in self.failures]
        room = MOST_FAILURES - len(self.failures)
        self.failures += fresh[:room]
        self.n_more_failures += len(fresh[room:])
        if task and failures:
            self.task_failures[task] = tuple(
                failure for failure in failures[:MOST_FAILURES] if failure in self.failures
            )

    def take_from(self, known: LastRun) -> None:
        """Take the end of the session in another run."""
        self.tasks = {name: Status(status) for name, status in known.tasks.items()}
        self.qc = dict(known.qc)
        self.report = Path(known.report) if known.report else None
        self.finished, self.done_by = True, known.run
        if not known.is_success:
            do = "`ibl-dask status --run` with the name of that run shows them"
            what = f"run {known.run}, which shares this list, ended this session with failures."
            self.failures.append(Failure("FailedElsewhere", "usage", what, str(self.path), do=do))

    def to_last_run(self, run: str, request: str) -> LastRun:
        """Return the record for other drivers."""
        return LastRun(
            run,
            request,
            time.time(),
            self.is_success,
            {name: str(status) for name, status in self.tasks.items()},
            dict(self.qc),
            "" if self.report is None else str(self.report),
        )

    @property
    def is_success(self) -> bool:
        """Return True if nothing is left to do or to mend."""
        if self.done_by:
            return not self.failures
        if self.is_passed_over:
            return not self.failures
        good = bool(self.tasks) and all(s.is_success or name in self.not_required for name, s in self.tasks.items())
        return self.finished and good and not self.failures

    @property
    def state(self) -> SessionState:
        """Return the state of the session at the end of the run."""
        if self.finished:
            return "done" if self.is_success else "failed"
        return "interrupted" if self.started else "not started"

    def count_step(self, record: StepRecord) -> None:
        """Add a step that ended to the numbers of steps."""
        self.steps[sys.intern(record.key.name.partition("-")[0]), record.status] += 1
        work = record.result.work
        if work is not None:
            self.work[work.kind, record.status] += 1

    def count(self, kind: str, status: str) -> int:
        """Return the number of steps of a kind that ended in a status."""
        return self.steps[kind, status]

    def __repr__(self) -> str:
        from ibl_dask.report.run_text import run_text  # loads rich

        return run_text([_row(self)])

    def _repr_html_(self) -> str:
        return run_html([_row(self)])

    def chunks(self) -> tuple[int, int]:
        """Return the numbers of chunks of video that were compressed, measured or estimated in this run, and before.

        A chunk that is compressed is measured at once: its frame pass finds the result.
        """
        compressed, found = self.work["encode", "done"], self.work["encode", "kept"]
        measured, known = self.work["decode", "done"], self.work["decode", "kept"]
        estimated, known_poses = self.work["infer", "done"], self.work["infer", "kept"]
        return compressed + measured + estimated, found + max(0, known - compressed - found) + known_poses


@dataclass(repr=False)
class Run:
    """Result of a run."""

    name: str
    """Name of the run."""
    journal: Path
    """Folder of its journal, see `ibl_dask.store.journal.read_journal`."""
    sessions: list[SessionOutcome]
    """Sessions in the order given."""
    n_workers: int
    """Worker processes; 0 where the driver runs the steps itself."""
    seconds: float = 0.0
    """Duration, s."""
    interrupted: bool = False
    """It was stopped by Ctrl-C or SIGTERM."""
    journal_failure: IblDaskError | None = None
    """Error because of which the journal lacks events; None where it has all."""
    stopped: Failure | None = None
    """Reason for which sessions were not begun; None where all were."""
    performance: Path | None = None
    """Dask's performance report, HTML; None where there is none."""
    performance_failure: str = ""
    """Error because of which that report is missing; empty where it is there, or was not wanted."""
    failed_listeners: tuple[str, ...] = ()
    """Listeners that raised, each with its error; they received no event after that."""

    @property
    def is_success(self) -> bool:
        """Return True if every session succeeded."""
        return not self.interrupted and all(outcome.is_success for outcome in self.sessions)

    @property
    def exit_code(self) -> int:
        """Return 0 only if every task is complete or legitimately empty; 130 if the run was interrupted."""
        return 130 if self.interrupted else 0 if self.is_success and not self.journal_failure else 1

    def report(self, path: str | Path) -> Path:
        """Write one HTML page on the run: failures by cause, every session and camera, throughput; return its path."""
        from ibl_dask.pipeline.cohort import cohort_content  # loads figures

        target = Path(path).expanduser().absolute()
        write_text(target, render_cohort(cohort_content(RunFolder(self.name, self.journal), rows(self))))
        return target

    def steps(self) -> list[StepRow]:
        """Return one plain row per step of all sessions, for instance for `pandas.DataFrame`.

        Steps are in the order in which they ended, session by session. They are read from the journal.

        Raises
        ------
        OSError
            If the journal cannot be read.
        """
        return [step_row(record) for outcome in self.sessions for record in outcome.records.values()]

    def __repr__(self) -> str:
        from ibl_dask.report.run_text import run_text  # loads rich

        return f"Run {self.name}: {run_text(rows(self))}\njournal: {self.journal}"

    def _repr_html_(self) -> str:
        return run_html(rows(self))


def step_row(record: StepRecord) -> StepRow:
    """Return the plain row of a step."""
    kind, _, camera = record.key.name.partition("-")
    return {
        "session": record.key.session,
        "step": kind,
        "camera": camera,
        "chunk": record.key.chunk,
        "status": record.status,
        "worker": record.worker,
        "started_s": record.started_s,
        "seconds": record.seconds,
    }


def rows(run: Run) -> list[SessionRow]:
    """Return one plain row per session, for tables."""
    return [_row(outcome) for outcome in run.sessions]


def _row(outcome: SessionOutcome) -> SessionRow:
    n_done, n_kept = outcome.chunks()
    failures = list(outcome.failures)
    if outcome.n_more_failures:
        do = "`ibl-dask status` reads them from the journal"
        failures.append(Failure("MoreFailures", "run", f"{outcome.n_more_failures} more failures", do=do))
    return SessionRow(
        session="/".join(outcome.path.parts[-3:]),
        path=str(outcome.path),
        state=outcome.state,
        tasks={name: str(status) for name, status in outcome.tasks.items()},
        qc=dict(outcome.qc),
        chunks_done=n_done,
        chunks_kept=n_kept,
        failures=failures,
        task_failures=outcome.task_failures,
        waiting={name: reason for name, reason in outcome.reasons.items() if outcome.tasks.get(name) == "Waiting"},
        not_required=sorted(outcome.not_required),
        passed_over=outcome.is_passed_over,
        report="" if outcome.report is None else str(outcome.report),
    )
