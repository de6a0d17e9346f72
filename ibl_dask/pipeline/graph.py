"""Steps as `dask.delayed`: the only place that knows how a step becomes a Dask task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask

from ibl_dask.model.step import Key, Step, StepRecord
from ibl_dask.tasks.walk import in_order, run_step

MOST_CHUNKS = 1_000_000
"""More than any camera has."""
RETRIES = 2
"""How often Dask tries a task again that raised; steps report their own errors, so this is for the machinery."""


def delayed_steps(
    steps: Iterable[Step], root: Path, known: Mapping[Key, StepRecord], priority: int = 0, *, trial: int = 1
) -> dict[Key, Any]:
    """Return a Delayed for every step; it computes to the step's record.

    Parameters
    ----------
    steps
        What to run; each needs only steps among these or in `known`.
    root
        See `run_step`.
    known
        Records of steps that ran already.
    priority
        Dask priority, higher first.
    trial
        Enters the keys from the second on: Dask would answer with the failure of the first.
    """
    nodes: dict[Key, Any] = {}
    for step in in_order(steps):
        needs = [nodes[need] if need in nodes else known[need] for need in step.needs]
        # Dask would take chunks in the order of their fingerprints, which is none. Large ones come first in the plan,
        # and the n-th of every camera before the next of any.
        order = priority - step.chunk / MOST_CHUNKS
        with dask.annotate(resources=step.resources.for_dask(), priority=order, retries=RETRIES):
            node = dask.delayed(partial(_run, step, root), name=step.key[0], pure=False)
            name, session, mark, chunk = step.key
            key = step.key if trial == 1 else (name, session, f"{mark}-{trial}", chunk)
            nodes[step.key] = node(needs, dask_key_name=key)
    return nodes


def delayed_tasks(tasks: Mapping[str, Sequence[Step]], root: Path, known: Mapping[Key, StepRecord]) -> dict[str, Any]:
    """Return `{task name: Delayed}`; each computes to the records of the task's steps."""
    nodes = delayed_steps([step for steps in tasks.values() for step in steps], root, known)
    return {
        name: dask.delayed(list, name=name, pure=False)([nodes[step.key] for step in steps])
        for name, steps in tasks.items()
    }


def _run(step: Step, root: Path, records: list[StepRecord]) -> StepRecord:
    return run_step(step, records, root)
