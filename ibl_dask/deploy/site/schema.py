"""Schema of a profile's file: keys, types and ranges, each with the description and example that messages show."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS, format_names
from ibl_dask.deploy.site.engines import EngineSchema
from ibl_dask.deploy.site.networks import NetworkSetSchema
from ibl_dask.deploy.site.profile import LOCAL, Pool, Profile, line_of, this_machine
from ibl_dask.deploy.site.schema_errors import profile_error
from ibl_dask.deploy.site.validation import MOST_LOCAL, MOST_WORKERS, check_profile
from ibl_dask.deploy.site.value_parsers import (
    parse_command,
    parse_folder,
    parse_max_failures,
    parse_memory_gb,
    parse_pause_s,
    parse_scheduler,
    parse_umask,
    parse_walltime_s,
    parse_words,
)
from ibl_dask.deploy.site.yaml_lines import read_yaml
from ibl_dask.errors import UsageError
from ibl_dask.model.cores import available_cores
from ibl_dask.pose.networks import Estimator

MOST_GB = 1e6
"""Maximum memory of a job, GB: more than any machine has."""
MOST_DAYS = 366
"""Maximum walltime, days."""
_EXAMPLE = next(iter(BATCH_SYSTEMS))


def read_profile(path: Path | None, workers: int | None = None) -> Profile:
    """Read a profile; without a file, return one worker per core of this machine.

    Parameters
    ----------
    path : Path, optional
        A YAML file such as those in `cluster/`; `docs/clusters.md` describes its keys.
    workers : int, optional
        Number of workers on this machine, in place of the profile's.

    Raises
    ------
    MissingFile, UsageError
        If the file does not exist, is not a profile, or describes a site that cannot work.
    """
    if workers is not None and workers < 1:
        raise UsageError("a run needs at least one worker", expected="--workers 1 or more", got=str(workers))
    if workers is not None and workers > MOST_LOCAL:
        raise UsageError(
            "this machine cannot have so many workers",
            expected=f"--workers {MOST_LOCAL} at most, and best one for each of its {available_cores()} cores",
            got=str(workers),
            do="leave --workers out",
        )
    if path is None:
        return this_machine(workers or available_cores())
    content, lines = read_yaml(path)
    try:
        schema = _SiteSchema.model_validate(content)
    except ValidationError as error:
        raise profile_error(error, _SiteSchema, lines, path) from error
    profile = schema.to_profile(path, lines)
    check_profile(profile)
    if workers is None:
        return profile
    if not profile.is_local:
        raise UsageError(
            "the number of workers on a batch system is set in its profile",
            where=str(path),
            expected="max_jobs of its pools",
            got=f"--workers {workers}",
            do="leave --workers out, and change max_jobs",
        )
    return replace(profile, pools=(replace(profile.pools[0], min_jobs=workers, max_jobs=workers),))


_Scheduler = Annotated[str, BeforeValidator(parse_scheduler)]
_Word = Annotated[str, Field(pattern=r"^[^\s\x00]+$")]
_Line = Annotated[str, Field(pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
_Count = Annotated[StrictInt, Field(ge=0, le=MOST_WORKERS)]
_Some = Annotated[StrictInt, Field(ge=1, le=MOST_WORKERS)]
_Memory = Annotated[float, BeforeValidator(parse_memory_gb), Field(gt=0, le=MOST_GB)]
_Walltime = Annotated[int, BeforeValidator(parse_walltime_s), Field(gt=0, le=MOST_DAYS * 86_400)]
_Umask = Annotated[int, BeforeValidator(parse_umask)]
_Folder = Annotated[Path, BeforeValidator(parse_folder)]
_Command = Annotated[str, BeforeValidator(parse_command)]
_Words = Annotated[tuple[str, ...], BeforeValidator(parse_words)]
_A_COMMAND = "a program and its arguments, as a list of words or as one line; no shell reads it"
_PoolName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,19}$")]

_EngineName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]


class _PoolSchema(BaseModel):
    """A pool in the file. Messages show the descriptions and examples of its fields."""

    model_config = ConfigDict(extra="forbid")

    scheduler: _Scheduler = Field(description=format_names(LOCAL), examples=[_EXAMPLE])
    queue: _Word | None = Field(None, description="name of a partition or queue", examples=["batch"])
    account: _Word | None = Field(None, description="account that jobs are charged to", examples=["my_lab"])
    cores: _Some = Field(1, description="cores of one job, 1 or more", examples=["8"])
    memory: _Memory | None = Field(None, description="memory of one job, with its unit", examples=["16 GB"])
    gpus: _Count = Field(0, description="GPUs of one job, 0 or more", examples=["1"])
    workers_per_job: _Some | None = Field(None, description="worker processes of one job, 1 or more", examples=["8"])
    walltime: _Walltime | None = Field(
        None, description="time limit of one job, hh:mm:ss or d-hh:mm:ss", examples=["04:00:00"]
    )
    scratch: _Line | None = Field(None, description="a folder of the node", examples=["$TMPDIR"])
    directives: list[_Line] = Field(
        default_factory=list, description="a list of lines for the batch system", examples=['["--constraint=a100"]']
    )
    setup: list[_Line] = Field(
        default_factory=list, description="a list of shell commands", examples=['["module load python"]']
    )
    python: _Command | None = Field(None, description="a Python on the node", examples=["/shared/envs/ibl/bin/python"])
    interface: _Word | None = Field(None, description="a network interface of the nodes", examples=["ib0"])
    min_jobs: _Count | None = Field(None, description="jobs that are always kept, 0 or more", examples=["0"])
    max_jobs: _Count | None = Field(None, description="jobs at most, 1 or more", examples=["20"])

    def to_pool(self, name: str, site: _SiteSchema) -> Pool:
        """Return the pool, with defaults for the keys that are missing."""
        is_local = self.scheduler == LOCAL
        workers = self.workers_per_job or self.gpus or (1 if is_local else self.cores)
        most = self.max_jobs if self.max_jobs is not None else available_cores()
        fewest = self.min_jobs if self.min_jobs is not None else most if is_local else 0
        # Commands of the setup choose a Python; without any it is the one that runs here, which nodes see as well.
        python = self.python or ("python" if self.setup else shlex.quote(sys.executable))
        return Pool(
            name=name,
            scheduler=self.scheduler,
            min_jobs=fewest,
            max_jobs=most,
            cores=self.cores,
            memory_gb=self.memory if self.memory is not None else 2.0 * workers,
            gpus=self.gpus,
            workers_per_job=workers,
            walltime_s=self.walltime,
            queue=self.queue,
            account=self.account,
            scratch=None if self.scratch is None else Path(self.scratch),
            directives=tuple(line.strip() for line in self.directives),
            setup=tuple(line.strip() for line in self.setup),
            python=python,
            interface=self.interface or site.interface,
        )


class _SiteSchema(BaseModel):
    """A profile in the file."""

    model_config = ConfigDict(extra="forbid")

    name: _Line | None = Field(None, description="name of the site", examples=["my_cluster"])
    pools: dict[_PoolName, _PoolSchema] | None = Field(
        None,
        min_length=1,
        description="pools by name: a letter, then letters, digits and _, 20 at most",
        examples=[f"{{cpu: {{scheduler: {_EXAMPLE}, memory: 4 GB, max_jobs: 10}}}}"],
    )
    workers: _Some | None = Field(None, description="workers on this machine, 1 or more", examples=["4"])
    memory_gb: float | None = Field(None, gt=0, le=MOST_GB, description="memory of one worker, GB", examples=["2.0"])
    scratch: _Folder | None = Field(None, description="a work folder that every node sees", examples=["/shared/work"])
    dashboard_port: StrictInt = Field(8787, ge=0, le=65535, description="a port, 0 to 65535", examples=["8787"])
    interface: _Word | None = Field(None, description="a network interface of all nodes", examples=["ib0"])
    security: Literal["auto", "tls", "none"] = Field("auto", description="auto, tls or none", examples=["auto"])
    log_folder: _Folder | None = Field(None, description="a folder that every node sees", examples=["/shared/logs"])
    poll_s: float = Field(10.0, gt=0, le=86_400, description="seconds, more than 0", examples=["10"])
    idle_s: float = Field(30.0, ge=0, le=86_400, description="seconds, 0 or more", examples=["30"])
    umask: _Umask | None = Field(None, description="permission bits that files do not get", examples=["0027"])
    group: _Word | None = Field(None, description="name of a group", examples=["my_lab"])
    environments: dict[_Word, _Command] = Field(
        default_factory=dict,
        description="a Python for each label",
        examples=["{ephys: /shared/envs/ephys/bin/python}"],
    )
    engines: dict[_EngineName, EngineSchema] = Field(
        default_factory=dict,
        description="pose engines by name: a letter, then letters, digits and _, 40 at most",
        examples=["{eye: {kind: onnx, weights: /shared/weights/eye.onnx, sha256: ...}}"],
    )
    networks: dict[Estimator, NetworkSetSchema] = Field(
        default_factory=dict,
        description="networks of a pose estimator, dlc or lightning_pose",
        examples=["{dlc: {parts: {whole: my_engine}}}"],
    )
    on_finish: _Words = Field((), description=_A_COMMAND, examples=["[mail, -s, ibl_dask, me@lab.org]"])
    on_failure: _Words = Field((), description=_A_COMMAND, examples=["[mail, -s, ibl_dask failed, me@lab.org]"])
    on_pause: _Words = Field((), description=_A_COMMAND, examples=["[mail, -s, ibl_dask paused, me@lab.org]"])

    time_outs: dict[_Word, _Walltime] = Field(
        default_factory=dict,
        description="a time for each name or class of a task, hh:mm:ss or d-hh:mm:ss",
        examples=["{VideoCompress: 06:00:00}"],
    )
    longest_pause: Annotated[int, BeforeValidator(parse_pause_s)] = Field(
        86_400,
        description="how long a full disk is waited for, hh:mm:ss or d-hh:mm:ss, 0 for not at all",
        examples=["12:00:00"],
    )
    max_failures: Annotated[str, BeforeValidator(parse_max_failures)] = Field(
        "", description="a number of sessions, or a share of them with %", examples=["5%"]
    )
    io_limit: float | None = Field(
        None, gt=0, le=1e6, description="a sum of io_charge, %, more than 0", examples=["100"]
    )

    fetch_to: _Folder | None = Field(
        None, description="a folder that every node sees, for sessions that are fetched", examples=["/shared/fetched"]
    )
    fetch_max: _Memory | None = Field(
        None, description="size of fetched sessions that have not ended, with its unit", examples=["500 GB"]
    )

    def to_profile(self, path: Path, lines: Mapping[str, int]) -> Profile:
        """Return the profile; `check_profile` checks its values against each other."""
        if self.pools is None:
            pools = this_machine(self.workers or available_cores(), self.memory_gb or 2.0).pools
        else:
            self._require_one_form(path, lines)
            pools = tuple(pool.to_pool(name, self) for name, pool in self.pools.items())
            _require_max_jobs(pools, lines, path)
        return Profile(
            name=self.name or path.stem,
            pools=pools,
            scratch=self.scratch,
            dashboard_port=self.dashboard_port,
            interface=self.interface,
            security=self.security,
            log_folder=self.log_folder,
            poll_s=self.poll_s,
            idle_s=self.idle_s,
            umask=self.umask,
            group=self.group,
            environments=self.environments,
            engines={name: engine.to_settings(name) for name, engine in self.engines.items()},
            networks={estimator: schema.to_set(estimator) for estimator, schema in self.networks.items()},
            on_finish=self.on_finish,
            on_failure=self.on_failure,
            on_pause=self.on_pause,
            time_outs_s={name: float(seconds) for name, seconds in self.time_outs.items()},
            longest_pause_s=float(self.longest_pause),
            max_failures=self.max_failures,
            io_limit=self.io_limit,
            fetch_to=self.fetch_to,
            fetch_max_gb=self.fetch_max,
            source=path,
            lines=lines,
        )

    def _require_one_form(self, path: Path, lines: Mapping[str, int]) -> None:
        for key, instead in (("workers", "max_jobs"), ("memory_gb", "memory")):
            if getattr(self, key) is not None:
                raise UsageError(
                    f"{key} is for profiles without pools",
                    where=line_of(lines, str(path), key),
                    expected=f"{instead} in each pool",
                    got=f"{key} beside pools",
                    do=f"move it into the pools as {instead}",
                )


def _require_max_jobs(pools: tuple[Pool, ...], lines: Mapping[str, int], path: Path) -> None:
    for pool in pools:
        if not pool.is_local and f"pools.{pool.name}.max_jobs" not in lines:
            raise UsageError(
                f"max_jobs is missing in pools.{pool.name}",
                where=line_of(lines, str(path), "pools", pool.name),
                expected="how many jobs of this pool there may be at once",
                got="nothing",
                do="write `max_jobs: 10`, or as many as the queue allows",
            )
