"""Steps as tasks of Dask: the only place that knows how a step becomes a Dask task."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import dask

from ibl_dask.deploy.batch_systems.registry import ask_job, node_name, own_job
from ibl_dask.errors import SessionLocked
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.step import Step, StepKey, StepRecord
from ibl_dask.model.task_log import TaskLog
from ibl_dask.pipeline.isolation import Death, ended_after, load_and_run_step, run_in_own_process
from ibl_dask.pipeline.visibility import Unseen, first_missing
from ibl_dask.store.failures import failure_from
from ibl_dask.store.lock import LOCK_NAME, sharing
from ibl_dask.tasks.run_step import in_order
from ibl_dask.tasks.step_log import with_trial

MOST_CHUNKS = 1_000_000
"""More than any camera has."""
RETRIES = 2
"""How often Dask tries a task again that raised; steps report their own errors, so this is for the machinery."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a step is given to a worker."""

    number: int = 1
    """Which attempt it is."""
    is_apart: bool = False
    """True for a process of its own, after its worker was lost."""
    places: tuple[Path, ...] = ()
    """Files and folders that the driver sees: a worker that misses one returns `Unseen`, and does not begin."""
    time_out_s: float = 0.0
    """Time after which the step's process is ended, s; 0 for none."""
    log: TaskLog | None = None
    """Log of the step, which is not read to know it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A step as a Dask task: what runs, under which key, with which annotations."""

    run: Callable[[Sequence[StepRecord]], StepRecord | Unseen | Death]
    """Function of the records of the steps upstream."""
    key: StepKey
    annotations: Mapping[str, Any]


def call_of(
    step: Step,
    root: Path,
    priority: int = 0,
    trial: Trial = Trial(),
    asked: Mapping[str, float] | None = None,
    group: str = "",
) -> Call:
    """Return the Dask task of a step.

    Parameters
    ----------
    step
        The step.
    root
        See `run_step`.
    priority
        Dask priority of the session, higher first.
    trial
        Enters the key from the second on: Dask would answer with the failure of the first.
    asked
        Resources to ask workers for, where they offer less than the step would like.
    group
        Hexadecimal digits of a graph that no driver runs: each of its steps holds the session together with the others
        while it runs. Empty where a driver holds it.
    """
    # Not before there is a cluster, or a graph.
    from distributed.protocol.pickle import dumps

    from ibl_dask.deploy.cluster.short_history import SPAN
    from ibl_dask.deploy.cluster.worker_death import ANNOTATION

    order = priority - step.chunk / MOST_CHUNKS
    resources = step.resources.for_dask() if asked is None else dict(asked)
    step = with_trial(step, trial.number)
    trial = replace(trial, log=step.task_log)
    # As bytes: an error while a worker imports the step's module is one of this step alone.
    run = partial(_run, dumps(step), step.key, root, trial, group)
    key = step.key if trial.number == 1 else step.key._replace(fingerprint=f"{step.key.fingerprint}-{trial.number}")
    annotations = {"resources": resources, "priority": order, "retries": RETRIES, ANNOTATION: True, "span": SPAN}
    return Call(run, key, annotations)


def submit_step(client: Any, call: Call, records: Sequence[StepRecord]) -> Any:  # distributed has no types
    """Give a step to a cluster, and return its future.

    Parameters
    ----------
    client
        Client of the cluster.
    call
        The step.
    records
        Records of the steps upstream.
    """
    # Bound to the function, since Dask searches arguments for futures. Nor is the source code of the caller sent along,
    # which Dask reads for its dashboard with every task.
    with dask.config.set({"distributed.diagnostics.computations.nframes": 0}), dask.annotate(**call.annotations):
        return client.submit(partial(call.run, records), key=tuple(call.key), pure=False)


def delayed_tasks(
    tasks: Mapping[str, Sequence[Step]], root: Path, known: Mapping[StepKey, StepRecord]
) -> dict[str, Any]:
    """Return `{task name: Delayed}`; each computes to the records of the task's steps.

    Parameters
    ----------
    tasks
        Steps of each task; each needs only steps among these or in `known`.
    root
        See `run_step`.
    known
        Records of steps that ran already.
    """
    nodes: dict[StepKey, Any] = {}
    group = token_hex(8)
    for step in in_order(step for steps in tasks.values() for step in steps):
        records = [nodes[need] if need in nodes else known[need] for need in step.needs]
        call = call_of(step, root, group=group)
        with dask.annotate(**call.annotations):
            node = dask.delayed(call.run, name=call.key[0], pure=False)
            nodes[step.key] = node(records, dask_key_name=tuple(call.key))
    return {
        name: dask.delayed(list, name=name, pure=False)([nodes[step.key] for step in steps])
        for name, steps in tasks.items()
    }


def _run(
    step: bytes, key: StepKey, root: Path, trial: Trial, group: str, records: Sequence[StepRecord]
) -> StepRecord | Unseen | Death:
    """Run a step on this worker; files that it cannot see are reported as `Unseen`, not as an error of the step."""
    missing = first_missing(trial.places)
    if missing is not None:
        return _unseen(*missing)
    if trial.is_apart:
        from distributed import get_worker

        worker = get_worker()
        limit = getattr(worker.memory_manager, "memory_limit", None)
        record: StepRecord | Death = run_in_own_process(
            step, key, root, records, limit, str(worker.name), trial.time_out_s, trial.log
        )
    elif group:
        record = _run_sharing(step, key, root, trial.log, group, records)
    else:
        with ended_after(trial.time_out_s):
            record = load_and_run_step(step, key, root, records, trial.log)
    if isinstance(record, StepRecord) and record.status == "failed":
        missing = first_missing(trial.places)
        if missing is not None:  # lost meanwhile
            return _unseen(*missing)
    return record


def _run_sharing(
    step: bytes, key: StepKey, root: Path, log: TaskLog | None, group: str, records: Sequence[StepRecord]
) -> StepRecord:
    """Run a step of a graph that no driver runs, and hold the session meanwhile."""
    try:
        with sharing(root / OWN_FOLDER / LOCK_NAME, group, ask_job, own_job()):
            return load_and_run_step(step, key, root, records, log)
    except SessionLocked as error:
        return StepRecord(key, "failed", failure=failure_from(error), started_s=time.time())


def _unseen(place: Path, problem: str) -> Unseen:
    from distributed import get_worker

    return Unseen(place, problem, str(get_worker().address), node_name())
