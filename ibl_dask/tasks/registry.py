"""Registry of tasks: from a dotted path, an entry point or a spec to a class or a task."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ibl_dask.errors import OutsideSession, TaskFailed, UsageError
from ibl_dask.model.places import first_fault, require_inside
from ibl_dask.model.review import Review
from ibl_dask.model.session import Session
from ibl_dask.model.step import Resources, Step
from ibl_dask.model.task import TaskSpec
from ibl_dask.pose.networks import NetworkSet
from ibl_dask.store.containment import contained
from ibl_dask.store.failures import failure_from
from ibl_dask.tasks.catalogue import find_row, is_of_field, native_rows
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.options import keywords
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video_task import VideoTask

ENTRY_POINTS = "ibl_dask.tasks"
"""Group of entry points under which an installed package names its tasks."""
_OWN = "ibl_dask."
_COMMON = ("output_root", "work_dir", "overwrite")
"""Arguments of every task."""
_OF_CALLER = ("one", "taskid", "machine", "clobber", "location")
"""Arguments of every task that tell it of its caller."""
SITE_OPTIONS = ("environments", "engines", "networks")
"""Options that a site profile holds: what there is on its machines, and is no wish of a user."""
_BY_HAND = ("parents", "taskid")
"""Arguments that only a task built by hand takes."""


def find_task(executable: str) -> type[Task] | None:
    """Return the class behind a dotted path; None for a task of another environment.

    Parameters
    ----------
    executable : str
        Dotted path of a class of this package, of the field, or of a lab; or the name of an entry point of the group
        `ibl_dask.tasks`.

    Raises
    ------
    UsageError
        If the module is there and does not hold such a class, or cannot be imported.
    """
    row = find_row(executable)
    if row is not None and row.native is not None:
        return _load(row.native, executable)
    for point in _entry_points(tuple(sys.path)):
        path = point.value.replace(":", ".")
        if executable in (point.name, path):
            return _load(path, executable)
    module = executable.rpartition(".")[0]
    package = module.partition(".")[0]
    if not package or is_of_field(module) or find_spec(package) is None:
        return None
    return _load(executable, executable)


def _estimator(executable: str, networks: Mapping[str, NetworkSet] | None) -> type[Task] | None:
    """Return the class of this package that estimates poses with the networks of a site; None if it has none for it."""
    row = find_row(executable)
    if not networks or row is None or row.with_networks is None:
        return None
    cls = _load(row.with_networks, executable)
    return cls if cls is not None and getattr(cls, "estimator", None) in networks else None


@lru_cache(maxsize=8)
def _entry_points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of packages along a path, cached: to list them takes longer than to plan a session."""
    return tuple(entry_points(group=ENTRY_POINTS))


def build_task(spec: TaskSpec, session: Session, **common: Any) -> Task:  # options of tasks have many types
    """Build a task from its spec, whose module is imported.

    Specs are the choice of a caller: of the plan, of a script, or of a YAML file of the site. Those that come from rows
    of a database are compared with a list of packages before (`ibl_dask.alyx.allowed`).

    Parameters
    ----------
    spec : TaskSpec
        The task as plain data.
    session : Session
        Its session.
    common
        Arguments that all tasks of a pipeline share. `output_root`, `work_dir`, `overwrite`, `one`, `taskid`,
        `machine`, `clobber` and `location` reach every task, `environments` those of other environments, and all others
        the tasks on cameras of this package that have an argument of that name. Where `networks` has an estimator, its
        task is the one of this package.

    Returns
    -------
    Task
        A task of this process if there is a class for it (see `find_task`), else a `ForeignTask`. A task that cannot
        be loaded or built becomes an `UnusableTask`, which fails alone when it is run.
    """
    shared = {name: value for name, value in common.items() if name in (*_COMMON, *_OF_CALLER)}
    try:
        _require_inside(spec)
        cls = _estimator(spec.executable, common.get("networks")) or find_task(spec.executable)
        if cls is not None:
            given = (
                {name: value for name, value in common.items() if name in keywords(cls)} if _takes_options(cls) else {}
            )
            with guard(cls.__module__, spec.executable):
                return cls(session, **{**spec.arguments, **shared, **given})
    except Exception as error:  # noqa: BLE001  # one task must not stop the others
        return UnusableTask(session, spec=spec, error=error, **shared)
    return ForeignTask(session, spec=spec, environments=common.get("environments"), **shared)


@cache
def known_options() -> tuple[str, ...]:
    """Return the names of a pipeline's options: arguments of the native tasks on cameras, and places of a site."""
    classes = (_load(row.native, row.name) for row in native_rows() if row.native is not None)
    found = {word: None for cls in classes if cls is not None and _takes_options(cls) for word in keywords(cls)}
    return (*SITE_OPTIONS, *(word for word in found if word not in (*_COMMON, *_BY_HAND)))


def lab_spec(executable: str, parents: Sequence[str] = ()) -> TaskSpec | None:
    """Return the spec of a lab's own task, as its class describes it; None if there is no such class here.

    Parameters
    ----------
    executable : str
        Dotted path or entry point, see `find_task`.
    parents : sequence of str
        Names of the tasks that it comes after.

    Raises
    ------
    UsageError
        If its module cannot be imported, or does not hold it.
    """
    cls = find_task(executable)
    if cls is None or is_native(cls):
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
        The task as plain data.
    error : Exception
        Error of loading or building it.
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
        return Review("unusable", str(failure_from(self.error).message))

    def first_steps(self) -> list[Step]:
        """Fail.

        Raises
        ------
        Exception
            The error of loading or building it.
        """
        raise self.error


def assign_task(
    task_deck: MutableMapping[str, Task],
    session_path: str | Path | Session,
    task: type[Task],
    **kwargs: Any,  # arguments of the task
) -> None:
    """Build a task and add it to a mapping under its name; the field's name and arguments.

    Parameters
    ----------
    task_deck : dict
        Tasks by name; changed in place.
    session_path : path or Session
        The session.
    task : class
        Class of the task.
    kwargs
        Arguments of the task.
    """
    built = task(session_path, **kwargs)
    task_deck[built.name] = built


def is_native(cls: type[Task]) -> bool:
    """Return whether a class is one of this package."""
    return cls.__module__.startswith(_OWN)


def _takes_options(cls: type[Task]) -> bool:
    return is_native(cls) and issubclass(cls, VideoTask) and cls.takes_options


def _require_inside(spec: TaskSpec) -> None:
    """Raise if the name or an argument of a task leads out of the session."""
    require_inside(spec.name, "the name of a task", is_name=True)
    fault = first_fault(spec.arguments, where="arguments", may_vary=True)
    if fault is not None:
        raise OutsideSession(
            f"the task {spec.name} does not stay inside its session",
            where=fault[0],
            expected="folders relative to the session, without `..`, and names without `/`",
            got=fault[1],
            do="mend it where it is written: the file of tasks, or the description that it was made from",
        )


def _load(path: str, executable: str) -> type[Task] | None:
    """Return a class by its dotted path; None if it is no task of this package's kind.

    Parameters
    ----------
    path : str
        Dotted path of the class.
    executable : str
        The task as it was asked for, for messages.
    """
    module, _, name = path.rpartition(".")
    try:
        with guard(module, executable):
            found = getattr(import_module(module), name)
    except Exception as error:  # any error may come out of a lab's module
        raise UsageError(
            f"the task {executable} cannot be loaded",
            where=module,
            expected=f"a module that can be imported and holds {name}",
            got=error.got if isinstance(error, TaskFailed) else f"{type(error).__name__}: {error}",
            do="check the name, and that what the module needs is installed in this environment",
        ) from error
    return found if isinstance(found, type) and issubclass(found, Task) else None


def guard(module: str, name: str) -> contextlib.AbstractContextManager[None]:
    """Return the context in which code of a module runs: that of other packages is contained.

    Parameters
    ----------
    module : str
        Dotted path of the module.
    name : str
        The task, for messages.
    """
    return contextlib.nullcontext() if module.startswith(_OWN) else contained(name)
