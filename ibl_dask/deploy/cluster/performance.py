"""Dask's own record of a run: what ran when on which worker, and where time went. One HTML file that opens offline."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ibl_dask.store.atomic import write_text

_log = logging.getLogger(__name__)

ANSWER_S = 60.0
"""How long the scheduler may take to make the record, s: it asks every worker."""


@contextlib.contextmanager
def recorded(client: Any) -> Iterator[Callable[[Path], tuple[Path | None, str]]]:  # distributed has no types
    """Record what the workers of a client do in this block.

    Dask's `performance_report` would also print the code of whoever calls it, and leave half a file on a full disk.

    Yields
    ------
    callable
        Call it with a path at the end to write the file there. It returns the path, or None and the reason where the
        file could not be written: a run is not worth less for that, whatever it was. Takes half a second.
    """
    start_s = time.time()
    try:
        n_looks = client.run_on_scheduler(_count_looks)
        client.get_task_stream(start=0, stop=0)  # from now on the scheduler keeps what ran
    except Exception as error:  # noqa: BLE001  # whatever Dask cannot do here, the run can do without
        reason = str(error) or type(error).__name__
        _log.warning("Dask keeps no record of the run: %s", reason)
        yield lambda path: (None, reason)
        return

    def write(path: Path) -> tuple[Path | None, str]:
        try:
            asked = client.scheduler.performance_report
            page = client.sync(asked, start=start_s, last_count=n_looks, mode="inline", callback_timeout=ANSWER_S)
            write_text(path, page)
        except Exception as error:  # noqa: BLE001  # the run is over and well: nothing may take its result away
            reason = str(error) or type(error).__name__
            _log.warning("Dask's record of the run could not be written to %s: %s", path, reason)
            return None, reason
        return path, ""

    yield write


def _count_looks(dask_scheduler: Any) -> int:  # distributed has no types
    """Return how often the scheduler has looked at its own load."""
    return int(dask_scheduler.monitor.count)
