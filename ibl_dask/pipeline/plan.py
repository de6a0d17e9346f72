"""What should run on a session, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibl_dask.errors import DescriptionError, UsageError
from ibl_dask.model.description import LABELS
from ibl_dask.model.session import Session
from ibl_dask.model.step import Key, Resources, Step, StepRecord, fingerprint
from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.compress import VideoCompress
from ibl_dask.tasks.convert import VideoConvert
from ibl_dask.tasks.deck import build_task
from ibl_dask.tasks.register import VideoRegisterRaw
from ibl_dask.tasks.steps.report import report
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video import VideoSyncQcBpod, VideoSyncQcCamlog, VideoSyncQcNidq, bpod_camera


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
    specs: Sequence[TaskSpec] | None = None,
    output_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    overwrite: bool = False,
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
    planned, notes = _specs(session) if specs is None else (sort_specs(specs), ())
    if tasks is not None:
        planned = _select(planned, tasks, session)
    common = {"work_dir": folder, "overwrite": overwrite}
    built = {spec.name: build_task(spec, session, **common, **options) for spec in planned}
    return Pipeline(session, Workspace(session, folder, overwrite), built, planned, notes, tasks is not None)


def _specs(session: Session) -> tuple[tuple[TaskSpec, ...], tuple[str, ...]]:
    description = session.description
    labels = [camera.label for camera in description.cameras]
    if not labels:
        raise DescriptionError(
            "this session's description names no camera",
            where=str(session.path),
            expected="cameras under `devices: cameras:`",
            got="other devices: " + (", ".join(description.devices) or "none"),
            do="add the cameras to the description, or leave this session out",
        )
    notes = []
    converted = [camera.label for camera in description.cameras if camera.compressed]
    # Registering names files, so it comes after those that rename some.
    naming = ["VideoConvert"] if converted else []
    specs = [VideoRegisterRaw(session, labels).spec("VideoRegisterRaw", naming)]
    timed = [label for label in labels if label in LABELS]
    if len(timed) < len(labels):
        others = ", ".join(label for label in labels if label not in LABELS)
        notes.append(f"cameras {others} are registered only: no route to time them is known")
    kind = None if description.sync is None else description.sync.kind
    parents: list[str] = []
    recorded = [camera.label for camera in description.cameras if not camera.compressed]
    if recorded:
        specs.append(VideoCompress(session, recorded).spec("VideoCompress"))
        parents.append("VideoCompress")
    if converted:
        specs.append(VideoConvert(session, converted).spec("VideoConvert"))
        parents.append("VideoConvert")
    if kind == "nidq" and timed:
        # Cameras that compress their videos themselves are those of widefield rigs, which labcams records.
        task = VideoSyncQcCamlog if converted else VideoSyncQcNidq
        specs.append(task(session, timed).spec("VideoSyncQC_nidq", parents))
    elif kind == "bpod" and timed:
        notes += _bpod_specs(session, timed, specs, parents)
    elif kind not in ("nidq", "bpod"):
        clock = kind or "not described"
        notes.append(f"no frame times: the main clock is {clock}, only nidq and bpod are supported so far")
    return sort_specs(specs), tuple(notes)


def _bpod_specs(session: Session, timed: Sequence[str], specs: list[TaskSpec], parents: Sequence[str]) -> list[str]:
    """Add the task of the camera that a Bpod can time; return what there is to say about the others."""
    label = bpod_camera(session.description)
    if label is None:
        return [
            f"no frame times: the Bpod holds the pulses of one camera, and of {', '.join(timed)} the description does "
            "not say which; set `sync_label: null` for those that are not wired to its port 1"
        ]
    task = VideoSyncQcBpod(session, [label])
    specs.append(task.spec("VideoSyncQC_bpod", parents))
    others = [other for other in timed if other != label]
    notes = list(task.clock_notes)
    if others:
        notes.append(
            f"cameras {', '.join(others)} are registered only: the Bpod holds the pulses of one camera, taken to be "
            f"{label}"
        )
    return notes


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
