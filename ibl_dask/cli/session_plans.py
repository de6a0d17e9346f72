"""Plans of sessions, one after the other or, of many, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from ibl_dask.cli.guard import known_error, printable, printable_failure
from ibl_dask.errors import UsageError
from ibl_dask.model.cores import available_cores
from ibl_dask.model.forecast import Rates
from ibl_dask.model.step import Resources
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import OutputPlaces, make_pipeline
from ibl_dask.pipeline.rates import read_rates
from ibl_dask.report.plan_matrix import PlannedSession
from ibl_dask.store.failures import failure_from

MANY = 400
"""Sessions from which on they are planned in several processes: these take 1 to 2 s to start."""
_MOST_PROCESSES = 4
"""Processes at most: a login node has many cores, and many users."""
_AT_ONCE = 16
"""Sessions that a process receives at once."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Plan of one session, as plain data."""

    row: PlannedSession
    """Forecasts of its tasks, or the error for which it cannot be planned."""
    specs: tuple[TaskSpec, ...] = ()
    """Its tasks, in the order of their forecasts."""
    resources: Mapping[str, Resources] = field(default_factory=dict)
    """Name of a task -> its resources."""
    outputs: Path | None = None
    """Folder of its results; None without any."""
    rates_from: str = ""
    """Source of the rates of video; empty if it cannot be planned."""

    def to_json(self) -> dict[str, object]:
        """Return the plan for JSON."""
        row = self.row
        if row.failure is not None:
            return {"session": row.path, "error": row.failure.message, "failure": row.failure.to_json()}
        tasks = [
            {**task.to_json(), "parents": list(spec.parents), "executable": spec.executable}
            for spec, task in zip(self.specs, row.tasks, strict=True)
        ]
        return {"session": row.path, "reference": row.session, "notes": list(row.notes), "tasks": tasks}


def plan_sessions(paths: Sequence[Path], request: Mapping[str, Any]) -> Iterator[SessionPlan]:
    """Yield the plans of sessions, in order.

    Parameters
    ----------
    paths : sequence of Path
        Session folders.
    request : mapping
        Arguments of `make_pipeline`.
    """
    places = OutputPlaces()
    call = token_hex(8)
    for path, plan in zip(paths, _plans(paths, partial(_plan, request, call)), strict=True):
        if plan.outputs is None:
            yield plan
            continue
        try:
            places.claim(path, plan.outputs)
        except UsageError as error:
            yield _unplanned(path, error)
        else:
            yield plan


def _plans(paths: Sequence[Path], plan: partial[SessionPlan]) -> Iterator[SessionPlan]:
    n_processes = min(_MOST_PROCESSES, available_cores())
    if len(paths) < MANY or n_processes < 2:
        yield from map(plan, paths)
        return
    # Not by fork: libraries of this process may have threads.
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(plan, paths, chunksize=_AT_ONCE)


def _plan(request: Mapping[str, Any], call: str, path: Path) -> SessionPlan:
    """Return the plan of a session; one that cannot be planned has a failure."""
    try:
        pipeline = make_pipeline(path, **request)
        if pipeline.specs:
            pipeline.workspace.require_writable()
        rates = _rates(pipeline.workspace.work_dir, call)
        planned = forecast(pipeline, rates)
    except Exception as error:  # noqa: BLE001  # one session must not stop the others
        return _unplanned(path, error)
    session = pipeline.session
    names = printable(session.reference), printable(session.path)
    return SessionPlan(
        PlannedSession(*names, tuple(planned), pipeline.is_asked, notes=pipeline.notes),
        pipeline.specs,
        {name: task.resources for name, task in pipeline.tasks.items()},
        session.outputs if pipeline.specs else None,
        rates.source,
    )


@lru_cache(maxsize=64)
def _rates(work_dir: Path, call: str) -> Rates:
    """Return the rates of earlier runs in a work folder, read once for each call of `plan_sessions`."""
    return read_rates(work_dir)


def _unplanned(path: Path, error: Exception) -> SessionPlan:
    failure = printable_failure(failure_from(known_error(error)))
    return SessionPlan(PlannedSession(printable("/".join(path.parts[-3:])), printable(path), failure=failure))
