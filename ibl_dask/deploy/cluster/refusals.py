"""Refusals: events in Dask's log by which a worker explains why it leaves instead of taking steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol, TypedDict

TOPIC = "ibl_dask-refusals"
"""Topic of these events."""


class Refusal(TypedDict):
    """One worker that left."""

    worker: str
    """Name of the worker."""
    host: str
    """Name of its node, in the batch system where that has one."""
    job: str
    """Number of its job; empty outside of a batch job."""
    reason: str
    """Message with advice."""
    problem: str
    """The fault in short."""
    node: str
    """Name under which the node can be excluded; empty where it cannot, or is not at fault."""
    of: Literal["gpu", "node"]
    """The faulty part: a GPU, or the node itself, which no pool can use then."""


class EventLog(Protocol):
    """The part of `distributed.Client`, and of its scheduler, that is used."""

    def get_events(self, topic: str) -> Iterable[tuple[float, Any]]:
        """Return time stamps and messages of a topic, oldest first; messages have any type."""


def refusals(log: EventLog) -> list[Refusal]:
    """Return the refusals of all workers, oldest first, from a client or its scheduler."""
    return [message for _, message in log.get_events(TOPIC)]
