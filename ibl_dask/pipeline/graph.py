"""Steps as `dask.delayed`: the only place that knows how a step becomes a Dask task."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import dask

from ibl_dask.deploy.queue import ask_job
from ibl_dask.errors import SessionLocked
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.step import Key, Step, StepRecord
from ibl_dask.store.lock import LOCK_NAME, sharing
from ibl_dask.tasks.walk import describe, in_order, run_step

MOST_CHUNKS = 1_000_000
"""More than any camera has."""
RETRIES = 2
"""How often Dask tries a task again that raised; steps report their own errors, so this is for the machinery."""


def delayed_step(
    step: Step,
    records: Sequence[Any],
    root: Path,
    priority: int = 0,
    trial: int = 1,
    asked: Mapping[str, float] | None = None,
    group: str = "",
) -> Any:
    """Return a Delayed that computes to the step's record.

    Parameters
    ----------
    step
        What to run.
    records
        Records of the steps that it needs, or the Delayed ones.
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
    order = priority - step.chunk / MOST_CHUNKS
    resources = step.resources.for_dask() if asked is None else dict(asked)
    with dask.annotate(resources=resources, priority=order, retries=RETRIES):
        node = dask.delayed(partial(_run, step, root, group), name=step.key[0], pure=False)
        name, session, mark, chunk = step.key
        key = step.key if trial == 1 else (name, session, f"{mark}-{trial}", chunk)
        return node(list(records), dask_key_name=key)


def delayed_tasks(tasks: Mapping[str, Sequence[Step]], root: Path, known: Mapping[Key, StepRecord]) -> dict[str, Any]:
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
    nodes: dict[Key, Any] = {}
    group = token_hex(8)
    for step in in_order(step for steps in tasks.values() for step in steps):
        records = [nodes[need] if need in nodes else known[need] for need in step.needs]
        nodes[step.key] = delayed_step(step, records, root, group=group)
    return {
        name: dask.delayed(list, name=name, pure=False)([nodes[step.key] for step in steps])
        for name, steps in tasks.items()
    }


def _run(step: Step, root: Path, group: str, records: list[StepRecord]) -> StepRecord:
    if not group:
        return run_step(step, records, root)
    try:
        with sharing(root / OWN_FOLDER / LOCK_NAME, group, ask_job):
            return run_step(step, records, root)
    except SessionLocked as error:
        return StepRecord(step.key, "failed", failure=describe(error), started_s=time.time())
