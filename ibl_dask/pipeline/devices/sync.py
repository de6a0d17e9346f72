"""Tasks of the main clock."""

from __future__ import annotations

from dataclasses import dataclass

from ibl_dask.model.description import ExperimentDescription, Problem, Sync
from ibl_dask.model.task import TaskSpec
from ibl_dask.tasks.catalogue import field_task

KNOWN = ("nidq", "timeline", "bpod", "tdms")
"""Labels of main clocks that the field has tasks for."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The main clock as tasks of other devices see it."""

    label: str | None
    """Label by which classes of tasks are chosen: nidq, timeline, bpod, tdms; None if there is no clock."""
    kind: str | None
    """Kind in the names of tasks: nidq, bpod, tdms."""
    arguments: dict[str, object]
    """Arguments of tasks that read it."""
    pulses: TaskSpec | None
    """Task that extracts its pulses; None if there is none."""


def sync_arguments(sync: Sync) -> dict[str, object]:
    """Return the arguments of tasks that read the main clock."""
    return {
        **sync.others,
        "sync": sync.kind,
        "sync_collection": sync.collection,
        "sync_ext": sync.extension,
        "sync_namespace": sync.software,
    }


def plan_sync(description: ExperimentDescription) -> tuple[list[TaskSpec], list[Problem], Clock]:
    """Return the tasks of the main clock, faults of its entry, and the clock for the tasks of other devices."""
    sync = description.sync
    if sync is None:
        is_reported = any(problem.part.startswith("sync") for problem in description.problems)
        problems = [] if is_reported else [Problem("sync", "no main clock is described: what needs it is not planned")]
        return [], problems, Clock(None, None, {}, None)
    arguments = sync_arguments(sync)
    specs: list[TaskSpec] = []
    problems = []
    if sync.label == "nidq":
        is_ephys = sync.collection == "raw_ephys_data"
        register, pulses = ("EphysSyncRegisterRaw", "EphysSyncPulses") if is_ephys else ("SyncMtscomp", "SyncPulses")
        specs.append(field_task("SyncRegisterRaw", register, arguments))
        specs.append(field_task(f"SyncPulses_{sync.kind}", pulses, arguments, specs[:1]))
    elif sync.label in ("timeline", "tdms"):
        specs.append(field_task("SyncRegisterRaw", "SyncRegisterRaw", arguments))
    elif sync.label != "bpod":
        problems.append(Problem("sync", f"no task reads the clock {sync.label}, only {', '.join(KNOWN)} have some"))
    found = specs[1] if len(specs) > 1 else None
    return specs, problems, Clock(sync.label, sync.kind, arguments, found)
