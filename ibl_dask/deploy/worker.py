"""What a worker process does when it starts; Dask loads this module there."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from typing import Any

_NEEDED = (
    "ibl_dask.tasks.walk",
    "ibl_dask.tasks.steps.index",
    "ibl_dask.tasks.steps.frames",
    "ibl_dask.video.framepass",
    "av.video.reformatter",
    "ibl_dask.tasks.steps.times",
    "ibl_dask.tasks.steps.wheel",
    "scipy.signal",
    "ibl_dask.tasks.steps.checks",
    "zarr",
    "ibl_dask.tasks.steps.report",
    "ibl_dask.report.html",
)
"""What steps import, in the order in which a run needs it."""


def dask_setup(worker: Any) -> None:  # distributed has no types
    """Leave Ctrl-C to the driver, and import what steps need while the driver still plans.

    A terminal sends Ctrl-C to every process of its foreground group; the driver stops its workers itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed.worker").addFilter(is_news)
    threading.Thread(target=import_all, name="imports", daemon=True).start()


def is_news(record: logging.LogRecord) -> bool:
    """Return whether what a worker logs is worth telling.

    Another worker that ends while it fetches a result is not: the scheduler knows, and says what comes of it.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and str(record.msg).startswith("failed during get data"))


def import_all() -> None:
    """Import what steps need."""
    for name in _NEEDED:
        importlib.import_module(name)
