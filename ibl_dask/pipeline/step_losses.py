"""Errors of steps that did not end by themselves: their process or worker died, or a node did not see the data."""

from __future__ import annotations

from typing import Protocol

from ibl_dask.deploy.batch_systems.registry import exclusion_example
from ibl_dask.errors import NodeFailed, OutOfMemory, StepKilled, TaskTimedOut, WorkerLost
from ibl_dask.model.failure import Failure
from ibl_dask.model.step import StepKey
from ibl_dask.pipeline.isolation import Death
from ibl_dask.pipeline.ready_queue import QueuedStep
from ibl_dask.pipeline.visibility import Unseen


class Future(Protocol):
    """Part of `distributed.Future`, which has no types, that executors use."""

    @property
    def key(self) -> StepKey:
        """Return the Dask key of its task."""

    @property
    def status(self) -> str:
        """Return its status: finished, error, lost, cancelled, pending."""

    def exception(self) -> BaseException | None:
        """Return its error."""

    def release(self) -> None:
        """Let the scheduler forget the task."""


def took_too_long(queued: QueuedStep, death: Death) -> TaskTimedOut:
    """Return the error of a step that was ended at its time-out."""
    return TaskTimedOut(
        "this step took longer than allowed, and was ended",
        where=f"{_name(queued)}, in a process of its own on worker {death.worker}",
        expected=f"an end within {death.time_out_s:,.0f} s",
        got=f"a process that still ran, {death.peak_gb:.2f} GB of memory at most",
        do="see below where it was; where it does work, give its task more time (`time_outs` of the profile, "
        "`time_out_secs` of a lab's task), then run again: finished chunks are kept",
    )


def killed_itself(queued: QueuedStep, death: Death) -> StepKilled:
    """Return the error of a step that killed its own process."""
    log = queued.step.task_log
    where_more = "" if log is None else f"; its log: {log.command}"
    kind = OutOfMemory if death.is_lack_of_memory or death.limit_gb is not None else StepKilled
    return kind(
        "this step kills the process that it runs in",
        where=f"{_name(queued)}, in a process of its own on worker {death.worker}",
        expected="a step that ends by itself",
        got=f"{death}, after a worker that had it was lost",
        do=f"{death.advice}{where_more}; then run again: finished chunks are kept",
    )


def lost(queued: QueuedStep, kind: str, message: str) -> WorkerLost:
    """Return the error of a step whose workers were lost repeatedly, although it had a process of its own.

    Parameters
    ----------
    queued : QueuedStep
        The step.
    kind, message : str
        Class and message of the last loss; see `how_lost`.
    """
    return WorkerLost(
        "the cluster lost this step",
        where=_name(queued),
        expected="a worker that stays until the step has ended",
        got=f"{queued.n_lost} workers that died or were taken away meanwhile, the last one: {kind}: {message}",
        do="look into the logs of the workers, for memory (a worker needs about 0.5 GB) and for who ended them; then "
        "run again: finished chunks are kept",
    )


def sees_nothing(queued: QueuedStep, unseen: Unseen) -> NodeFailed:
    """Return the error of a node that does not see a place that the driver sees."""
    hosts = list(dict.fromkeys([*(one.host for one in queued.unseen), unseen.host]))
    return NodeFailed(
        "a node does not see the data",
        where=f"{', '.join(hosts)}, for {_name(queued)}",
        expected=f"{unseen.place}, which the driver sees",
        got=unseen.problem,
        do="mount there what holds sessions, results and work folder, or use nodes that have it (`queue`, or "
        f"`directives`{exclusion_example()}); then run again: finished chunks are kept",
    )


def fails_everything(node: str, failure: Failure) -> NodeFailed:
    """Return the error of a node on which every step fails."""
    return NodeFailed(
        "every step fails on this node, and not on others",
        where=node,
        expected="steps that end as they do on other nodes",
        got=failure.message,
        do=f"report this node; it gets no more steps of this run. Leave it out of the next one (`directives`"
        f"{exclusion_example()})",
    )


def how_lost(future: Future) -> tuple[str, str]:
    """Return the class and message of Dask's error for a step without a result."""
    error = future.exception() if future.status == "error" else None
    if error is None:
        return str(future.status), "no word of it"
    died = getattr(error, "last_worker", None)  # Dask's own message counts workers by another rule
    return type(error).__name__, str(error) if died is None else f"worker {died.name} died"


def _name(queued: QueuedStep) -> str:
    name, session, _, chunk = queued.step.key
    return f"{name} of {session}" + (f", chunk {chunk}" if chunk else "")
