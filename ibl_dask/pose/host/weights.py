"""Weights of networks: pinned by their SHA-256, and copied once to each node."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ibl_dask.errors import WrongWeights
from ibl_dask.pose.engine import EngineSettings

_log = logging.getLogger(__name__)
_BLOCK_BYTES = 1 << 20
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class _NoCopy(Exception):
    """The copy cannot be written."""


def staging_folder() -> Path:
    """Return the folder of this user for weights on this node."""
    return Path(tempfile.gettempdir()) / f"ibl_dask-weights-{os.getuid()}"


def stage_weights(settings: EngineSettings, folder: Path | None = None) -> Path | None:
    """Return a read-only copy of the weights on a disk of the node, made where there is none; None for no weights.

    The file is hashed while it is copied, and a copy each time it is opened: the engine reads what the profile pins.
    Several processes may do so at once. On a node without room the file is used where it is.

    Parameters
    ----------
    settings : EngineSettings
        The engine.
    folder : Path, optional
        Folder of the copies; see `staging_folder`.

    Raises
    ------
    WrongWeights
        If the file is missing, cannot be read, or is another one.
    """
    if settings.weights is None:
        return None
    folder = staging_folder() if folder is None else folder
    staged = folder / settings.sha256.lower() / settings.weights.name
    with contextlib.suppress(OSError, WrongWeights):
        if _is_own(folder):
            _require_pinned(_digest(staged, settings), settings)
            return staged
    try:
        _copy(settings.weights, staged, folder, settings)
    except _NoCopy as error:
        _log.warning("the weights of engine %s are read from %s: %s", settings.name, settings.weights, error)
        _require_pinned(_digest(settings.weights, settings), settings)
        return settings.weights
    return staged


def _copy(source: Path, staged: Path, folder: Path, settings: EngineSettings) -> None:
    blocks = _blocks(source, settings)
    digest = hashlib.sha256()
    part = None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)  # fails for a folder of another user
        if not _is_own(folder):
            raise _NoCopy(f"{folder} is no folder of this user")
        staged.parent.mkdir(exist_ok=True)
        descriptor, part = tempfile.mkstemp(prefix=".part-", dir=staged.parent)
        with os.fdopen(descriptor, "wb") as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
        _require_pinned(digest.hexdigest(), settings)
        Path(part).chmod(stat.S_IRUSR)
        Path(part).replace(staged)
        part = None
    except WrongWeights:
        raise
    except OSError as error:
        raise _NoCopy(str(error)) from error
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)


def _digest(path: Path, settings: EngineSettings) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path, settings):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path, settings: EngineSettings) -> Iterator[bytes]:
    """Yield the content of a file."""
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise WrongWeights(
            f"the weights of engine {settings.name} cannot be read",
            where=str(path),
            expected="the file of the network",
            got=error.strerror or str(error),
            do="correct `weights:` under `engines:` of the site profile, and check that this node sees that disk",
        ) from error


def _require_pinned(digest: str, settings: EngineSettings) -> None:
    if digest != settings.sha256.lower():
        raise WrongWeights(
            f"the weights of engine {settings.name} are not those of the profile",
            where=str(settings.weights),
            expected=f"SHA-256 {settings.sha256}",
            got=f"SHA-256 {digest}",
            do="copy the file again; if the network was meant to change, write its SHA-256 into the profile "
            "(`sha256sum FILE`)",
        )


def _is_own(folder: Path) -> bool:
    """Return whether a folder belongs to this user alone: others could exchange what is in it."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & _WRITABLE_BY_OTHERS
