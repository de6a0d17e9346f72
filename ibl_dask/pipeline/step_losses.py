"""What to tell of steps that did not end by themselves: their process or worker died, or the data were not seen."""

from __future__ import annotations

from typing import Any

from ibl_dask.deploy.batch_systems.registry import exclusion_example
from ibl_dask.errors import RunError
from ibl_dask.pipeline.isolation import Death
from ibl_dask.pipeline.ready_queue import Turn
from ibl_dask.pipeline.visibility import Unseen


def killed_itself(turn: Turn, death: Death) -> RunError:
    """Return the error of a step that killed the process that it had for itself."""
    return RunError(
        "this step kills the process that it runs in",
        where=f"{_name(turn)}, in a process of its own on worker {death.worker}",
        expected="a step that ends by itself",
        got=f"{death}, after a worker that had it was lost",
        do=f"{death.advice}; then run again: finished chunks are kept",
    )


def lost(turn: Turn, kind: str, said: str) -> RunError:
    """Return the error of a step whose workers were lost again and again, although it had a process of its own."""
    return RunError(
        "the cluster lost this step",
        where=_name(turn),
        expected="a worker that stays until the step has ended",
        got=f"{turn.n_lost} workers that died or were taken away meanwhile, the last one: {kind}: {said}",
        do="look into the logs of the workers, for memory (a worker needs about 0.5 GB) and for who ended them; then "
        "run again: finished chunks are kept",
    )


def sees_nothing(turn: Turn, unseen: Unseen) -> RunError:
    """Return the error of a node that does not see what the driver sees."""
    hosts = list(dict.fromkeys([*(one.host for one in turn.unseen), unseen.host]))
    return RunError(
        "a node does not see the data",
        where=f"{', '.join(hosts)}, for {_name(turn)}",
        expected=f"{unseen.place}, which the driver sees",
        got=unseen.said,
        do="mount there what holds sessions, results and work folder, or use nodes that have it (`queue`, or "
        f"`directives`{exclusion_example()}); then run again: finished chunks are kept",
    )


def how_lost(future: Any) -> tuple[str, str]:  # distributed has no types
    """Return what Dask says of a step that it has no result of: the kind of the error, and its words."""
    error = future.exception() if future.status == "error" else None
    if error is None:
        return str(future.status), "no word of it"
    died = getattr(error, "last_worker", None)  # Dask's own words name a number of workers that is none of ours
    return type(error).__name__, str(error) if died is None else f"worker {died.name} died"


def _name(turn: Turn) -> str:
    name, session, _, chunk = turn.step.key
    return f"{name} of {session}" + (f", chunk {chunk}" if chunk else "")
