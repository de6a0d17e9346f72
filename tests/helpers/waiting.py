"""Waiting for what other processes and threads do, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil


def wait_until(holds: Callable[[], Any], seconds: float = 60, *, step_s: float = 0.05) -> Any:
    """Wait until something is true and return it; fail if it does not become so."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {getattr(holds, '__qualname__', holds)}")
        time.sleep(step_s)
    return value


def is_gone(pid: int) -> bool:
    """Return whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
