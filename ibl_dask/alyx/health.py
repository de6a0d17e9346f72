"""Health of a server, as it is noted in the record of its data repository."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ibl_dask.alyx.client import Alyx

_GIB = 1024**3
_PACKAGES = {"ibl_dask_version": "ibl_dask", "ibllib_version": "ibllib", "dask_version": "dask"}


def health_of(subjects: Path) -> dict[str, Any]:
    """Return versions, time and room on the disks, under the keys of the reference.

    `raid_` keys are about the disk of the sessions, `system_` keys about that of the system, in GiB.

    Parameters
    ----------
    subjects : Path
        Folder of the sessions.
    """
    found: dict[str, Any] = {
        "python_version": sys.version,
        "local_time": datetime.now().isoformat(timespec="seconds"),
    }
    for key, package in _PACKAGES.items():
        try:
            found[key] = version(package)
        except PackageNotFoundError:
            continue
    for label, folder in (("raid", subjects), ("system", Path("/"))):
        usage = shutil.disk_usage(folder)
        sizes = {"total": usage.total, "used": usage.used, "available": usage.free}
        found |= {f"{label}_{name}": n_bytes / _GIB for name, n_bytes in sizes.items()}
        found[f"{label}_volume"] = str(folder)
    return found


def report_health(alyx: Alyx, repository: str, subjects: Path) -> dict[str, Any]:
    """Note the health of a server in the `json` of its data repository, and return that.

    Other entries stay. The field is read and written as a whole: one program per repository does so.

    Parameters
    ----------
    alyx : Alyx
        The database.
    repository : str
        Name of the data repository.
    subjects : Path
        Folder of the sessions.
    """
    before = alyx.read("data-repository", repository).get("json") or {}
    wanted = {**before, **health_of(subjects)}
    alyx.change("data-repository", repository, {"json": wanted})
    return wanted
