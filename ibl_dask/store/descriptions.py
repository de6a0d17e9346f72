"""Writing of experiment descriptions, and merging of an acquisition computer's description into the session's."""

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
"""Longest wait for other computers, s; merging two small files takes milliseconds."""


def write_description(path: Path, content: Mapping[str, Any]) -> None:
    """Write a description atomically.

    Parameters
    ----------
    path : Path
        The file.
    content : mapping
        Its content; the version of the layout is added.
    """
    text = yaml.safe_dump({**content, "version": str(content.get("version") or VERSION)}, allow_unicode=True)
    write_text(path, text)


def add_device(device: Path, session: Path, *, remove: bool = False, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Merge the description of an acquisition computer into that of the session.

    Several computers may do so at once: each waits for a lock, which is never taken from a computer that still runs.

    Parameters
    ----------
    device : Path
        File of the acquisition computer.
    session : Path
        Session folder, or the session's own description file.
    remove : bool
        Remove the computer's file after the session's description was read back with all of its content, and then its
        folder if it is empty.
    patience_s : float
        Longest wait for other computers, s.

    Returns
    -------
    dict
        Content of the session's description.

    Raises
    ------
    DescriptionError
        If a file is invalid, or the two name different main clocks.
    SessionLocked
        If others hold the lock for longer than `patience_s`; nothing was changed.
    """
    target = session / DESCRIPTION_NAME if session.is_dir() else session
    with _turn(target.with_name(f".{target.name}.lock"), patience_s):
        added = read_content(device)
        whole = merge_descriptions(read_content(target) if target.exists() else {}, added)
        if added:
            write_description(target, whole)
    if remove and added and _holds(target, added):
        device.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # files of other computers remain
            device.parent.rmdir()
    return whole


def _holds(target: Path, added: dict[str, Any]) -> bool:
    """Return whether a description on disk contains everything that was added to it."""
    now = read_content(target)
    return merge_descriptions(now, added) == now


@contextlib.contextmanager
def _turn(lock: Path, patience_s: float) -> Iterator[None]:
    """Hold a lock as soon as it is free; `Attempt` finds out whether its holder still runs."""
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
