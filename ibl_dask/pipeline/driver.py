"""Driver of a run: admits sessions, plans their tasks, hands steps to an executor and keeps the journal."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.deploy.batch_systems.registry import ask_job, own_job
from ibl_dask.errors import SessionLocked
from ibl_dask.model import events
from ibl_dask.model.failure import Failure
from ibl_dask.model.status import Status
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.pipeline import task_calls
from ibl_dask.pipeline.admission import Admission, Candidate, Feed
from ibl_dask.pipeline.attempts import MOST_PAUSES
from ibl_dask.pipeline.in_process import InProcess
from ibl_dask.pipeline.limits import NO_LIMITS, Limits
from ibl_dask.pipeline.plan import OutputPlaces, Pipeline
from ibl_dask.pipeline.quarantine import Quarantine
from ibl_dask.pipeline.retries import Notice, Paused, Retried
from ibl_dask.pipeline.run_guard import RunGuard
from ibl_dask.pipeline.run_outcome import JournalPart, Run, SessionOutcome
from ibl_dask.pipeline.running_session import RunningSession
from ibl_dask.pipeline.task_calls import TaskAnswer, call_task, read_answer, remote_call
from ibl_dask.pipeline.task_states import TaskState, blocking_parents, held_back, startable
from ibl_dask.store.containment import contained
from ibl_dask.store.disk import OF_FULL_DISK, is_transient, retry_transient
from ibl_dask.store.failures import failure_from
from ibl_dask.store.holder import JobAnswers
from ibl_dask.store.last_run import read_last_run, write_last_run
from ibl_dask.store.lock import LOCK_NAME, Attempt, Held, taken_over
from ibl_dask.store.run_record import RunRecord

if TYPE_CHECKING:
    from ibl_dask.pipeline.executors import Executor

_log = logging.getLogger(__name__)

Listener = Callable[[events.Event], None]
Planner = Callable[[Path], Callable[[], Pipeline]]
"""Returns the call that plans the session of a folder; workers make it where there are many."""

IDLE_S = 0.1
"""Interval at which sessions that wait for others are tried while nothing else is in flight, s."""
WINDOW_PER_SLOT = 4
"""Steps kept outstanding per slot before another session is admitted: Dask holds no annotated task back."""
MOST_PLANNED_AHEAD = 8
"""Sessions that are planned on workers at a time."""
_PRIORITY_STEP = 1000
"""Difference in priority of a session and the next one."""


@dataclass(slots=True)
class _TaskCall:
    """Call of a task that a worker makes."""

    session: RunningSession
    state: TaskState
    function: Callable[[], TaskAnswer]


@dataclass(slots=True)
class _SessionCall:
    """Planning of a session that a worker does."""

    candidate: Candidate
    held: Held | None
    function: Callable[[], Pipeline]


class Driver:
    """Takes sessions through an executor, a bounded number at a time.

    Memory does not grow with the sessions that ended, apart from their rows in the result of the run.

    Parameters
    ----------
    executor : Executor
        Where steps run.
    record : RunRecord
        Receives every event.
    run : Run
        Result of the run, filled while it goes on.
    listeners : sequence of callables
        Receive every event after the record.
    limits : Limits
        Limits of the run.
    request : str
        Fingerprint of what is asked for; another driver with the same one shares the list of sessions. Empty where
        nothing is to be shared.
    options : str
        Fingerprint of the options of tasks.
    feed : Feed, optional
        Further sessions, which come while the run goes on; they are added to its result.
    is_hashed : bool
        Give the MD5 of the results of tasks with their ends.
    """

    def __init__(
        self,
        executor: Executor,
        record: RunRecord,
        run: Run,
        listeners: Sequence[Listener],
        limits: Limits = NO_LIMITS,
        request: str = "",
        options: str = "",
        feed: Feed | None = None,
        is_hashed: bool = False,
    ) -> None:
        self.feed, self.is_hashed = feed, is_hashed
        self.options = options
        self.request = request
        self._started_s = time.time()
        self._job_answers = JobAnswers(ask_job)
        self.executor = executor
        self.limits = limits
        executor.retries.longest_pause_s = limits.longest_pause_s
        executor.retries.listen = self._announce
        self.record = record
        self.run = run
        self._listeners = list(listeners)
        self._active: dict[str, RunningSession] = {}
        self._owner: dict[StepKey, RunningSession] = {}
        self._task_calls: dict[StepKey, _TaskCall] = {}
        self._session_calls: dict[StepKey, _SessionCall] = {}
        self._outputs = OutputPlaces()
        self._guard = RunGuard(limits, self._emit_pause)

    def _announce(self, notice: Notice) -> None:
        """Emit the event of an announcement by the executor."""
        if isinstance(notice, Retried):
            session = self._owner.get(notice.key)
            if session is not None:
                path, now_s = str(session.outcome.path), time.time()
                event = events.StepRetried(path, notice.key, notice.attempt, notice.failure, notice.pause_s, now_s)
                self._emit_of(session.outcome, event)
        elif isinstance(notice, Paused):
            self._emit_pause(notice.place, notice.failure)
        else:
            self.emit(events.RunResumed(notice.place, time.time()))

    def emit(self, event: events.Event) -> None:
        """Write an event to the journal and hand it to the listeners; a listener that raises is dropped."""
        self.record.append(events.to_json(event))
        for listen in list(self._listeners):
            try:
                listen(event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # a view must not stop a run
                self._listeners.remove(listen)
                name = getattr(listen, "__qualname__", type(listen).__name__)
                self.run.failed_listeners += (f"{name}: {error!r}",)
                _log.warning("a listener failed and receives no more events", exc_info=error)

    def _emit_pause(self, place: str, failure: Failure) -> None:
        self.emit(events.RunPaused(place, failure, time.time()))

    def _emit_of(self, outcome: SessionOutcome, event: events.Event) -> None:
        """Emit an event of a session, and note where in the journal it is."""
        start = self.record.place
        if outcome.journal is None:
            outcome.journal = JournalPart(self.run.journal, start, start)
        try:
            self.emit(event)
        finally:
            outcome.journal.stop = self.record.place

    # -- admission --------------------------------------------------------------------------------------------

    def drive(self, planner: Planner) -> None:
        """Run every session to its end.

        Parameters
        ----------
        planner : callable
            Returns the call that plans the session of a folder.
        """
        waiting = Admission([outcome.path for outcome in self.run.sessions], self.feed)
        try:
            while waiting or self._is_busy:
                self._admit_some(waiting, planner)
                self._begin_those_in_line()
                if waiting and not self._is_busy:
                    time.sleep(IDLE_S)
                    # Nothing else looks at a full disk while no step is under way.
                    self.executor.retries.due()
                    self.executor.retries.given_up()
                for record in self.executor.completed():
                    self._give_up_lost_sessions()  # one that another run holds must not be ended by this one
                    self._take(record, waiting)
                    self._give_up_lost_sessions()
                    self._begin_those_in_line()
                    if waiting and self._has_room():
                        break
        finally:
            self.executor.cancel()
            for number, session in enumerate(self._active.values()):
                session.outcome.started |= number == 0  # its steps come before those of the others
                if session.held is not None:
                    session.held.close()
            for call in self._session_calls.values():
                if call.held is not None:
                    call.held.close()

    def _begin_those_in_line(self) -> None:
        """Begin the tasks for which the disks have bandwidth now."""
        while (first := self._guard.first_in_line()) is not None:
            self._guarded(first.session, partial(self._advance, first.session, [first.state]))

    @property
    def _is_busy(self) -> bool:
        return bool(self._active or self._session_calls)

    @property
    def _uses_workers(self) -> bool:
        """Return True if workers make the calls that look at files."""
        return not isinstance(self.executor, InProcess) and self.executor.slots > task_calls.MOST_SLOTS_SERVED

    def _has_room(self) -> bool:
        is_ahead = len(self._session_calls) >= MOST_PLANNED_AHEAD
        n_under_way = self.executor.outstanding + self._guard.n_in_line
        return not is_ahead and n_under_way < WINDOW_PER_SLOT * self.executor.slots

    def _admit_some(self, waiting: Admission, planner: Planner) -> None:
        if self._guard.stopped is not None:
            self.run.stopped = self._guard.stopped
            waiting.clear()
        while self._has_room() and (candidate := waiting.next(is_idle=not self._is_busy)) is not None:
            if candidate.order == len(self.run.sessions):
                self.run.sessions.append(SessionOutcome(candidate.path))
            self._admit(candidate, planner(candidate.path), waiting)

    def _admit(self, candidate: Candidate, plan: Callable[[], Pipeline], waiting: Admission) -> None:
        """Plan a session and begin it; one that was refused before is planned once its lock is held."""
        held: Held | None = None
        if candidate.disk is not None and self.executor.retries.is_paused(candidate.disk):
            candidate.wait()
            waiting.put_last(candidate)
            return
        try:
            if candidate.attempt is not None:
                held = candidate.attempt.take()
            step = remote_call("", str(candidate.path), plan) if self._uses_workers else None
            if step is not None:
                self._session_calls[step.key] = _SessionCall(candidate, held, plan)
                priority = 1 - _PRIORITY_STEP * candidate.order
                self.executor.submit([step], candidate.path, {}, priority, (candidate.path,))
                return
            pipeline = plan()
        except BaseException as error:  # noqa: BLE001  # Ctrl-C is raised again there
            self._refuse(candidate, waiting, held, error)
        else:
            self._begin(candidate, waiting, pipeline, held)

    def _begin(self, candidate: Candidate, waiting: Admission, pipeline: Pipeline, held: Held | None) -> None:
        """Begin a session that was planned."""
        outcome = self.run.sessions[candidate.order]
        session = RunningSession(candidate.order, outcome, pipeline, held)
        is_lifted = "quarantined" in self.limits.retry or pipeline.workspace.overwrite
        settings = {"timeout": dict(self.limits.time_outs_s), "memory": self.executor.most_memory_gb}
        session.quarantine = Quarantine(pipeline.session, self.options, settings, is_lifted)
        try:
            if pipeline.is_asked and not pipeline.specs:
                self._release(session)
                outcome.finished = outcome.is_passed_over = True
                self._emit_end(outcome, None)
                return
            if self._is_under_way(session.reference):
                # Keys name a session by its reference, so a copy of it elsewhere waits its turn.
                self._release(session)
                candidate.wait()
                self._put_last(candidate, waiting, "another folder with the name of this session is under way")
                return
            self._outputs.claim(pipeline.session.path, pipeline.session.outputs)
            pipeline.workspace.check_writable()
            if session.held is None:
                candidate.attempt = Attempt(
                    pipeline.session.own / LOCK_NAME, self._job_answers, own_job=own_job(), request=self.request
                )
                session.held = candidate.attempt.take()
            session.held.require_own()
            if self._is_done_elsewhere(session):
                return
            pipeline.workspace.open_scratch()  # `clean` may have removed it before the lock was taken
            session.sweep()
            session.quarantine.read()
            pipeline.workspace.rename_older()
            if pipeline.workspace.overwrite:
                for task in pipeline.tasks.values():
                    task.forget()
        except BaseException as error:  # noqa: BLE001  # Ctrl-C is raised again there
            self._refuse(candidate, waiting, session.held, error)
            return
        self._active[session.reference] = session
        outcome.add_failures([Failure("OutsideSession", "input", text) for text in pipeline.refused])
        self._guarded(session, lambda: self._advance(session, startable(session.states)))

    def _is_done_elsewhere(self, session: RunningSession) -> bool:
        """Return True for a session that another driver with the same request ended since this run began."""
        known = read_last_run(session.pipeline.session.own) if self.request else None
        if known is None or known.request != self.request or known.finished_s < self._started_s:
            return False
        outcome = session.outcome
        outcome.take_from(known)
        self._release(session)
        self._emit_end(outcome, outcome.failures[0] if outcome.failures else None)
        return True

    def _refuse(self, candidate: Candidate, waiting: Admission, held: Held | None, error: BaseException) -> None:
        """Put a session that could not begin last, or give it up."""
        if held is not None:
            held.close()
        if not isinstance(error, Exception):  # Ctrl-C
            raise error
        reason = self._reason_to_wait(candidate, error)
        if reason:
            self._put_last(candidate, waiting, reason)
        else:
            self._give_up(self.run.sessions[candidate.order], failure_from(error))

    def _reason_to_wait(self, candidate: Candidate, error: Exception) -> str:
        """Return why a session that could not begin is to be tried again; empty where it is not."""
        if isinstance(error, SessionLocked) and candidate.attempt is not None:
            # A driver of the same list ends the session, or its lock becomes free.
            is_last_try = candidate.is_taken and not self._is_busy and not candidate.attempt.is_shared
            candidate.is_taken = not candidate.attempt.is_open
            candidate.wait()
            return "" if is_last_try and candidate.is_taken else f"{error.what}: {error.got}"
        if is_transient(error) and (pause_s := candidate.pause_s) is not None:
            candidate.n_failures += 1
            candidate.wait(pause_s)
            return str(error)
        failure, retries = failure_from(error), self.executor.retries
        is_full = failure.kind in OF_FULL_DISK and candidate.n_pauses < MOST_PAUSES
        if is_full and retries.may_pause(failure.where):
            candidate.n_pauses += 1
            candidate.disk = retries.pause(failure.where, failure)
            candidate.wait()
            return failure.message
        return ""

    def _put_last(self, candidate: Candidate, waiting: Admission, reason: str) -> None:
        waiting.put_last(candidate)
        if not candidate.is_announced:
            candidate.is_announced = True
            event = events.SessionPutOff(str(candidate.path), reason, time.time())
            self._emit_of(self.run.sessions[candidate.order], event)

    def _is_under_way(self, reference: str) -> bool:
        """Return True if a session of that name is driven, or steps of one that was given up have not ended."""
        return reference in self._active or any(session.reference == reference for session in self._owner.values())

    # -- steps and calls ----------------------------------------------------------------------------------------

    def _submit(self, session: RunningSession, steps: Sequence[Step]) -> None:
        self._owner.update(dict.fromkeys((step.key for step in steps), session))
        names = Counter(step.name for step in steps)
        chunks = {step.name: step.chunk_work for step in steps if step.chunk_work is not None}
        planned = events.SessionPlanned(str(session.outcome.path), dict(names), time.time(), chunks)
        self._emit_of(session.outcome, planned)
        self._hand_out(session, steps, -_PRIORITY_STEP * session.order)

    def _hand_out(self, session: RunningSession, steps: Sequence[Step], priority: int) -> None:
        own, workspace = session.pipeline.session, session.pipeline.workspace
        token = "" if session.held is None else session.held.token
        leased = [
            replace(step, lease=token, time_out_s=session.time_out_s(step.key) or step.time_out_s) for step in steps
        ]
        # The lock and the scratch are of this run: a folder of the same name elsewhere does not hold them.
        places = (own.path, own.own / LOCK_NAME, workspace.scratch)
        self.executor.submit(leased, own.outputs, session.records, priority, places)

    def _take(self, record: StepRecord, waiting: Admission) -> None:
        if record.key in self._session_calls:
            self._take_pipeline(record, waiting)
        elif record.key in self._task_calls:
            self._take_task_answer(record)
        else:
            self._take_record(record)

    def _take_pipeline(self, record: StepRecord, waiting: Admission) -> None:
        """Begin a session that a worker planned."""
        call = self._session_calls.pop(record.key)
        if record.failure is not None:
            if call.held is not None:
                call.held.close()
            self._give_up(self.run.sessions[call.candidate.order], record.failure)
            return
        try:
            try:
                pipeline: Pipeline = read_answer(record)
            except LookupError:
                pipeline = call.function()
        except BaseException as error:  # noqa: BLE001  # Ctrl-C is raised again there
            self._refuse(call.candidate, waiting, call.held, error)
        else:
            self._begin(call.candidate, waiting, pipeline, call.held)

    def _take_task_answer(self, record: StepRecord) -> None:
        """Take a task on with the answer of a call that a worker made."""
        call = self._task_calls.pop(record.key)
        session, state = call.session, call.state
        state.waiting.discard(record.key)
        if session.outcome.finished:
            return
        if record.failure is not None:
            state.answer = record.failure
        else:
            try:
                state.answer = read_answer(record)
            except LookupError:
                state.answer = _answer_here(state.name, call.function)
            except Exception as error:  # noqa: BLE001  # whatever an object of a lab raises while it is unpickled
                state.answer = failure_from(error)
        self._guarded(session, lambda: self._advance(session, [state]))

    def _take_record(self, record: StepRecord) -> None:
        session = self._owner.pop(record.key)
        session.note(record)
        self._emit_of(session.outcome, events.StepFinished(str(session.outcome.path), record))
        states = session.waiting.pop(record.key, [])
        for state in states:
            state.waiting.discard(record.key)
        if session.outcome.finished:  # it was given up; this step was running
            return
        if session.phase == "report":
            self._guarded(session, lambda: self._finish(session, record))
        else:
            self._guarded(session, lambda: self._advance(session, [state for state in states if not state.waiting]))

    def _guarded(self, session: RunningSession, call: Callable[[], None]) -> None:
        """Call something for a session; an error gives up that session and no other."""
        try:
            call()
        except Exception as error:  # noqa: BLE001  # one session must not stop the others
            self._give_up_session(session, failure_from(error))

    # -- tasks ------------------------------------------------------------------------------------------------

    def _advance(self, session: RunningSession, ready: Iterable[TaskState]) -> None:
        """Take tasks that wait for no step on, until each waits or ended; then those that waited for them."""
        fresh: dict[StepKey, Step] = {}
        todo = deque(ready)
        while todo:
            state = todo.popleft()
            if state.answer is None:
                self._ask(session, state)
            answer, state.answer = state.answer, None
            if answer is None:  # a worker has the call
                continue
            if isinstance(answer, Failure) or answer.call == "conclude":
                self._end_task(session, state, answer)
                todo += [other for other in startable(session.states) if other not in todo]
                continue
            self._take_steps(session, state, answer, fresh)
            if not state.waiting:
                todo.append(state)
        if fresh:
            self._submit(session, list(fresh.values()))
        if session.phase == "tasks" and all(state.is_over for state in session.states.values()):
            session.phase = "report"
            session.outcome.tasks = {name: session.outcome.tasks[name] for name in session.states}
            self._submit(session, [session.pipeline.report_step(session.facts_for_report(self.run))])

    def _ask(self, session: RunningSession, state: TaskState) -> None:
        """Make the next call of a task: here, which leaves its answer, or on a worker."""
        if state.phase == "held":
            state.answer = self._check_start(session, state)
            if state.answer is not None:
                return
            if state.reason is None and not self._guard.has_bandwidth(session, state):
                return
        records = {key: session.records[key] for key in state.keys}
        about = (state.reason, state.name, self.run.name, self.is_hashed)
        function = partial(call_task, state.task, state.next_call, records, *about)
        step = remote_call(state.name, session.reference, function) if self._uses_workers else None
        if step is None:
            state.answer = _answer_here(state.name, function)
            return
        state.waiting.add(step.key)
        self._task_calls[step.key] = _TaskCall(session, state, function)
        self._hand_out(session, [step], 1 - _PRIORITY_STEP * session.order)

    def _check_start(self, session: RunningSession, state: TaskState) -> TaskAnswer | Failure | None:
        """Return the answer of a task that cannot start; None where it can, or where it must be asked first.

        A task that waits for what no other task makes is asked for its status all the same.
        """
        parents = blocking_parents(state, session.states)
        if parents:
            state.status, state.reason = Status.HELD, held_back(state, parents)
            state.is_not_required = all(p.is_not_required or p.status.is_success for p in parents)
            return TaskAnswer("conclude", state.task, status=Status.HELD)
        try:
            with contained(state.name):
                state.reason = state.task.unmet_requirement()
        except Exception as error:  # noqa: BLE001  # one task must not stop the others
            return failure_from(error)
        state.is_not_required = state.reason is not None and not session.pipeline.is_asked
        if state.reason is not None:
            return None
        return self._guard.reason_not_to_start(session, state)

    def _take_steps(
        self, session: RunningSession, state: TaskState, answer: TaskAnswer, fresh: dict[StepKey, Step]
    ) -> None:
        """Take the steps that a task planned; those that no task brought before become `fresh` ones."""
        steps = {step.key: step for step in answer.steps}
        state.task = answer.task
        state.phase = "first" if answer.call == "first_steps" else "rest"
        state.keys.update(dict.fromkeys(steps))
        if state.phase == "first":
            state.first.update(steps)
        session.recall(steps.keys() | {need for step in answer.steps for need in step.needs})
        state.waiting = steps.keys() - session.records.keys()
        for key in steps:
            if key in state.waiting:
                if key not in session.waiting:  # of two tasks that need one step the first brings it
                    fresh[key] = steps[key]
                session.waiting.setdefault(key, []).append(state)

    def _end_task(self, session: RunningSession, state: TaskState, answer: TaskAnswer | Failure) -> None:
        """End a task, with the answer of its conclusion or with the error that stopped it."""
        outcome = session.outcome
        if isinstance(answer, Failure):
            state.status, state.reason = Status.ERRORED, answer
            answer = TaskAnswer("conclude", state.task)
        else:
            state.status, state.failures = answer.status, answer.failures
        if state.reason is not None:
            state.failures = (state.reason,)
        state.phase = "over"
        self._guard.end_task(session, state)
        outcome.tasks[state.name] = state.status
        if state.status in (Status.WAITING, Status.HELD) and state.reason is not None:
            outcome.reasons[state.name] = state.reason
        if state.is_not_required:
            outcome.not_required.add(state.name)
        elif state.status is not Status.HELD:  # the failure of a held task is its parent's
            outcome.add_failures(state.failures, state.name)
        session.release_records(state)
        log = state.task.task_log
        about = (answer.seconds, state.task.version, "" if log is None else str(log.folder), answer.hashes)
        ended = (str(outcome.path), state.name, state.status, answer.outputs, state.failures, time.time())
        event = events.TaskFinished(*ended, *about, is_required=not state.is_not_required)
        self._emit_of(outcome, event)

    # -- ends of sessions -------------------------------------------------------------------------------------

    def _finish(self, session: RunningSession, report: StepRecord) -> None:
        if session.held is not None:
            session.held.require_own()  # a process that was suspended until now would not know it yet
        session.end(report)
        try:
            session.quarantine.conclude(session.states.values(), self.run.name)
            write_last_run(session.pipeline.session.own, session.outcome.to_last_run(self.run.name, self.request))
        except Exception as error:  # noqa: BLE001  # another run then does more than necessary
            _log.warning("%s: the record of this run could not be written: %s", session.reference, error)
        self._emit_end(session.outcome, None)
        self._release(session)

    def _give_up_lost_sessions(self) -> None:
        """Give up the sessions whose lock another run has taken over."""
        for session in list(self._active.values()):
            if session.held is not None and session.held.is_lost:
                self._give_up_session(session, failure_from(taken_over(session.held.path)))

    def _give_up_session(self, session: RunningSession, failure: Failure) -> None:
        """Give up a session that was begun: its waiting steps are dropped, the results of running ones ignored."""
        for key in self.executor.drop(session.reference):
            self._owner.pop(key, None)
            self._task_calls.pop(key, None)
        self._give_up(session.outcome, failure)
        self._release(session)

    def _give_up(self, outcome: SessionOutcome, failure: Failure) -> None:
        """End a session with an error."""
        _log.error("%s: %s", outcome.path, failure.message)
        outcome.add_failures([failure])
        outcome.finished = True
        self._emit_end(outcome, failure)

    def _release(self, session: RunningSession) -> None:
        """Let go of a session that ended: of its lock, and of the records and tasks in memory."""
        if session.held is not None:
            session.held.close()
        self._guard.release(session)
        if self._active.get(session.reference) is session:
            del self._active[session.reference]

    def _emit_end(self, outcome: SessionOutcome, failure: Failure | None) -> None:
        self._guard.note_end(outcome)
        report = "" if outcome.report is None else str(outcome.report)
        ended = (str(outcome.path), outcome.is_success, outcome.qc, report, failure, time.time())
        self._emit_of(outcome, events.SessionFinished(*ended))


def _answer_here(name: str, function: Callable[[], TaskAnswer]) -> TaskAnswer | Failure:
    """Make a call of a task in this process; the error of one that fails is its answer."""
    try:
        with contained(name):
            return retry_transient(function)
    except Exception as error:  # noqa: BLE001  # one task must not stop the others
        return failure_from(error)
