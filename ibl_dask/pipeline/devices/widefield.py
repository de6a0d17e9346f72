"""Tasks of a widefield microscope."""

from __future__ import annotations

from ibl_dask.model.description import ExperimentDescription, Problem
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.devices.device import single_device
from ibl_dask.pipeline.devices.sync import Clock
from ibl_dask.tasks.catalogue import field_task


def plan_widefield(description: ExperimentDescription, clock: Clock) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the tasks of the microscope, and faults of its entry."""
    arguments, problems = single_device(description, "widefield")
    if arguments is None:
        return [], problems
    register = field_task("WidefieldRegisterRaw", "WidefieldRegisterRaw", arguments)
    compress = field_task("WidefieldCompress", "WidefieldCompress", arguments, [register])
    preprocess = field_task("WidefieldPreprocess", "WidefieldPreprocess", arguments, [compress])
    place = field_task("WidefieldFOV", "WidefieldFOV", arguments, [preprocess])
    if clock.kind is None:
        return [register, compress, preprocess, place], [Problem("widefield", "its frames cannot be timed: no clock")]
    timed = {**arguments, **clock.arguments}
    sync = field_task("WidefieldSync", "WidefieldSync", timed, [register, compress, clock.pulses])
    return [register, compress, preprocess, sync, place], []
