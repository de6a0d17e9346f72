"""Site profile: pools of workers and the settings they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ibl_dask.model.cores import GPU_CORES
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.networks import NetworkSet

LOCAL = "local"
"""`scheduler` of a pool whose workers are processes of this machine; others are names of batch systems."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of identical workers, started by identical jobs."""

    name: str = "cpu"
    """Name of the pool; workers are called `{pool}-{number}`."""
    scheduler: str = LOCAL
    """Batch system that starts its workers, or `local`."""
    min_jobs: int = 0
    """Jobs that are kept even without work."""
    max_jobs: int = 1
    """Maximum number of jobs. For `local`, both are the number of worker processes."""
    cores: int = 1
    """Cores of one job."""
    memory_gb: float = 2.0
    """Memory of one job, GB, divided evenly among its workers."""
    gpus: int = 0
    """GPUs of one job; a pool with any runs GPU steps only, one worker process per GPU."""
    workers_per_job: int = 1
    """Worker processes of one job, each of which runs one step at a time: one per core, or one per GPU."""
    walltime_s: int | None = None
    """Time limit of a job, s; None where the batch system sets none."""
    queue: str | None = None
    """Queue or partition; None for the site's default."""
    account: str | None = None
    """Account that jobs are charged to."""
    scratch: Path | None = None
    """Node-local folder for data that Dask spills; None for the system's temporary folder."""
    directives: tuple[str, ...] = ()
    """Further options for the batch system, such as `--constraint=a100`."""
    setup: tuple[str, ...] = ()
    """Shell lines that run on the node before workers start: modules, conda, variables."""
    python: str = "python"
    """Interpreter on the node; may be a command such as `apptainer exec image.sif python`."""
    interface: str | None = None
    """Network interface of the nodes; None for the one that leads outside."""

    @property
    def is_local(self) -> bool:
        """Return whether its workers are processes of this machine."""
        return self.scheduler == LOCAL

    @property
    def kind(self) -> str:
        """Return the kind of steps it runs: `GPU` or `CPU`."""
        return "GPU" if self.gpus else "CPU"

    @property
    def worker_memory_gb(self) -> float:
        """Return the memory of one worker, GB."""
        return self.memory_gb / self.workers_per_job

    @property
    def worker_resources(self) -> dict[str, float]:
        """Return the Dask resources of one worker: its cores or its GPU with cores beside it, and its memory in GB."""
        cores = float(max(1, self.cores // self.workers_per_job))
        kinds = {"GPU": 1.0, GPU_CORES: cores} if self.gpus else {"CPU": cores}
        return {**kinds, "MEMORY_GB": self.worker_memory_gb}

    def lacks(self, asked: Mapping[str, float]) -> str:
        """Return the first resource that a worker of this pool has too little of; empty if it can run the step.

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
    """Work folder that every node sees: chunks, journals; None for the default one."""
    dashboard_port: int = 8787
    """Port of the dashboard; another one is used where it is taken."""
    interface: str | None = None
    """Network interface on which workers reach the scheduler; None for the one that leads outside."""
    security: Literal["auto", "tls", "none"] = "auto"
    """TLS between scheduler and workers with certificates made for the run; `auto` is `tls`, since any user of a
    machine can connect to an open port of a worker and run code in it."""
    log_folder: Path | None = None
    """Folder of the logs of jobs; None for `jobs/` in the work folder."""
    poll_s: float = 10.0
    """Interval between two queries of the queue, s."""
    idle_s: float = 30.0
    """Time after which a job without work is cancelled, s."""
    umask: int | None = None
    """Permission bits that files of workers do not get, such as 0o007; None for the user's own."""
    group: str | None = None
    """Group of the files of workers; None for the user's own."""
    environments: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Interpreters of other environments by label, for tasks of other modalities."""
    engines: Mapping[str, EngineSettings] = field(default_factory=dict, hash=False)
    """Pose engines by name."""
    networks: Mapping[str, NetworkSet] = field(default_factory=dict, hash=False)
    """Networks of each pose estimator, `dlc` and `lightning_pose`."""
    on_finish: tuple[str, ...] = ()
    """Program and arguments that the driver runs at the end of a run; empty for none."""
    on_failure: tuple[str, ...] = ()
    """The same for the end of a run in which something failed."""
    on_pause: tuple[str, ...] = ()
    """The same for a run that pauses."""
    time_outs_s: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Name or class of a task -> time after which a step of it is ended, s."""
    longest_pause_s: float = 86_400.0
    """Duration for which a full disk is waited for, s; 0 for none."""
    max_failures: str = ""
    """Failed sessions, a number or a share (`5%`), from which on no further session is begun; empty for any."""
    io_limit: float | None = None
    """Sum of `io_charge` of the tasks that may run at once on one file system, %; None for any."""
    fetch_to: Path | None = None
    """Folder into which sessions of Alyx are fetched; None for the first folder of subjects."""
    fetch_max_gb: float | None = None
    """Size of fetched files of sessions that have not ended, beyond which no further one is fetched, GB."""
    source: Path | None = None
    """File that it was read from."""
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Line of each key in that file, 1-based, by dotted path: `pools.gpu.memory`. For messages."""

    @property
    def is_local(self) -> bool:
        """Return whether all workers run on this machine."""
        return all(pool.is_local for pool in self.pools)

    @property
    def hooks(self) -> dict[Literal["on_finish", "on_failure", "on_pause"], tuple[str, ...]]:
        """Return the commands that tell people of a run, by occasion; see `docs/hooks.md`."""
        return {"on_finish": self.on_finish, "on_failure": self.on_failure, "on_pause": self.on_pause}

    @property
    def task_options(self) -> dict[str, Mapping[str, object]]:
        """Return what tasks find on its machines: environments of other packages, engines and networks."""
        return {"environments": self.environments, "engines": self.engines, "networks": self.networks}

    @property
    def most_workers(self) -> int:
        """Return the maximum number of worker processes."""
        return sum(pool.max_jobs * pool.workers_per_job for pool in self.pools)

    def line(self, *path: str) -> str:
        """Return the place of a key for messages: `FILE, line 12`, or the file alone.

        For a missing key it is the place where the key would be.
        """
        where = str(self.source) if self.source is not None else f"profile {self.name}"
        return line_of(self.lines, where, *path)


def line_of(lines: Mapping[str, int], where: str, *path: str) -> str:
    """Return the place of a key, or of the innermost key around it; see `Profile.line`.

    Parameters
    ----------
    lines
        Line of each key, 1-based, by dotted path.
    where
        Name of the file.
    path
        Names that lead to the key.

    >>> line_of({"pools.gpu": 7}, "site.yaml", "pools", "gpu", "memory")
    'site.yaml, line 7'
    """
    for length in range(len(path), 0, -1):
        if number := lines.get(".".join(path[:length])):
            return f"{where}, line {number}"
    return where


def this_machine(workers: int, memory_gb: float = 2.0, dashboard_port: int = 8787, **more: Any) -> Profile:
    """Return a profile of workers on this machine.

    Parameters
    ----------
    workers : int
        Worker processes, one thread each.
    memory_gb : float
        Memory of a worker, above which it is restarted, GB.
    dashboard_port : int
        See `Profile`.
    more
        Other fields of `Profile`.
    """
    pool = Pool(min_jobs=workers, max_jobs=workers, memory_gb=memory_gb)
    return Profile(pools=(pool,), dashboard_port=dashboard_port, **more)
