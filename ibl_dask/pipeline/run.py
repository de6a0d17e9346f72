"""The driver: admits sessions, hands steps to an executor, keeps the journal, and says how it all went."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ibl_dask.errors import InputError, UsageError
from ibl_dask.model import events
from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.model.step import Failure, Key, Step, StepRecord
from ibl_dask.pipeline.executors import Executor, InProcess, OnCluster
from ibl_dask.pipeline.plan import Pipeline, make_pipeline
from ibl_dask.store.atomic import sweep_temporaries
from ibl_dask.store.journal import Journal
from ibl_dask.store.lock import holding
from ibl_dask.store.workspace import WORK_FOLDER, Workspace, default_work_dir
from ibl_dask.tasks.walk import describe

_log = logging.getLogger(__name__)

Listener = Callable[[events.Event], None]

WINDOW_PER_SLOT = 4
"""Steps kept outstanding per core before another session is admitted: annotated tasks get no back-pressure."""


@dataclass
class SessionOutcome:
    """How one session went."""

    path: Path
    """Session folder."""
    tasks: dict[str, Status] = field(default_factory=dict)
    """Task -> how it ended."""
    failures: list[Failure] = field(default_factory=list)
    """Errors, each once."""
    qc: dict[str, str] = field(default_factory=dict)
    """Camera -> overall outcome of its checks."""
    report: Path | None = None
    """The report."""
    records: dict[Key, StepRecord] = field(default_factory=dict, repr=False)
    """Records of all steps."""
    finished: bool = False
    """Whether it was driven to its end, good or bad."""

    @property
    def is_success(self) -> bool:
        """Return whether nothing is left to do or to mend."""
        good = bool(self.tasks) and all(status.is_success for status in self.tasks.values())
        return self.finished and good and not self.failures

    def count(self, kind: str, status: str) -> int:
        """Return how many steps of a kind ended in a status."""
        return sum(r.key[0].split("-")[0] == kind and r.status == status for r in self.records.values())

    def chunks(self) -> tuple[int, int]:
        """Return how many chunks of video were compressed or measured in this run, and how many before.

        What was compressed was measured then: its frame pass finds it.
        """
        compressed, found = self.count("encode", "done"), self.count("encode", "kept")
        measured, known = self.count("framepass", "done"), self.count("framepass", "kept")
        return compressed + measured, found + max(0, known - compressed - found)


@dataclass
class Run:
    """How a run went."""

    name: str
    """Name of the run."""
    journal: Path
    """Its journal."""
    sessions: list[SessionOutcome]
    """Sessions in the order given."""
    n_workers: int
    """Worker processes; 0 where the driver runs the steps itself."""
    seconds: float = 0.0
    """How long it took."""
    interrupted: bool = False
    """Whether somebody stopped it."""
    journal_failure: str = ""
    """Why the journal lacks events; empty where it does not."""
    performance: Path | None = None
    """Dask's own record of what ran where, HTML; None where there is none."""

    @property
    def is_success(self) -> bool:
        """Return whether every session succeeded."""
        return not self.interrupted and all(outcome.is_success for outcome in self.sessions)

    @property
    def exit_code(self) -> int:
        """Return 0 only where every task is complete or legitimately empty; 130 where somebody stopped it."""
        return 130 if self.interrupted else 0 if self.is_success and not self.journal_failure else 1


class _Driven:
    """One session on its way through the run."""

    def __init__(self, order: int, outcome: SessionOutcome, pipeline: Pipeline) -> None:
        self.order = order
        self.outcome = outcome
        self.pipeline = pipeline
        self.held = contextlib.ExitStack()
        self.waiting: set[Key] = set()
        self.steps: dict[str, list[Step]] = {}
        self.level = 0
        self.phase: Literal["first", "rest", "report"] = "first"
        self.started_s = time.time()
        self.clock = time.perf_counter()


class Driver:
    """Takes sessions through an executor, a bounded number at a time."""

    def __init__(self, executor: Executor, journal: Journal, run: Run, listeners: Sequence[Listener]) -> None:
        self.executor = executor
        self.journal = journal
        self.run = run
        self.listeners = listeners
        self._active: dict[str, _Driven] = {}
        self._owner: dict[Key, _Driven] = {}
        self._outputs: dict[Path, Path] = {}

    def emit(self, event: events.Event) -> None:
        """Write an event to the journal, then tell the listeners."""
        self.journal.append(events.to_json(event))
        for listen in self.listeners:
            listen(event)

    def drive(self, plan: Callable[[Path], Pipeline]) -> None:
        """Run every session to its end.

        Parameters
        ----------
        plan
            Makes the pipeline of a session folder.
        """
        queue = list(enumerate(self.run.sessions))
        try:
            while queue or self._active:
                self._admit_some(queue, plan)
                for record in self.executor.completed():
                    self._take(record)
                    if queue and self._has_room():
                        break
        finally:
            self.executor.cancel()
            for driven in self._active.values():
                driven.held.close()

    def _has_room(self) -> bool:
        return self.executor.outstanding < WINDOW_PER_SLOT * self.executor.slots

    def _admit_some(self, queue: list[tuple[int, SessionOutcome]], plan: Callable[[Path], Pipeline]) -> None:
        while queue and self._has_room():
            order, outcome = queue[0]
            driven = None
            try:
                driven = _Driven(order, outcome, plan(outcome.path))
                if driven.pipeline.session.reference in self._active:
                    # Keys name a session by its reference, so a copy of it elsewhere waits its turn.
                    return
                queue.pop(0)
                workspace = driven.pipeline.workspace
                self._insist_on_own_outputs(workspace.session)
                workspace.check_writable()
                driven.held.enter_context(holding(workspace.session.own / "lock.json"))
                _sweep(workspace)
                self._active[driven.pipeline.session.reference] = driven
                self._submit(driven, driven.pipeline.first_steps(0))
            except Exception as error:  # noqa: BLE001  # one session must not stop the others
                if queue and queue[0][1] is outcome:
                    queue.pop(0)
                self._give_up(outcome, describe(error))
                if driven is not None:
                    self._release(driven)

    def _insist_on_own_outputs(self, session: Session) -> None:
        first = self._outputs.setdefault(session.outputs, session.path)
        if first != session.path:
            raise UsageError(
                "two sessions would write into one folder",
                where=str(session.outputs),
                expected="a folder for each session",
                got=f"{first} and {session.path}",
                do="give these sessions different --output-root folders, in two runs",
            )

    def _submit(self, driven: _Driven, steps: Iterable[Step]) -> None:
        unique = {step.key: step for step in steps if step.key not in driven.outcome.records}
        driven.waiting = set(unique)
        self._owner.update(dict.fromkeys(unique, driven))
        names = Counter(key[0] for key in unique)
        self.emit(events.SessionPlanned(str(driven.outcome.path), dict(names), time.time()))
        if unique:
            session = driven.pipeline.session
            self.executor.submit(list(unique.values()), session.outputs, driven.outcome.records, -1000 * driven.order)
        else:
            self._advance(driven)

    def _take(self, record: StepRecord) -> None:
        driven = self._owner.pop(record.key)
        driven.outcome.records[record.key] = record
        driven.waiting.discard(record.key)
        self.emit(events.StepFinished(str(driven.outcome.path), record))
        if not driven.waiting:
            try:
                self._advance(driven)
            except Exception as error:  # noqa: BLE001  # one session must not stop the others
                self._give_up(driven.outcome, describe(error))
                self._release(driven)

    def _advance(self, driven: _Driven) -> None:
        if driven.phase == "first":
            driven.phase = "rest"
            steps = driven.pipeline.steps(driven.level, driven.outcome.records)
            driven.steps |= steps
            self._submit(driven, chain.from_iterable(steps.values()))
        elif driven.phase == "rest" and driven.level + 1 < driven.pipeline.n_levels:
            driven.phase, driven.level = "first", driven.level + 1
            self._submit(driven, driven.pipeline.first_steps(driven.level))
        elif driven.phase == "rest":
            driven.phase = "report"
            self._conclude(driven)
            self._submit(driven, [driven.pipeline.report_step(self._what_ran(driven))])
        else:
            self._finish(driven)

    def _conclude(self, driven: _Driven) -> None:
        records = driven.outcome.records
        for name, task in driven.pipeline.tasks.items():
            keys = [step.key for step in (*task.first_steps(), *driven.steps[name])]
            status = task.conclude({key: records[key] for key in keys if key in records})
            failures = task.failures
            driven.outcome.tasks[name] = status
            driven.outcome.failures = list(dict.fromkeys([*driven.outcome.failures, *failures]))
            outputs = tuple(str(path) for path in task.outputs or ())
            path = str(driven.outcome.path)
            self.emit(events.TaskFinished(path, name, status, outputs, tuple(failures), time.time()))

    def _what_ran(self, driven: _Driven) -> dict[str, Any]:
        """Return what the report says of the run: plain values."""
        steps: dict[str, dict[str, Any]] = {}
        for record in driven.outcome.records.values():
            row = steps.setdefault(record.key[0], {"n": 0, "seconds": 0.0, "status": Counter(), "workers": set()})
            row["n"] += 1
            row["seconds"] += record.seconds
            row["status"][record.status] += 1
            row["workers"].add(record.worker)
        for row in steps.values():
            row |= {
                "status": dict(row["status"]),
                "workers": sorted(row["workers"]),
                "seconds": round(row["seconds"], 3),
            }
        videos = {
            key[0].removeprefix("index-"): dict(record.value)
            for key, record in driven.outcome.records.items()
            if key[0].startswith("index-") and record.is_ok
        }
        return {
            "videos": videos,
            "run": self.run.name,
            "host": socket.gethostname(),
            "n_workers": self.run.n_workers,
            "started_s": driven.started_s,
            "seconds": time.perf_counter() - driven.clock,
            "steps": steps,
            "tasks": {name: str(status) for name, status in driven.outcome.tasks.items()},
            "failures": [asdict(failure) for failure in driven.outcome.failures],
        }

    def _finish(self, driven: _Driven) -> None:
        outcome, workspace = driven.outcome, driven.pipeline.workspace
        report = next(r for r in outcome.records.values() if r.key[0] == "report")
        if report.is_ok:
            outcome.report = workspace.report_file
        elif report.failure is not None:
            outcome.failures.append(report.failure)
        published = next((r for r in outcome.records.values() if r.key[0] == "publish" and r.is_ok), None)
        outcome.qc = dict(published.value["cameras"]) if published is not None else {}
        outcome.finished = True
        _sweep(workspace)
        if outcome.is_success:
            workspace.clean()
        self._emit_session(outcome, None)
        self._release(driven)

    def _release(self, driven: _Driven) -> None:
        driven.held.close()
        if self._active.get(driven.pipeline.session.reference) is driven:
            del self._active[driven.pipeline.session.reference]

    def _give_up(self, outcome: SessionOutcome, failure: Failure) -> None:
        _log.error("%s: %s", outcome.path, failure.message)
        outcome.failures.append(failure)
        outcome.finished = True
        self._emit_session(outcome, failure)

    def _emit_session(self, outcome: SessionOutcome, failure: Failure | None) -> None:
        report = "" if outcome.report is None else str(outcome.report)
        self.emit(
            events.SessionFinished(str(outcome.path), outcome.is_success, outcome.qc, report, failure, time.time())
        )


def run(
    sessions: Sequence[Session | str | Path],
    *,
    client: Any = None,  # distributed has no types
    executor: Executor | None = None,
    tasks: Sequence[str] | None = None,
    output_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    overwrite: bool = False,
    listeners: Sequence[Listener] = (),
    **options: Any,  # options of tasks, by name
) -> Run:
    """Run the tasks of some sessions.

    Parameters
    ----------
    sessions : sequence of Session or path
        What to run, in order: the first is finished first.
    client : distributed.Client, optional
        Where steps run; in this process, one after another, where not given.
    executor : Executor, optional
        Who runs steps, instead of a client.
    tasks, output_root, work_dir, overwrite, options
        See `make_pipeline`.
    listeners : sequence of callables
        Called with every event.

    Returns
    -------
    Run
        How it went. A session that fails is part of it, not an exception.
    """
    outcomes = [SessionOutcome(s.path if isinstance(s, Session) else Path(s).expanduser().absolute()) for s in sessions]
    by_path = {s.path: s for s in sessions if isinstance(s, Session)}
    folder = _journal_folder(outcomes, output_root, work_dir)
    if executor is None:
        executor = InProcess() if client is None else OnCluster(client)
    n_workers = 0 if isinstance(executor, InProcess) else executor.slots

    def plan(path: Path) -> Pipeline:
        session = by_path.get(path, path)
        return make_pipeline(
            session, tasks=tasks, output_root=output_root, work_dir=work_dir, overwrite=overwrite, **options
        )

    name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + secrets.token_hex(3)
    clock = time.perf_counter()
    with Journal(folder, name) as journal:
        result = Run(name, journal.path, outcomes, n_workers)
        driver = Driver(executor, journal, result, listeners)
        paths = tuple(str(outcome.path) for outcome in outcomes)
        made_by, host, pid = version("ibl_dask"), socket.gethostname(), os.getpid()
        driver.emit(events.RunStarted(name, paths, host, pid, n_workers, made_by, time.time()))
        try:
            driver.drive(plan)
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            result.seconds = time.perf_counter() - clock
            good = sum(outcome.is_success for outcome in outcomes)
            bad = len(outcomes) - good
            driver.emit(events.RunFinished(name, good, bad, result.seconds, time.time(), result.interrupted))
            result.journal_failure = str(journal.failure or "")
    return result


def _sweep(workspace: Workspace) -> None:
    """Remove what killed writers of this session left behind; its lock is held."""
    folders = {camera.collection for camera in workspace.session.description.cameras}
    outputs = [workspace.session.outputs / name for name in ("alf", *sorted(folders))]
    for folder in (workspace.session.own, *outputs, workspace.scratch):
        sweep_temporaries(folder)


def rows(run: Run) -> list[dict[str, Any]]:
    """Return one plain row per session, for tables."""
    return [
        {
            "session": "/".join(outcome.path.parts[-3:]),
            "tasks": {name: str(status) for name, status in outcome.tasks.items()},
            "qc": dict(outcome.qc),
            **dict(zip(("chunks_done", "chunks_kept"), outcome.chunks(), strict=True)),
            "failures": [failure.message for failure in outcome.failures],
            "report": "" if outcome.report is None else str(outcome.report),
        }
        for outcome in run.sessions
    ]


def _journal_folder(
    outcomes: Sequence[SessionOutcome], output_root: str | Path | None, work_dir: str | Path | None
) -> Path:
    if work_dir is not None:
        return Path(work_dir).expanduser().absolute()
    for outcome in outcomes:
        with contextlib.suppress(InputError, OSError):
            return default_work_dir(Session(outcome.path, None if output_root is None else Path(output_root)))
    return Path.cwd() / WORK_FOLDER
