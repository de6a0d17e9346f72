"""Facts about the running process: versions, codecs, disks, limits, GPU. No judgement."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ibl_dask.deploy.batch_systems.registry import BATCH_SYSTEMS, node_name
from ibl_dask.deploy.cluster.gpu import Gpu, check_gpu, is_check_enabled
from ibl_dask.deploy.doctor.disks import Disk, NewFile, inspect_new_file, measure_disk, read_quota

PACKAGES = ("ibl_dask", "dask", "distributed", "av", "numpy", "zarr")
"""Packages whose versions driver and workers must share: they exchange objects, or write the same files."""
_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """Facts about one process."""

    host: str
    """Name of its machine, in the batch system where that has one."""
    python: str
    """Interpreter."""
    versions: Mapping[str, str]
    """Versions of Python and packages; empty for one that is not installed."""
    source: str
    """Digest of the package's own source files, which differs between two states of the same version."""
    codecs: Mapping[str, str]
    """See `try_codecs`."""
    work: Disk
    """The work folder."""
    local: Disk
    """The node-local folder for data that Dask spills."""
    new_file: NewFile
    """A file that it created in the work folder."""
    open_files: tuple[int, int]
    """Soft and hard limit of open files."""
    threads: str
    """`OMP_NUM_THREADS`; empty if unset."""
    quota: str = ""
    """Lines of `quota` about disks that are nearly full; empty without any, or without the command."""
    gpu: Gpu | None = None
    """Its GPU; None for a process without one."""
    commands: Mapping[str, str] = field(default_factory=dict)
    """Path of each command of a batch system; empty for one that was not found."""


def gather(
    work_folder: Path, local_folder: Path | None = None, *, has_gpu: bool = False, n_mb: int = 64
) -> ProcessFacts:
    """Collect the facts about this process.

    Parameters
    ----------
    work_folder
        Existing folder that every node sees; nothing is left in it.
    local_folder
        Folder of the node; by default the one of the Dask worker, or the system's temporary one.
    has_gpu
        Whether it has a GPU to check.
    n_mb
        Size of the file with which disks are measured, MB.
    """
    from ibl_dask.video.encoding.codecs import try_codecs

    device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return ProcessFacts(
        host=node_name(),
        python=sys.executable,
        versions=read_versions(),
        source=digest_source(),
        codecs=try_codecs(),
        work=measure_disk(work_folder, n_mb),
        local=measure_disk(local_folder or local_scratch(), n_mb),
        new_file=inspect_new_file(work_folder),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        threads=os.environ.get("OMP_NUM_THREADS", ""),
        quota=read_quota(),
        gpu=(check_gpu(device) if is_check_enabled(os.environ) else Gpu(device)) if has_gpu else None,
        commands={name: shutil.which(name) or "" for system in BATCH_SYSTEMS.values() for name in system.commands},
    )


def find_programs(names: Iterable[str]) -> dict[str, str]:
    """Return the path of each program that a shell of this process would find; empty for one that is missing."""
    return {name: shutil.which(name) or "" for name in names}


def read_versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def digest_source(root: Path = _PACKAGE) -> str:
    """Return 12 hexadecimal digits that change with any source file of a package, by default this one."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def local_scratch() -> Path:
    """Return the node-local folder of a Dask worker, or else the system's temporary folder."""
    from distributed import get_worker

    with contextlib.suppress(ValueError):  # not in a worker
        return Path(get_worker().local_directory)
    return Path(tempfile.gettempdir())


def now_s() -> float:
    """Return the time of this machine's clock, s since 1970."""
    return time.time()
