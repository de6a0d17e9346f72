"""Visibility of the data from a process: a node may lack a disk that the driver has."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOOKS_S = (0.0, 0.5, 1.5)
"""Pauses before each look, s: a file system that is mounted on demand may take a moment to appear."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Answer of a worker, instead of a record, that does not see a place that the driver sees."""

    place: Path
    """The missing file or folder."""
    problem: str
    """Message of the operating system."""
    worker: str
    """Address of the worker."""
    host: str
    """Node of the worker."""


def first_missing(places: Iterable[Path]) -> tuple[Path, str] | None:
    """Return the first place that this process does not see, and the reason; None where it sees them all.

    The reason does not matter: a place may be absent, closed to this user, or not answer; a worker there is of no use.
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
                _refresh(place)
    return None


def _refresh(place: Path) -> None:
    """Open and list the folders above a place, so that NFS asks its server for them.

    Otherwise it keeps for half a minute (`acdirmin`) that a name did not exist, on a node that looked for it before
    another made it, as when sessions are planned on workers.
    """
    for folder in (place.parent.parent, place.parent):
        with contextlib.suppress(OSError):
            os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
            list(folder.iterdir())


def visible(places: Iterable[Path]) -> tuple[Path, ...]:
    """Return the places that this process sees now."""
    found = []
    for place in places:
        try:
            place.stat()
        except OSError:
            continue
        found.append(place)
    return tuple(found)
