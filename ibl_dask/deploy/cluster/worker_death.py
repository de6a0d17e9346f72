"""A step comes back to whoever gave it as soon as its worker dies, instead of going to the next worker."""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, SchedulerPlugin

ANNOTATION = "ibl_dask_step"
"""Annotation of the tasks that this is about; all others are tried as often as Dask's settings say."""


class OneDeath(SchedulerPlugin):
    """Lets a scheduler give up marked tasks with the first worker that dies with them.

    Dask counts the dead workers of each task, and has one limit for all. A worker that leaves in good order, or whose
    job ends so, does not count.
    """

    name = "ibl_dask-one-death"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:  # as Dask calls it
        if finish != "processing":
            return
        task = self._scheduler.tasks[key]
        if task.annotations and ANNOTATION in task.annotations:
            task.suspicious = self._scheduler.allowed_failures
