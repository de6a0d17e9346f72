"""Numbers of bytes as text."""

from __future__ import annotations


def format_size(n_bytes: int) -> str:
    """Return a number of bytes as text, with three digits.

    >>> format_size(1_234_567), format_size(12)
    ('1.23 MB', '12 bytes')
    """
    size, unit = float(n_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"
