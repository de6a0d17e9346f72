"""Free space and quota of the disks of folders, which need not exist yet."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ibl_dask.model.disk_needs import DiskSpace
from ibl_dask.store.disk import nearest_folder
from ibl_dask.store.quota import BLOCK_BYTES, print_quotas, read_quotas

_QUOTA_S = 3.0
_MOUNTS = Path("/proc/self/mounts")


def device_of(folder: Path) -> int:
    """Return the number of the file system that a folder is, or will be, on.

    Raises
    ------
    OSError
        If no folder above it can be looked at.
    """
    return nearest_folder(folder).stat().st_dev


def measure_spaces(folders: Iterable[Path]) -> dict[Path, DiskSpace]:
    """Return free space and quota of the disks of some folders; those of which they are not known are left out."""
    devices: dict[Path, int] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            devices[folder] = device_of(folder)
    quotas = _quotas_by_device(_QUOTA_S)
    found: dict[Path, DiskSpace] = {}
    for folder, device in devices.items():
        with contextlib.suppress(OSError):
            there = os.statvfs(nearest_folder(folder))
            if there.f_blocks:  # some servers, and disks that are none, do not tell
                found[folder] = DiskSpace(device, there.f_bavail * there.f_frsize, quotas.get(device))
    return found


def _quotas_by_device(time_out_s: float) -> Mapping[int, int]:
    """Return the rest of this user's quota on each file system that has one, bytes."""
    limits = [quota for quota in read_quotas(print_quotas(time_out_s)) if quota.unit == "blocks"]
    if not limits:
        return {}
    places = _mount_points()
    rests: dict[int, int] = {}
    for quota in limits:
        with contextlib.suppress(KeyError, OSError):
            device = places[quota.filesystem].stat().st_dev
            rest = (quota.limit - quota.used) * BLOCK_BYTES
            rests[device] = min(rest, rests.get(device, rest))
    return rests


def _mount_points() -> Mapping[str, Path]:
    """Return the mount point of each device or server."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return {}
    parts = (line.decode("utf-8", "surrogateescape").split(" ") for line in lines)
    # Blanks in names are written as octal numbers.
    return {source: Path(place.replace("\\040", " ").replace("\\134", "\\")) for source, place, *_ in parts}
