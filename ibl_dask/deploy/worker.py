"""What a worker process does when it starts; Dask loads this module there."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:  # distributed has no types
    """Leave Ctrl-C to the driver: a terminal sends it to every process, and the driver stops its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
