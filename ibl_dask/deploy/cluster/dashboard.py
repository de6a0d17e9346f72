"""Where the pages of Dask's scheduler are, and how to see them at home."""

from __future__ import annotations

import getpass
import socket
from typing import Any

HERE = "127.0.0.1"
"""The pages show what runs, so they are for this machine alone."""


def link_of(scheduler: Any) -> str:  # distributed has no types
    """Return the link to the pages of a scheduler in this process; empty where it has none.

    A site that shows such pages behind a gate of its own says how in Dask's setting `distributed.dashboard.link`.
    """
    from distributed.utils import format_dashboard_link

    port = scheduler.services["dashboard"].port if "dashboard" in scheduler.services else None
    return "" if port is None else str(format_dashboard_link(HERE, port))


def tunnel_line(client: Any) -> str:  # distributed has no types
    """Return the command that makes the pages of a remote machine visible at home; empty where there are none."""
    port = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    if port is None:
        return ""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may know its user by number alone
        user = "you"
    return f"ssh -N -L {port}:localhost:{port} {user}@{socket.gethostname()}"
