"""Units of work: one Dask task each, or one pass of a plain loop."""

from __future__ import annotations

import contextlib
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from ibl_dask.model.failure import Failure
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.result import EMPTY, Result, WorkKind
from ibl_dask.model.task_log import TaskLog


class StepKey(NamedTuple):
    """Name of a step in a graph; equal to the plain tuple."""

    name: str
    """`kind-camera`, or `kind` for a step of the whole session: the dashboard groups by it."""
    session: str
    """Reference of the session."""
    fingerprint: str
    """See `fingerprint`."""
    chunk: int
    """Number of the chunk; 0 for a step that is not split."""


StepStatus = Literal["done", "kept", "failed", "skipped"]
"""done: computed now; kept: found finished; failed: raised an error; skipped: a step upstream failed."""


def fingerprint(kind: str, version: int, **parts: object) -> str:
    """Return 16 hexadecimal digits that change whenever the result would.

    Parameters
    ----------
    kind, version
        Name of the step and version of its code.
    parts
        Parameters, identities of the inputs and fingerprints of the parents: anything that JSON can hold.
        Paths, worker counts and profiles do not belong here, or the same work elsewhere would count as new.
    """
    text = json.dumps([kind, version, parts], sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """Return the JSON form of a mapping, dataclass, set or sequence."""
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Set):
        return sorted(value)  # the order of a set of strings differs from process to process
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"a fingerprint cannot hold a {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources that a step or task occupies while it runs."""

    cpu: int = 1
    """Cores."""
    gpu: int = 0
    """GPUs."""
    memory_gb: float = 1.0
    """Resident memory, GB."""
    is_estimate: bool = False
    """True for declared estimates of cores and memory: a smaller worker is taken where there is no larger one."""

    @property
    def kind(self) -> str:
        """Return the resource by which workers and steps are matched: GPU or CPU."""
        return "GPU" if self.gpu else "CPU"

    def for_dask(self) -> dict[str, float]:
        """Return the worker resources a Dask task asks for, by the names under which workers offer them."""
        return {self.kind: float(self.gpu or self.cpu), "MEMORY_GB": self.memory_gb}


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Record of a step that ran: small, and plain enough for JSON."""

    key: StepKey
    """Key of the step."""
    status: StepStatus
    """How it ended."""
    result: Result = EMPTY
    """Its result; an empty one where it failed or was skipped."""
    failure: Failure | None = None
    """The error, where it failed or was skipped."""
    started_s: float = 0.0
    """Unix time at which it started."""
    seconds: float = 0.0
    """Duration."""
    worker: str = ""
    """`host:pid` of the process."""
    gpus: int = 0
    """GPUs that it held."""
    gpu_j: float | None = None
    """Energy that they took meanwhile, J; None where it cannot be read."""

    @property
    def is_ok(self) -> bool:
        """Return True if the step was done or found done, so that its outputs are there."""
        return self.status in ("done", "kept")

    @property
    def value(self) -> dict[str, Any]:  # JSON, as readers of journals index it
        """Return the result as the flat mapping that journals hold."""
        return self.result.to_json()

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back; the result stands under `value`."""
        energy = {} if self.gpu_j is None else {"gpu_j": self.gpu_j}
        return {
            "key": list(self.key),
            "status": self.status,
            "value": self.value,
            "failure": None if self.failure is None else self.failure.to_json(),
            "started_s": self.started_s,
            "seconds": self.seconds,
            "worker": self.worker,
            **({"gpus": self.gpus, **energy} if self.gpus else {}),
        }

    @classmethod
    def from_json(cls, content: JsonObject) -> StepRecord:  # JSON
        """Read the mapping that `to_json` returns; the result becomes a plain `Result`."""
        failure = content.get("failure")
        name, session, digest, chunk = content["key"]
        return cls(
            StepKey(name, session, digest, int(chunk)),
            content["status"],
            Result.from_json(content.get("value") or {}),
            Failure.from_json(failure) if failure else None,
            float(content.get("started_s", 0.0)),
            float(content.get("seconds", 0.0)),
            str(content.get("worker", "")),
            int(content.get("gpus", 0)),
            content.get("gpu_j"),
        )


R = TypeVar("R", bound=Result)


class Upstream(Mapping[StepKey, StepRecord]):
    """Records of the steps upstream, by key.

    Parameters
    ----------
    records : iterable of StepRecord
        One of each step.
    """

    def __init__(self, records: Iterable[StepRecord] = ()) -> None:
        self._records = {record.key: record for record in records}

    def __getitem__(self, key: StepKey) -> StepRecord:
        return self._records[key]

    def __iter__(self) -> Iterator[StepKey]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def result(self, key: StepKey, form: type[R]) -> R:
        """Return the result of a step that succeeded; one that was read from a journal takes its form here.

        Parameters
        ----------
        key : StepKey
            The step.
        form : type
            Class of its result.

        Raises
        ------
        TypeError
            If it left a result of another class.
        """
        found = self._records[key].result
        if type(found) is Result and form is not Result:
            with contextlib.suppress(TypeError):  # it lacks a field of the form
                return replace(form.from_json(found.to_json()), is_kept=found.is_kept)
        if not isinstance(found, form):
            raise TypeError(f"{key.name} left a {type(found).__name__}, where a {form.__name__} is read")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """A unit of work as a value: what is computed follows from its fields, which are small and hold no frames.

    A subclass names its `kind`, declares its parameters as fields, the steps whose results it reads as fields that hold
    their keys (a `StepKey`, or a tuple of these), and implements `identity` and `run`.

    Examples
    --------
    >>> @dataclass(frozen=True, slots=True, kw_only=True)
    ... class CountFrames(Step):
    ...     kind: ClassVar[str] = "count"
    ...     folder: str
    ...     index: StepKey
    ...
    ...     def identity(self):
    ...         return {"parents": [self.index.fingerprint]}
    ...
    ...     def run(self, upstream):
    ...         return Result(facts={"frames": upstream.result(self.index, VideoIndexed).frames})
    """

    kind: ClassVar[str]
    """Name of the step, in one word: index, times, framepass, ..."""
    version: ClassVar[int] = 1
    """Version of its code; enters the fingerprint."""
    allow_failed: ClassVar[tuple[str, ...]] = ()
    """Fields whose steps may have failed: the step runs all the same."""
    chunk_work: ClassVar[WorkKind | None] = None
    """Work on one chunk of a video, by which chunks are counted and shown; None for any other step."""
    result_form: ClassVar[type[Result]] = Result
    """Class of the result, for steps with a marker."""

    session: str
    """Reference of the session."""
    camera: str = ""
    """Label of the camera; empty for a step of the whole session."""
    chunk: int = 0
    """Number of the chunk; 0 for a step that is not split."""
    resources: Resources = Resources()
    """Cores, GPUs and memory that it occupies."""
    marker: Path | None = None
    """Done-marker; None where the outputs show that they are done, or the step always runs."""
    lease: str = ""
    """Token of the session lock under which the step was given out: it does not start once another run holds the
    session. Empty for steps without a driver."""
    time_out_s: float = 0.0
    """Time after which it is ended, s; 0 for none."""
    task_log: TaskLog | None = None
    """Log of the task that brought the step; None where nobody keeps one."""
    fingerprint: str = field(init=False)
    """16 hexadecimal digits that change with `identity`; see `fingerprint`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", fingerprint(self.kind, self.version, **self.identity()))

    @abstractmethod
    def identity(self) -> Mapping[str, object]:
        """Return everything that the result depends on; see `fingerprint`."""

    @abstractmethod
    def run(self, upstream: Upstream) -> Result:
        """Do the work.

        Parameters
        ----------
        upstream : Upstream
            Records of the steps whose keys the fields hold.
        """

    @property
    def name(self) -> str:
        """Return the first part of the key: kind and camera."""
        return f"{self.kind}-{self.camera}" if self.camera else self.kind

    @property
    def key(self) -> StepKey:
        """Return the name of this step in a graph."""
        return StepKey(self.name, self.session, self.fingerprint, self.chunk)

    @property
    def needs(self) -> tuple[StepKey, ...]:
        """Return the keys of the steps upstream, in the order of the fields."""
        return tuple(key for known in fields(self) for key in _keys(getattr(self, known.name)))

    @property
    def may_fail(self) -> frozenset[StepKey]:
        """Return the keys of the steps upstream that may have failed."""
        return frozenset(key for name in self.allow_failed for key in _keys(getattr(self, name)))


def _keys(value: object) -> tuple[StepKey, ...]:
    """Return the keys that a field holds: one, several, or none."""
    if isinstance(value, StepKey):
        return (value,)
    return tuple(key for key in value if isinstance(key, StepKey)) if isinstance(value, tuple) else ()
