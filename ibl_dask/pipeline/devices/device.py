"""Entry of a device that a session has once."""

from __future__ import annotations

from collections.abc import Mapping

from ibl_dask.model.description import ExperimentDescription, Problem


def single_device(description: ExperimentDescription, kind: str) -> tuple[dict[str, object] | None, list[Problem]]:
    """Return the arguments from a device's entry, or None if there is no valid one, and faults of the entry.

    The keys of the entry become arguments; `collection` becomes `device_collection`.
    """
    entries = description.devices.get(kind)
    if entries is None:
        return None, []
    if not isinstance(entries, Mapping) or len(entries) != 1:
        got = ", ".join(map(str, entries)) if isinstance(entries, Mapping) and entries else type(entries).__name__
        return None, [Problem(kind, f"one device with its name is needed, not {got}")]
    label, body = next(iter(entries.items()))
    if not isinstance(body, Mapping) or not isinstance(body.get("collection"), str):
        return None, [Problem(f"{kind}.{label}", "it does not say in which collection its files are")]
    arguments = {str(name): value for name, value in body.items() if name != "collection"}
    return {**arguments, "device_collection": body["collection"]}, []
