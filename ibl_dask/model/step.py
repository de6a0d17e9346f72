"""The unit of work: one Dask task, or one turn of a plain loop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ibl_dask.model.failure import Failure

Key = tuple[str, str, str, int]
"""`(kind-camera, session, fingerprint, chunk)`: the first element is what the dashboard groups by."""

StepStatus = Literal["done", "kept", "failed", "skipped"]
"""done: computed now; kept: found finished; failed: raised; skipped: something it needs failed."""


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
    """Return what JSON holds in place of a value that it does not hold."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(value)  # the order of a set of strings differs from process to process
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"a fingerprint cannot hold a {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a step or task occupies while it runs."""

    cpu: int = 1
    """Cores."""
    gpu: int = 0
    """GPUs."""
    memory_gb: float = 1.0
    """Resident memory, GB."""
    is_estimate: bool = False
    """Whether cores and memory are what somebody wrote down once, so that a smaller worker will do where there is no
    larger one."""

    @property
    def kind(self) -> str:
        """Return the scarce thing it occupies, by which workers and steps find each other: GPU or CPU."""
        return "GPU" if self.gpu else "CPU"

    def for_dask(self) -> dict[str, float]:
        """Return the worker resources a Dask task asks for, by the names under which workers offer them."""
        return {self.kind: float(self.gpu or self.cpu), "MEMORY_GB": self.memory_gb}


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is left of a step once it has run: small, and plain enough for JSON."""

    key: Key
    """Key of the step."""
    status: StepStatus
    """How it went."""
    value: Mapping[str, Any] = field(default_factory=dict)
    """What it returned: counts and short facts."""
    failure: Failure | None = None
    """The error, where it failed or was skipped."""
    started_s: float = 0.0
    """Unix time at which it started."""
    seconds: float = 0.0
    """How long it took."""
    worker: str = ""
    """`host:pid` of the process."""

    @property
    def is_ok(self) -> bool:
        """Return whether what it should leave behind is there."""
        return self.status in ("done", "kept")

    def to_json(self) -> dict[str, Any]:
        """Return a mapping that `from_json` reads back."""
        return {**asdict(self), "failure": self.failure and self.failure.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> StepRecord:
        """Read what `to_json` wrote."""
        failure = content.get("failure")
        kind, session, mark, chunk = content["key"]
        return cls(
            (kind, session, mark, int(chunk)),
            content["status"],
            dict(content.get("value") or {}),
            Failure.from_json(failure) if failure else None,
            float(content.get("started_s", 0.0)),
            float(content.get("seconds", 0.0)),
            str(content.get("worker", "")),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A top-level function with small arguments, and the steps whose records it reads."""

    kind: str
    """What it does, in one word: index, times, framepass, ..."""
    camera: str
    """Camera it belongs to; empty where it serves the whole session."""
    session: str
    """Reference of the session."""
    fingerprint: str
    """See `fingerprint`."""
    function: Callable[..., Mapping[str, Any]]
    """Called as `function(records=..., **arguments)`; returns counts and short facts, and under `outputs` the paths of
    what it leaves behind."""
    arguments: Mapping[str, Any]
    """Paths, a chunk, options. Never frames."""
    needs: tuple[Key, ...] = ()
    """Steps that must have run before."""
    tolerates: tuple[str, ...] = ()
    """Kinds of steps it needs that may have failed: it runs all the same, and reads so in their records."""
    marker: Path | None = None
    """File that says the step is done; None where its output says so itself, or it is always run."""
    resources: Resources = Resources()
    """What it occupies."""
    chunk: int = 0
    """Number of the chunk; 0 where the step is not split."""
    lease: str = ""
    """Token of the lock under which it was given out: it does not start once another run holds the session. Empty where
    nobody looks at that."""

    @property
    def key(self) -> Key:
        """Return the name of this step in a graph."""
        name = f"{self.kind}-{self.camera}" if self.camera else self.kind
        return (name, self.session, self.fingerprint, self.chunk)
