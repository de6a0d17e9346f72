"""The driver: admits sessions, hands steps to an executor, keeps the journal, and says how it all went."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ibl_dask.deploy.cluster.batch_systems.lookup import ask_job
from ibl_dask.errors import InputError, SessionLocked
from ibl_dask.model import events
from ibl_dask.model.places import below
from ibl_dask.model.result import CamerasJudged, VideoIndexed, WorkKind
from ibl_dask.model.session import Session, real_path
from ibl_dask.model.status import Status
from ibl_dask.model.step import Failure, Key, Step, StepRecord
from ibl_dask.pipeline.admission import Admission, Candidate
from ibl_dask.pipeline.executors import Executor, InProcess, OnCluster
from ibl_dask.pipeline.plan import OutputPlaces, Pipeline, check_request, make_pipeline
from ibl_dask.pipeline.task_states import Turn, blocking, held_back, make_turns, startable
from ibl_dask.store.atomic import sweep_temporaries
from ibl_dask.store.containment import contained
from ibl_dask.store.disk import passes_by_itself, patiently
from ibl_dask.store.journal import Journal
from ibl_dask.store.lock import LOCK_NAME, Attempt, Held, taken_over
from ibl_dask.store.processes import this_process
from ibl_dask.store.workspace import WORK_FOLDER, Workspace, default_work_dir
from ibl_dask.tasks.run_step import describe

_log = logging.getLogger(__name__)

Listener = Callable[[events.Event], None]

SessionState = Literal["done", "failed", "interrupted", "not started"]
"""How a session went: failed where something is left to do or to mend; interrupted where it had begun and was not
driven to its end."""

IDLE_S = 0.1
"""How often sessions are looked at that wait for others, where nothing else is under way, s."""
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
    started: bool = False
    """Whether a step of it was begun, as far as that is known."""
    finished: bool = False
    """Whether it was driven to its end, good or bad."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Task that did not start -> why, and what to do."""
    excused: set[str] = field(default_factory=set)
    """Those of them that nobody asked for by name, and that only wait for what is not part of the session."""
    is_passed_over: bool = False
    """Whether it has none of the tasks that were asked for, so that nothing was done."""

    @property
    def is_success(self) -> bool:
        """Return whether nothing is left to do or to mend."""
        if self.is_passed_over:
            return not self.failures
        good = bool(self.tasks) and all(s.is_success or name in self.excused for name, s in self.tasks.items())
        return self.finished and good and not self.failures

    @property
    def state(self) -> SessionState:
        """Return how it went."""
        if self.finished:
            return "done" if self.is_success else "failed"
        return "interrupted" if self.started else "not started"

    def count(self, kind: str, status: str) -> int:
        """Return the number of steps of a kind that ended in a status."""
        return sum(r.key[0].split("-")[0] == kind and r.status == status for r in self.records.values())

    def _count_work(self, kind: WorkKind, status: str) -> int:
        """Return the number of steps with a kind of work that ended in a status."""
        works = (record.result.work for record in self.records.values() if record.status == status)
        return sum(work is not None and work.kind == kind for work in works)

    def chunks(self) -> tuple[int, int]:
        """Return the numbers of chunks of video that were compressed or measured in this run, and before.

        A chunk that was compressed was measured then: its frame pass finds it.
        """
        compressed, found = self._count_work("encode", "done"), self._count_work("encode", "kept")
        measured, known = self._count_work("decode", "done"), self._count_work("decode", "kept")
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
    performance_failure: str = ""
    """Why that record could not be made; empty where it could, or was not wanted."""
    deaf: tuple[str, ...] = ()
    """Listeners that failed and were told nothing from then on, each with its error."""

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
        self.held: Held | None = None
        self.turns = make_turns(pipeline.specs, pipeline.tasks)
        self.waiting: dict[Key, list[Turn]] = {}
        self.phase: Literal["tasks", "report"] = "tasks"
        self.report: Key | None = None
        self.started_s = time.time()
        self.clock = time.perf_counter()


class Driver:
    """Takes sessions through an executor, a bounded number at a time."""

    def __init__(self, executor: Executor, journal: Journal, run: Run, listeners: Sequence[Listener]) -> None:
        self.executor = executor
        self.journal = journal
        self.run = run
        self._listeners = list(listeners)
        self._active: dict[str, _Driven] = {}
        self._owner: dict[Key, _Driven] = {}
        self._outputs = OutputPlaces()

    def emit(self, event: events.Event) -> None:
        """Write an event to the journal, then tell the listeners. One that fails is told nothing more."""
        self.journal.append(events.to_json(event))
        for listen in list(self._listeners):
            try:
                listen(event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # nobody who watches can stop a run
                self._listeners.remove(listen)
                self.run.deaf += (f"{getattr(listen, '__qualname__', type(listen).__name__)}: {error!r}",)
                _log.warning("a listener failed and is told nothing more", exc_info=error)

    def drive(self, plan: Callable[[Path], Pipeline]) -> None:
        """Run every session to its end.

        Parameters
        ----------
        plan
            Makes the pipeline of a session folder.
        """
        waiting = Admission([outcome.path for outcome in self.run.sessions])
        try:
            while waiting or self._active:
                self._admit_some(waiting, plan)
                if not self._active and waiting:
                    time.sleep(IDLE_S)
                for record in self.executor.completed():
                    self._take(record)
                    self._let_go_of_lost()
                    if waiting and self._has_room():
                        break
        finally:
            self.executor.cancel()
            for number, driven in enumerate(self._active.values()):
                driven.outcome.started |= number == 0  # its steps come before those of the others
                if driven.held is not None:
                    driven.held.close()

    def _has_room(self) -> bool:
        return self.executor.outstanding < WINDOW_PER_SLOT * self.executor.slots

    def _admit_some(self, waiting: Admission, plan: Callable[[Path], Pipeline]) -> None:
        while self._has_room() and (candidate := waiting.next(is_idle=not self._active)) is not None:
            reason = self._admit(candidate, plan)
            if reason:
                waiting.put_last(candidate)
                if not candidate.is_told:
                    candidate.is_told = True
                    self.emit(events.SessionPutOff(str(candidate.path), reason, time.time()))

    def _admit(self, candidate: Candidate, plan: Callable[[Path], Pipeline]) -> str:
        """Begin a session, or give it up; return why it must be tried again later, else nothing."""
        outcome = self.run.sessions[candidate.order]
        driven: _Driven | None = None
        held: Held | None = None
        try:
            if candidate.attempt is not None:
                held = candidate.attempt.take()
            driven = _Driven(candidate.order, outcome, plan(outcome.path))
            driven.held, session = held, driven.pipeline.session
            if driven.pipeline.is_asked and not driven.pipeline.specs:
                self._release(driven)
                outcome.finished = outcome.is_passed_over = True
                self._emit_session(outcome, None)
                return ""
            if self._is_under_way(session.reference):
                # Keys name a session by its reference, so a copy of it elsewhere waits its turn.
                self._release(driven)
                candidate.wait()
                return "another folder with the name of this session is under way"
            self._outputs.claim(session)
            driven.pipeline.workspace.check_writable()
            if driven.held is None:
                candidate.attempt = Attempt(session.own / LOCK_NAME, ask_job)
                driven.held = candidate.attempt.take()
            _sweep(driven.pipeline.workspace)
            driven.pipeline.workspace.rename_older()
            if driven.pipeline.workspace.overwrite:
                for task in driven.pipeline.tasks.values():
                    task.forget()
        except BaseException as error:
            if driven is not None:
                self._release(driven)
            elif held is not None:
                held.close()
            if not isinstance(error, Exception):  # Ctrl-C
                raise
            return self._put_off(candidate, error) or self._give_up(outcome, describe(error))
        self._active[session.reference] = driven
        outcome.failures += [Failure("OutsideSession", "input", text) for text in driven.pipeline.refused]
        try:
            self._advance(driven, startable(driven.turns))
        except Exception as error:  # noqa: BLE001  # one session must not stop the others
            self._let_go(driven, describe(error))
        return ""

    def _put_off(self, candidate: Candidate, error: Exception) -> str:
        """Return why a session that could not begin is to be tried again; nothing where it is not."""
        if isinstance(error, SessionLocked) and candidate.attempt is not None:
            is_last_try = candidate.is_taken and not self._active
            candidate.is_taken = not candidate.attempt.is_open
            candidate.wait()
            return "" if is_last_try and candidate.is_taken else f"{error.what}: {error.got}"
        if passes_by_itself(error) and (pause_s := candidate.pause_s) is not None:
            candidate.n_failures += 1
            candidate.wait(pause_s)
            return str(error)
        return ""

    def _is_under_way(self, reference: str) -> bool:
        """Return whether a session of that name is driven, or steps of one that was given up have not ended."""
        if reference in self._active:
            return True
        return any(driven.pipeline.session.reference == reference for driven in self._owner.values())

    def _submit(self, driven: _Driven, steps: Sequence[Step]) -> None:
        self._owner.update(dict.fromkeys((step.key for step in steps), driven))
        names = Counter(step.name for step in steps)
        chunks = {step.name: step.chunk_work for step in steps if step.chunk_work is not None}
        self.emit(events.SessionPlanned(str(driven.outcome.path), dict(names), time.time(), chunks))
        session, workspace = driven.pipeline.session, driven.pipeline.workspace
        token = "" if driven.held is None else driven.held.token
        leased = [replace(step, lease=token) for step in steps]
        # The lock and the scratch are of this run: a folder of the same name elsewhere does not hold them.
        places = (session.path, session.own / LOCK_NAME, workspace.scratch)
        self.executor.submit(leased, session.outputs, driven.outcome.records, -1000 * driven.order, places)

    def _take(self, record: StepRecord) -> None:
        driven = self._owner.pop(record.key)
        driven.outcome.records[record.key] = record
        driven.outcome.started = True
        self.emit(events.StepFinished(str(driven.outcome.path), record))
        turns = driven.waiting.pop(record.key, [])
        for turn in turns:
            turn.waiting.discard(record.key)
        if driven.outcome.finished:  # it was given up; this step was under way
            return
        try:
            if driven.phase == "report":
                self._finish(driven)
            else:
                self._advance(driven, [turn for turn in turns if not turn.waiting])
        except Exception as error:  # noqa: BLE001  # one session must not stop the others
            self._let_go(driven, describe(error))

    def _let_go_of_lost(self) -> None:
        """Give up the sessions whose lock is no longer ours; what somebody else has taken over is theirs."""
        for driven in list(self._active.values()):
            if driven.held is not None and driven.held.is_lost:
                self._let_go(driven, describe(taken_over(driven.held.path)))

    def _let_go(self, driven: _Driven, failure: Failure) -> None:
        """Give up a session that was begun: its steps that wait are dropped, those that run come to nothing."""
        for key in self.executor.drop(driven.pipeline.session.reference):
            self._owner.pop(key, None)
        self._give_up(driven.outcome, failure)
        self._release(driven)

    def _advance(self, driven: _Driven, turns: list[Turn]) -> None:
        """Take tasks that wait for no step on, until each waits for one or ended; then those that waited for them."""
        records = driven.outcome.records
        fresh: dict[Key, Step] = {}
        turns = list(turns)
        while turns:
            turn = turns.pop(0)
            steps = self._next_steps(driven, turn)
            if turn.is_over:
                self._conclude(driven, turn)
                turns += [other for other in startable(driven.turns) if other not in turns]
                continue
            turn.waiting = {key for key in steps if key not in records}
            for key, step in steps.items():
                if key not in turn.waiting:
                    continue
                if key not in driven.waiting:  # of two tasks that need one step the first brings it
                    fresh[key] = step
                driven.waiting.setdefault(key, []).append(turn)
            if not turn.waiting:
                turns.append(turn)
        if fresh:
            self._submit(driven, list(fresh.values()))
        if all(turn.is_over for turn in driven.turns.values()):
            driven.phase = "report"
            driven.outcome.tasks = {name: driven.outcome.tasks[name] for name in driven.turns}
            report = driven.pipeline.report_step(self._what_ran(driven))
            driven.report = report.key
            self._submit(driven, [report])

    def _next_steps(self, driven: _Driven, turn: Turn) -> dict[Key, Step]:
        """Take a task to its next phase and return the steps of that; what it raises ends that task alone."""
        try:
            with contained(turn.name):
                if turn.phase == "held" and not self._may_start(driven, turn):
                    return {}
                if turn.phase != "rest":
                    is_first = turn.phase == "held"
                    steps = patiently(
                        turn.task.first_steps if is_first else partial(turn.task.steps, driven.outcome.records)
                    )
                    fresh = {step.key: step for step in steps}
                    turn.steps |= fresh
                    turn.phase = "first" if is_first else "rest"
                    return fresh
        except Exception as error:  # noqa: BLE001  # one task must not stop the others
            turn.status, turn.reason = Status.ERRORED, describe(error)
        turn.phase = "over"
        return {}

    def _may_start(self, driven: _Driven, turn: Turn) -> bool:
        """Return whether a task can start now; one that cannot is over."""
        by = blocking(turn, driven.turns)
        if by:
            turn.status, turn.reason = Status.HELD, held_back(turn, by)
            turn.is_excused = all(parent.is_excused or parent.status.is_success for parent in by)
        else:
            turn.reason = turn.task.obstacle()
            turn.is_excused = turn.reason is not None and not driven.pipeline.is_asked
        if turn.reason is not None:
            turn.phase = "over"
        return turn.reason is None

    def _conclude(self, driven: _Driven, turn: Turn) -> None:
        records, outcome = driven.outcome.records, driven.outcome
        failures: list[Failure] = []
        try:
            if turn.status is Status.WAITING:
                mine = {key: records[key] for key in turn.steps}
                with contained(turn.name):
                    turn.status = patiently(partial(turn.task.conclude, mine, obstacle=turn.reason))
                    failures = turn.task.failures
        except Exception as error:  # noqa: BLE001  # one task must not stop the others
            turn.status, turn.reason = Status.ERRORED, describe(error)
        failures = failures if turn.reason is None else [turn.reason]
        outcome.tasks[turn.name] = turn.status
        if turn.status in (Status.WAITING, Status.HELD) and turn.reason is not None:
            outcome.reasons[turn.name] = turn.reason.message
        if turn.is_excused:
            outcome.excused.add(turn.name)
        elif turn.status is not Status.HELD:  # that of a held task is told already, as its parent's
            outcome.failures = list(dict.fromkeys([*outcome.failures, *failures]))
        outputs = tuple(str(path) for path in turn.task.outputs or ())
        told = (str(outcome.path), turn.name, turn.status, outputs, tuple(failures), time.time())
        self.emit(events.TaskFinished(*told))

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
            record.result.camera: record.value
            for record in driven.outcome.records.values()
            if isinstance(record.result, VideoIndexed) and not record.result.is_raw
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
            "failures": [
                {**asdict(failure), "tasks": _met_by(failure, driven.turns)} for failure in driven.outcome.failures
            ],
        }

    def _finish(self, driven: _Driven) -> None:
        outcome, workspace = driven.outcome, driven.pipeline.workspace
        report = next(record for key, record in outcome.records.items() if key == driven.report)
        if report.is_ok:
            outcome.report = workspace.report_file
        elif report.failure is not None:
            outcome.failures.append(report.failure)
        # The report comes last; it also has the cameras that this run did not check.
        results = (record.result for record in outcome.records.values())
        judged = [result for result in results if isinstance(result, CamerasJudged)]
        outcome.qc = dict(judged[-1].cameras) if judged else {}
        outcome.finished = True
        _sweep(workspace)
        if outcome.is_success:
            workspace.clean()
        self._emit_session(outcome, None)
        self._release(driven)

    def _release(self, driven: _Driven) -> None:
        if driven.held is not None:
            driven.held.close()
        if self._active.get(driven.pipeline.session.reference) is driven:
            del self._active[driven.pipeline.session.reference]

    def _give_up(self, outcome: SessionOutcome, failure: Failure) -> str:
        """End a session with an error; return nothing."""
        _log.error("%s: %s", outcome.path, failure.message)
        outcome.failures.append(failure)
        outcome.finished = True
        self._emit_session(outcome, failure)
        return ""

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
    tasks: str | Sequence[str] | None = None,
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
        How it went. A session that fails is part of it, not an exception; so is one that has none of the tasks.

    Raises
    ------
    UsageError
        If what is asked for makes no sense; see `check_request`. Nothing was started then.
    """
    check_request(sessions, tasks=tasks, output_root=output_root, **options)
    outcomes = [SessionOutcome(s.path if isinstance(s, Session) else real_path(s)) for s in sessions]
    by_path = {s.path: s for s in sessions if isinstance(s, Session)}
    folder = _journal_folder(outcomes, output_root, work_dir)
    if executor is None:
        executor = InProcess() if client is None else OnCluster(client)
    n_workers = 0 if isinstance(executor, InProcess) else executor.slots

    def plan(path: Path) -> Pipeline:
        session = by_path.get(path, path)
        return make_pipeline(
            session,
            tasks=tasks,
            output_root=output_root,
            work_dir=work_dir,
            overwrite=overwrite,
            skip_absent=True,
            **options,
        )

    name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + secrets.token_hex(3)
    clock = time.perf_counter()
    with Journal(folder, name) as journal:
        result = Run(name, journal.path, outcomes, n_workers)
        driver = Driver(executor, journal, result, listeners)
        paths = tuple(str(outcome.path) for outcome in outcomes)
        made_by, host, pid = version("ibl_dask"), socket.gethostname(), os.getpid()
        driver.emit(events.RunStarted(name, paths, host, pid, n_workers, made_by, time.time(), this_process().mark))
        try:
            driver.drive(plan)
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            result.seconds = time.perf_counter() - clock
            for outcome in outcomes:
                if outcome.state == "interrupted":
                    driver.emit(events.SessionInterrupted(str(outcome.path), time.time()))
            n = Counter(outcome.state for outcome in outcomes)
            ends = (n["done"], n["failed"], result.seconds, time.time())
            driver.emit(events.RunFinished(name, *ends, result.interrupted, n["interrupted"], n["not started"]))
    result.journal_failure = str(journal.failure or "")
    return result


def _met_by(failure: Failure, turns: Mapping[str, Turn]) -> list[str]:
    """Return the tasks that a failure is of."""
    return [name for name, turn in turns.items() if failure == turn.reason or failure in turn.task.failures]


def _sweep(workspace: Workspace) -> None:
    """Remove what killed writers of this session left behind; its lock is held."""
    folders = {camera.collection for camera in workspace.session.description.cameras}
    outputs = [below(workspace.session.outputs, name) for name in ("alf", *sorted(folders))]
    owned = [folder for folder in (workspace.session.own, *outputs) if workspace.is_own(folder)]
    for folder in (*owned, workspace.scratch):
        sweep_temporaries(folder)


def rows(run: Run) -> list[dict[str, Any]]:
    """Return one plain row per session, for tables."""
    return [
        {
            "session": "/".join(outcome.path.parts[-3:]),
            "state": outcome.state,
            "tasks": {name: str(status) for name, status in outcome.tasks.items()},
            "qc": dict(outcome.qc),
            **dict(zip(("chunks_done", "chunks_kept"), outcome.chunks(), strict=True)),
            "failures": [failure.message for failure in outcome.failures],
            "waiting": {name: reason for name, reason in outcome.reasons.items() if outcome.tasks[name] == "Waiting"},
            "excused": sorted(outcome.excused),
            "passed_over": outcome.is_passed_over,
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
            session = Session(outcome.path, None if output_root is None else Path(output_root))
            session.look()
            return default_work_dir(session)
    return Path.cwd() / WORK_FOLDER
