"""What should run on a session, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibl_dask.deploy.queue import ask_job
from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.model.step import Key, Resources, Step, StepRecord, fingerprint
from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.pipeline.specs import plan_session
from ibl_dask.store.lock import LOCK_NAME, holding_unless_held
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.deck import build_task
from ibl_dask.tasks.environments import Environments, as_environments
from ibl_dask.tasks.steps.report import report
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video import VideoSyncQcBpod


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

    def __repr__(self) -> str:
        return f"Pipeline({self.session.reference}: {', '.join(self.tasks)})"

    @property
    def n_levels(self) -> int:
        """Return how many times steps are planned: children look at the files that their parents leave."""
        return 1 + max((spec.level for spec in self.specs), default=0)

    def first_steps(self, level: int) -> list[Step]:
        """Return the steps that must run before the others of a level can be planned."""
        return [step for task in self._tasks_of(level).values() for step in task.first_steps()]

    def steps(self, level: int, records: Mapping[Key, StepRecord]) -> dict[str, list[Step]]:
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
        from ibl_dask.pipeline.graph import delayed_tasks
        from ibl_dask.tasks.walk import walk

        self.workspace.check_writable()
        root = self.session.outputs
        records: dict[Key, StepRecord] = {}
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
        mark = fingerprint("report", 1, ran=ran)
        arguments = {"workspace": self.workspace, "ran": ran}
        return Step("report", "", self.session.reference, mark, report, arguments, resources=Resources(cpu=1))


def make_pipeline(
    session: Session | str | Path,
    *,
    tasks: Sequence[str] | None = None,
    specs: Sequence[TaskSpec] | None = None,
    output_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    overwrite: bool = False,
    pose: Sequence[str] | None = None,
    **options: Any,  # options of tasks, by name
) -> Pipeline:
    """Turn a session's description into tasks.

    Parameters
    ----------
    session : Session or path
        What to plan.
    tasks : sequence of str, optional
        Names of the tasks wanted; all by default.
    specs : sequence of TaskSpec, optional
        Tasks instead of those that the description asks for.
    output_root, work_dir, overwrite
        See `Session` and `Workspace`.
    pose : sequence of str, optional
        Pose estimators wanted, `dlc` or `lightning_pose`, also both or none; by default those that the description
        asks for under `pose:`, else DLC where the main clock is not a Bpod.
    options
        Passed on to the camera tasks, for instance `chunk_pixels`; and `environments`, see `build_task`.

    Raises
    ------
    NotASession, DescriptionError
        If there is nothing to plan from.
    UsageError
        If a task is asked for that the session does not have.
    """
    if not isinstance(session, Session):
        session = Session(Path(session), None if output_root is None else Path(output_root))
    folder = default_work_dir(session) if work_dir is None else Path(work_dir).expanduser().absolute()
    planned, notes = plan_tasks(session, tasks, specs, pose, as_environments(options.get("environments")))
    common = {"work_dir": folder, "overwrite": overwrite}
    built = {spec.name: build_task(spec, session, **common, **options) for spec in planned}
    clocks = [note for task in built.values() if isinstance(task, VideoSyncQcBpod) for note in task.clock_notes]
    workspace = Workspace(session, folder, overwrite)
    return Pipeline(session, workspace, built, planned, (*notes, *clocks), tasks is not None)


def plan_tasks(
    session: Session,
    tasks: Sequence[str] | None = None,
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
    planned = sort_specs(specs)
    return planned if tasks is None else _select(planned, tasks, session), tuple(notes)


def _select(specs: Sequence[TaskSpec], wanted: Sequence[str], session: Session) -> tuple[TaskSpec, ...]:
    """Keep the tasks asked for, by name or by class."""
    chosen = []
    for name in wanted:
        found = [spec for spec in specs if name in (spec.name, spec.executable.rsplit(".", 1)[-1])]
        if not found:
            raise UsageError(
                f"this session has no task {name!r}",
                where=str(session.path),
                expected=", ".join(spec.name for spec in specs),
                got=name,
                do="ask for one of these",
            )
        chosen += found
    names = {spec.name for spec in chosen}
    return tuple(spec for spec in specs if spec.name in names)
