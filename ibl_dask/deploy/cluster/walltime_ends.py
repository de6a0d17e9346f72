"""Steps that were running when their job reached its walltime: a step longer than its job fails every time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ibl_dask.deploy.batch_systems.formats import format_duration
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.deploy.site.walltime import guaranteed_s
from ibl_dask.errors import JobTooShort, RunError

DaskKey = Any  # distributed's keys are strings, numbers or tuples of them


class RunningTask(Protocol):
    """The part of `distributed.scheduler.TaskState` that is used."""

    @property
    def key(self) -> DaskKey:
        """Return the task's name in Dask."""


class ExecutingWorker(Protocol):
    """The part of `distributed.scheduler.WorkerState` that is used."""

    @property
    def executing(self) -> Mapping[Any, float]:
        """Return the tasks (`RunningTask`) that it runs, and for how long, s."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A step that was running when its job ended."""

    key: DaskKey
    """Name of the step in Dask."""
    is_final: bool
    """Whether it had run for as long as any job guarantees, so that another attempt would fail as well."""
    error: RunError
    """Its error, if it is not tried again."""


def cut_short(profile: Profile, pool: Pool, key: DaskKey, seconds: float, limit_s: int | None = None) -> Cut:
    """Return the record of a step that was cut off by the walltime of its job.

    Parameters
    ----------
    profile, pool
        The site, and the pool of the job.
    key
        Name of the step in Dask.
    seconds
        Time for which it had run, s.
    limit_s
        Time limit of the job where the profile sets none, s.
    """
    guaranteed = guaranteed_s(pool, limit_s)
    walltime_s = limit_s if limit_s is not None else pool.walltime_s
    walltime = "" if walltime_s is None else format_duration(walltime_s)
    at_least = f", of which a worker surely takes steps for {format_duration(round(guaranteed))}" if guaranteed else ""
    error = JobTooShort(
        "this step takes longer than its job lasts",
        where=f"{key[0]} of {key[1]}, on pool {pool.name} ({profile.line('pools', pool.name, 'walltime')})",
        expected=f"an end within the walltime of a job, {walltime}{at_least}",
        got=f"a step that had run for {format_duration(round(seconds))} when its job ended",
        do="give the pool a `walltime` well beyond the duration of the step, then run again",
    )
    return Cut(key, seconds >= guaranteed, error)


class RunningSteps:
    """Steps that the workers of one job run, as of the last update."""

    def __init__(self) -> None:
        self._now: dict[str, dict[DaskKey, float]] = {}

    def update(self, workers: Mapping[str, ExecutingWorker]) -> dict[DaskKey, float]:
        """Replace the steps by those of the connected workers; return the steps of workers that are gone.

        Parameters
        ----------
        workers
            Connected workers by name.

        Returns
        -------
        dict
            Time for which each step had run, s, by its name in Dask.
        """
        gone = [name for name in self._now if name not in workers]
        lost = {key: seconds for name in gone for key, seconds in self._now.pop(name).items()}
        for name, worker in workers.items():
            tasks: Iterable[tuple[RunningTask, float]] = worker.executing.items()
            self._now[name] = {task.key: seconds for task, seconds in tasks}
        return lost
