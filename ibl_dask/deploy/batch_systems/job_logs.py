"""Log files of jobs: `{worker}-{job number}.log`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

TAIL_LINES = 15
"""Lines of a log that are shown."""
TAIL_BYTES = 20_000
"""Bytes at the end of a log that are read."""


def log_tail(job_id: str, folders: Sequence[Path]) -> str:
    """Return the last lines of the logs of a job, each log with its path; empty where there are none."""
    tails = []
    for folder in folders:
        for path in sorted(folder.glob(f"*{job_id}*")):
            if re.search(rf"(?<!\d){job_id}(?!\d)", path.name) and path.is_file():
                lines = _read_end(path).strip().splitlines()[-TAIL_LINES:]
                if lines:
                    tails.append(f"the end of {path}:\n" + "\n".join(f"    {line}" for line in lines))
    return "\n".join(tails)


def _read_end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError as error:
        return str(error)
