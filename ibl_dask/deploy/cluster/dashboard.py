"""Address of Dask's dashboard, and the command that forwards it to another machine."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client, Scheduler

HERE = "127.0.0.1"
"""Address that the dashboard listens on: it shows the data of a run, so other machines cannot open it."""


def link_of(scheduler: Scheduler) -> str:
    """Return the link to the dashboard of a scheduler in this process; empty if it has none.

    Dask's setting `distributed.dashboard.link` replaces it at a site with a proxy.
    """
    from distributed.utils import format_dashboard_link

    port = scheduler.services["dashboard"].port if "dashboard" in scheduler.services else None
    return "" if port is None else str(format_dashboard_link(HERE, port))


def tunnel_line(client: Client) -> str:
    """Return the `ssh` command that forwards the dashboard of a remote machine; empty if there is none."""
    port = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    if port is None:
        return ""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container the user may be a number without a name
        user = "you"
    return f"ssh -N -L {port}:localhost:{port} {user}@{socket.gethostname()}"
