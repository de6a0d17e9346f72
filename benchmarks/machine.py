"""The machine and the versions that a benchmark ran with, in one line; and the page of its result."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib import metadata
from pathlib import Path

PACKAGES = ("av", "numpy", "dask")
NOTES = "\n---\n"
"""Line after which a page has notes of a person."""


def write_page(path: Path, text: str) -> None:
    """Write the page of a result; notes of a person at the end of the one that is there are kept."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    _, line, notes = before.partition(NOTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text.rstrip()}\n{line}{notes}", encoding="utf-8")


def machine() -> str:
    """Return date, cores, processor and versions of this measurement."""
    cores = len(os.sched_getaffinity(0))
    versions = [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in PACKAGES)]
    return f"{time.strftime('%Y-%m-%d')}, {cores} cores ({processor()}), {', '.join(versions)}"


def processor() -> str:
    """Return the name of the processor where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1].strip() if found else platform.machine()
