"""Whether a process sees the data: a node may lack a disk that the driver has."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOOKS_S = (0.0, 0.5, 1.5)
"""Pauses before each look, s: a file system that is mounted on demand may take a moment to be there."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a step returns instead of a record where its process does not see what the driver sees."""

    place: Path
    """What is not there."""
    said: str
    """What the operating system said."""
    worker: str
    """Address of the worker."""
    host: str
    """Its node."""


def what_is_missing(places: Iterable[Path]) -> tuple[Path, str] | None:
    """Return the first of some places that this process does not see, and why; None where it sees them all.

    Whatever the reason, a worker there can do nothing: the place is absent, may not be entered, or does not answer.
    """
    for place in places:
        for number, pause_s in enumerate(LOOKS_S, 1):
            time.sleep(pause_s)
            try:
                place.stat()
                break
            except OSError as error:
                if number == len(LOOKS_S):
                    return place, error.strerror or str(error)
    return None


def visible(places: Iterable[Path]) -> tuple[Path, ...]:
    """Return those of some places that this process sees now."""
    found = []
    for place in places:
        try:
            place.stat()
        except OSError:
            continue
        found.append(place)
    return tuple(found)
