"""Space that a run needs on each disk, compared with the space that there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Place = Literal["results", "scratch", "journal"]
"""What is written: published files and our own beside them; intermediate results; the record of the run."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that are written to a folder."""

    place: Place
    """What is written."""
    folder: Path
    """Folder that it is written below; need not exist."""
    n_bytes: int
    """Estimate, bytes."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Space on the disk of a folder."""

    device: int
    """Number of the file system."""
    free_bytes: int
    """Free space for this user, bytes."""
    quota_bytes: int | None = None
    """Rest of this user's quota, bytes; None without one."""

    @property
    def available_bytes(self) -> int:
        """Return the smaller of free space and quota, at least 0, bytes."""
        return max(0, self.free_bytes if self.quota_bytes is None else min(self.free_bytes, self.quota_bytes))

    @property
    def limit(self) -> str:
        """Return the name of the smaller one."""
        return "quota" if self.quota_bytes is not None and self.quota_bytes < self.free_bytes else "free"


@dataclass(frozen=True, slots=True)
class DiskDemand:
    """What a run needs on one disk."""

    folder: Path
    """One of the folders on it."""
    space: DiskSpace
    """Space on it."""
    needs: Mapping[Place, int] = field(default_factory=dict)
    """Bytes by what is written."""

    @property
    def n_bytes(self) -> int:
        """Return what is needed in all, bytes."""
        return sum(self.needs.values())

    @property
    def is_short(self) -> bool:
        """Return whether the space does not suffice."""
        return self.n_bytes > self.space.available_bytes


def demands(needs: Iterable[Need], spaces: Mapping[Path, DiskSpace]) -> tuple[DiskDemand, ...]:
    """Add up needs by disk, the one with the least room left first.

    Parameters
    ----------
    needs : iterable of Need
        Needs of all folders; several may be on one disk.
    spaces : mapping
        Folder -> its disk; a folder whose disk is unknown is left out.
    """
    folders: dict[int, Path] = {}
    sums: dict[int, dict[Place, int]] = {}
    for need in needs:
        space = spaces.get(need.folder)
        if space is None or not need.n_bytes:
            continue
        folders.setdefault(space.device, need.folder)
        on_disk = sums.setdefault(space.device, {})
        on_disk[need.place] = on_disk.get(need.place, 0) + need.n_bytes
    found = (DiskDemand(folder, spaces[folder], sums[device]) for device, folder in folders.items())
    return tuple(sorted(found, key=lambda demand: demand.space.available_bytes - demand.n_bytes))
