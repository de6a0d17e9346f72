"""Scheduler plugin that keeps the scheduler's memory flat over millions of steps: Dask's history forgets no task.

A span keeps a description of each of its tasks, and the group of each kind of task that was idle for a moment; so does
the computation that goes on while the scheduler is not idle. Without an annotation Dask opens a new span whenever all
earlier tasks are done. Together these are 4 kB a step of which nothing is read again (`benchmarks/driver_memory.py`).
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
"""Groups, and descriptions of tasks, from which on those of finished tasks are dropped."""


class ShortHistory(SchedulerPlugin):
    """Makes a scheduler forget finished steps. Spans of others are left alone."""

    name = "ibl_dask-short-history"
    idempotent = True

    def update_graph(self, scheduler: Scheduler, *, annotations: Mapping[str, Any], **kwargs: object) -> None:
        spans = scheduler.extensions.get("spans")
        given = annotations.get("span") or {}
        ours = {each["ids"][-1] for each in given.values() if each["name"] == (TAG,)}
        if spans is None or not ours:
            return
        for span_id in ours:
            span = spans.spans[span_id]
            drop_finished(span.groups)
            described = [] if span.metadata is None else span.metadata["collections"]
            if len(described) > MOST_KEPT:
                del described[:-1]
        drop_finished(scheduler.computations[-1].groups)

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: object) -> None:
        """Forget workers that left: Dask keeps an entry of each for its balancing of load, and one for its events."""
        in_flight = getattr(scheduler.extensions.get("stealing"), "in_flight_tasks", {})
        for known in [each for each, n in in_flight.items() if not n and each.address not in scheduler.workers]:
            del in_flight[known]
        topics = getattr(getattr(scheduler, "_broker", None), "_topics", {})
        gone = [
            name
            for name, topic in topics.items()
            if "://" in name and name not in scheduler.workers and not topic.events and not topic.subscribers
        ]
        for name in gone:
            del topics[name]


def drop_finished(groups: Any) -> None:  # set of distributed.scheduler.TaskGroup: distributed has no types
    """Drop the groups of which the scheduler knows no task any more, if there are many; the last to end stays."""
    if len(groups) > MOST_KEPT:
        latest = max(groups, key=lambda group: group.stop)
        groups.intersection_update({latest, *filter(_has_tasks, groups)})


def _has_tasks(group: Any) -> bool:
    return any(n for state, n in group.states.items() if state != "forgotten")
