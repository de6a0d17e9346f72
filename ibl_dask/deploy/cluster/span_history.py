"""Scheduler plugin that keeps the scheduler's memory flat over millions of steps: Dask's spans never forget a task.

Without an annotation of ours, Dask opens a new span whenever all earlier tasks are done, keeps a description of every
task in it, and the group of each kind of step whenever that kind was idle for a moment: 4 kB a step of which nothing is
read again (`benchmarks/driver_memory.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from distributed import Scheduler, SchedulerPlugin

TAG = "ibl_dask"
"""Name of the span of steps, in the dashboard's page of fine performance metrics."""
SPAN = {"name": (TAG,), "ids": (uuid4().hex,)}
"""Annotation of steps: one span for all that this process submits."""
MOST_KEPT = 100
"""Groups, and descriptions of tasks, from which on those of finished steps are dropped."""


class ShortSpans(SchedulerPlugin):
    """Makes a scheduler forget the finished steps of the spans of steps. Spans of others are left alone."""

    name = "ibl_dask-short-spans"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._known = scheduler.extensions.get("spans")

    def update_graph(self, scheduler: Scheduler, *, annotations: Mapping[str, Any], **kwargs: object) -> None:
        given = annotations.get("span") or {}
        if self._known is None:
            return
        for span_id in {each["ids"][-1] for each in given.values() if each["name"] == (TAG,)}:
            shorten(self._known.spans[span_id])


def shorten(span: Any) -> None:  # distributed.spans.Span: distributed has no types
    """Drop what a span keeps of finished tasks, if it is much; the group that ended last stays, for its end."""
    if len(span.groups) > MOST_KEPT:
        latest = max(span.groups, key=lambda group: group.stop)
        span.groups.intersection_update({latest, *filter(_has_tasks, span.groups)})
    described = [] if span.metadata is None else span.metadata["collections"]
    if len(described) > MOST_KEPT:
        del described[:-1]


def _has_tasks(group: Any) -> bool:
    """Return whether the scheduler knows any task of a group still."""
    return any(n for state, n in group.states.items() if state != "forgotten")
