"""What should run on a session, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ibl_dask.deploy.cluster.batch_systems.lookup import ask_job
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord
from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.pipeline.devices.session_plan import plan_session
from ibl_dask.pipeline.selection import OF_RUN, as_names, check_arguments, check_tasks, select, unknown_tasks
from ibl_dask.store.lock import LOCK_NAME, holding_unless_held
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.external.environments import Environments, as_environments
from ibl_dask.tasks.registry import build_task
from ibl_dask.tasks.session_report import WriteReport
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video_sync.clocks import VideoSyncQcBpod


@dataclass(frozen=True, repr=False)
class Pipeline:
    """The tasks of one session."""

    session: Session
    """The session."""
    workspace: Workspace
    """Where it all lands."""
    tasks: Mapping[str, Task]
    """Tasks by name, parents first."""
    specs: tuple[TaskSpec, ...]
    """The same as plain data."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""
    is_asked: bool = False
    """Whether somebody asked for these tasks by name."""
    refused: tuple[str, ...] = ()
    """Devices that a run leaves out and must name: their entries lead out of the session."""

    def __repr__(self) -> str:
        return f"Pipeline({self.session.reference}: {', '.join(self.tasks)})"

    @property
    def n_levels(self) -> int:
        """Return how many times steps are planned: children look at the files that their parents leave."""
        return 1 + max((spec.level for spec in self.specs), default=0)

    def first_steps(self, level: int) -> list[Step]:
        """Return the steps that must run before the others of a level can be planned."""
        return [step for task in self._tasks_of(level).values() for step in task.first_steps()]

    def steps(self, level: int, records: Mapping[StepKey, StepRecord]) -> dict[str, list[Step]]:
        """Return the other steps of each task of a level, in the order of the tasks."""
        return {name: task.steps(records) for name, task in self._tasks_of(level).items()}

    def _tasks_of(self, level: int) -> dict[str, Task]:
        """Return the tasks of a level that can run here."""
        found = {spec.name: self.tasks[spec.name] for spec in self.specs if spec.level == level}
        return {name: task for name, task in found.items() if task.obstacle() is None}

    def delayed(self) -> dict[str, Any]:
        """Index the videos, and return `{task name: dask Delayed}`.

        Each value computes to the task's records; `visualize()` draws its steps. Tasks whose parents have not left
        their files yet cannot be planned: compute those first, and ask again.

        The session is held while videos are indexed here, and by each step while it runs, wherever that is; steps of
        one graph hold it together. Between two of them it is free: another run may have it, and what of the graph comes
        to run meanwhile fails and says so.

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
        with holding_unless_held(self.session.own / LOCK_NAME, ask_job):
            for level in range(self.n_levels):
                if not all(task.is_finished() for name, task in self.tasks.items() if name in steps):
                    break
                records |= walk(self.first_steps(level), root)
                steps |= self.steps(level, records)
        return delayed_tasks(steps, root, records)

    def report_step(self, ran: Mapping[str, Any]) -> Step:
        """Return the step that writes provenance and report, from what the driver saw."""
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
        What to plan.
    tasks : sequence of str, optional
        Names of the tasks wanted, or of their classes, or dotted paths of a lab's own; all by default. A lab's own
        comes after those that are named before it.
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
        Passed on to the camera tasks, for instance `chunk_pixels`; and `environments`, see `build_task`.

    Raises
    ------
    NotASession, DescriptionError
        If there is nothing to plan from.
    UsageError
        If a task is asked for that the session does not have, or an option is not known or makes no sense.
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
    clocks = [note for task in built.values() if isinstance(task, VideoSyncQcBpod) for note in task.clock_notes]
    workspace = Workspace(session, folder, overwrite)
    described = () if specs is not None else session.description.problems
    refused = tuple(str(problem) for problem in described if problem.is_refusal)
    return Pipeline(session, workspace, built, planned, (*notes, *clocks), wanted is not None, refused)


class OutputPlaces:
    """The folders that sessions of one run write into: each has its own."""

    def __init__(self) -> None:
        self._owners: dict[Path, Path] = {}

    def claim(self, session: Session) -> None:
        """Note where a session writes.

        Raises
        ------
        UsageError
            If another one does, too.
        """
        first = self._owners.setdefault(session.outputs, session.path)
        if first != session.path:
            raise UsageError(
                "two sessions would write into one folder",
                where=str(session.outputs),
                expected="a folder for each session",
                got=f"{first} and {session.path}",
                do="give these sessions different --output-root folders, in two runs",
            )


def plan_tasks(
    session: Session,
    specs: Sequence[TaskSpec] | None = None,
    pose: Sequence[str] | None = None,
    environments: Environments | None = None,
) -> tuple[tuple[TaskSpec, ...], tuple[str, ...]]:
    """Return the tasks of a session as plain data, and what is to be said of them; see `make_pipeline`."""
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
    """Insist that what is asked of a run makes sense, before anything starts.

    Parameters
    ----------
    sessions, tasks, specs, output_root, pose, options
        See `ibl_dask.pipeline.run.run`.

    Raises
    ------
    UsageError
        If no session has a task that is asked for, or an option is not known or makes no sense. What is wrong with one
        session is told when it has its turn.
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
