"""Tasks of the behaviour protocols."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ibl_dask.model.description import ExperimentDescription, Problem, Protocol
from ibl_dask.model.step import Resources
from ibl_dask.model.task import FIELD_MEMORY_GB, TaskSpec
from ibl_dask.pipeline.devices.sync import Clock
from ibl_dask.tasks.catalogue import FIELD_TASKS, field_task

_NUMBERED = re.compile(r"raw_task_data_\d{2}")
_CLOCKS = ("nidq", "bpod", "timeline")
_MODULE = "ibllib.pipes.behavior_tasks"
_PERSONAL = "projects.extraction_tasks"
"""Module in which labs keep extractors of their own."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials for other tasks: those of the first protocol whose table of trials is extracted."""

    task: TaskSpec
    """The task that extracts them."""
    collection: str
    """Folder that they land in, relative to the session."""


def plan_behaviour(
    description: ExperimentDescription, clock: Clock
) -> tuple[list[TaskSpec], list[Problem], Trials | None]:
    """Return the tasks of the protocols, faults of their entries, and the trials for other tasks."""
    specs: list[TaskSpec] = []
    problems: list[Problem] = []
    trials: Trials | None = None
    numbers: set[int] = set()
    for protocol in description.protocols:
        part = f"tasks.{protocol.order}.{protocol.name}"
        arguments = _arguments(protocol)
        number = arguments.get("protocol_number")
        if number is not None and number in numbers:
            problems.append(Problem(part, f"protocol number {number} is given twice: this protocol is not planned"))
            continue
        numbers |= set() if number is None else {number}
        plan = _chained if protocol.extractors else _usual
        planned, wrong = plan(protocol, arguments, clock)
        specs += planned
        problems += [Problem(part, text) for text in wrong]
        table = next((spec for spec in planned if _has_table(spec)), None)
        if trials is None and table is not None:
            trials = Trials(table, _output_collection(protocol, number))
    return specs, problems, trials


def _arguments(protocol: Protocol) -> dict[str, Any]:
    collection = protocol.collection or f"raw_task_data_{protocol.order:02}"
    given: dict[str, Any] = {"protocol": protocol.name, "collection": collection}
    # Folders of other names hold sessions of one protocol, whose results carry no number.
    return {**given, "protocol_number": protocol.number} if _NUMBERED.fullmatch(collection) else given


def _output_collection(protocol: Protocol, number: int | None) -> str:
    if number is None and protocol.is_numbered:
        number = protocol.number
    return "alf" if number is None else f"alf/task_{number:02}"


def _usual(protocol: Protocol, arguments: dict[str, Any], clock: Clock) -> tuple[list[TaskSpec], list[str]]:
    """Plan a protocol by its name: passive, habituation, or any with trials."""
    suffix = f"{protocol.name}_{protocol.order:02}"
    if "passiveChoiceWorld" in protocol.name:
        register, extract = "PassiveRegisterRaw", "PassiveTask"
    elif "habituation" in protocol.name:
        register, extract = "HabituationRegisterRaw", "HabituationTrials"
    else:
        register, extract = "TrialRegisterRaw", "ChoiceWorldTrials"
    specs = [field_task(f"RegisterRaw_{suffix}", register, arguments)]
    cls = extract + (clock.label or "").capitalize()
    if cls not in FIELD_TASKS:
        return specs, [f"the field has no {extract} for the clock {clock.label or 'that is not described'}"]
    parents = [specs[0], clock.pulses]
    specs.append(field_task(f"Trials_{suffix}", cls, {**clock.arguments, **arguments}, parents))
    if extract == "ChoiceWorldTrials":
        specs.append(field_task(f"TrainingStatus_{suffix}", "TrainingStatus", arguments, specs[-1:]))
    return specs, []


def _chained(protocol: Protocol, arguments: dict[str, Any], clock: Clock) -> tuple[list[TaskSpec], list[str]]:
    """Plan the extractors that the description names; each waits for the one before, the second for the clock too."""
    specs: list[TaskSpec] = []
    for place, extractor in enumerate(protocol.extractors):
        others = [name for name in _CLOCKS if name in extractor.lower() and name != clock.label]
        if others:
            return specs, [f"the extractor {extractor} is for {others[0]}, and the main clock is {clock.label}"]
        cls = next((c for c in (extractor, extractor + (clock.label or "").capitalize()) if _is_behaviour(c)), None)
        given = {**clock.arguments, **arguments} if place == 1 else arguments
        parents = [*specs[-1:], clock.pulses if place == 1 else None]
        name = _name(cls or extractor, protocol.order)
        if any(spec.name == name for spec in specs):
            return specs, [f"the extractor {extractor} is named twice"]
        specs.append(field_task(name, cls, given, parents) if cls else _personal(name, extractor, given, parents))
    return specs, []


def _is_behaviour(cls: str) -> bool:
    return cls in FIELD_TASKS and FIELD_TASKS[cls].module == _MODULE


def _name(cls: str, order: int) -> str:
    is_trials = not (cls.startswith("TrainingStatus") or cls.endswith("RegisterRaw"))
    return f"{'Trials_' if is_trials else ''}{cls}_{order:02}"


def _personal(name: str, extractor: str, arguments: dict[str, Any], parents: list[TaskSpec | None]) -> TaskSpec:
    """Return the spec of a lab's own extractor. Its class is searched where it runs: planning imports nothing."""
    named = tuple(parent.name for parent in parents if parent is not None)
    resources = Resources(1, 0, FIELD_MEMORY_GB)
    return TaskSpec(name, f"{_PERSONAL}.{extractor}", dict(arguments), named, resources)


def _has_table(spec: TaskSpec) -> bool:
    """Return whether a task extracts a table of trials; a lab's own task is taken to."""
    cls = spec.executable.rsplit(".", 1)[-1]
    is_trials = spec.name.startswith("Trials_")
    if cls == "ChoiceWorldTrialsTimeline" and "habituation" in spec.arguments["protocol"]:
        return False  # what comes of it depends on the protocol, and habituation has no table
    return is_trials and (cls.startswith("ChoiceWorldTrials") or spec.executable.startswith(_PERSONAL))
