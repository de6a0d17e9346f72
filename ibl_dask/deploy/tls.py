"""Certificates that live as long as a run: its scheduler, workers and driver know each other alone.

Jobs read them from a folder that is removed when the run ends. A driver that is killed cannot do that: its folder is
named after its process (`Process.mark`), and the next run that sees that this is gone removes it. Until then it opens
nothing, since the scheduler that took these certificates is gone as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ibl_dask.deploy.profile import Profile
from ibl_dask.errors import RunError
from ibl_dask.store.atomic import is_abandoned
from ibl_dask.store.processes import Process, this_process

_FOLDER = re.compile(r"tls-(?P<mark>.+-\d+)-[^-]+")
"""Older versions named host and process number alone."""
VALID_S = 365 * 86_400.0
"""How long Dask's certificates are valid, s."""
_ROLES = ("client", "scheduler", "worker")
BATCH_COMMANDS = ("sbatch", "qsub")


def is_shared_machine() -> bool:
    """Return whether batch commands are found here: a login node, where others may connect to an open port."""
    return any(shutil.which(command) for command in BATCH_COMMANDS)


def wants_tls(profile: Profile) -> bool:
    """Return whether scheduler and workers shall talk over TLS; see `Profile.security`."""
    if profile.security == "auto":
        return not profile.is_local or is_shared_machine()
    return profile.security == "tls"


@contextlib.contextmanager
def certificates(profile: Profile, folder: Path | None) -> Iterator[Any]:
    """Make certificates for a run, and yield a `distributed.Security`; None where the profile wants none.

    Parameters
    ----------
    profile : Profile
        The site.
    folder : Path, optional
        Folder that the nodes see, for workers that are started by jobs. The files are readable by their owner alone,
        and removed at the end. Without it certificates are kept in memory.

    Raises
    ------
    RunError
        If the library that makes certificates is not installed.
    """
    if not wants_tls(profile):
        yield None
        return
    security = _make()
    if folder is None:
        yield security
        return
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    own = Path(tempfile.mkdtemp(prefix=f"tls-{this_process().mark}-", dir=folder))  # 0700
    try:
        yield _on_disk(security, own)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove certificates of drivers that were killed.

    Whether a process of another host or container lives, nobody knows here; what it left goes once it is no longer
    valid.
    """
    for path in folder.glob("tls-*"):
        named = _FOLDER.fullmatch(path.name)
        if named is not None and is_abandoned(path, Process.from_mark(named["mark"]), VALID_S):
            shutil.rmtree(path, ignore_errors=True)


def _make() -> Any:  # distributed has no types
    from distributed import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise RunError(
            "certificates for the workers cannot be made",
            expected="the library cryptography",
            got=str(error),
            do="pip install cryptography, or write `security: none` in the profile where nobody else can log in",
        ) from error


def _on_disk(security: Any, folder: Path) -> Any:  # distributed has no types
    """Write the certificates that are in memory to files, by which a worker's command line can name them."""
    from distributed import Security

    texts = {security.tls_ca_file: "ca.pem"}
    for role in _ROLES:
        for part in ("cert", "key"):
            texts.setdefault(getattr(security, f"tls_{role}_{part}"), f"{role}-{part}.pem")
    paths = {text: _write(folder / name, text) for text, name in texts.items()}
    files = {"tls_ca_file": paths[security.tls_ca_file]}
    for role in _ROLES:
        for part in ("cert", "key"):
            name = f"tls_{role}_{part}"
            files[name] = paths[getattr(security, name)]
    return Security(require_encryption=True, **files)


def _write(path: Path, text: str) -> str:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return str(path)
