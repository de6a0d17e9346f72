"""The tasks of a session that this package does itself, among all that its description asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_Value = TypeVar("_Value")


def of_videos(tasks: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the tasks that register, compress, convert, time and check videos."""
    return {name: value for name, value in tasks.items() if name.startswith("Video")}
