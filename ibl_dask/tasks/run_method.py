"""Step of a task that is one method, `_run`, as the field's tasks are."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ibl_dask.errors import OutsideSession, TaskFailed
from ibl_dask.model.failure import Failure
from ibl_dask.model.places import is_inside
from ibl_dask.model.result import Disposition, Result
from ibl_dask.model.review import Review
from ibl_dask.model.step import Step, Upstream
from ibl_dask.store.dataset_lookup import find_files
from ibl_dask.store.task_record import (
    Identities,
    TaskRecord,
    identities,
    parameters_fingerprint,
    read_task_record,
    write_task_record,
)
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.log_capture import current_log, messages_of
from ibl_dask.tasks.method_task import MethodTask
from ibl_dask.tasks.step_log import StepLog


def has_method(cls: type) -> bool:
    """Return True if a class defines `_run`."""
    return callable(getattr(cls, "_run", None))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMethod(Step):
    """Run the method `_run` of a task; see `run_method`."""

    kind: ClassVar[str] = "method"

    task: MethodTask
    """The task, which goes to the worker as it is."""
    given: dict[str, object]
    """Arguments of `run`."""
    files: Sequence[object]
    """Identities of the inputs; JSON."""

    @property
    def name(self) -> str:
        return self.task.name

    def identity(self) -> Mapping[str, object]:
        return {
            "task": f"{type(self.task).__module__}.{type(self.task).__qualname__}",
            "arguments": repr(sorted(self.task.arguments().items())),
            "given": repr(sorted(self.given.items())),
            "files": self.files,
        }

    def run(self, upstream: Upstream) -> Result:
        return run_method(self.task, self.given)


def method_step(task: MethodTask) -> RunMethod:
    """Return the step that runs a task's `_run`."""
    return RunMethod(
        session=task.session.reference,
        resources=task.resources,
        task=task,
        given=task.given,
        files=list(_inputs(task).values()),
    )


def review_method(task: MethodTask) -> Review:
    """Compare a task with its completion record: one that declares inputs and outputs runs only after a change."""
    if task.force or task.workspace.overwrite:
        return Review("forced")
    lacking = task.lacking_outputs()
    if lacking:
        return Review("missing output", f"lacks {', '.join(lacking)}")
    fingerprint = _fingerprint(task)
    if fingerprint is None:
        return Review("no record", "it does not say what it reads and leaves, or has no module, so it runs each time")
    record = read_task_record(task.workspace.task_file(task.name))
    if record is None:
        return Review("no record", "it never ran here to its end")
    return record.review(fingerprint, _inputs(task))


def _fingerprint(task: MethodTask) -> str | None:
    """Return the fingerprint of everything that a task depends on, files left out; None where that is not known.

    The text of its module counts. A class of a notebook has none that a worker could read.
    """
    cls = type(task)
    if not (task.input_files and task.output_files) or cls.__module__ == "__main__":
        return None
    try:
        source = inspect.getsource(sys.modules[cls.__module__])
    except (KeyError, OSError, TypeError):
        return None
    return parameters_fingerprint(
        f"{cls.__module__}.{cls.__qualname__}", task.arguments(), task.given, task.version, source
    )


def _inputs(task: MethodTask) -> Identities:
    return identities(path for expected in task.input_files for path in find_files(task.session.roots, expected).files)


def in_place_requirement(task: MethodTask) -> Failure | None:
    """Return the reason why a task that writes into its session cannot run with an output root; None where it can."""
    if task.writes_elsewhere or task.session.outputs == task.session.path:
        return None
    return Failure(
        "WritesInPlace",
        "usage",
        f"{task.name} writes into the session folder, and results go elsewhere.",
        where=str(task.session.path),
        expected="a task that writes to the output root",
        got=f"--output-root {task.session.output_root}",
        do="run this task without --output-root, on a copy of the session where that must not be written to",
    )


def run_method(task: MethodTask, given: dict[str, object]) -> Result:
    """Run a task's `_run`, or keep its results where nothing changed.

    Parameters
    ----------
    task
        The task.
    given
        Arguments of `run`.

    Raises
    ------
    MissingFile
        If an input that is required is not there.
    TaskFailed
        If the task ends with status -1.
    """
    done = review_method(task).facts
    if done is not None:
        return replace(Result.from_json(done), is_kept=True)
    fingerprint, started_ns, before = _fingerprint(task), time.time_ns(), _inputs(task)
    log = current_log()
    with messages_of(type(task).__module__):
        made = _run(task, given)
        if made is not None:
            made = made_inside(task.workspace, made, task.name)
    if task.status == -1:
        raise TaskFailed(
            f"{task.name} says that it failed",
            where=str(task.session.path),
            expected="status 0",
            got=f"status -1; the end of its log: {log.tail}",
            do=log.advice,
        )
    result = Result(disposition="empty" if made is None else "complete", outputs=tuple(made or ()), log=log.path)
    if task.status == 0 and fingerprint is not None and not task.lacking_outputs():
        left = [*result.outputs, *task.assert_expected_outputs()[1]]
        record = TaskRecord(fingerprint, _inputs(task), identities(left), result.to_json())
        write_task_record(task.workspace.task_file(task.name), record, started_ns, before)
    return unfinished(result, task.status, task.name, log)


UNFINISHED: Mapping[int | None, tuple[Disposition, str]] = {
    -2: ("waiting", "asks to be tried again later"),
    -3: ("incomplete", "says that its results are incomplete"),
}
"""Status of a task that did not fail and is not done -> disposition, and the reason in words."""


def unfinished(result: Result, status: int | None, task: str, log: StepLog) -> Result:
    """Return a result with the disposition that the status of a task stands for.

    Parameters
    ----------
    result
        Result of the task.
    status
        Its status; see `UNFINISHED`. Any other leaves the result as it is.
    task
        Name of the task.
    log
        Its log.
    """
    if status not in UNFINISHED:
        return result
    disposition, reason = UNFINISHED[status]
    return replace(result, disposition=disposition, reason=f"{task} {reason}; {log.advice}")


def _run(task: MethodTask, given: dict[str, object]) -> list[Path] | None:
    task.assert_expected_inputs()
    method = task._run  # type: ignore[attr-defined]  # see `has_method`
    task.status, task.in_method = 0, True
    try:
        if not task.setUp(**given):
            return task.assert_expected_outputs(raise_error=False)[1]
        return _listed(method(**_taken(method, given)))
    finally:
        task.in_method = False
        task.tearDown()


def _taken(method: Callable[..., object], given: dict[str, object]) -> dict[str, object]:
    """Return the arguments; `overwrite` and `update` only where the method takes them: callers pass them to all."""
    parameters = inspect.signature(method).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return given
    return {name: value for name, value in given.items() if name in parameters or name not in ("overwrite", "update")}


def _listed(made: str | Path | Iterable[str | Path] | None) -> list[Path] | None:
    if made is None:
        return None
    return [Path(made)] if isinstance(made, (str, Path)) else [Path(path) for path in made]


def made_inside(workspace: Workspace, made: Iterable[str | Path], task: str) -> list[Path]:
    """Return the outputs that a task reports; relative paths start at the session's results.

    Parameters
    ----------
    workspace
        The session.
    made
        Paths that the task reports.
    task
        Name of the task, for the message.

    Raises
    ------
    OutsideSession
        If one of them is not of this session.
    """
    roots = workspace.session.roots
    paths = [workspace.session.outputs / path for path in made]
    for path in paths:
        if not is_inside(path, roots):
            raise OutsideSession(
                f"{task} says that it made a file outside its session",
                where=str(workspace.session.path),
                expected=f"paths below {' or '.join(map(str, roots))}",
                got=str(path),
                do="see whether the task ran on another session; what it left there stays as it is",
            )
    return paths
