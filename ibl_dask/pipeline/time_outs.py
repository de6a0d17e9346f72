"""Time-outs of tasks: those of the site, else from the forecast."""

from __future__ import annotations

from collections.abc import Mapping

from ibl_dask.model.forecast import Rates
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import Pipeline
from ibl_dask.pipeline.selection import class_of

FACTOR = 10.0
"""Factor on the forecast of a task: a slow disk and a loaded node cost a factor of three or four at most."""
LEAST_S = 1800.0
"""Smallest time-out that is not given, s."""
SPARE_S = 60.0
"""Time by which a task in another environment, whose child process is ended by itself, is ended earlier, s."""


def choose_time_outs(pipeline: Pipeline, rates: Rates, given_s: Mapping[str, float]) -> dict[str, float]:
    """Return the time after which any single step of each task is ended, s.

    Parameters
    ----------
    pipeline : Pipeline
        Tasks of a session.
    rates : Rates
        Durations of earlier runs.
    given_s : mapping
        Name or class of a task -> time-out, s; it precedes all else.
    """
    found: dict[str, float] = {}
    specs = {spec.name: spec for spec in pipeline.specs}
    for task in forecast(pipeline, rates):
        spec = specs[task.task]
        own_s = given_s.get(spec.name, given_s.get(class_of(spec)))
        if own_s is not None:
            found[spec.name] = own_s
        elif task.cameras:
            found[spec.name] = max(LEAST_S, FACTOR * (task.core_s or 0.0))
        else:
            declared_s = pipeline.tasks[spec.name].time_out_secs + SPARE_S
            found[spec.name] = max(LEAST_S, declared_s, FACTOR * rates.tasks.get(spec.name, 0.0))
    return found
