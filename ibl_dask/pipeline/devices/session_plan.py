"""Tasks of a session from its description, as plain data. No task is imported, and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.model.description import ExperimentDescription, Problem
from ibl_dask.model.task import TaskSpec, sort_specs
from ibl_dask.pipeline.devices.audio import plan_audio
from ibl_dask.pipeline.devices.behaviour import plan_behaviour
from ibl_dask.pipeline.devices.ephys import plan_ephys
from ibl_dask.pipeline.devices.external_planner import plan_externally
from ibl_dask.pipeline.devices.imaging import plan_photometry
from ibl_dask.pipeline.devices.sync import plan_sync
from ibl_dask.pipeline.devices.video import plan_video
from ibl_dask.pipeline.devices.widefield import plan_widefield
from ibl_dask.tasks.catalogue import field_task
from ibl_dask.tasks.external.environments import Environments

_DEVICES = ("cameras", "neuropixel", "microphone", "widefield", "mesoscope", "neurophotometrics")


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Tasks of a session."""

    specs: tuple[TaskSpec, ...]
    """Tasks, parents first, with their levels."""
    problems: tuple[Problem, ...]
    """Parts that are left out, and the reasons."""


def plan_session(
    description: ExperimentDescription,
    session: Path,
    pose: Sequence[str] | None = None,
    environments: Environments | None = None,
) -> SessionPlan:
    """Return the tasks that a description asks for. A device with an invalid entry is reported, and the others planned.

    Parameters
    ----------
    description : ExperimentDescription
        Description of the session.
    session : Path
        The session folder, for the headers of probes and for planners of other packages.
    pose : sequence of str, optional
        Pose estimators, `dlc` or `lightning_pose`; see `plan_video`.
    environments : Environments, optional
        Environments of packages that plan devices of their own; see `plan_externally`.

    Returns
    -------
    SessionPlan
        Names, classes and arguments are those of the field's pipelines.
    """
    specs = [field_task("ExperimentDescriptionRegisterRaw", "ExperimentDescriptionRegisterRaw", {})]
    sync_specs, problems, clock = plan_sync(description)
    behaviour, wrong, trials = plan_behaviour(description, clock)
    problems += wrong
    specs += [*sync_specs, *behaviour]
    for planned, wrong in (
        plan_ephys(description, clock, session),
        plan_video(description, clock, trials, pose),
        plan_audio(description, clock),
        plan_widefield(description, clock),
        plan_photometry(description),
    ):
        specs += planned
        problems += wrong
    specs, twice = _unique(specs)
    planned, wrong = plan_externally(description, session, sort_specs(specs), environments or Environments())
    specs += planned
    problems += [*twice, *wrong]
    unknown = [kind for kind in description.devices if kind not in _DEVICES]
    problems += [Problem(kind, "no task is known for such a device") for kind in unknown]
    return SessionPlan(sort_specs(specs), (*description.problems, *problems))


def _unique(specs: Sequence[TaskSpec]) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the first task of each name: a device with the name of another's part would make a second one."""
    found: dict[str, TaskSpec] = {}
    problems = []
    for spec in specs:
        if spec.name in found:
            problems.append(Problem(spec.name, "two devices ask for a task of this name: the first is planned"))
        found.setdefault(spec.name, spec)
    return list(found.values()), problems
