"""Steps that were running when their job ended: a step that is longer than its job ends no better the next time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibl_dask.deploy.cluster.batch_systems import lookup as queue
from ibl_dask.deploy.site.profile import Pool, Profile, Scheduler
from ibl_dask.deploy.site.walltime import surely_s, walltime_text
from ibl_dask.errors import RunError

_EXCEEDED = re.compile(r"walltime (?:\S+ )?exceeded limit (?P<limit>\S+)", re.IGNORECASE)
"""What a PBS writes into the log of a job that it ended."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A step that the end of its job ended."""

    key: Any
    """Its name in Dask."""
    is_hopeless: bool
    """Whether it had had all the time that a job surely gives."""
    error: RunError
    """The error of the step, should it not be given again."""


def cut_short(profile: Profile, pool: Pool, key: Any, seconds: float, limit: str = "") -> Cut:
    """Return what to make of a step that the walltime of its job ended.

    Parameters
    ----------
    profile, pool
        The site, and the pool of the job.
    key
        Name of the step in Dask.
    seconds
        How long it had run, s.
    limit
        The job's time limit in words, where the profile does not say it.
    """
    surely = surely_s(pool)
    walltime = limit or ("" if pool.walltime_s is None else walltime_text(pool.walltime_s))
    at_least = f", of which a worker surely takes steps for {walltime_text(round(surely))}" if surely else ""
    error = RunError(
        "this step takes longer than its job lasts",
        where=f"{key[0]} of {key[1]}, on pool {pool.name} ({profile.line('pools', pool.name, 'walltime')})",
        expected=f"an end within the walltime of a job, {walltime}{at_least}",
        got=f"a step that had run for {walltime_text(round(seconds))} when its job ended",
        do="give the pool a `walltime` well beyond what the step takes, then run again",
    )
    return Cut(key, seconds >= surely, error)


async def limit_that_ended(scheduler: Scheduler, job_id: str, folders: list[Path]) -> str:
    """Return the time limit by which a batch system ended a job; empty where something else ended it."""
    if scheduler == "slurm":
        code, text, _ = await queue.call(["scontrol", "show", "job", job_id])
        fields = dict(word.split("=", 1) for word in text.split() if "=" in word) if code == 0 else {}
        return fields.get("TimeLimit", "") if fields.get("JobState") == "TIMEOUT" else ""
    found = _EXCEEDED.search(await asyncio.to_thread(queue.log_tail, job_id, folders))
    return found["limit"] if found else ""


class Doings:
    """What the workers of one job are doing, and what each did when it was last seen."""

    def __init__(self) -> None:
        self._now: dict[str, dict[Any, float]] = {}

    def look(self, workers: Mapping[str, Any]) -> dict[Any, float]:
        """Take what the workers that are there do now; return the steps of those that are gone, and how long they ran.

        Parameters
        ----------
        workers
            Name -> worker, as Dask's scheduler knows it.

        Returns
        -------
        dict
            Name of a step in Dask -> s.
        """
        gone = [name for name in self._now if name not in workers]
        lost = {key: seconds for name in gone for key, seconds in self._now.pop(name).items()}
        for name, worker in workers.items():
            self._now[name] = {task.key: seconds for task, seconds in worker.executing.items()}
        return lost
