"""Weights of networks: pinned by their SHA-256, and copied once to each node."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ibl_dask.errors import WrongWeights
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.weights_digest import file_blocks, folder_state, weights_digest

_log = logging.getLogger(__name__)
MOST_NAMES = 5
"""Files that a message names."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class _NoCopy(Exception):
    """The copy cannot be written."""


def staging_folder() -> Path:
    """Return the folder of this user for weights on this node."""
    return Path(tempfile.gettempdir()) / f"ibl_dask-weights-{os.getuid()}"


def stage_weights(settings: EngineSettings, folder: Path | None = None) -> Path | None:
    """Return a read-only copy of the weights on a disk of the node, made where there is none; None for no weights.

    A file, or each file of a folder, is hashed while it is copied, and a copy each time it is opened: the engine reads
    what the profile pins. Several processes may do so at once. On a node without room they are used where they are.

    Parameters
    ----------
    settings : EngineSettings
        The engine.
    folder : Path, optional
        Folder of the copies; see `staging_folder`.

    Raises
    ------
    WrongWeights
        If they are missing, cannot be read, are others, or change meanwhile.
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
    part = None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)  # fails for a folder of another user
        if not _is_own(folder):
            raise _NoCopy(f"{folder} is no folder of this user")
        staged.parent.mkdir(exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=staged.parent))
        copy = part / staged.name

        def copied(path: Path) -> Iterator[bytes]:
            target = copy / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for block in _blocks(path, settings):
                    file.write(block)
                    yield block
            target.chmod(stat.S_IRUSR)

        _require_pinned(_digest(source, settings, copied), settings)
        _put(copy, staged, settings)
    except WrongWeights:
        raise
    except OSError as error:
        raise _NoCopy(str(error)) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _put(copy: Path, staged: Path, settings: EngineSettings) -> None:
    """Give a copy its place, unless another process made an equal one meanwhile, which may be in use."""
    if copy.is_dir() and staged.exists():
        with contextlib.suppress(WrongWeights):
            _require_pinned(_digest(staged, settings), settings)
            return
        staged.replace(copy.with_name("changed"))  # removed with the folder of the copy
    try:
        copy.replace(staged)
    except OSError:
        if not staged.is_dir():
            raise
        _require_pinned(_digest(staged, settings), settings)  # another process made it at this moment


def _digest(path: Path, settings: EngineSettings, blocks: Callable[[Path], Iterator[bytes]] | None = None) -> str:
    """Return the SHA-256 of weights; raise `WrongWeights` if they cannot be read, or another process writes to them."""
    is_folder = path.is_dir()
    try:
        before = folder_state(path) if is_folder else {}
        digest = weights_digest(path, blocks or (lambda file: _blocks(file, settings)))
        after = folder_state(path) if is_folder else {}
    except FileNotFoundError as error:
        raise _unreadable(path, error, settings) from error
    if before != after:
        changed = sorted({name for name, _ in set(before.items()) ^ set(after.items())})
        raise WrongWeights(
            f"the weights of engine {settings.name} change while they are read",
            where=str(path),
            expected="a folder that nobody writes to",
            got=f"another process writes {', '.join(changed[:MOST_NAMES])}",
            do="name a copy of the folder, made after the training or the copy ended, and write its SHA-256 into the "
            "profile",
        )
    return digest


def _blocks(path: Path, settings: EngineSettings) -> Iterator[bytes]:
    """Yield the content of a file."""
    try:
        yield from file_blocks(path)
    except OSError as error:
        raise _unreadable(path, error, settings) from error


def _unreadable(path: Path, error: OSError, settings: EngineSettings) -> WrongWeights:
    return WrongWeights(
        f"the weights of engine {settings.name} cannot be read",
        where=str(path),
        expected="the file or folder of the network",
        got=error.strerror or str(error),
        do="correct `weights:` under `engines:` of the site profile, and check that this node sees that disk",
    )


def _require_pinned(digest: str, settings: EngineSettings) -> None:
    if digest != settings.sha256.lower():
        raise WrongWeights(
            f"the weights of engine {settings.name} are not those of the profile",
            where=str(settings.weights),
            expected=f"SHA-256 {settings.sha256}",
            got=f"SHA-256 {digest}",
            do="copy them again; if the network was meant to change, write its SHA-256 into the profile "
            "(`sha256sum FILE`; of a folder the one above)",
        )


def _is_own(folder: Path) -> bool:
    """Return whether a folder belongs to this user alone: others could exchange what is in it."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & _WRITABLE_BY_OTHERS
