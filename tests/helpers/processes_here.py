"""Processes of this machine, which may end while they are looked at."""

from __future__ import annotations

import psutil


def is_gone(pid: int) -> bool:
    """Return whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
