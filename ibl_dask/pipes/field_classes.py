"""Classes of the field's tasks, by name: of this package, or made from the catalogue for another environment."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from ibl_dask.errors import UsageError
from ibl_dask.model.session import Session
from ibl_dask.tasks.catalogue import FIELD_TASKS, FieldTask, field_task
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.options import keywords
from ibl_dask.tasks.registry import find_task
from ibl_dask.tasks.task import Task


class ElsewhereTask(ForeignTask):
    """A task of the field whose work another environment does.

    Parameters
    ----------
    session_path : path or Session
        The session.
    kwargs
        Arguments of `Task`, `environments`, and those of the class in its own package.
    """

    row: ClassVar[FieldTask]
    """Its row in the catalogue."""

    def __init__(self, session_path: str | Path | Session, **kwargs: Any) -> None:  # arguments of another package
        common = {name: kwargs.pop(name) for name in (*keywords(Task), "environments") if name in kwargs}
        spec = field_task(self.row.name, self.row.name, kwargs)
        super().__init__(session_path, spec=spec, **common)


@lru_cache(maxsize=128)
def field_class(name: str, module: str) -> type[Task]:
    """Return the class of a task of the field.

    Parameters
    ----------
    name : str
        Name of the class.
    module : str
        Module that offers it, which a pickle of the class names.

    Raises
    ------
    UsageError
        If the catalogue does not hold it.
    """
    row = FIELD_TASKS.get(name)
    if row is None:
        raise UsageError("the field has no such task", where=module, expected=", ".join(FIELD_TASKS), got=name)
    native = find_task(row.executable)
    if native is not None:
        return native
    described = {
        "row": row,
        "__module__": module,
        "__doc__": f"{row.name} of the reference, run in the environment that holds it; see `ElsewhereTask`.",
        **{key: getattr(row, key) for key in ("priority", "cpu", "gpu", "io_charge", "job_size", "env")},
    }
    return type(name, (ElsewhereTask,), described)
