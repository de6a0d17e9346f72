"""Tasks of a session as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ibl_dask.errors import UsageError
from ibl_dask.model.choices import nearest
from ibl_dask.model.step import Resources

TIME_OUT_S = 7200
"""Time after which the field takes a task for dead, s."""
FIELD_MEMORY_GB = 4.0
"""Memory of a task of the field, GB."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of one session."""

    name: str
    """Name within the session, as stored in Alyx."""
    executable: str
    """Dotted path of the class."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class; JSON."""
    parents: tuple[str, ...] = ()
    """Names of tasks that must be done before."""
    resources: Resources = Resources()
    """Cores, GPUs and memory that it occupies."""
    priority: int = 30
    """0 to 100, higher first."""
    level: int = 0
    """Length of the longest path to a task without parents."""
    io_charge: int = 5
    """Share of a disk's bandwidth, %."""
    time_out_secs: int = TIME_OUT_S
    """Time after which it is taken for dead, s."""
    env: str | None = None
    """Label of the environment that it needs; None for that of its package."""
    job_size: str = "small"
    """`small` or `large`: queue of the field's servers."""

    @property
    def gpu(self) -> int:
        """Return the number of GPUs."""
        return self.resources.gpu

    @property
    def cpu(self) -> int:
        """Return the number of cores."""
        return self.resources.cpu

    @property
    def ram(self) -> float:
        """Return the memory, GB."""
        return self.resources.memory_gb

    def to_dict(self) -> dict[str, Any]:
        """Return the field's plain form of a task; `from_dict` reads it back."""
        memory_gb = self.resources.memory_gb
        return {
            "name": self.name,
            "executable": self.executable,
            "arguments": dict(self.arguments),
            "parents": list(self.parents),
            "level": self.level,
            "priority": self.priority,
            "io_charge": self.io_charge,
            "gpu": self.resources.gpu,
            "cpu": self.resources.cpu,
            "ram": int(memory_gb) if memory_gb == int(memory_gb) else memory_gb,
            "time_out_secs": self.time_out_secs,
            "env": self.env,
            "job_size": self.job_size,
        }

    def to_alyx(self, parents: Sequence[str] | None = None, **kwargs: Any) -> dict[str, Any]:  # fields of a row
        """Return the row that is sent to Alyx.

        Parameters
        ----------
        parents : sequence of str, optional
            Identifiers of the parents; by default their names.
        kwargs
            Other fields: session, graph, data_repository.
        """
        plain = {name: value for name, value in self.to_dict().items() if name not in ("env", "job_size")}
        named = list(self.parents if parents is None else parents)
        return {**plain, "parents": named, "status": "Waiting", "log": None, **kwargs}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TaskSpec:
        """Read the field's plain form of a task: that of `to_dict`, or a row as it is sent to Alyx.

        Keys of Alyx alone, such as `status`, are left out. Parents must be names.

        Raises
        ------
        UsageError
            If name or executable are not there, a key is misspelt, or a value makes no sense.
        """
        _require_spelling(content)
        try:
            resources = Resources(
                cpu=int(_given(content, "cpu", 1)),
                gpu=int(_given(content, "gpu", 0)),
                memory_gb=float(_given(content, "ram", FIELD_MEMORY_GB)),
            )
            time_out_secs = content.get("time_out_secs") or content.get("time_out_sec") or TIME_OUT_S
            return cls(
                name=str(content["name"]),
                executable=str(content["executable"]),
                arguments=dict(content.get("arguments") or {}),
                parents=tuple(map(str, content.get("parents") or ())),
                resources=resources,
                priority=int(_given(content, "priority", 30)),
                level=int(_given(content, "level", 0)),
                io_charge=int(_given(content, "io_charge", 5)),
                time_out_secs=int(time_out_secs),
                env=content.get("env"),
                job_size=str(_given(content, "job_size", "small")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                "this is no task",
                where=str(content.get("name", "")),
                expected="a mapping with name, executable, arguments and names of parents",
                got=f"{type(error).__name__}: {error}",
                do="write the file of tasks again from the session's description",
            ) from error


_KEYS = (
    *("name", "executable", "arguments", "parents", "level", "priority", "io_charge", "gpu", "cpu", "ram"),
    *("time_out_secs", "time_out_sec", "env", "job_size"),
)
"""Keys of a task in its plain form; `time_out_sec` is that of Alyx."""
_MISSPELT = 0.75
"""Likeness to one of them from which on another key counts as misspelt; keys of Alyx are less alike."""


def _require_spelling(content: Mapping[str, object]) -> None:
    """Raise for a key that is much like one of a task: it would be left out, and the task run without it."""
    meant = {key: nearest(str(key), _KEYS, _MISSPELT) for key in content if key not in _KEYS}
    wrong = {key: near for key, near in meant.items() if near is not None}
    if wrong:
        raise UsageError(
            f"a task has no key {' and no '.join(wrong)}",
            where=str(content.get("name", "")),
            expected=", ".join(_KEYS),
            got=", ".join(wrong),
            do="write " + ", ".join(f"{near} in place of {key}" for key, near in wrong.items()),
        )


def _given(content: Mapping[str, Any], name: str, default: Any) -> Any:  # whatever YAML holds
    value = content.get(name)
    return default if value is None else value


def sort_specs(specs: Iterable[TaskSpec]) -> tuple[TaskSpec, ...]:
    """Order tasks so that parents come first, and number their levels.

    Raises
    ------
    UsageError
        If two tasks share a name, a parent is not there, or tasks wait for each other in a circle.
    """
    specs = list(specs)
    by_name = {spec.name: spec for spec in specs}
    if len(by_name) < len(specs):
        twice = sorted({s.name for s in specs if sum(t.name == s.name for t in specs) > 1})
        raise UsageError("two tasks share a name", got=", ".join(twice), do="give each task its own name")
    for spec in specs:
        absent = [parent for parent in spec.parents if parent not in by_name]
        if absent:
            raise UsageError(
                f"task {spec.name} waits for a task that is not there",
                expected="parents among " + ", ".join(by_name),
                got=", ".join(absent),
                do="add the task or drop it from the parents",
            )
    done: dict[str, TaskSpec] = {}
    left = specs
    while left:
        ready = [spec for spec in left if all(parent in done for parent in spec.parents)]
        if not ready:
            raise UsageError("tasks wait for each other in a circle", got=", ".join(s.name for s in left))
        for spec in ready:
            level = max((done[parent].level + 1 for parent in spec.parents), default=0)
            done[spec.name] = replace(spec, level=level)
        left = [spec for spec in left if spec.name not in done]
    return tuple(done.values())
