"""Pipeline of a session: its tasks, built and checked, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ibl_dask.deploy.batch_systems.registry import ask_job, own_job
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.pipeline.devices.session_plan import plan_session
from ibl_dask.pipeline.selection import OF_RUN, as_names, check_arguments, check_tasks, select, unknown_tasks
from ibl_dask.report.notebook import pipeline_html
from ibl_dask.store.lock import LOCK_NAME, holding_unless_held
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.external.environments import Environments, as_environments
from ibl_dask.tasks.registry import SITE_OPTIONS, build_task
from ibl_dask.tasks.session_report import WriteReport
from ibl_dask.tasks.step_log import with_log
from ibl_dask.tasks.task import Task


@dataclass(frozen=True, repr=False)
class Pipeline:
    """The tasks of one session."""

    session: Session
    """The session."""
    workspace: Workspace
    """Folders of results and scratch."""
    tasks: Mapping[str, Task]
    """Tasks by name, parents first."""
    specs: tuple[TaskSpec, ...]
    """The same as plain data."""
    notes: tuple[str, ...] = ()
    """Remarks: parts that are left out, and the reasons."""
    is_asked: bool = False
    """The tasks were asked for by name."""
    refused: tuple[str, ...] = ()
    """Devices that are left out since their entries lead out of the session, so that a run is no success."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Options that were given and that JSON holds, for the provenance."""
    time_outs_s: Mapping[str, float] = field(default_factory=dict)
    """Task -> time after which a step of it is ended, s; none for a task that is not listed."""

    def _repr_html_(self) -> str:
        return pipeline_html(self.session.reference, self.specs, self.notes)

    def __repr__(self) -> str:
        return f"Pipeline({self.session.reference}: {', '.join(self.tasks)})"

    @property
    def n_levels(self) -> int:
        """Return the number of levels. Steps are planned level by level: children read the files of their parents."""
        return 1 + max((spec.level for spec in self.specs), default=0)

    def first_steps(self, level: int) -> list[Step]:
        """Return the steps that must run before the others of a level can be planned."""
        tasks = self._tasks_of(level).values()
        return [step for task in tasks for step in with_log(task.first_steps(), task.task_log)]

    def steps(self, level: int, records: Mapping[StepKey, StepRecord]) -> dict[str, list[Step]]:
        """Return the other steps of each task of a level, in the order of the tasks."""
        tasks = self._tasks_of(level).items()
        return {name: with_log(task.steps(records), task.task_log) for name, task in tasks}

    def _tasks_of(self, level: int) -> dict[str, Task]:
        """Return the tasks of a level that can run here."""
        found = {spec.name: self.tasks[spec.name] for spec in self.specs if spec.level == level}
        return {name: task for name, task in found.items() if task.unmet_requirement() is None}

    def delayed(self) -> dict[str, Any]:
        """Index the videos, and return `{task name: dask Delayed}`.

        Each value computes to the task's records; `visualize()` draws its steps. Tasks whose parents have not left
        their files yet cannot be planned: compute those first, and ask again.

        The session is locked while videos are indexed here, and by each step while it runs; steps of one graph share
        the lock. Between two of them it is free: another run may lock it, and steps of the graph that start meanwhile
        fail with `SessionLocked`.

        Raises
        ------
        SessionLocked
            If another run holds the session now.
        """
        from ibl_dask.pipeline.delayed import delayed_tasks
        from ibl_dask.tasks.run_step import walk

        self.workspace.check_writable()
        if self.workspace.overwrite:
            for task in self.tasks.values():
                task.forget()
        root = self.session.outputs
        records: dict[StepKey, StepRecord] = {}
        steps: dict[str, list[Step]] = {}
        with holding_unless_held(self.session.own / LOCK_NAME, ask_job, own_job()):
            for level in range(self.n_levels):
                if not all(task.is_finished() for name, task in self.tasks.items() if name in steps):
                    break
                for name, task in self._tasks_of(level).items():
                    task.start_log(name)
                records |= walk(self.first_steps(level), root)
                steps |= self.steps(level, records)
        return delayed_tasks(steps, root, records)

    def report_step(self, ran: Mapping[str, Any]) -> Step:
        """Return the step that writes provenance and report, from the driver's record of the run."""
        return WriteReport(
            session=self.session.reference, resources=Resources(cpu=1), workspace=self.workspace, ran=ran
        )


def make_pipeline(
    session: Session | str | Path,
    *,
    tasks: str | Sequence[str] | None = None,
    specs: Sequence[TaskSpec] | None = None,
    output_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    overwrite: bool = False,
    pose: Sequence[str] | None = None,
    skip_absent: bool = False,
    **options: Any,  # options of tasks, by name
) -> Pipeline:
    """Turn a session's description into tasks.

    Parameters
    ----------
    session : Session or path
        The session to plan.
    tasks : sequence of str, optional
        Names of tasks, or of their classes, or dotted paths of a lab's own; all by default. A lab's own comes after
        those that are named before it.
    specs : sequence of TaskSpec, optional
        Tasks instead of those that the description asks for.
    output_root, work_dir, overwrite
        See `Session` and `Workspace`.
    pose : sequence of str, optional
        Pose estimators wanted, `dlc` or `lightning_pose`, also both or none; by default those that the description
        asks for under `pose:`, else DLC where the main clock is not a Bpod.
    skip_absent : bool
        Leave out tasks that this session does not have, and note it, instead of refusing.
    options
        Options of tasks, for instance `chunk_pixels`; and those of the site, see `build_task`.

    Raises
    ------
    NotASession, DescriptionError
        If the session, or its description, is missing or invalid.
    UsageError
        If the session lacks a task that is asked for, or an option is unknown or makes no sense.
    """
    check_arguments("make_pipeline", {**options, "pose": pose}, ["skip_absent"], output_root)
    wanted = as_names(tasks)
    if not isinstance(session, Session):
        session = Session(Path(session), None if output_root is None else Path(output_root))
    session.look()
    folder = default_work_dir(session) if work_dir is None else Path(work_dir).expanduser().absolute()
    planned, notes = plan_tasks(session, specs, pose, as_environments(options.get("environments")))
    if wanted is not None:
        everything = planned
        planned, absent = select(everything, wanted)
        if absent and not skip_absent:
            raise unknown_tasks(absent, everything, "this session has no task", str(session.path))
        notes += tuple(f"{name} was asked for, and this session has no such task" for name in absent)
    common = {"work_dir": folder, "overwrite": overwrite}
    built = {spec.name: build_task(spec, session, **common, **options) for spec in planned}
    remarks = [note for task in built.values() for note in task.plan_notes]
    workspace = Workspace(session, folder, overwrite)
    described = () if specs is not None else session.description.problems
    refused = tuple(str(problem) for problem in described if problem.is_refusal)
    told = plain_options({**options, "pose": pose})
    return Pipeline(session, workspace, built, planned, (*notes, *remarks), wanted is not None, refused, options=told)


def plain_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that JSON holds; places of environments are of the machine, and left out."""
    found = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    found = {name: list(value) if isinstance(value, list | tuple) else value for name, value in found.items()}
    return {name: value for name, value in found.items() if _is_plain(value) and name not in SITE_OPTIONS}


def _is_plain(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, str | int | float) for item in items)  # None stands for the default


class OutputPlaces:
    """Output folders of one run: each session has its own."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}  # text: an entry stays for the whole run, and is smaller than paths

    def claim(self, session: Path, outputs: Path) -> None:
        """Reserve the output folder of a session.

        Parameters
        ----------
        session, outputs : Path
            Folder of the session, and of its results.

        Raises
        ------
        UsageError
            If another session has the same.
        """
        path = str(session)
        first = self._owners.setdefault(str(outputs), path)
        if first != path:
            raise UsageError(
                "two sessions would write into one folder",
                where=str(outputs),
                expected="a folder for each session",
                got=f"{first} and {path}",
                do="give these sessions different --output-root folders, in two runs",
            )


def plan_tasks(
    session: Session,
    specs: Sequence[TaskSpec] | None = None,
    pose: Sequence[str] | None = None,
    environments: Environments | None = None,
) -> tuple[tuple[TaskSpec, ...], tuple[str, ...]]:
    """Return the tasks of a session as plain data, and remarks on them.

    Parameters
    ----------
    session, specs, pose, environments
        See `make_pipeline`.
    """
    notes: list[str] = []
    if specs is None:
        plan = plan_session(session.description, session.path, pose, environments)
        specs = plan.specs
        notes += [str(problem) for problem in plan.problems]
        if session.description.origin == "protocol":
            notes.insert(0, "there is no description: what was recorded is inferred from the protocol")
    return sort_specs(specs), tuple(notes)


def check_request(
    sessions: Sequence[Session | str | Path],
    *,
    tasks: str | Sequence[str] | None = None,
    specs: Sequence[TaskSpec] | None = None,
    output_root: str | Path | None = None,
    pose: Sequence[str] | None = None,
    **options: Any,  # options of tasks, by name
) -> None:
    """Raise unless the arguments of a run make sense, before anything starts.

    Parameters
    ----------
    sessions, tasks, specs, output_root, pose, options
        See `ibl_dask.pipeline.run.run`.

    Raises
    ------
    UsageError
        If no session has a task that is asked for, or an option is unknown or makes no sense. A fault of one session
        is reported in its turn.
    """
    check_arguments("run", {**options, "pose": pose}, OF_RUN, output_root)
    wanted = as_names(tasks)
    if wanted is None:
        return
    root = None if output_root is None else Path(output_root)
    environments = as_environments(options.get("environments"))

    def planned(path: Session | str | Path) -> Sequence[TaskSpec]:
        session = path if isinstance(path, Session) else Session(Path(path), root)
        return plan_tasks(session, specs, pose, environments)[0]

    check_tasks(wanted, (partial(planned, path) for path in sessions))
