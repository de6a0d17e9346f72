"""Dask's own record of a run: what ran when on which worker, and where time went. One HTML file that opens offline."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def recorded(client: Any) -> Iterator[Callable[[Path], Path | None]]:  # distributed has no types
    """Record what the workers of a client do in this block.

    Yields
    ------
    callable
        Call it with a path at the end to write the file there. It returns the path, or None where the file could not be
        written: a run is not worth less for that. Takes half a second.
    """
    from distributed import performance_report

    report = performance_report(filename="", mode="inline")
    report.__enter__()

    def write(path: Path) -> Path | None:
        report.filename = str(path)
        try:
            report.__exit__(None, None, None)
        except (OSError, ValueError, RuntimeError, TimeoutError) as error:
            _log.warning("Dask's record of the run could not be written to %s: %s", path, error)
            return None
        return path

    yield write
