"""A site profile: where work runs and how much of it at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ibl_dask.errors import MissingFile, UsageError


@dataclass(frozen=True, slots=True)
class Profile:
    """Workers of one kind on one machine."""

    name: str = "laptop"
    """Name of the site."""
    workers: int = 1
    """Worker processes, one thread each."""
    memory_gb: float = 2.0
    """Memory a worker may use before it is restarted, GB."""
    scratch: Path | None = None
    """Scratch folder; None for the usual one."""
    dashboard_port: int = 8787
    """Port of the dashboard; another one is taken where it is in use."""


class _Door(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = "laptop"
    workers: int | None = Field(default=None, ge=1)
    memory_gb: float = Field(default=2.0, gt=0)
    scratch: Path | None = None
    dashboard_port: int = Field(default=8787, ge=0, le=65535)


def read_profile(path: Path | None, workers: int | None = None) -> Profile:
    """Read a profile, or take one worker per core of this machine.

    Parameters
    ----------
    path : Path, optional
        A YAML file such as those in `cluster/`.
    workers : int, optional
        Number of workers, whatever the profile says.

    Raises
    ------
    MissingFile, UsageError
        If there is no such file, or it cannot be understood.
    """
    content: object = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text()) or {}
        except FileNotFoundError as error:
            raise MissingFile(
                "this profile does not exist",
                where=str(path),
                expected="a YAML file",
                got="nothing",
                do="give one of the files in cluster/, or your own",
            ) from error
        except yaml.YAMLError as error:
            raise UsageError("this profile is not YAML", where=str(path), got=" ".join(str(error).split())) from error
    try:
        door = _Door.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise UsageError(
            "this profile cannot be understood",
            where=str(path),
            expected="keys " + ", ".join(_Door.model_fields),
            got=problems,
            do="correct these keys",
        ) from error
    if workers is not None and workers < 1:
        raise UsageError("a run needs at least one worker", expected="--workers 1 or more", got=str(workers))
    n_workers = workers or door.workers or available_cores()
    return Profile(door.name, n_workers, door.memory_gb, door.scratch, door.dashboard_port)


def available_cores() -> int:
    """Return the cores this process may use: under a batch system fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
