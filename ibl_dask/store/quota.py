"""Quotas of this user, as the program `quota` prints them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

BLOCK_BYTES = 1024
"""Size of the blocks that `quota` counts, bytes."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Quota on one file system."""

    filesystem: str
    """Device or server that it is mounted from."""
    unit: Literal["blocks", "files"]
    """What is counted."""
    used: int
    """Number in use."""
    limit: int
    """Largest number: the soft limit, where there is one."""


def print_quotas(time_out_s: float) -> str:
    """Return the output of `quota -w -p`; empty without that program, or without an answer in time.

    Parameters
    ----------
    time_out_s : float
        Time to wait: it asks the servers of network disks, s.
    """
    command = shutil.which("quota")
    if command is None:
        return ""
    try:
        return subprocess.run(
            [command, "-w", "-p"], capture_output=True, text=True, timeout=time_out_s, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def read_quotas(text: str) -> Iterator[Quota]:
    """Yield the limits in the output of `quota -w -p`.

    >>> next(read_quotas("nas:/home 95 100 110 0 10 0 0 0"))
    Quota(filesystem='nas:/home', unit='blocks', used=95, limit=100)
    """
    for line in text.splitlines():
        words = line.split()
        # Used, soft and hard limit, of blocks and of files; between them the time of grace. A star marks an excess.
        numbers = [word.rstrip("*") for word in (*words[1:4], *words[5:8])]
        if len(numbers) < 6 or not all(number.isdigit() for number in numbers):
            continue
        units: tuple[Literal["blocks", "files"], ...] = ("blocks", "files")
        for unit, (used, *limits) in zip(units, (map(int, numbers[:3]), map(int, numbers[3:])), strict=True):
            limit = min((limit for limit in limits if limit > 0), default=0)
            if limit:
                yield Quota(words[0], unit, used, limit)
