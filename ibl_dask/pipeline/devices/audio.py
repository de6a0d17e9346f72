"""Tasks of the microphone."""

from __future__ import annotations

from ibl_dask.model.description import ExperimentDescription, Problem
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.devices.device import single_device
from ibl_dask.pipeline.devices.sync import Clock
from ibl_dask.tasks.catalogue import field_task


def plan_audio(description: ExperimentDescription, clock: Clock) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the task of the microphone, and faults of its entry."""
    arguments, problems = single_device(description, "microphone")
    if arguments is None:
        return [], problems
    if clock.kind == "bpod":
        whole = {**clock.arguments, **arguments, "collection": arguments["device_collection"]}
        return [field_task("AudioRegisterRaw", "AudioSync", whole)], []
    if clock.kind == "nidq":
        return [field_task("AudioRegisterRaw", "AudioCompress", arguments)], []
    return [], [Problem("microphone", f"no task takes its sound with the clock {clock.kind or 'not described'}")]
