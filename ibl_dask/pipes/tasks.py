"""Tasks and pipelines, under the names of `ibllib.pipes.tasks`."""

from ibl_dask.alyx.allowed import allowed_packages, require_allowed
from ibl_dask.alyx.run_task import run_alyx_task
from ibl_dask.alyx.session_pipeline import Pipeline
from ibl_dask.alyx.task_row import MAX_TIME_OUT_SECS
from ibl_dask.model.status import Status
from ibl_dask.tasks.registry import find_task
from ibl_dask.tasks.task import Task

__all__ = ["MAX_TIME_OUT_SECS", "TASK_STATUS_SET", "Pipeline", "Task", "run_alyx_task", "str2class"]

TASK_STATUS_SET = frozenset(map(str, Status))
"""Names of all statuses."""


def str2class(task_executable: str) -> type[Task]:
    """Return the class behind a dotted path; one of the field for those that other environments hold.

    Scripts call it with what a row of Alyx names, so only modules of the packages that rows may name are imported.

    Raises
    ------
    UsageError
        If there is no such class, or its package is not allowed; see `ibl_dask.alyx.allowed`.
    """
    from ibl_dask.pipes.field_classes import field_class

    require_allowed(task_executable, allowed_packages(("ibl_dask.pipes",)))
    found = find_task(task_executable)
    if found is not None:
        return found
    module, _, name = task_executable.rpartition(".")
    return field_class(name, module.replace("ibllib.", "ibl_dask.", 1))
