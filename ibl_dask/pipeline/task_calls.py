"""Calls that look at a session's files: planning it, planning its tasks, and concluding these.

Each is a function of plain arguments, so that it can run in the driver or, as a step of its own, on a worker: hashing
and reading indexes for hundreds of sessions in one process would leave the workers idle.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar, Literal

from ibl_dask.model.failure import Failure
from ibl_dask.model.result import Result
from ibl_dask.model.status import Status
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord, Upstream
from ibl_dask.store.identity import md5_of
from ibl_dask.tasks.step_log import log_end, log_error, with_log
from ibl_dask.tasks.task import Task

Call = Literal["first_steps", "steps", "conclude"]
"""Method of a task that the driver calls."""

MOST_SLOTS_SERVED = 4
"""Slots of an executor up to which the driver makes such calls itself: it is idle most of the time then, and the calls
do not wait for a free slot."""


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """Result of a call of a task."""

    call: Call
    """The call."""
    task: Task
    """The task after it: planning may leave something in it that later calls need."""
    steps: tuple[Step, ...] = ()
    """Steps to run next."""
    status: Status = Status.WAITING
    """Status of a task that ended."""
    failures: tuple[Failure, ...] = ()
    """Its errors."""
    outputs: tuple[str, ...] = ()
    """Files it left."""
    seconds: float = 0.0
    """Time that its steps took, s."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """File that it left -> MD5, where they were asked for."""


def call_task(
    task: Task,
    call: Call,
    records: Mapping[StepKey, StepRecord],
    unmet: Failure | None = None,
    name: str = "",
    run: str = "",
    is_hashed: bool = False,
) -> TaskAnswer:
    """Plan the next steps of a task, or conclude it; its log begins with the first call, and ends with the last.

    Parameters
    ----------
    task : Task
        The task.
    call : {"first_steps", "steps", "conclude"}
        The call.
    records : mapping of StepKey to StepRecord
        Records of its steps so far.
    unmet : Failure, optional
        Requirement for lack of which it did not start.
    name : str
        Name of the task within the session.
    run : str
        Name of the run.
    is_hashed : bool
        Return the MD5 of each file that it left.

    Raises
    ------
    Exception
        Any error of the task's own code.
    """
    if call == "first_steps":
        task.start_log(name, run=run)
    try:
        return _answer(task, call, records, unmet, is_hashed)
    except Exception as error:
        log_error(task.task_log, call, error, "the task could not be planned")
        raise


def _answer(
    task: Task, call: Call, records: Mapping[StepKey, StepRecord], unmet: Failure | None, is_hashed: bool
) -> TaskAnswer:
    if call != "conclude":
        steps = task.first_steps() if call == "first_steps" else task.steps(records)
        return TaskAnswer(call, task, _each_once(with_log(steps, task.task_log)))
    status = task.conclude(dict(records), unmet_requirement=unmet)
    outputs = tuple(str(path) for path in task.outputs or ())
    seconds = sum(record.seconds for record in records.values())
    own = task.session.own  # databases of the field know nothing of these files
    hashed = [path for path in outputs if is_hashed and not Path(path).is_relative_to(own) and Path(path).is_file()]
    hashes = {path: md5_of(Path(path)) for path in hashed}
    answer = TaskAnswer(call, task, (), status, tuple(task.failures), outputs, seconds, hashes)
    log_end(task.task_log, status, records, answer.failures)
    task.records, task.log = {}, ""  # as large as all its records together
    return answer


def _each_once(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return steps without repeats; a key that cannot be hashed raises here, as an error of the task."""
    return tuple({step.key: step for step in steps}.values())


def remote_call(name: str, session: str, function: Callable[[], object]) -> Step | None:
    """Return the step that makes a call on a worker; None if the call cannot be pickled.

    Parameters
    ----------
    name : str
        Name of the task, or empty for the whole session.
    session : str
        Session that the step is dropped with.
    function : callable
        The call, without arguments.
    """
    from distributed.protocol.pickle import dumps

    try:
        content = dumps(function)
    except Exception:  # noqa: BLE001  # whatever an object of a lab raises while it is pickled
        return None
    return MakeCall(session=session, camera=name, resources=Resources(cpu=1), content=content)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMade(Result):
    """Answer of a call."""

    content: bytes | None
    """The answer, pickled; None if it cannot be pickled."""


CALL_TIME_OUT_S = 1800.0
"""Time after which a call is ended, s: planning looks at files, and a lab's code may hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCall(Step):
    """Make a call where a step runs."""

    kind: ClassVar[str] = "plan"

    content: bytes
    """The call, pickled."""
    time_out_s: float = CALL_TIME_OUT_S
    token: str = field(default_factory=partial(token_hex, 8))
    """Makes each key unique: the answer depends on files, and Dask would hand out an earlier one."""

    def identity(self) -> Mapping[str, object]:
        return {"token": self.token}

    def run(self, upstream: Upstream) -> CallMade:
        from distributed.protocol.pickle import dumps

        function: Callable[[], object] = pickle.loads(self.content)
        answer = function()
        with contextlib.suppress(Exception):
            return CallMade(content=dumps(answer))
        return CallMade(content=None)


def read_answer(record: StepRecord) -> Any:  # of the type that the call returns
    """Return the answer of a call that was made on a worker.

    Raises
    ------
    LookupError
        If there is none: the call must be made here.
    """
    result = record.result
    if not isinstance(result, CallMade) or result.content is None:
        raise LookupError(f"{record.key.name} has no answer")
    return pickle.loads(result.content)
