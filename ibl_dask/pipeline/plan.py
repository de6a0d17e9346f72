"""What should run on a session, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ibl_dask.errors import DescriptionError, UsageError
from ibl_dask.model.session import Session
from ibl_dask.model.step import Key, Resources, Step, StepRecord, fingerprint
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.devices.catalogue import BASE_ENVIRONMENT
from ibl_dask.pipeline.specs import plan_session
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.deck import build_task, find_task
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
    planned: tuple[TaskSpec, ...] = ()
    """All tasks that the description asks for, also those that cannot run here."""

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
        return {spec.name: self.tasks[spec.name] for spec in self.specs if spec.level == level}

    def delayed(self) -> dict[str, Any]:
        """Index the videos, and return `{task name: dask Delayed}`.

        Each value computes to the task's records; `visualize()` draws its steps. Tasks whose parents have not left
        their files yet cannot be planned: compute those first, and ask again.
        """
        from ibl_dask.pipeline.graph import delayed_tasks
        from ibl_dask.tasks.walk import walk

        self.workspace.check_writable()
        root = self.session.outputs
        records: dict[Key, StepRecord] = {}
        steps: dict[str, list[Step]] = {}
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
    output_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    overwrite: bool = False,
    pose: Sequence[str] | None = None,
    environments: Mapping[str, str] | None = None,
    **options: Any,  # options of tasks, by name
) -> Pipeline:
    """Turn a session's description into tasks.

    Parameters
    ----------
    session : Session or path
        What to plan.
    tasks : sequence of str, optional
        Names of the tasks wanted; all by default.
    output_root, work_dir, overwrite
        See `Session` and `Workspace`.
    pose : sequence of str, optional
        Pose estimators wanted, `dlc` or `lightning_pose`, also both or none; by default those that the description
        asks for under `pose:`, else DLC where the main clock is not a Bpod.
    environments : mapping of str to str, optional
        Python of each environment that tasks of other packages run in, by label. Tasks without one are left out.
    options
        Passed on to the camera tasks, for instance `chunk_pixels`.

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
    specs, planned, notes = plan_here(session, tasks=tasks, pose=pose, environments=environments)
    _insist_on_tasks(specs, session, notes)
    common = {"work_dir": folder, "overwrite": overwrite, "environments": environments}
    built = {spec.name: build_task(spec, session, **common, **options) for spec in specs}
    clocks = [note for task in built.values() if isinstance(task, VideoSyncQcBpod) for note in task.clock_notes]
    return Pipeline(session, Workspace(session, folder, overwrite), built, specs, (*notes, *clocks), planned)


def plan_here(
    session: Session,
    *,
    tasks: Sequence[str] | None = None,
    pose: Sequence[str] | None = None,
    environments: Mapping[str, str] | None = None,
) -> tuple[tuple[TaskSpec, ...], tuple[TaskSpec, ...], tuple[str, ...]]:
    """Return the tasks that can run here, all tasks of the session, and what is to be said of them.

    Parameters
    ----------
    session : Session
        What to plan.
    tasks, pose, environments
        See `make_pipeline`.

    Raises
    ------
    DescriptionError
        If there is nothing to plan from.
    UsageError
        If a task is asked for that the session does not have.
    """
    plan = plan_session(session.description, session.path, pose)
    notes = [str(problem) for problem in plan.problems]
    if session.description.origin == "protocol":
        notes.insert(0, "there is no description: what was recorded is inferred from the protocol")
    wanted = plan.specs if tasks is None else _select(plan.specs, tasks, session)
    available = {spec.name: runs_here(spec, environments) for spec in wanted}
    elsewhere = [spec for spec in wanted if not available[spec.name]]
    if elsewhere:
        labels = sorted({spec.env or BASE_ENVIRONMENT for spec in elsewhere})
        names = ", ".join(spec.name for spec in elsewhere)
        notes.append(f"left out, since no environment is configured ({', '.join(labels)}): {names}")
    return tuple(spec for spec in wanted if available[spec.name]), plan.specs, tuple(notes)


def runs_here(spec: TaskSpec, environments: Mapping[str, str] | None = None) -> bool:
    """Return whether a task is one of this process, or its environment is configured."""
    return _is_ours(spec.executable) or (spec.env or BASE_ENVIRONMENT) in (environments or {})


@cache
def _is_ours(executable: str) -> bool:
    """Return what `find_task` says; asked for every task of every session, and entry points are slow to list."""
    return find_task(executable) is not None


def _insist_on_tasks(specs: Sequence[TaskSpec], session: Session, notes: Sequence[str]) -> None:
    if not specs:
        raise DescriptionError(
            "no task of this session can run here",
            where=str(session.path),
            expected="cameras under `devices: cameras:`, or an environment for tasks on other devices",
            got="other devices: "
            + (", ".join(session.description.devices) or "none")
            + "".join(f"; {n}" for n in notes),
            do="add the cameras to the description, configure an environment, or leave this session out",
        )


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
