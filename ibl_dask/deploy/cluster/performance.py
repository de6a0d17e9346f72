"""Dask's performance report of a run: tasks over time and workers, and a profile. One HTML file that opens offline."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibl_dask.store.atomic import write_text

if TYPE_CHECKING:
    from distributed import Client, Scheduler

_log = logging.getLogger(__name__)

ANSWER_S = 60.0
"""Time limit of the scheduler for the report, s: it asks every worker."""


@contextlib.contextmanager
def recorded(client: Client) -> Iterator[Callable[[Path], tuple[Path | None, str]]]:
    """Record the tasks of a client's workers in this block.

    Dask's `performance_report` would also include the source of its caller, and leave half a file on a full disk.

    Yields
    ------
    callable
        Call it with a path at the end to write the file there. It returns the path and an empty text, or None and the
        reason for which the file could not be written, which is no failure of the run. It takes half a second.
    """
    start_s = time.time()
    try:
        n_samples = client.run_on_scheduler(_count_samples)
        client.get_task_stream(start=0, stop=0)  # from now on the scheduler keeps a record of tasks
    except Exception as error:  # noqa: BLE001  # the run does without the report
        reason = str(error) or type(error).__name__
        _log.warning("Dask keeps no record of the run: %s", reason)
        yield lambda path: (None, reason)
        return

    def write(path: Path) -> tuple[Path | None, str]:
        try:
            scheduler: Any = client.scheduler  # remote functions are found by name
            asked = scheduler.performance_report
            page = client.sync(asked, start=start_s, last_count=n_samples, mode="inline", callback_timeout=ANSWER_S)
            write_text(path, page)
        except Exception as error:  # noqa: BLE001  # the run has succeeded, and its result must be returned
            reason = str(error) or type(error).__name__
            _log.warning("Dask's record of the run could not be written to %s: %s", path, reason)
            return None, reason
        return path, ""

    yield write


def _count_samples(dask_scheduler: Scheduler) -> int:
    """Return the number of samples in the scheduler's record of its own load."""
    return int(dask_scheduler.monitor.count)
