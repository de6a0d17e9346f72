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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ibl_dask.deploy.site.profile import Profile
from ibl_dask.errors import RunError
from ibl_dask.store.atomic import is_abandoned
from ibl_dask.store.processes import Process, this_process

_FOLDER = re.compile(r"tls-(?P<mark>.+-\d+)-[^-]+")
"""Older versions named host and process number alone."""
VALID_S = 365 * 86_400.0
"""How long certificates are valid, s."""
_NAME = "ibl_dask"
_ROLES = ("client", "scheduler", "worker")


def wants_tls(profile: Profile) -> bool:
    """Return whether scheduler and workers shall talk over TLS; see `Profile.security`.

    Who reaches an open port of a worker runs code in it, and every user of a machine reaches its ports. Whether there
    are others, now or later in a run, nobody can tell: so it is what happens unless a profile says `none`.
    """
    return profile.security != "none"


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
    """Make one certificate for all roles, known to nobody outside this run.

    As `Security.temporary` of Dask does, with a key on an elliptic curve: an RSA key takes a tenth of a second to make,
    and each connection more to greet.
    """
    from distributed import Security

    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise RunError(
            "certificates for the workers cannot be made",
            expected="the library cryptography",
            got=str(error),
            do="pip install cryptography, or write `security: none` in the profile where nobody else can log in",
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        # A clock of a node may be a little behind.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(seconds=VALID_S))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    shown = certificate.public_bytes(pem).decode()
    form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    texts = {"cert": shown, "key": key.private_bytes(pem, form, secret).decode()}
    roles = {f"tls_{role}_{part}": texts[part] for role in _ROLES for part in texts}
    return Security(require_encryption=True, tls_ca_file=shown, **roles)


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
