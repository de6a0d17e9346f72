"""Writing experiment descriptions, and adding what one acquisition computer recorded to that of the session."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

import yaml

from ibl_dask.errors import SessionLocked
from ibl_dask.model.description_merge import merge_descriptions
from ibl_dask.model.description_reader import DESCRIPTION_NAME, VERSION, read_content
from ibl_dask.store.atomic import write_text
from ibl_dask.store.lock import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PATIENCE_S = 60.0
"""How long another computer's turn is waited for; merging two small files takes milliseconds."""


def write_description(path: Path, content: Mapping[str, Any]) -> None:
    """Write the content of a description; readers see the old file or the new one.

    Parameters
    ----------
    path : Path
        The file.
    content : mapping
        What it holds; the version of the layout is added.
    """
    text = yaml.safe_dump({**content, "version": str(content.get("version") or VERSION)}, allow_unicode=True)
    write_text(path, text)


def add_device(device: Path, session: Path, *, remove: bool = False, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Add the description that an acquisition computer left to that of the session.

    Any number of computers may do so at once: each waits for its turn, and none takes it away from another that is
    still at it.

    Parameters
    ----------
    device : Path
        File of the acquisition computer.
    session : Path
        Session folder, or the session's own description file.
    remove : bool
        Remove the computer's file once the description was read back with all that it holds, and the folder it is in
        once that is empty.
    patience_s : float
        How long to wait for the others, s.

    Returns
    -------
    dict
        What the session's description holds now.

    Raises
    ------
    DescriptionError
        If a file cannot be understood, or both name a different main clock.
    SessionLocked
        If others hold the description for longer than that; nothing was changed.
    """
    target = session / DESCRIPTION_NAME if session.is_dir() else session
    with _turn(target.with_name(f".{target.name}.lock"), patience_s):
        added = read_content(device)
        whole = merge_descriptions(read_content(target) if target.exists() else {}, added)
        if added:
            write_description(target, whole)
    if remove and added and _holds(target, added):
        device.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are left in it
            device.parent.rmdir()
    return whole


def _holds(target: Path, added: dict[str, Any]) -> bool:
    """Return whether a description, as it is on the disk, gains nothing by what was added to it."""
    now = read_content(target)
    return merge_descriptions(now, added) == now


@contextlib.contextmanager
def _turn(lock: Path, patience_s: float) -> Iterator[None]:
    """Hold a lock as soon as it is free. Whether its holder lives is for `Attempt` to say, not for the clock."""
    until = time.monotonic() + patience_s
    attempt = Attempt(lock)
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.callback(attempt.take().close)
                break
            except SessionLocked as error:
                if time.monotonic() > until:
                    raise SessionLocked(
                        "another computer is writing this session's description",
                        where=error.where,
                        expected=f"its turn to end within {patience_s:g} s",
                        got=error.got,
                        do="try again; if that computer is surely gone, remove the lock file",
                    ) from error
                time.sleep(random.uniform(0.005, 0.05))
        yield
