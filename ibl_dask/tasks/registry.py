"""From the name of a task to the task: our own classes, a lab's, or one that runs in another environment."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ibl_dask.errors import OutsideSession, TaskFailed, UsageError
from ibl_dask.model.places import first_fault, insist
from ibl_dask.model.session import Session
from ibl_dask.model.step import Resources, Step
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.containment import contained
from ibl_dask.store.task_record import Review
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.options import keywords
from ibl_dask.tasks.run_step import describe
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video_task import VideoTask

ENTRY_POINTS = "ibl_dask.tasks"
"""Group of entry points under which an installed package names its tasks."""

_FIELD = "ibllib.pipes.video_tasks."
_OWN = {
    "VideoRegisterRaw": "ibl_dask.tasks.video_register.task",
    "VideoCompress": "ibl_dask.tasks.video_mp4.compress_task",
    "VideoConvert": "ibl_dask.tasks.video_mp4.convert_task",
    "VideoSyncQcNidq": "ibl_dask.tasks.video_sync.clocks",
    "VideoSyncQcBpod": "ibl_dask.tasks.video_sync.clocks",
    "VideoSyncQcCamlog": "ibl_dask.tasks.video_sync.clocks",
}
"""Classes of ours that do the work of the field's classes of the same name."""

_ELSEWHERE = ("ibllib", "mpci", "iblphotometry", "iblvideo", "iblsorter")
"""Packages whose tasks run in an environment of their own; importing them here would take half a minute, if they
could be imported at all."""

_COMMON = ("output_root", "work_dir", "overwrite")


def find_task(executable: str) -> type[Task] | None:
    """Return the class behind a dotted path; None where the task is not one of this process.

    Parameters
    ----------
    executable : str
        Dotted path of a class of ours or of the field's video tasks, or of a lab's own; or the name of an entry point
        of the group `ibl_dask.tasks`.

    Raises
    ------
    UsageError
        If the module is there and does not hold such a class, or cannot be imported.
    """
    own = _OWN.get(executable.removeprefix(_FIELD)) if executable.startswith(_FIELD) else None
    if own is not None:
        return _load(own, executable.removeprefix(_FIELD), executable)
    for point in _entry_points(tuple(sys.path)):
        if executable in (point.name, point.value.replace(":", ".")):
            module, _, name = point.value.partition(":")
            return _load(module, name, executable)
    module, _, name = executable.rpartition(".")
    package = module.split(".")[0]
    if not package or package in _ELSEWHERE or find_spec(package) is None:
        return None
    return _load(module, name, executable)


@lru_cache(maxsize=8)
def _entry_points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of what is installed along a path: listing them takes longer than planning a session."""
    return tuple(entry_points(group=ENTRY_POINTS))


def build_task(spec: TaskSpec, session: Session, **common: Any) -> Task:  # options of tasks, by name
    """Build a task from plain data.

    Parameters
    ----------
    spec : TaskSpec
        What to build.
    session : Session
        For which session.
    common
        Arguments that all tasks of a pipeline share. `output_root`, `work_dir` and `overwrite` are for every task,
        `environments` for those that run in one, and all others for our own tasks on cameras.

    Returns
    -------
    Task
        A task of this process where there is a class for it (see `find_task`), else a `ForeignTask`. One that cannot be
        loaded or built fails alone, when it is run.
    """
    shared = {name: value for name, value in common.items() if name in _COMMON}
    try:
        _insist_on_places(spec)
        with contained(spec.executable):
            cls = find_task(spec.executable)
            if cls is not None:
                given = {name: value for name, value in common.items() if name in keywords(cls)}
                return cls(session, **{**spec.arguments, **shared, **(given if _is_camera_task(cls) else {})})
    except Exception as error:  # noqa: BLE001  # one task must not stop the others
        return UnusableTask(session, spec=spec, error=error, **shared)
    return ForeignTask(session, spec=spec, environments=common.get("environments"), **shared)


def known_options() -> tuple[str, ...]:
    """Return the options of a pipeline: the arguments of our own tasks on cameras, and `environments`."""
    classes = (cls for name, module in _OWN.items() if (cls := _load(module, name, name)) is not None)
    found = {word: None for cls in classes for word in keywords(cls)}
    return ("environments", *(word for word in found if word not in (*_COMMON, "parents", "taskid")))


def lab_spec(executable: str, parents: Sequence[str] = ()) -> TaskSpec | None:
    """Return a lab's own task as plain data, as its class describes it; None where there is no such class here.

    Parameters
    ----------
    executable : str
        See `find_task`.
    parents : sequence of str
        Names of the tasks that it comes after.

    Raises
    ------
    UsageError
        If its module cannot be imported, or does not hold it.
    """
    cls = find_task(executable)
    if cls is None or is_own(cls):
        return None
    return TaskSpec(
        cls.__name__,
        executable,
        parents=tuple(parents),
        resources=Resources(max(1, cls.cpu), cls.gpu, float(cls.ram), is_estimate=True),
        priority=cls.priority,
        io_charge=cls.io_charge,
        time_out_secs=cls.time_out_secs,
        env=cls.env,
        job_size=cls.job_size,
    )


class UnusableTask(Task):
    """A task that could not be loaded or built: it fails when it is run.

    Parameters
    ----------
    session_path : path or Session
        The session.
    spec : TaskSpec
        What should run.
    error : Exception
        Why it cannot.
    kwargs
        See `Task`.
    """

    def __init__(
        self,
        session_path: str | Path | Session,
        *,
        spec: TaskSpec,
        error: Exception,
        **kwargs: Any,  # see Task
    ) -> None:
        super().__init__(session_path, **kwargs)
        self.plain = spec
        self.error = error

    @property
    def name(self) -> str:
        return self.plain.name

    def arguments(self) -> dict[str, object]:
        return dict(self.plain.arguments)

    def review(self) -> Review:
        return Review("unusable", str(describe(self.error).message))

    def first_steps(self) -> list[Step]:
        """Fail.

        Raises
        ------
        Exception
            What loading or building it raised.
        """
        raise self.error


def assign_task(
    task_deck: MutableMapping[str, Task],
    session_path: str | Path | Session,
    task: type[Task],
    **kwargs: Any,  # arguments of the task
) -> None:
    """Build a task and put it into a deck under its name.

    Parameters
    ----------
    task_deck : dict
        Tasks by name; changed in place.
    session_path : path or Session
        For which session.
    task : class
        What to build.
    kwargs
        Arguments of the task.
    """
    built = task(session_path, **kwargs)
    task_deck[built.name] = built


def _insist_on_places(spec: TaskSpec) -> None:
    """Refuse a task whose name or arguments lead out of the session."""
    insist(spec.name, "the name of a task", is_name=True)
    fault = first_fault(spec.arguments, where="arguments", may_vary=True)
    if fault is not None:
        raise OutsideSession(
            f"the task {spec.name} does not stay inside its session",
            where=fault[0],
            expected="folders relative to the session, without `..`, and names without `/`",
            got=fault[1],
            do="mend it where it is written: the file of tasks, or the description that it was made from",
        )


def is_own(cls: type[Task]) -> bool:
    """Return whether a class is one of this package."""
    return cls.__module__.startswith("ibl_dask.")


def _is_camera_task(cls: type[Task]) -> bool:
    return is_own(cls) and issubclass(cls, VideoTask) and cls.__name__ != "VideoRegisterRaw"


def _load(module: str, name: str, executable: str) -> type[Task] | None:
    """Return a class of a module; None where it is a task of another kind than ours."""
    try:
        with contained(executable):
            found = getattr(import_module(module), name)
    except Exception as error:  # whatever a module does when it is imported
        raise UsageError(
            f"the task {executable} cannot be loaded",
            where=module,
            expected=f"a module that can be imported and holds {name}",
            got=error.got if isinstance(error, TaskFailed) else f"{type(error).__name__}: {error}",
            do="check the name, and that what the module needs is installed in this environment",
        ) from error
    return found if isinstance(found, type) and issubclass(found, Task) else None
