"""Whether the owner of a file is still there."""

from __future__ import annotations

import os


def is_alive(pid: int) -> bool:
    """Return whether a process of this host exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
