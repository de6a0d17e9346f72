"""File that takes what the processes of a run print: its name in a variable, for workers that start at any time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

VARIABLE = "IBL_DASK_OUTPUT_LOG"
"""Variable with the driver's process number and the path of the file."""


def announce(path: Path | None) -> None:
    """Set the file for worker processes that this one starts from now on; none of them has one where it is None."""
    if path is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = f"{os.getpid()}:{path}"


def redirect_output() -> None:
    """Send the output of this process to the file of the process that started it, and of its children too.

    Jobs of a batch system may inherit the variable, and have files of their own: nothing is done there.
    """
    pid, _, path = os.environ.get(VARIABLE, "").partition(":")
    if not path or pid != str(os.getppid()):
        return
    with contextlib.suppress(OSError):
        file = open_log(Path(path))
        for number in (1, 2):
            os.dup2(file, number)
        os.close(file)


def open_log(path: Path) -> int:
    """Return a descriptor for appending to a log, which several processes do.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
