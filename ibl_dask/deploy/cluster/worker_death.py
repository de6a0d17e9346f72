"""Scheduler plugin that returns a step to the driver when its worker dies, instead of giving it to the next worker."""

from __future__ import annotations

from distributed import Scheduler, SchedulerPlugin

from ibl_dask.deploy.cluster.walltime_ends import DaskKey

ANNOTATION = "ibl_dask_step"
"""Annotation of the tasks concerned; all others are tried as often as Dask's settings allow."""


class OneDeath(SchedulerPlugin):
    """Makes a scheduler give up annotated tasks with the first worker that dies with them.

    Dask counts the dead workers of each task, with one limit for all tasks. A worker that is retired, or whose job ends
    regularly, does not count.
    """

    name = "ibl_dask-one-death"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def transition(self, key: DaskKey, start: str, finish: str, *args: object, **kwargs: object) -> None:
        if finish != "processing":
            return
        task = self._scheduler.tasks[key]
        if task.annotations and ANNOTATION in task.annotations:
            task.suspicious = self._scheduler.allowed_failures
