"""Tasks of fibre photometry, whose classes are outside the field's main package."""

from __future__ import annotations

from collections.abc import Mapping

from ibl_dask.model.description import ExperimentDescription, Problem
from ibl_dask.model.task import TaskSpec
from ibl_dask.tasks.catalogue import field_task


def plan_photometry(description: ExperimentDescription) -> tuple[list[TaskSpec], list[Problem]]:
    """Return the tasks of a fibre photometry system, and faults of its entry."""
    kind = "neurophotometrics"
    entry = description.devices.get(kind)
    if entry is None:
        return [], []
    mode = entry.get("sync_mode") if isinstance(entry, Mapping) else None
    if mode not in ("bpod", "daqami"):
        return [], [Problem(kind, f"`sync_mode` must be bpod or daqami, not {mode}")]
    if len(description.protocols) != 1:
        n = len(description.protocols)
        return [], [Problem(kind, f"its signal can be extracted for sessions of one protocol, here are {n}")]
    is_passive = "passive" in description.protocols[0].name
    names = ["FibrePhotometryPassiveChoiceWorld"] if is_passive else []
    if mode == "bpod":
        names.append("FibrePhotometryBpodSync")
    elif not is_passive:
        names.append("FibrePhotometryDAQSync")
    return [field_task(name, name, {}) for name in names], []
