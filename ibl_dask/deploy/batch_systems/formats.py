"""Text that several batch systems share: sizes, durations, shell lines of a job script."""

from __future__ import annotations

import math
import re
import shlex


def format_memory(memory_gb: float, gigabytes: str, megabytes: str) -> str:
    """Return the memory of a job in the units of a batch system.

    Batch systems count 1024 where a profile counts 1000; the difference is left to Dask itself.

    Parameters
    ----------
    memory_gb
        Memory, GB (1e9 bytes).
    gigabytes, megabytes
        Units, such as `G` and `M`; megabytes are used where the number of gigabytes is not whole, rounded up.

    >>> format_memory(16.0, "G", "M"), format_memory(1.5, "gb", "mb")
    ('16G', '1500mb')
    """
    if memory_gb == int(memory_gb):
        return f"{int(memory_gb)}{gigabytes}"
    return f"{math.ceil(round(memory_gb * 1000, 6))}{megabytes}"


def format_duration(seconds: int) -> str:
    """Return a duration as `hh:mm:ss`; hours may exceed a day.

    >>> format_duration(90061)
    '25:01:01'
    """
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def parse_duration(text: str) -> int | None:
    """Return a duration of the form `hh:mm:ss` or `d-hh:mm:ss`, s; None for any other text.

    >>> parse_duration("04:00:00"), parse_duration("1-00:30:00"), parse_duration("UNLIMITED")
    (14400, 88200, None)
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def stop_line(message: str) -> str:
    """Return a shell command that writes a message to the log and ends the job; `STOP` defines it."""
    return f"stop {shlex.quote(message)}"


STOP = 'stop() { printf "ibl-dask: %s\\n" "$@" >&2; exit 1; }'
"""Shell function of every job script; see `stop_line`."""


def run_as_group(group: str, where: str) -> list[str]:
    """Return shell lines that restart a script as a member of a group.

    `sg` removes variables that could mislead a privileged program, so two of them are passed on explicitly.

    Parameters
    ----------
    group
        Name of the group.
    where
        Line of the profile that names it, for the message of a user who is not a member.
    """
    missing = stop_line(f"not in the group {group}, which {where} asks for")
    quoted = shlex.quote(group)
    return [
        'if [ -z "${IBL_DASK_GROUP:-}" ]; then',
        f"    id -Gn | tr ' ' '\\n' | grep -qxF -- {quoted} || {missing}",
        "    kept=IBL_DASK_GROUP=1",
        "    for variable in TMPDIR LD_LIBRARY_PATH; do",
        '        if [ -n "${!variable:-}" ]; then kept+=" $variable=$(printf %q "${!variable}")"; fi',
        "    done",
        f'    exec sg {quoted} -c "exec env $kept bash $(printf %q "$0")"',
        "fi",
    ]
