"""A site profile: where work runs and how much of it at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Scheduler = Literal["local", "slurm", "pbs"]
"""Who starts workers: this machine, or a batch system through its commands."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers of one kind, started by jobs that are all alike."""

    name: str = "cpu"
    """Name of the pool; workers are called `{pool}-{number}`."""
    scheduler: Scheduler = "local"
    """Who starts its workers."""
    min_jobs: int = 0
    """Jobs that are kept, whether there is work or not."""
    max_jobs: int = 1
    """Jobs at most. For `local`, both are the number of worker processes."""
    cores: int = 1
    """Cores of one job."""
    memory_gb: float = 2.0
    """Memory of one job, GB, shared evenly by its workers."""
    gpus: int = 0
    """GPUs of one job; a pool with any runs GPU steps only, one worker process for each GPU."""
    workers_per_job: int = 1
    """Worker processes in one job, each of which runs one step at a time: a core each, or a GPU each."""
    walltime_s: int | None = None
    """Time after which the batch system ends a job, s; None where it sets no limit."""
    queue: str | None = None
    """Queue (PBS) or partition (Slurm); None for the site's default."""
    account: str | None = None
    """Account that jobs are charged to."""
    scratch: Path | None = None
    """Node-local scratch folder for what Dask spills; None for the system's temporary folder."""
    directives: tuple[str, ...] = ()
    """Further lines for the batch system, such as `--constraint=a100`."""
    setup: tuple[str, ...] = ()
    """Shell lines that run on the node before workers start: modules, conda, variables."""
    python: str = "python"
    """Interpreter on the node; may be a command such as `apptainer exec image.sif python`."""
    interface: str | None = None
    """Network interface of the nodes; None for the one that leads outside."""

    @property
    def kind(self) -> str:
        """Return which steps it runs: GPU or CPU."""
        return "GPU" if self.gpus else "CPU"

    @property
    def worker_memory_gb(self) -> float:
        """Return the memory of one worker, GB."""
        return self.memory_gb / self.workers_per_job

    @property
    def worker_resources(self) -> dict[str, float]:
        """Return what one worker offers to Dask: its cores or its GPU, and its memory."""
        amount = 1.0 if self.gpus else float(self.cores // self.workers_per_job)
        return {self.kind: amount, "MEMORY_GB": self.worker_memory_gb}

    def lacks(self, asked: Mapping[str, float]) -> str:
        """Return what a step asks for that no worker of this pool offers; empty where one can run it.

        Parameters
        ----------
        asked
            Amount of each resource, as `Resources.for_dask` gives it.
        """
        offered = self.worker_resources
        for name, amount in asked.items():
            if name not in offered:
                return f"{name}: {amount:g} (its workers offer none)"
            if amount > offered[name]:
                return f"{name}: {amount:g} (each of its workers offers {offered[name]:g})"
        return ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A site: its pools of workers, all under one Dask scheduler."""

    name: str = "laptop"
    """Name of the site."""
    pools: tuple[Pool, ...] = (Pool(),)
    """Pools of workers."""
    scratch: Path | None = None
    """Work folder that every node sees: chunks, journals; None for the usual one."""
    dashboard_port: int = 8787
    """Port of the dashboard; another one is taken where it is in use."""
    interface: str | None = None
    """Network interface on which workers reach the scheduler; None for the one that leads outside."""
    security: Literal["auto", "tls", "none"] = "auto"
    """Whether scheduler and workers talk over TLS with certificates made for the run; `auto`: yes, since whoever
    reaches an open port of a worker, as every user of the machine does, runs code in it."""
    log_folder: Path | None = None
    """Where jobs leave their output; None for `jobs/` in the work folder."""
    poll_s: float = 10.0
    """How often the batch system is asked about our jobs, s."""
    idle_s: float = 30.0
    """How long a job without work is kept, s."""
    umask: int | None = None
    """Permission bits that files of workers do not get, such as 0o007; None for the user's own."""
    group: str | None = None
    """Group that files of workers belong to; None for the user's own."""
    environments: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Interpreters of other environments by label: what tasks of other modalities run in."""
    source: Path | None = None
    """File it was read from."""
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Line of each key in that file, 1-based, by dotted path: `pools.gpu.memory`. For messages."""

    @property
    def is_local(self) -> bool:
        """Return whether all workers run on this machine."""
        return all(pool.scheduler == "local" for pool in self.pools)

    @property
    def most_workers(self) -> int:
        """Return how many worker processes there are at most."""
        return sum(pool.max_jobs * pool.workers_per_job for pool in self.pools)

    def line(self, *path: str) -> str:
        """Return where in its file a key stands, for messages: `FILE, line 12` or just the file.

        A key that is not there is looked for where it would be.
        """
        where = str(self.source) if self.source is not None else f"profile {self.name}"
        return line_of(self.lines, where, *path)


def line_of(lines: Mapping[str, int], where: str, *path: str) -> str:
    """Return where a key stands, or else the nearest thing around it; see `Profile.line`.

    >>> line_of({"pools.gpu": 7}, "site.yaml", "pools", "gpu", "memory")
    'site.yaml, line 7'
    """
    for length in range(len(path), 0, -1):
        if number := lines.get(".".join(path[:length])):
            return f"{where}, line {number}"
    return where


def this_machine(workers: int, memory_gb: float = 2.0, dashboard_port: int = 8787, **more: Any) -> Profile:
    """Return the profile of some workers on this machine.

    Parameters
    ----------
    workers : int
        Worker processes, one thread each.
    memory_gb : float
        Memory that a worker may use before it is restarted, GB.
    dashboard_port : int
        See `Profile`.
    more
        Other fields of `Profile`.
    """
    pool = Pool(min_jobs=workers, max_jobs=workers, memory_gb=memory_gb)
    return Profile(pools=(pool,), dashboard_port=dashboard_port, **more)


def available_cores() -> int:
    """Return the cores this process may use: under a batch system fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
