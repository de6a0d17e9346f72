"""Merge of the descriptions of several acquisition computers.

Every computer describes the devices that it records; together they describe the session. Entries for the main clock
must agree; of other entries for one thing the later one counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ibl_dask.errors import DescriptionError
from ibl_dask.model.description_reader import VERSION, split_tasks

_DEVICE_LEVELS = 2
"""Kinds and labels are merged; the entry of one device is replaced as a whole."""


def merge_descriptions(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of two descriptions together.

    Protocols keep their order, and one that is there already is not added again. Procedures and projects are
    concatenated, each once. Devices are merged by kind and label; the entry of the second replaces that of the first.
    Neither argument is changed.

    Parameters
    ----------
    first, second : mapping
        Contents of the files.

    Raises
    ------
    DescriptionError
        If they name different main clocks, or a part is of a kind that cannot be merged.
    """
    merged: dict[str, Any] = deepcopy(dict(first))
    for name, value in second.items():
        if value is None and name in merged:
            continue
        old = merged.get(name)
        if name == "version":
            merged[name] = VERSION
        elif old is None:
            merged[name] = deepcopy(value)
        elif name == "sync":
            _require_one_clock(old, value)
        elif name == "tasks":
            merged[name] = _merge_tasks(old, value)
        elif isinstance(old, list) or isinstance(value, list):
            merged[name] = _merge_lists(old, value)
        elif isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[name] = _merge_mappings(old, value, _DEVICE_LEVELS if name == "devices" else 1)
        else:
            merged[name] = deepcopy(value)
    if "tasks" in merged and merged["tasks"] is not None:
        merged["tasks"] = _merge_tasks([], merged["tasks"])
    return merged


def _require_one_clock(first: object, second: object) -> None:
    if first != second:
        raise DescriptionError(
            "two acquisition computers name different main clocks",
            expected="one sync for a session",
            got=f"{_as_text(first)} and {_as_text(second)}",
            do="take the sync out of the description of the computer that does not record it",
        )


def _merge_tasks(first: object, second: object) -> list[dict[str, Any]]:
    """Return protocols one to an entry; those of the second that the first does not have follow."""
    merged: list[dict[str, Any]] = []
    known: set[str] = set()
    for tasks in (first, second):
        try:
            entries = [{name: deepcopy(body)} for name, body in split_tasks(tasks or [])]
        except TypeError as error:
            raise DescriptionError(
                "the tasks of a description cannot be merged",
                expected="a list of protocols, or a mapping",
                got=_as_text(tasks),
                do="mend the part `tasks` of the acquisition computer's description",
            ) from error
        # Twice in one description is a protocol that ran twice; once in each of two is the same run.
        new = [entry for entry in entries if _as_text(entry) not in known]
        merged += new
        known |= {_as_text(entry) for entry in new}
    return merged


def _merge_lists(first: object, second: object) -> list[Any]:
    values = [*(first if isinstance(first, list) else [first]), *(second if isinstance(second, list) else [second])]
    return list({_as_text(value): value for value in deepcopy(values)}.values())


def _merge_mappings(first: Mapping[str, Any], second: Mapping[str, Any], levels: int) -> dict[str, Any]:
    merged = deepcopy(dict(first))
    for name, value in second.items():
        old = merged.get(name)
        if levels > 1 and isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[name] = _merge_mappings(old, value, levels - 1)
        else:
            merged[name] = deepcopy(value)
    return merged


def _as_text(value: object) -> str:
    """Return a value as text, equal for equal values."""
    return json.dumps(value, sort_keys=True, default=str)
