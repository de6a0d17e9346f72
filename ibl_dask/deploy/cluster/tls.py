"""Certificates of one run, which its scheduler, workers and driver accept alone.

Jobs read them from a folder that is removed when the run ends. The folder of a driver that was killed is named after
its process (`Process.mark`), and removed by the next run on that host. Until then the files are useless, since the
scheduler that accepted these certificates is gone as well.
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
from typing import TYPE_CHECKING, Any

from ibl_dask.deploy.site.profile import Profile
from ibl_dask.errors import RunError
from ibl_dask.store.atomic import is_abandoned
from ibl_dask.store.processes import Process, this_process

if TYPE_CHECKING:
    from distributed import Security

_FOLDER = re.compile(r"tls-(?P<mark>.+-\d+)-[^-]+")
"""Name of such a folder; older versions wrote host and process number alone."""
VALID_S = 365 * 86_400.0
"""Validity of certificates, s."""
_NAME = "ibl_dask"
_ROLES = ("client", "scheduler", "worker")


def uses_tls(profile: Profile) -> bool:
    """Return whether scheduler and workers use TLS; see `Profile.security`.

    A connection to an open port of a worker can run code in it, and every user of a machine can connect to its ports.
    Since other users may log in at any time, TLS is used unless a profile has `none`.
    """
    return profile.security != "none"


@contextlib.contextmanager
def certificates(profile: Profile, folder: Path | None) -> Iterator[Security | None]:
    """Make certificates for a run, and yield a `distributed.Security`; None for a profile without encryption.

    Parameters
    ----------
    profile : Profile
        The site.
    folder : Path, optional
        Folder that the nodes see, for workers in batch jobs. The files are readable by their owner alone, and removed
        at the end. Without it certificates are kept in memory.

    Raises
    ------
    RunError
        If the library that makes certificates is not installed.
    """
    if not uses_tls(profile):
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

    Processes of other hosts and containers cannot be seen from here; their certificates are removed once they are no
    longer valid.
    """
    for path in folder.glob("tls-*"):
        named = _FOLDER.fullmatch(path.name)
        if named is not None and is_abandoned(path, Process.from_mark(named["mark"]), VALID_S):
            shutil.rmtree(path, ignore_errors=True)


def _make() -> Security:
    """Make one self-signed certificate for all roles of this run.

    As Dask's `Security.temporary`, but with a key on an elliptic curve: an RSA key takes 0.1 s to generate, and
    each handshake longer.
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


def _on_disk(security: Any, folder: Path) -> Security:  # `Security` sets its attributes by name
    """Write certificates to files, whose paths go on the command line of a worker."""
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
