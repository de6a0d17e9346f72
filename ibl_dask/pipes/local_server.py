"""Functions of a lab's server, under the names of `ibllib.pipes.local_server`."""

from ibl_dask.alyx.local_server import (
    LARGE_TASKS,
    is_job_size,
    job_creator,
    list_available_envs,
    list_queued_envs,
    report_health,
    task_queue,
    tasks_runner,
)

__all__ = [
    "LARGE_TASKS",
    "is_job_size",
    "job_creator",
    "list_available_envs",
    "list_queued_envs",
    "report_health",
    "task_queue",
    "tasks_runner",
]
