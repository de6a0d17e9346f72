"""Formatting of counts, sizes, durations and times."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TypeGuard

MISSING = "—"
"""Placeholder for a missing value."""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def format_count(value: object) -> str:
    """Format a whole number with separators.

    >>> format_count(540000), format_count(None)
    ('540,000', '—')
    """
    return f"{int(value):,}" if _is_number(value) else MISSING


def format_number(value: object, unit: str = "") -> str:
    """Format a number with up to five digits, and its unit.

    >>> format_number(59.94005994, "Hz")
    '59.94 Hz'
    """
    return f"{value:.5g} {unit}".rstrip() if _is_number(value) else MISSING


def format_bytes(value: object) -> str:
    """Format a size in the unit that leaves one to three digits before the point.

    >>> [format_bytes(n) for n in (999, 1_234_567, 283_000_000_000, None)]
    ['999 B', '1.2 MB', '283 GB', '—']
    """
    if not _is_number(value):
        return MISSING
    size, units = float(value), ["B", "kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if size >= 10 or units[0] == "B" else f"{size:.1f} {units[0]}"


def format_duration(seconds: object) -> str:
    """Format a duration in its two largest units.

    >>> [format_duration(s) for s in (0.25, 41.2, 75, 5400, 7200)]
    ['0.25 s', '41 s', '1 min 15 s', '1 h 30 min', '2 h']
    >>> format_duration(float("inf"))
    '—'
    """
    if not _is_number(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    large, small, names = (whole // 60, whole % 60, "min s")
    if whole >= 3600:
        large, small, names = (whole // 3600, whole % 3600 // 60, "h min")
    unit, subunit = names.split()
    return f"{large} {unit}" + (f" {small} {subunit}" if small else "")


def format_clock(seconds: float, step_s: float = 1.0) -> str:
    """Format a time as minutes and seconds; with a fraction where the step is under a second.

    >>> format_clock(754.6), format_clock(-3), format_clock(1.25, 0.05), format_clock(3661)
    ('12:35', '-0:03', '0:01.25', '61:01')
    """
    digits = 0 if step_s >= 1 else 1 if step_s >= 0.1 else 2 if step_s >= 0.01 else 3
    shown = round(abs(seconds), digits)
    minutes, rest = divmod(shown, 60)
    width = digits + 3 if digits else 2
    sign = "-" if seconds < 0 and shown > 0 else ""
    return f"{sign}{minutes:.0f}:{rest:0{width}.{digits}f}"


def format_moment(when: object) -> str:
    """Format a Unix time, or an ISO text with its offset, as a date and time in UTC; return another text as it is.

    >>> format_moment(0), format_moment("2023-05-02T10:14:31+02:00"), format_moment("yesterday")
    ('1970-01-01 00:00:00 UTC', '2023-05-02 08:14:31 UTC', 'yesterday')
    """
    try:
        if isinstance(when, int | float):
            moment = datetime.fromtimestamp(when, UTC)
        else:
            moment = datetime.fromisoformat(str(when))
    except (ValueError, OverflowError, OSError):
        return str(when)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
