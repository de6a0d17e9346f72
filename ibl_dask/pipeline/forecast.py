"""Forecast of a pipeline: tasks in order, with those held back that would not start. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ibl_dask.model.failure import Failure
from ibl_dask.model.forecast import EarlierWork, Rates, TaskForecast, Why
from ibl_dask.pipeline.plan import Pipeline
from ibl_dask.pipeline.selection import class_of
from ibl_dask.store.failures import failure_from
from ibl_dask.tasks.registry import guard

_UNMET: Mapping[str, Why] = {
    "MissingEnvironment": "environment missing",
    "MissingDatabase": "needs Alyx",
    "WritesInPlace": "results elsewhere",
}
"""Kind of an unmet requirement -> reason; any other requirement is waited for."""


def forecast(pipeline: Pipeline, rates: Rates | None = None) -> list[TaskForecast]:
    """Return for each task of a pipeline whether a run would do anything, the reason, and the cost.

    Parameters
    ----------
    pipeline : Pipeline
        Tasks of a session, parents first.
    rates : Rates, optional
        Durations measured in earlier runs, see `ibl_dask.pipeline.rates.read_rates`; constants by default.
    """
    rates = Rates() if rates is None else rates
    found: dict[str, TaskForecast] = {}
    measured: frozenset[str] = frozenset()
    classes = {spec.name: class_of(spec) for spec in pipeline.specs}
    for spec in pipeline.specs:
        task = pipeline.tasks[spec.name]
        parents = [found[name] for name in spec.parents if name in found]
        blocking = [parent.task for parent in parents if parent.waits or parent.fails]
        blocking = [name for name in blocking if classes[name] not in task.optional_parents]
        earlier = EarlierWork(tuple(parent.task for parent in parents if parent.runs), measured)
        try:
            with guard(type(task).__module__, spec.name):
                unmet = task.unmet_requirement()
                held = _held(spec.name, unmet, blocking)
                found[spec.name] = task.forecast(rates, spec, earlier) if held is None else held
        except Exception as error:  # noqa: BLE001  # of a lab's code, or of a bad description: the run fails this task
            failure = failure_from(error)
            detail = f"{spec.name}: {failure.message}"
            found[spec.name] = TaskForecast(spec.name, "unusable", detail, failure=failure)
        measured |= found[spec.name].measured_cameras
    return list(found.values())


def _held(name: str, unmet: Failure | None, blocking: Sequence[str]) -> TaskForecast | None:
    """Return the forecast of a task that would not start; None if it would."""
    if unmet is not None:
        return TaskForecast(name, _UNMET.get(unmet.kind, "waits"), unmet.message, failure=unmet)
    return TaskForecast(name, "waits", f"for {', '.join(blocking)}") if blocking else None
