"""What can be found out about the process that asks: versions, codecs, disks, limits, its GPU. No judgement."""

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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ibl_dask.deploy.cluster.gpu import Gpu, is_check_wanted, look_at, node_name
from ibl_dask.deploy.doctor.disks import Disk, Made, look_at_file, measure_disk, read_quota

PACKAGES = ("ibl_dask", "dask", "distributed", "av", "numpy", "zarr")
"""Packages that driver and workers must have alike: they hand objects to each other, or write the same files."""
BATCH_COMMANDS = {"slurm": ("sbatch", "squeue", "scancel"), "pbs": ("qsub", "qstat", "qdel")}
"""What a batch system is talked to with."""
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one process."""

    host: str
    """Name of its machine, as the batch system calls it."""
    python: str
    """Interpreter."""
    versions: Mapping[str, str]
    """Python and packages -> version; empty where one is not installed."""
    source: str
    """Digest of the package's own source files: tells two versions apart that have the same number."""
    codecs: Mapping[str, str]
    """See `try_codecs`."""
    work: Disk
    """The work folder."""
    local: Disk
    """The folder for what Dask spills, on the node itself."""
    made: Made
    """A file in the work folder."""
    open_files: tuple[int, int]
    """How many files it may have open: now, and at most if it asks."""
    threads: str
    """How many threads libraries take, as the environment says it; empty where it says nothing."""
    quota: str = ""
    """Lines of `quota` about disks that are nearly full or over; empty where there are none, or no such command."""
    gpu: Gpu | None = None
    """Its GPU; None for a process without."""
    commands: Mapping[str, str] = field(default_factory=dict)
    """Command of a batch system -> where it is; empty where it was not found."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a mapping that JSON holds."""
        return asdict(self)


def gather(work_folder: Path, local_folder: Path | None = None, *, has_gpu: bool = False, n_mb: int = 64) -> Facts:
    """Find out all about this process.

    Parameters
    ----------
    work_folder
        Folder of the site that every node sees. It must be there; nothing stays in it.
    local_folder
        Folder of the node; by default the one of the Dask worker, or the system's temporary one.
    has_gpu
        Whether it has a GPU to look at.
    n_mb
        Size of the file that tells how fast a disk is, MB.
    """
    from ibl_dask.video.encoding.codecs import try_codecs

    device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return Facts(
        host=node_name(),
        python=sys.executable,
        versions=read_versions(),
        source=digest_source(),
        codecs=try_codecs(),
        work=measure_disk(work_folder, n_mb),
        local=measure_disk(local_folder or local_scratch(), n_mb),
        made=look_at_file(work_folder),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        threads=os.environ.get("OMP_NUM_THREADS", ""),
        quota=read_quota(),
        gpu=(look_at(device) if is_check_wanted(os.environ) else Gpu(device)) if has_gpu else None,
        commands={name: shutil.which(name) or "" for names in BATCH_COMMANDS.values() for name in names},
    )


def read_versions() -> dict[str, str]:
    """Return the versions of Python and of what driver and workers must have alike."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def digest_source(root: Path = _PACKAGE) -> str:
    """Return 12 hexadecimal digits that change with any source file of this package."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def local_scratch() -> Path:
    """Return where this process has its own files: the folder of a Dask worker, else the system's temporary one."""
    from distributed import get_worker

    with contextlib.suppress(ValueError):  # no worker
        return Path(get_worker().local_directory)
    return Path(tempfile.gettempdir())


def now_s() -> float:
    """Return the time on the clock of this machine, s since 1970."""
    return time.time()
