"""Removal of files that nobody needs any more, each session under its lock."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ibl_dask.deploy.batch_systems.registry import ask_job, own_job
from ibl_dask.errors import IblDaskError, OutputError, SessionLocked
from ibl_dask.pipeline.cleanable import Wanted, find_in_session
from ibl_dask.store.disk import explain_os_error
from ibl_dask.store.leftovers import Leftover, remove
from ibl_dask.store.lock import LOCK_NAME, Attempt
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.video_mp4.trash import find_trashed, require_replaced

LOOK_S = 1.0
"""Interval at which locks that are being watched are looked at, s."""


def remove_in_sessions(
    found: Iterable[tuple[Workspace, Sequence[Leftover]]], wanted: Wanted, *, scratch_alone: bool = False
) -> Iterator[Leftover]:
    """Remove what was found of sessions; yield each, with a reason where it stayed.

    Each session is locked first, and looked at again. Locks that look abandoned are watched, all at a time.

    Parameters
    ----------
    found : iterable of (Workspace, sequence of Leftover)
        What was found of each session; what has a reason to stay is left out.
    wanted, scratch_alone
        See `find_in_session`.
    """
    pending = [
        (workspace, chosen, Attempt(workspace.session.own / LOCK_NAME, ask_job, own_job=own_job()))
        for workspace, each in found
        if (chosen := [leftover for leftover in each if not leftover.keep])
    ]
    while pending:
        waiting = []
        for workspace, chosen, attempt in pending:
            own, is_made = workspace.session.own, False
            try:
                is_made = not own.is_dir()
                # No run begins in a session that is gone or cannot be written to.
                is_runnable = os.access(workspace.session.outputs if is_made else own, os.W_OK | os.X_OK)
                held = attempt.take() if is_runnable or not is_made else None
            except SessionLocked as error:
                if attempt.is_open:
                    waiting.append((workspace, chosen, attempt))
                else:
                    yield from (replace(each, keep=f"its session is held by {error.got}") for each in chosen)
                continue
            except (OutputError, OSError) as error:
                yield from (replace(each, keep=f"its session cannot be locked: {error}") for each in chosen)
                continue
            try:
                again = {each.path: each for each in find_in_session(workspace, wanted, scratch_alone=scratch_alone)}
                for each in chosen:
                    now = again.get(each.path)
                    if now is not None:
                        yield now if now.keep else _removed(now, workspace)
            finally:
                if held is not None:
                    held.close()
                if is_made:
                    with contextlib.suppress(OSError):  # a run has begun meanwhile
                        own.rmdir()
        pending = waiting
        if pending:
            time.sleep(LOOK_S)


def remove_in_work_folder(found: Iterable[Leftover]) -> Iterator[Leftover]:
    """Remove what was found of a work folder; see `remove_in_sessions`."""
    for each in found:
        if not each.keep:
            yield _attempted(each, lambda path=each.path: remove(path))  # type: ignore[misc]  # a default binds it


def _removed(leftover: Leftover, workspace: Workspace) -> Leftover:
    def act() -> None:
        if leftover.kind == "trash":
            video = next((v for v in find_trashed(workspace) if v.path == leftover.path), None)
            if video is None:
                return
            require_replaced(workspace, video)
        remove(leftover.path)
        if leftover.kind == "trash":
            with contextlib.suppress(OSError):  # others are in it
                leftover.path.parent.rmdir()

    return _attempted(leftover, act)


def _attempted(leftover: Leftover, act: Callable[[], None]) -> Leftover:
    """Return a leftover after an attempt to remove it: with the error, where that failed."""
    try:
        act()
    except (IblDaskError, OSError) as error:
        known = explain_os_error(error, leftover.path) if isinstance(error, OSError) else None
        return replace(leftover, keep=f"it cannot be removed: {known or error}")
    return leftover
