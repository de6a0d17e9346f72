"""Selection of tasks and validation of options, before anything starts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ibl_dask.errors import UsageError
from ibl_dask.model.choices import advice
from ibl_dask.model.task import TaskSpec
from ibl_dask.tasks.options import check_options
from ibl_dask.tasks.registry import known_options, lab_spec

ARGUMENTS = ("tasks", "specs", "output_root", "work_dir", "overwrite", "pose")
"""Arguments of a pipeline beside the options of its tasks."""
OF_RUN = ("client", "executor", "hooks", "listeners", "limits", "is_hashed")
"""Further arguments of a run."""


def check_arguments(
    owner: str, given: Mapping[str, object], others: Iterable[str] = (), output_root: object = None
) -> None:
    """Raise unless the options of a pipeline, or of a run, are known and make sense.

    Parameters
    ----------
    owner : str
        Function that was called: `make_pipeline` or `run`.
    given : mapping
        Keyword arguments that it does not name itself, and those of `ARGUMENTS` that are to be validated.
    others : iterable of str
        Further arguments that it has.
    output_root : path, optional
        Folder of the results, if they do not go into the sessions.

    Raises
    ------
    UsageError
        For the first fault, with the name or value that was probably meant.
    """
    check_options(owner, given, [*known_options(), *ARGUMENTS, *others], output_root)


def as_names(tasks: str | Sequence[str] | None) -> list[str] | None:
    """Return names of tasks, each once, from a list or a text with commas between; None stands for all tasks.

    Raises
    ------
    UsageError
        If none is named.
    """
    if tasks is None:
        return None
    listed = tasks.split(",") if isinstance(tasks, str) else tasks
    names = list(dict.fromkeys(name.strip() for name in listed if name.strip()))
    if not names:
        raise UsageError(
            "no task is named",
            expected="names of tasks, with commas between",
            got=repr(tasks),
            do="name some, or leave --tasks out for all of them",
        )
    return names


def select(specs: Sequence[TaskSpec], wanted: Sequence[str]) -> tuple[tuple[TaskSpec, ...], list[str]]:
    """Return the tasks asked for, parents first, and the names that no task of the session has.

    Parameters
    ----------
    specs : sequence of TaskSpec
        The session's tasks, parents first.
    wanted : sequence of str
        Names of tasks or of their classes, or dotted paths. A lab's own task that the session does not have is added,
        after those that are named before it.
    """
    chosen: dict[str, TaskSpec] = {}
    added: dict[str, TaskSpec] = {}
    absent = []
    for name in wanted:
        found = [spec for spec in specs if is_meant(spec, name)]
        own = lab_spec(name) if not found else None
        chosen |= {spec.name: spec for spec in found}
        if own is not None:
            before = {**chosen, **added}
            level = max((spec.level + 1 for spec in before.values()), default=0)
            label = name if own.name in {spec.name for spec in specs} | before.keys() else own.name
            added[label] = replace(own, name=label, parents=tuple(before), level=level)
        elif not found:
            absent.append(name)
    return (*(spec for spec in specs if spec.name in chosen), *added.values()), absent


def is_meant(spec: TaskSpec, name: str) -> bool:
    """Return whether a name is that of a task, of its class, or the dotted path of either's."""
    cls = class_of(spec)
    return name in (spec.name, cls, spec.executable) or (
        name.startswith("ibl_dask.") and name.rpartition(".")[2] == cls
    )


def class_of(spec: TaskSpec) -> str:
    """Return the name of a task's class."""
    return spec.executable.rsplit(".", 1)[-1]


def check_tasks(wanted: Sequence[str], planned: Iterable[Callable[[], Sequence[TaskSpec]]]) -> None:
    """Raise unless each task asked for is one of some session, or a lab's own.

    Parameters
    ----------
    wanted : sequence of str
        See `select`.
    planned : iterable of callables
        Planner of each session. They are called until every name is known; an error is left to the session's turn.

    Raises
    ------
    UsageError
        If some session can be planned and none has such a task.
    """
    left = [name for name in wanted if lab_spec(name) is None]
    seen: dict[str, TaskSpec] = {}
    for plan in planned:
        if not left:
            return
        with contextlib.suppress(Exception):  # raised again, and reported in full, in the session's turn
            specs = plan()
            seen |= {spec.name: spec for spec in specs}
            left = [name for name in left if not any(is_meant(spec, name) for spec in specs)]
    if left and seen:
        raise unknown_tasks(left, list(seen.values()), "no session has a task")


def unknown_tasks(names: Sequence[str], specs: Sequence[TaskSpec], whose: str, where: str = "") -> UsageError:
    """Return the error for tasks that are asked for and not there.

    Parameters
    ----------
    names : sequence of str
        Names that no task has.
    specs : sequence of TaskSpec
        Tasks that there are.
    whose : str
        Start of the message, such as `no session has a task`.
    where : str
        Session folder; empty for several.
    """
    known = [word for spec in specs for word in (spec.name, class_of(spec))]
    listed = [spec.name if spec.name == class_of(spec) else f"{spec.name} ({class_of(spec)})" for spec in specs]
    dotted = [name for name in names if "." in name]
    foreign = f"; no package {dotted[0].split('.')[0]} is installed here that holds such a task" if dotted else ""
    return UsageError(
        f"{whose} {' or '.join(names)}",
        where=where,
        expected=f"{', '.join(listed)}; or the dotted path of a lab's own task",
        got=", ".join(names) + foreign,
        do="; ".join(dict.fromkeys(advice(name, known) for name in names)),
    )
