"""Base of all tasks: a signature, resources and steps; `run()` runs the steps one after another.

Names and calling convention follow the field's pipelines, so that scripts and labs' own subclasses carry over.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from ibl_dask.deploy.batch_systems.registry import ask_job, own_job
from ibl_dask.errors import MissingFile, MissingOutput, SessionLocked, TaskFailed
from ibl_dask.model.choices import unknown_keyword
from ibl_dask.model.failure import Failure
from ibl_dask.model.forecast import EarlierWork, Rates, TaskForecast
from ibl_dask.model.result import Disposition
from ibl_dask.model.review import Review
from ibl_dask.model.session import Session
from ibl_dask.model.signature import Described, ExpectedDataset, Signature, read_dataset, read_signature
from ibl_dask.model.status import Status
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec
from ibl_dask.model.task_log import TaskLog
from ibl_dask.store.dataset_lookup import DatasetFiles, find_files
from ibl_dask.store.failures import failure_from
from ibl_dask.store.lock import LOCK_NAME, holding_unless_held
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.field_members import FieldMembers
from ibl_dask.tasks.options import check_keywords, check_value
from ibl_dask.tasks.run_method import has_method, in_place_requirement, method_step, review_method
from ibl_dask.tasks.run_step import walk
from ibl_dask.tasks.step_log import log_end, read_text_of, start_log

RUN_ARGUMENTS = ("overwrite", "update")
"""Arguments that the field's callers pass to `run` of any task."""


class Task(FieldMembers):
    """One unit of the field's pipelines.

    A subclass defines its work in `steps`, or, as the field's tasks do, in one method `_run(**kwargs)` that returns the
    files it made: a path, a list of paths, or None where there was nothing to do. `setUp` and `tearDown` run before and
    after that, on the worker.

    Parameters
    ----------
    session_path : path
        The session folder, or a `Session`.
    output_root, work_dir : path, optional
        Where results and scratch go; see `Session` and `Workspace`.
    overwrite : bool
        Make everything anew, whatever stands, and replace published ALF files that would change, instead of making a
        new revision.
    parents : sequence of Task
        Tasks that come before; they determine the level.
    on_error : str
        `raise` makes `run` raise where it would return -1.
    force : bool, optional
        By default that of the class.
    one, taskid, machine, clobber, location, scratch_folder, data_handler_class
        Kept for the calling convention, and for subclasses that look at them: nothing here talks to a database, and
        data are where the session is. `scratch_folder` stands for `work_dir` where that is not given.
    kwargs
        Arguments of a lab's subclass; kept in `kwargs`.

    Raises
    ------
    UsageError
        If an argument is not known; for a lab's class, if it is much like one that is.
    """

    priority: int = 30
    """0 to 100, higher first."""
    level: int = 0
    """Place in the pipeline of a task without parents."""
    cpu: int = 1
    """Cores that it occupies."""
    gpu: int = 0
    """GPUs that it occupies."""
    ram: float = 4
    """Resident memory, GB."""
    io_charge: int = 5
    """Share of the disk's bandwidth that it takes, %."""
    time_out_secs: int = 7200
    """How long a task in another environment may take, s; steps in this one end by themselves."""
    job_size: str = "small"
    """The queue of a database that it belongs to: small or large."""
    env: str | None = None
    """Environment that it runs in; None for this one."""
    force: bool = False
    """Run although nothing is new."""
    version: str = version("ibl_dask")
    """Version that is noted with its results."""
    dlcenv: Path | None = None
    """Activation script of the environment for poses; None for the usual one."""
    scripts: Path | None = None
    """Folder of the scripts for poses; None for the usual one."""
    optional_parents: frozenset[str] = frozenset()
    """Classes of parents that may have failed: it runs all the same."""
    takes_any: ClassVar[bool] = False
    """`run` passes its arguments on to a method of another package."""
    writes_elsewhere: bool = False
    """`_run` writes to `self.session.outputs`, so that the task may run with an output root."""

    def __init__(
        self,
        session_path: str | Path | Session,
        parents: Sequence[Task] | None = None,
        taskid: str | None = None,
        one: object = None,
        machine: str | None = None,
        clobber: bool = True,
        location: str = "local",
        scratch_folder: str | Path | None = None,
        on_error: str = "continue",
        force: bool | None = None,
        data_handler_class: object = None,
        *,
        output_root: str | Path | None = None,
        work_dir: str | Path | None = None,
        overwrite: bool = False,
        **kwargs: Any,  # whatever a lab's subclass takes
    ) -> None:
        check_keywords(type(self), kwargs)
        check_value("on_error", on_error)
        if isinstance(session_path, Session):
            self.session = session_path
        else:
            self.session = Session(Path(session_path), None if output_root is None else Path(output_root))
        folder = work_dir or scratch_folder
        scratch = default_work_dir(self.session) if folder is None else Path(folder).expanduser().absolute()
        self.workspace = Workspace(self.session, scratch, overwrite)
        self.kwargs = kwargs
        self.parents = list(parents or ())
        if self.parents:
            self.level = max(parent.level for parent in self.parents) + 1
        self.taskid, self.one, self.machine, self.clobber = taskid, one, machine, clobber
        self.location, self.on_error, self.data_handler_class = location, on_error, data_handler_class
        self.scratch_folder = scratch_folder
        self.register_kwargs: dict[str, object] = {}
        self.plot_tasks: list[object] = []
        if force is not None:
            self.force = force
        self.given: dict[str, object] = {}
        self.records: dict[StepKey, StepRecord] = {}
        self.outputs: list[Path] | None = None
        self.status: int | None = None
        self.state: Status = Status.WAITING
        self.log = ""
        self.time_elapsed_secs: float | None = None
        self.in_method = False
        self.task_log: TaskLog | None = None
        self._unmet_requirement: Failure | None = None
        self._lacking: list[str] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:  # whatever a metaclass takes
        """Replace inherited steps by a method `_run` of a subclass; within that method they are the inherited ones."""
        super().__init_subclass__(**kwargs)
        if has_method(cls) and "forecast" not in cls.__dict__:
            cls.forecast = Task.forecast  # type: ignore[method-assign]  # that of a single step, not of inherited ones
        if "_run" not in cls.__dict__ or "steps" in cls.__dict__:
            return
        inherited_first, inherited = cls.first_steps, cls.steps

        def first_steps(self: Task) -> list[Step]:
            return inherited_first(self) if self.in_method else []

        def steps(self: Task, records: Mapping[StepKey, StepRecord]) -> list[Step]:
            return inherited(self, records) if self.in_method else [method_step(self)]

        cls.first_steps, cls.steps = first_steps, steps  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, object]:
        """Leave out database, records and parents, which stay with the driver."""
        return {**self.__dict__, "one": None, "records": {}, "parents": []}

    @property
    def name(self) -> str:
        """Return the name of the class."""
        return type(self).__name__

    @property
    def session_path(self) -> Path:
        """Return the session folder."""
        return self.session.path

    @property
    def resources(self) -> Resources:
        """Return the cores, GPUs and memory that it occupies."""
        return Resources(max(1, self.cpu), self.gpu, float(self.ram), is_estimate=has_method(type(self)))

    @property
    def signature(self) -> Signature | Mapping[str, Sequence[Described]]:
        """Return the inputs and the promised outputs of the task.

        A `Signature`, or the field's form: lists of datasets or tuples under `input_files` and `output_files`.
        """
        return Signature()

    @property
    def input_files(self) -> list[ExpectedDataset]:
        """Return the inputs."""
        return list(read_signature(self.signature).inputs)

    @property
    def output_files(self) -> list[ExpectedDataset]:
        """Return the promised outputs."""
        return list(read_signature(self.signature).outputs)

    def first_steps(self) -> list[Step]:
        """Return the steps that must run before the others can be planned."""
        return []

    def steps(self, records: Mapping[StepKey, StepRecord]) -> list[Step]:
        """Return the other steps.

        Parameters
        ----------
        records
            Records of the first steps.
        """
        return [method_step(self)] if has_method(type(self)) else []

    def setUp(self, **kwargs: Any) -> bool:  # the field's name; arguments are those of `run`
        """Prepare for `_run`; where it returns False, that is left out."""
        return True

    def tearDown(self) -> None:  # the field's name
        """Clean up after `_run`, also where that failed."""

    def unmet_requirement(self) -> Failure | None:
        """Return the unmet requirement that no other task can meet, such as an environment; None where it can run."""
        return in_place_requirement(self) if has_method(type(self)) else None

    def review(self) -> Review:
        """Return the reason to run, or not to, without running; see `forecast`."""
        if has_method(type(self)):
            return review_method(self)
        lacking = self.lacking_outputs()
        if lacking:
            return Review("missing output", f"lacks {', '.join(lacking)}")
        return Review("no record", "its steps say what is left to do")

    def forecast(self, rates: Rates, spec: TaskSpec, earlier: EarlierWork) -> TaskForecast:
        """Return the work that a run would do, its reason and its cost, by the decisions that `steps` rests on.

        Parameters
        ----------
        rates : Rates
            Durations measured in earlier runs.
        spec : TaskSpec
            The task as planned.
        earlier : EarlierWork
            Work of the same run that precedes the task.
        """
        return TaskForecast.of_review(spec, self.review(), rates, earlier, self.time_out_secs)

    @property
    def plan_notes(self) -> tuple[str, ...]:
        """Return remarks on the session for a plan, such as on an ambiguous clock."""
        return ()

    def is_finished(self) -> bool:
        """Return True if everything that other tasks need of this one is there."""
        return True

    def forget(self) -> None:
        """Let nothing that it made count as done, so that all is made anew: before any task of the session starts."""

    @property
    def _executable(self) -> str:
        """Return the dotted path of its class."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def spec(self, name: str | None = None, parents: Sequence[str] = ()) -> TaskSpec:
        """Return this task as plain data."""
        return TaskSpec(
            name or self.name,
            self._executable,
            self.arguments(),
            tuple(parents),
            self.resources,
            self.priority,
            self.level,
            self.io_charge,
            self.time_out_secs,
            self.env,
            self.job_size,
        )

    def to_spec(self) -> TaskSpec:
        """Return this task as plain data, under the field's name for it."""
        return self.spec()

    def cleanUp(self) -> None:  # noqa: N802  # the field's name
        """Do nothing: a task looks at its files where they are, so no copy is left."""

    def arguments(self) -> dict[str, object]:
        """Return the keyword arguments that build this task again; JSON."""
        return dict(self.kwargs)

    def run(self, **kwargs: Any) -> int:  # arguments of a subclass' `_run`
        """Run every step in this process; return the status code: 0 done, -1 error, -2 try again, -3 incomplete.

        The session is held meanwhile. Where another run holds it, nothing is done, and the status is -2.

        Parameters
        ----------
        kwargs
            Handed to `_run`; tasks made of steps look at `overwrite` alone.

        Raises
        ------
        NotASession, DescriptionError
            If there is no such session, or no description of it.
        UsageError
            If an argument is not known.
        TaskFailed
            If the task failed, and `on_error` is `raise`.
        """
        clock = time.perf_counter()
        self._insist_on_known(kwargs)
        self.session.look()
        self.given = dict(kwargs)
        if "overwrite" in kwargs:
            self.workspace = replace(self.workspace, overwrite=bool(kwargs["overwrite"]))
        self.records.clear()
        unmet_requirement = self.unmet_requirement()
        if unmet_requirement is None:
            self.workspace.check_writable()
            try:
                with self.holding():
                    if self.workspace.overwrite:
                        self.forget()
                    log = self.start_log(is_echoed=True)
                    records = walk(self.first_steps(), self.workspace.session.outputs, self._listen, log=log)
                    walk(self.steps(records), self.workspace.session.outputs, self._listen, records, log)
            except SessionLocked as error:
                unmet_requirement = failure_from(error)
        self.time_elapsed_secs = time.perf_counter() - clock
        self.conclude(unmet_requirement=unmet_requirement)
        log_end(self.task_log, self.state, self.records, self.failures)
        if self.task_log is not None:
            self.log = read_text_of(self.task_log) + self.log
        if self.on_error == "raise" and self.state is Status.ERRORED:
            raise TaskFailed(
                f"{self.name} failed",
                where=str(self.session.path),
                got="; ".join(failure.message for failure in self.failures),
                do="read the task's log" if self.task_log is None else f"read its log: {self.task_log.command}",
            )
        return self.state.code

    def start_log(self, name: str = "", *, run: str = "", is_echoed: bool = False) -> TaskLog | None:
        """Begin a new attempt in the log of the task, and return it; None where its folder is not the session's.

        Parameters
        ----------
        name : str
            Name of the task within the session; its own by default.
        run : str
            Name of the run.
        is_echoed : bool
            See `TaskLog`.
        """
        self.task_log = start_log(
            self.workspace, name or self.name, run=run, executable=self._executable, is_echoed=is_echoed
        )
        return self.task_log

    def _insist_on_known(self, given: Mapping[str, object]) -> None:
        """Refuse arguments of `run` that a task made of steps would not look at."""
        unknown = [name for name in given if name not in RUN_ARGUMENTS]
        if unknown and not (has_method(type(self)) or self.takes_any):
            raise unknown_keyword(f"{self.name}.run", unknown, RUN_ARGUMENTS)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Hold the lock of the session, unless the caller holds it already.

        Raises
        ------
        SessionLocked
            If another run holds it.
        """
        with holding_unless_held(self.session.own / LOCK_NAME, ask_job, own_job()):
            yield

    def rerun(self) -> int:
        """Run again, and replace the outputs."""
        return self.run(overwrite=True)

    def conclude(
        self, records: Mapping[StepKey, StepRecord] | None = None, *, unmet_requirement: Failure | None = None
    ) -> Status:
        """Determine the state of the task from the records of its steps and from its outputs."""
        if records is not None:
            self.records = dict(records)
        self._unmet_requirement = unmet_requirement
        found = self._found_outputs()
        results = [record.result for record in self.records.values()]
        dispositions = {result.disposition for result in results}
        made = [path for result in results for path in result.outputs]
        self.outputs = list(dict.fromkeys([*made, *(path for f in found for path in f.files)]))
        self._lacking = _lacking(found)
        if any(not r.is_ok for r in self.records.values()):
            self.state = Status.ERRORED
        elif unmet_requirement is not None or "waiting" in dispositions:
            self.state = Status.WAITING
        elif "empty" in dispositions:
            self.state, self.outputs = Status.EMPTY, self.outputs or None
        elif self._lacking:
            self.state = Status.ERRORED
        elif "incomplete" in dispositions:
            # Every output is there, but not all that it should hold, such as numbers of frames that do not decode.
            self.state = Status.INCOMPLETE
        elif not self.records:
            self.state = Status.EMPTY
        else:
            self.state = Status.COMPLETE
        self.status = self.state.code
        self.log = "\n".join(map(_line, self.records.values()))
        return self.state

    @property
    def failures(self) -> list[Failure]:
        """Return the failures, each once: errors of steps, incomplete results, and missing outputs."""
        found = [r.failure for r in self.records.values() if r.failure is not None]
        found += [_incomplete(reason) for reason in self._reasons("incomplete")]
        if self.state is Status.ERRORED and not found:
            found.append(failure_from(self._missing_outputs()))
        if self.state is Status.WAITING:
            found += [Failure("Waiting", "run", str(reason)) for reason in self._reasons("waiting")]
            found += [self._unmet_requirement] if self._unmet_requirement is not None else []
        return list(dict.fromkeys(found))

    def _reasons(self, disposition: Disposition) -> list[str | Failure]:
        results = (record.result for record in self.records.values())
        return [result.reason for result in results if result.disposition == disposition]

    def assert_expected(self, expected_files: Iterable[Described], silent: bool = False) -> tuple[bool, list[Path]]:
        """Look for datasets.

        Parameters
        ----------
        expected_files
            The datasets.
        silent
            Kept for the calling convention.

        Returns
        -------
        bool, list of Path
            True if all that are required are there, and their files.
        """
        found = [find_files(self.session.roots, read_dataset(entry, "input")) for entry in expected_files]
        return all(f.ok for f in found), list(dict.fromkeys(path for f in found for path in f.files))

    def assert_expected_inputs(
        self, raise_error: bool = True, raise_ambiguous: bool = False
    ) -> tuple[bool, list[Path]]:
        """Look for the declared inputs; see `assert_expected_outputs`.

        `raise_ambiguous` is kept for the calling convention: of several revisions the newest is found.
        """
        found = [find_files(self.session.roots, expected) for expected in self.input_files]
        missing = _lacking(found)
        if missing and raise_error:
            raise MissingFile(
                f"{self.name} lacks what it reads",
                where=" or ".join(map(str, reversed(self.session.roots))),
                expected=", ".join(missing),
                got="no such file, or one that should not be there",
                do="copy these files from the acquisition computer, or run the tasks that make them",
            )
        return not missing, list(dict.fromkeys(path for f in found for path in f.files))

    def assert_expected_outputs(self, raise_error: bool = True) -> tuple[bool, list[Path]]:
        """Look for the declared outputs.

        Returns
        -------
        bool, list of Path
            True if every required one is there and not empty, and the files found.

        Raises
        ------
        MissingFile
            If one is missing and `raise_error` is set.
        """
        found = self._found_outputs()
        self._lacking = _lacking(found)
        if self._lacking and raise_error:
            raise self._missing_outputs()
        return not self._lacking, list(dict.fromkeys(path for f in found for path in f.files))

    def lacking_outputs(self) -> list[str]:
        """Return the patterns of required outputs that are not there, or are empty."""
        return _lacking(self._found_outputs())

    def _missing_outputs(self) -> MissingOutput:
        return MissingOutput(
            f"{self.name} did not leave its outputs",
            where=str(self.session.outputs),
            expected=", ".join(self._lacking),
            got="no such file, or an empty one",
            do="read the task's log for the step that failed",
        )

    def _found_outputs(self) -> list[DatasetFiles]:
        return [find_files(self.session.roots, expected, with_content=True) for expected in self.output_files]

    def _listen(self, record: StepRecord) -> None:
        self.records[record.key] = record


def _incomplete(reason: str | Failure) -> Failure:
    """Return the reason of incomplete results as a failure."""
    return reason if isinstance(reason, Failure) else Failure("Incomplete", "input", reason)


def _lacking(found: Iterable[DatasetFiles]) -> list[str]:
    return sorted({pattern for f in found if not f.ok for pattern in f.missing})


def _line(record: StepRecord) -> str:
    text = f"{record.key[0]} {record.key[3]}: {record.status} in {record.seconds:.2f} s on {record.worker}"
    return text if record.failure is None else f"{text}: {record.failure.message}"
