"""Tasks as plain data, with the calling convention of the reference's `TaskSpec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ibl_dask.model import task as model
from ibl_dask.model.session import Session
from ibl_dask.model.step import Resources
from ibl_dask.model.task import FIELD_MEMORY_GB, TIME_OUT_S
from ibl_dask.tasks.registry import build_task
from ibl_dask.tasks.task import Task


class TaskSpec(model.TaskSpec):
    """One task of one session, with the arguments and methods of the reference.

    Parameters
    ----------
    name, executable, arguments, parents, level, priority, io_charge, time_out_secs, env, job_size
        See `ibl_dask.model.task.TaskSpec`; parents are names.
    gpu, cpu, ram
        GPUs, cores and memory, GB; instead of them `resources`.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        executable: str,
        arguments: Mapping[str, Any] | None = None,
        parents: Sequence[str] | None = None,
        level: int = 0,
        priority: int = 30,
        io_charge: int = 5,
        gpu: int = 0,
        cpu: int = 1,
        ram: float = FIELD_MEMORY_GB,
        time_out_secs: int = TIME_OUT_S,
        env: str | None = None,
        job_size: str = "small",
        resources: Resources | None = None,
    ) -> None:
        super().__init__(
            name,
            executable,
            dict(arguments or {}),
            tuple(parents or ()),
            Resources(cpu, gpu, float(ram)) if resources is None else resources,
            priority,
            level,
            io_charge,
            time_out_secs,
            env,
            job_size,
        )

    @classmethod
    def from_task(cls, task: Task) -> TaskSpec:
        """Return the spec of a task, with the names of its parents."""
        return cls.of(task.spec(parents=[parent.name for parent in task.parents]))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TaskSpec:
        """Read the plain form of a task; see `ibl_dask.model.task.TaskSpec.from_dict`."""
        return cls.of(model.TaskSpec.from_dict(content))

    @classmethod
    def of(cls, spec: model.TaskSpec) -> TaskSpec:
        """Return a spec with the methods of the reference."""
        return cls(**{name: getattr(spec, name) for name in model.TaskSpec.__dataclass_fields__})

    def instantiate(self, session_path: str | Path, **kwargs: Any) -> Task:  # arguments of `build_task`
        """Return the task, without parents; see `build_task`."""
        return build_task(self, Session(Path(session_path)), **kwargs)
