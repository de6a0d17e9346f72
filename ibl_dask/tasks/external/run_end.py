"""The end of a run, as seen by a step on a worker: its driver releases the session."""

from __future__ import annotations

from collections.abc import Callable

from ibl_dask.store.lock import LOCK_NAME
from ibl_dask.store.workspace import Workspace


def watch_for_end(workspace: Workspace) -> Callable[[], bool]:
    """Return a function that returns True once the run is over in which this is called.

    A worker gets no message when its run is over. A disk that cannot be reached counts as unknown, and a session that
    no driver holds as one without an end.
    """
    path = workspace.session.own / LOCK_NAME
    try:
        lease = path.read_text()
    except OSError:
        return lambda: False

    def is_over() -> bool:
        try:
            return path.read_text() != lease
        except FileNotFoundError:
            return True
        except OSError:
            return False

    return is_over
